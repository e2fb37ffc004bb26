"""Reads from Label Studio how each annotation of a project came about: on which prediction, and how long it took.

What Label Studio 1.23.2 stores (tests/contract/effort): `parent_prediction` of an annotation is the prediction that it
was begun with, None if it was begun without one, if it was sent by another program, if it was continued from a draft
after the page was left, or if that prediction was deleted. Its regions keep the ids of the predicted ones in all of
these cases.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from jobs.train.data.export import LabelStudioExporter
from shared.errors import LabelStudioError
from shared.labelstudio.api import LabelStudio
from shared.labelstudio.retries import with_retries
from shared.prediction.region_ids import is_smart

_AT_ONCE = 4  # requests at a time, so that Label Studio stays fast for annotators
_PREDICTED = ("prediction", "prediction-changed")

Begun = Literal["with a prediction", "without", "unused", "lost", "copied", "converted", "elsewhere", "unreadable"]
"""How an annotation was begun. "without": there was no prediction. "unused": there was one, it was begun from nothing.
"lost": the prediction is not in Label Studio any more. "copied": from another annotation. "converted": by the menu
of the data manager, which makes predictions annotations that nobody looks at. "elsewhere": by another
program, which says nothing about predictions."""
Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sitting:
    """One annotation that was not cancelled."""

    task: int
    begun: Begun
    annotator: int = 0
    seconds: float | None = None  # that the page was open, pauses included
    result: Sequence[object] = ()
    version: str = ""  # model_version of the prediction that it was begun with
    predicted: Sequence[object] = ()  # the result of that
    later: Mapping[str, Sequence[object]] = field(default_factory=dict)
    """Of an annotation without a prediction: model_version → result of those that were made since."""


class SittingReader:
    """Reads one project's annotations."""

    def __init__(self, exporter: LabelStudioExporter, label_studio: LabelStudio) -> None:
        self._exporter = exporter
        self._label_studio = label_studio

    def sittings(self, project_id: int) -> Iterator[list[Sitting]]:
        """The annotations of each annotated task, a few tasks in memory. Raises LabelStudioError after six tries."""
        waiting: deque[Future[list[Sitting]]] = deque()
        pool = ThreadPoolExecutor(_AT_ONCE, "predictions")
        try:
            for task in self._exporter.tasks(project_id):
                waiting.append(pool.submit(self._of_task, task.id, task.annotations, unreadable=bool(task.unreadable)))
                if len(waiting) > _AT_ONCE:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _of_task(self, task: int, annotations: Sequence[object], *, unreadable: bool) -> list[Sitting]:
        if unreadable:
            return [Sitting(task, "unreadable")]
        return [self._sitting(task, one) for one in annotations if isinstance(one, Mapping)]

    def _sitting(self, task: int, annotation: Record) -> Sitting:
        parent, result = annotation.get("parent_prediction"), _items(annotation)
        prediction = self._prediction(parent) if isinstance(parent, int) else None
        begun: Begun = "with a prediction"
        predictions: list[Record] = []
        if prediction is None and annotation.get("parent_annotation") is not None:
            begun = "copied"
        elif prediction is None:
            predictions = self._predictions(task)
            prediction = _source(predictions, result)
            begun = "with a prediction" if prediction else _begun_alone(annotation, result, predictions)
        seconds, annotator = annotation.get("lead_time"), annotation.get("completed_by")
        if prediction and seconds is None and result and result == _items(prediction):
            begun = "converted"
        return Sitting(
            task,
            begun,
            annotator if isinstance(annotator, int) else 0,
            float(seconds) if isinstance(seconds, int | float) and seconds > 0 else None,
            result,
            _version(prediction) if prediction else "",
            _items(prediction) if prediction else (),
            {_version(one): _items(one) for one in predictions} if begun == "without" else {},
        )

    @with_retries
    def _prediction(self, number: int) -> Record | None:
        """None: it was deleted meanwhile."""
        try:
            found = self._label_studio.get_json(f"/api/predictions/{number}/")
        except LabelStudioError as error:
            if error.status == 404:
                return None
            raise
        return found if isinstance(found, Mapping) else None

    @with_retries
    def _predictions(self, task: int) -> list[Record]:
        found = self._label_studio.get_json("/api/predictions/", {"task": str(task)})
        return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _version(prediction: Record) -> str:
    return str(prediction.get("model_version") or "")


def _items(record: Record) -> list[object]:
    result = record.get("result")
    return result if isinstance(result, list) else []


def _ids(result: Sequence[object]) -> set[str]:
    ids = (item.get("id") for item in result if isinstance(item, Mapping))
    return {one for one in ids if isinstance(one, str) and one}


def _source(predictions: Sequence[Record], result: Sequence[object]) -> Record | None:
    """The prediction that has most of the annotation's region ids; None if none has any."""
    ids = _ids(result)
    best = max(predictions, key=lambda one: len(ids & _ids(_items(one))), default=None)
    return best if best is not None and ids & _ids(_items(best)) else None


def _begun_alone(annotation: Record, result: Sequence[object], predictions: Sequence[Record]) -> Begun:
    regions = [item for item in result if isinstance(item, Mapping) and not is_smart(item.get("id"))]
    if any(item.get("origin") in _PREDICTED for item in regions):
        return "lost"
    ended, seconds = _time(annotation.get("created_at")), annotation.get("lead_time")
    if not isinstance(seconds, int | float) or ended is None:
        return "elsewhere"
    begun = ended - timedelta(seconds=min(seconds, 1e9))
    made = [moment for one in predictions if (moment := _time(one.get("created_at")))]
    return "unused" if any(moment < begun for moment in made) else "without"


def _time(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else None
