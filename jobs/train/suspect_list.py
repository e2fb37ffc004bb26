"""Writes down what `jobs.train.suspects` found: which task, both boxes, and a sentence for a person. Pure."""

from collections.abc import Mapping, Sequence

import numpy as np

from jobs.train.data.dataset import Dataset
from jobs.train.evidence import Classified, Found, Outcome
from jobs.train.judging import Judged
from jobs.train.suspects import Dispute, disputed_choices, disputes
from shared.geometry.detections import Floats, envelope, xywhr_to_corners, xyxy_to_percent
from shared.labelstudio.controls import Control
from shared.state.suspects import MAX_LISTED, Place, Suspect, SuspectList, identity


def list_suspects(
    control: Control, dataset: Dataset, judged: Judged, held_out: Mapping[int, tuple[int, str]]
) -> SuspectList | None:
    """What is worth a look in the val set; None for videos, and for choices of regions.

    `held_out`: id of each task → id of its annotation, and its digest.
    """
    if control.media != "image" or control.per_region:
        return None
    judge = judged.ours
    if judged.theirs and judged.theirs.contender.trained and not (judged.gate.passed or judged.caveat):
        judge = judged.theirs  # it stays served, and was not trained on the val set either
    evidence = judge.evidence
    if isinstance(evidence, Found) and all(outcome.annotated is not None for outcome in evidence.outcomes):
        by_boxes = control.yolo_task == "pose"
        made = [
            _suspect(control, evidence.outcomes[one.picture], one, held_out)
            for one in disputes(evidence.outcomes, judge.classes, by_boxes=by_boxes)
        ]
    elif isinstance(evidence, Classified) and evidence.chances is not None:
        made = [
            _choice(control, evidence.of_images[one.picture], one, float(evidence.chances[one.picture].max()), held_out)
            for one in disputed_choices(evidence, judge.classes)
        ]
    else:
        return None
    return SuspectList(
        control=control.name,
        judge=judge.name,
        judged=len(evidence.tasks),
        tasks=dataset.counts.train + dataset.counts.val,
        count=len(made),
        suspects=tuple(made[:MAX_LISTED]),
    )


def _suspect(control: Control, outcome: Outcome, one: Dispute, held_out: Mapping[int, tuple[int, str]]) -> Suspect:
    assert outcome.annotated is not None
    names = control.class_names
    label = "" if one.annotated is None else names[int(outcome.truth[one.annotated])]
    box = None if one.annotated is None else _place(outcome.annotated[one.annotated], outcome.size)
    found = "" if one.found is None else names[int(outcome.found[one.found])]
    found_box = None if one.found is None else _place(outcome.boxes[one.found], outcome.size)
    confidence = None if one.found is None else round(float(outcome.scores[one.found]), 3)
    if one.kind == "missing":
        reason = f"{found} is found here, and nothing is annotated"
    elif one.kind == "spurious":
        reason = f"{label} is annotated here, and the model finds nothing that is like it"
    elif one.kind == "swapped":
        reason = f"{label} is annotated here, and the model finds {found}"
    else:
        assert one.annotated is not None
        overlap = float(outcome.overlap[one.annotated, one.found])
        reason = f"the model finds this {label} in another place or size: they overlap by {overlap:.0%}"
    return _made(control, int(outcome.task), one, held_out, (label, box, found, found_box, confidence), reason)


def _choice(
    control: Control, task: str, one: Dispute, confidence: float, held_out: Mapping[int, tuple[int, str]]
) -> Suspect:
    assert one.annotated is not None
    assert one.found is not None
    label, found = control.class_names[one.annotated], control.class_names[one.found]
    said = (label, None, found, None, round(confidence, 3))
    return _made(control, int(task), one, held_out, said, f"{label} is chosen, and the model says {found}")


def _made(
    control: Control,
    task: int,
    one: Dispute,
    held_out: Mapping[int, tuple[int, str]],
    said: tuple[str, Place | None, str, Place | None, float | None],
    reason: str,
) -> Suspect:
    annotation, digest = held_out[task]
    label, box, found, found_box, confidence = said
    return Suspect(
        id=identity(control.name, task, digest, one.kind, label, box or found_box, found),
        kind=one.kind,
        rarity=round(one.rarity, 4),
        task=task,
        annotation=annotation,
        digest=digest,
        label=label,
        box=box,
        found=found,
        found_box=found_box,
        confidence=confidence,
        reason=reason,
    )


def _place(box: Floats, size: Sequence[int]) -> Place:
    """`box`: (4,) xyxy or (5,) xywhr in pixels."""
    upright = envelope(xywhr_to_corners(box[None])) if len(box) == 5 else box[None]
    left, top, width, height = np.round(xyxy_to_percent(upright, *size)[0], 2).tolist()
    return left, top, width, height
