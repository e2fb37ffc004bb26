"""The use case: predictions for the tasks of one request, in task order; a task that fails is answered empty.

Images are fetched and decoded on threads of the request and handed to the models as they arrive, so fetching and
inference overlap. Only a few decoded images of a request wait for the models at a time: this bounds memory, and lets a
request of one task overtake a request of thousands.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import lru_cache
from itertools import compress
from typing import Any

from shared import tracing
from shared.control_group import in_control_group
from shared.errors import ImageError, LabelloopError
from shared.labelstudio.class_labels import unclear_classes
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.controls import Control
from shared.labelstudio.held_labels import way_back
from shared.labelstudio.requests import PredictRequest, Task
from shared.prediction.metrics import Metrics
from shared.prediction.one_task import Answer, ControlModel, PredictContext, Started, TaskRunner, result_of
from shared.prediction.plan import Plan, plan_control
from shared.prediction.ports import DeadlineExceeded, DeviceLost, Models, NothingToServe
from shared.prediction.tally import Tally
from shared.prediction.unanswered import Unanswered
from shared.settings import Settings
from shared.state.model_version import stamp

logger = logging.getLogger(__name__)

_MAX_WARNINGS = 10  # log lines about ambiguous classes of a control
_NAMED = 20  # tasks that a log line names, of those that fail together
_SHOWN = 5  # classes that it names
_LOST = "device_lost"
_ONE_TASK = ("interactive", "a smart tool asks for one task at a time")
_TASKS_AT_ONCE = 1000
"""Tasks that are parsed and answered at a time."""

Prediction = dict[str, Any] | list[Any]
"""The item of one task: a prediction, or `[]`, for which Label Studio stores nothing and asks again next time."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a task is answered empty."""

    reason: str  # one word from a fixed set
    message: str


_CONTROL_GROUP = _Failure("control_group", "they are in the control group (LABELLOOP_CONTROL_GROUP)")


