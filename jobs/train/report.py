"""A version's report for people: one HTML file without scripts and links."""

from dataclasses import dataclass
from datetime import datetime

from jinja2 import Environment

from jobs.train.data.dataset import Dataset
from jobs.train.data.taken_up import TakenUp
from shared.state.versions import Gate, Shown
from shared.yolo_task import OBJECTS, YoloTask

_TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ control }} – run {{ run_id }}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #1d2330; }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #dde1e8 }
td.n { text-align: right; font-variant-numeric: tabular-nums } .yes { color: #116b3b } .no { color: #a32020 }
</style></head><body>
<h1>{{ control }}: a new version by run {{ run_id }}</h1>
<p>Project {{ project_uid }}, task {{ yolo_task }}, {{ created_at.strftime("%Y-%m-%d %H:%M") }} UTC, {{ epochs }} epochs
 from {{ base }}.</p>
<p class="{{ 'yes' if gate.passed else 'no' }}"><strong>{{ "Promoted" if gate.passed else "Not promoted" }}.</strong>
 {{ gate.reason }}.</p>
<h2>On the {{ counts.val }} tasks of the val set, with {{ counts.val_objects }} {{ objects }}</h2>
<table><tr><th>metric</th><th>this version</th><th>{{ gate.against if champion else "" }}</th></tr>
{% for name, value in metrics.items() %}<tr><td>{{ name }}</td><td class="n">{{ "%.3f" % value }}</td>
<td class="n">{{ "%.3f" % champion[name] if name in champion else "" }}</td></tr>{% endfor %}</table>
{% for note in notes %}<p class="no">{{ note }}</p>{% endfor %}
{% if taken_up.final %}<h2>What annotators made of {{ taken_up.version }}</h2>
<p>In the {{ taken_up.annotations }} tasks that were annotated on its predictions, since it is served:</p><table>
{% for what, number in made.items() %}<tr><td>{{ what }}</td><td class="n">{{ number }}</td>
<td class="n">{{ "%.0f %%" % (100 * number / taken_up.final) }}</td></tr>{% endfor %}</table>
<p>Annotations do not tell what was deleted; <code>labelloop effort</code> asks Label Studio for that and times.</p>
{% endif %}<h2>Data</h2>
<table>
<tr><td>images to train on</td><td class="n">{{ counts.train_images }}</td>
<td class="n">{{ counts.train_objects }} {{ objects }}</td></tr>
<tr><td>images to validate on</td><td class="n">{{ counts.val_images }}</td>
<td class="n">{{ counts.val_objects }} {{ objects }}</td></tr>
<tr><td>{{ background }}</td><td class="n">{{ counts.background }}</td><td></td></tr>
<tr><td>labels that are not in the labeling config</td><td class="n">{{ counts.foreign_labels }}</td><td></td></tr>
<tr><td>tasks skipped by annotators</td><td class="n">{{ skipped }}</td><td></td></tr>
<tr><td>objects drawn with another tool, converted</td><td class="n">{{ counts.converted.total() }}</td><td></td></tr>
<tr><td>tasks left out</td><td class="n">{{ counts.left_out.total() }}</td><td></td></tr>
</table>
{% if counts.named %}<h2>Left out</h2><table>
{% for task, reason in counts.named %}<tr><td>task {{ task }}</td><td>{{ reason }}</td></tr>{% endfor %}
</table>{% if counts.left_out.total() > counts.named | length %}<p>… and more: see the log of the run.</p>{% endif %}
{% endif %}
<h2>Labels</h2><p>{{ labels | join(", ") }}</p>
{% if shown %}<h2>What is shown</h2><table>
<tr><th>label</th><th>shown from this confidence</th><th>one of two above this overlap</th></tr>
{% for label, each in shown.items() %}<tr><td>{{ label }}</td><td class="n">{{ "%.2f" % each.confidence }}</td>
<td class="n">{{ "%.2f" % each.iou }}</td></tr>{% endfor %}</table>{% endif %}
</body></html>
"""


_MADE = ("objects left as predicted", "moved, or given another label", "drawn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The contents of the page."""

    control: str
    project_uid: str
    run_id: str
    created_at: datetime  # UTC
    base: str  # InitialWeights.name: "v3", "yolo11n.pt"
    yolo_task: YoloTask
    epochs: int
    gate: Gate
    metrics: dict[str, float]  # of the challenger
    champion: dict[str, float]  # empty: not compared
    dataset: Dataset
    skipped: int  # tasks with cancelled annotations only
    shown: dict[str, Shown]  # label → its thresholds
    notes: tuple[str, ...]
    taken_up: TakenUp

    def html(self) -> str:
        """The page as HTML; every value is escaped, since names and errors come from outside."""
        template = Environment(autoescape=True).from_string(_TEMPLATE)
        return template.render(
            control=self.control,
            project_uid=self.project_uid,
            run_id=self.run_id,
            created_at=self.created_at,
            base=self.base,
            yolo_task=self.yolo_task,
            objects=OBJECTS[self.yolo_task][1],
            background="images without a label (not used)"
            if self.yolo_task == "classify"
            else f"of them without {OBJECTS[self.yolo_task][1]} (background)",
            epochs=self.epochs,
            gate=self.gate,
            metrics=self.metrics,
            champion=self.champion,
            counts=self.dataset.counts,
            labels=self.dataset.labels,
            skipped=self.skipped,
            shown=self.shown,
            notes=self.notes,
            taken_up=self.taken_up,
            made=dict(zip(_MADE, self.taken_up.objects, strict=True)),
        )