class Predictor:
    """Answers `/predict`. Thread-safe."""

    def __init__(
        self,
        models: Models,
        runner: TaskRunner,
        metrics: Metrics,
        settings_for: Callable[[str, Sequence[Control]], Settings],
        *,
        threads: int,
        smart: Callable[[PredictRequest, Settings, float], Prediction] | None = None,
    ) -> None:
        """`settings_for`: as `Backend.settings_for`. `threads`: at most so many fetch the images of one request.

        `smart`: answers an annotator's smart tool (as `SmartTools.draw`), where annotators ask.
        """
        self._models = models
        self._runner = runner
        self._metrics = metrics
        self._settings_for = settings_for
        self._threads = threads
        self._smart = smart

    def predict(self, call: PredictRequest, deadline: float) -> list[Prediction]:
        """One item a task. `deadline` is a time.monotonic() value. Raises LabelConfigError."""
        return list(self.each(call, deadline))

    def each(self, call: PredictRequest, deadline: float) -> Iterator[Prediction]:
        """The items of `predict`, each as soon as it is ready, so that memory need not hold all of them."""
        if call.interactive:
            for number in range(len(call.tasks)):
                yield self._drawn(call, deadline) if number == 0 else Unanswered(*_ONE_TASK)
            return
        controls = parse_label_config(call.label_config)
        tally, began = Tally(call.project, len(call.tasks)), time.time_ns()
        with self._metrics.phase("request"):
            context = self._prepared(call.project, controls, deadline)
            yield from self._items(call, context, deadline, tally)
        tally.report(self._metrics)
        if isinstance(context, PredictContext) and tally.any_predicted:
            _trace_first(call.project, context, began)

    def _drawn(self, call: PredictRequest, deadline: float) -> Prediction:
        if self._smart is None:
            return Unanswered("interactive", "no annotator is expected to ask")
        settings = self._settings_for(call.project, parse_label_config(call.label_config))
        if in_control_group(call.project, call.tasks[0].id, settings.control_group):
            return Unanswered(_CONTROL_GROUP.reason, _CONTROL_GROUP.message)
        with self._metrics.phase("smart"):
            return self._smart(call, settings, deadline)

    def _prepared(self, uid: str, controls: Sequence[Control], deadline: float) -> PredictContext | _Failure:
        if not controls:
            return _Failure("no_control", "the labeling config has no control that labelloop serves")
        try:
            return self._prepare(uid, controls, deadline)
        except LabelloopError as error:
            return _failure(error)

    def _items(
        self, call: PredictRequest, context: PredictContext | _Failure, deadline: float, tally: Tally
    ) -> Iterator[Prediction]:
        """Answers `_TASKS_AT_ONCE` tasks at a time, so that memory does not grow with the request."""
        for first in range(0, len(call.tasks), _TASKS_AT_ONCE):
            if first and time.monotonic() >= deadline:
                context = _Failure("deadline", "the deadline came before their turn (LABELLOOP_PREDICT_DEADLINE)")
            if isinstance(context, _Failure):
                rest = len(call.tasks) - first
                named = [task.id for task in call.tasks[first : first + _NAMED]]
                tally.add("are answered empty", context.reason, context.message, named, count=rest)
                yield from (Unanswered(context.reason, context.message) for _ in range(rest))
                return
            tasks = call.tasks[first : first + _TASKS_AT_ONCE]
            share = context.control_group
            helped = [task.is_labeled or not in_control_group(call.project, task.id, share) for task in tasks]
            answers = self._all(list(compress(tasks, helped)), context)
            for task, is_helped in zip(tasks, helped, strict=True):
                yield _counted(task, next(answers) if is_helped else _CONTROL_GROUP, tally)

    def _prepare(self, uid: str, controls: Sequence[Control], deadline: float) -> PredictContext | _Failure:
        """Load the models and plan the controls.

        A control that cannot be predicted before its next version is left out, unless it is the only one. Any other
        error fails the request: Label Studio would not ask again for a control that is missing under this stamp.
        """
        settings = self._settings_for(uid, controls)
        parts: list[ControlModel] = []
        versions: list[tuple[str, str]] = []
        traces: list[tuple[str, str]] = []
        unserved: dict[str, _Failure] = {}
        for control in controls:
            try:
                served = self._models.serving(uid, control, deadline)
            except NothingToServe as error:
                if error.version:
                    versions.append((control.name, error.version))
                unserved[control.name] = _Failure("no_model", str(error))
                continue
            versions.append((control.name, served.version))
            traces.append((control.name, served.trace))
            plan = plan_control(
                control,
                served.model.names,
                trained=served.trained,
                settings=settings,
                shown=served.shown,
                tiling=served.model.tiling,
            )
            if not served.trained:
                _warn_unclear(uid, control.name, tuple(unclear_classes(served.model.names, control).items()))
            if plan.silent:
                unserved[control.name] = _Failure("no_class", _no_class(plan, served.version, served.model.names))
            else:
                parts.append(ControlModel(plan, served.model))
        for part in parts:
            if not _has_regions(part, parts):
                name = part.plan.control.name
                unserved[name] = _Failure("no_regions", f"no other control finds regions that {name!r} is asked for")
        parts = [part for part in parts if part.plan.control.name not in unserved]
        if not parts:
            return next(iter(unserved.values()))
        for name, failure in unserved.items():
            _warn_unserved(uid, name, failure)
        batch = max(part.model.batch for part in parts)
        return PredictContext(
            tuple(parts),
            stamp(versions),
            deadline,
            threading.Semaphore(2 + 2 * batch),
            settings.control_group,
            settings.order if settings.orders and any(part.plan.trained for part in parts) else "off",
            tuple(traces),
        )

    def _all(self, tasks: Sequence[Task], context: PredictContext) -> Iterator[Answer | _Failure]:
        started: deque[Future[Started]] = deque(Future() for _ in tasks)
        waiting = deque(zip(tasks, started, strict=True))
        try:
            self._begin(waiting, context)
            while started:
                answer = _answer(started.popleft(), context.deadline)  # frees each task once it is answered
                yield answer
                if isinstance(answer, _Failure) and answer.reason == _LOST:  # the process ends: do not wait for images
                    yield from (answer for _ in started)
                    return
        finally:
            waiting.clear()

    def _begin(self, waiting: "deque[tuple[Task, Future[Started]]]", context: PredictContext) -> None:
        """Start tasks on threads of the request; on the calling thread if there is one task, or no free thread."""
        if len(waiting) == 1:
            self._work(waiting, context)
            return
        for number in range(min(len(waiting), self._threads)):
            try:
                name = f"fetch-{number}"
                threading.Thread(target=self._work, args=(waiting, context), name=name, daemon=True).start()
            except RuntimeError as error:
                logger.warning(
                    f"{number} threads fetch images, not {self._threads}: {error}", extra={"event": "few_threads"}
                )
                if number == 0:
                    self._work(waiting, context)
                return

    def _work(self, waiting: "deque[tuple[Task, Future[Started]]]", context: PredictContext) -> None:
        """Start waiting tasks until there are none."""
        while waiting:
            try:
                task, started = waiting.popleft()
            except IndexError:  # another thread took the last one
                return
            if not started.set_running_or_notify_cancel():
                continue
            try:
                started.set_result(self._runner.start(task, context))
            except Exception as error:  # noqa: BLE001 - raised where the result is awaited
                started.set_exception(error)


def _trace_first(uid: str, context: PredictContext, began: int) -> None:
    """The trace of a version ends with the first prediction that this process has made with it."""
    for control, trace in context.traces:
        told = {"project": uid, "control": control, "version": context.stamp}
        tracing.once("first prediction", trace, began=began, key=(uid, control, trace), **told)


def _answer(started: "Future[Started]", deadline: float) -> Answer | _Failure:
    try:
        return result_of(started, deadline).answer()
    except LabelloopError as error:
        return _failure(error)
    except Exception as error:
        logger.exception("unexpected error in a task", extra={"event": "task_crashed"})
        return _Failure("crashed", type(error).__name__)


def _counted(task: Task, answer: Answer | _Failure, tally: Tally) -> Prediction:
    if isinstance(answer, _Failure):
        tally.add("are answered empty", answer.reason, answer.message, [task.id])
        return Unanswered(answer.reason, answer.message)
    tally.predicted()
    for error in answer.left_out:
        tally.add("are answered without some controls", error.reason, str(error), [task.id])
    return answer.prediction


def _has_regions(part: ControlModel, parts: Sequence[ControlModel]) -> bool:
    """Whether another control finds the regions that a per-region control classifies; true for other controls."""
    return not part.plan.control.per_region or any(
        other.plan.control.to_name == part.plan.control.to_name and not other.plan.control.per_region for other in parts
    )


def _no_class(plan: Plan, version: str, classes: Sequence[str]) -> str:
    if plan.trained:
        learnt = ", ".join(map(repr, [name for name in classes if name][:_SHOWN]))
        return (
            f"{version} was trained on {learnt}, which the labeling config of {plan.control.name!r} does not have any "
            f"more: {way_back(plan.control, classes[0])}, or train a version"
        )
    return (
        f"{version} has no class that means a label of {plan.control.name!r}: name classes in predicted_values of its "
        "labels, or train a version"
    )


@lru_cache(maxsize=256)
def _warn_unclear(uid: str, control: str, classes: Sequence[tuple[str, tuple[str, ...]]]) -> None:
    """Log once the classes of base weights that match several labels."""
    for name, labels in classes[:_MAX_WARNINGS]:
        logger.warning(
            f"class {name!r} could mean {' or '.join(map(repr, labels))} of {control!r}: it is not used, unless "
            "predicted_values of one label name it",
            extra={"event": "class_unclear", "project": uid, "control": control, "class": name},
        )


@lru_cache(maxsize=256)
def _warn_unserved(uid: str, control: str, failure: _Failure) -> None:
    """Log once a reason: it lasts until the config, the settings or the version change."""
    logger.warning(
        f"{control!r} is not predicted: {failure.message}",
        extra={"event": "control_not_served", "project": uid, "control": control, "reason": failure.reason},
    )


def _failure(error: LabelloopError) -> _Failure:
    if isinstance(error, ImageError):
        return _Failure(error.reason, str(error))
    if isinstance(error, DeviceLost):
        return _Failure(_LOST, str(error))
    return _Failure("deadline" if isinstance(error, DeadlineExceeded) else "model", str(error))
