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
from itertools import compress, repeat
from typing import Any

from shared import tracing
from shared.control_group import in_control_group
from shared.errors import ImageError, LabelloopError
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.controls import Control
from shared.labelstudio.requests import PredictRequest, Task
from shared.prediction.context import PredictContext, prepare
from shared.prediction.metrics import Metrics
from shared.prediction.one_task import TaskRunner
from shared.prediction.pending import Answer, Started, result_of
from shared.prediction.ports import DeadlineExceeded, DeviceLost, Models
from shared.prediction.tally import Tally
from shared.prediction.unanswered import Unanswered
from shared.settings import Settings

logger = logging.getLogger(__name__)

_NAMED = 20  # tasks that a log line names, of those that fail together
_LOST = "device_lost"
_CONTROL_GROUP = Unanswered("control_group", "they are in the control group (LABELLOOP_CONTROL_GROUP)")
_ONE_TASK = Unanswered("interactive", "a smart tool asks for one task at a time")
_TASKS_AT_ONCE = 1000
"""Tasks that are parsed and answered at a time."""

Prediction = dict[str, Any] | list[Any]
"""The item of one task: a prediction, or `[]`, for which Label Studio stores nothing and asks again next time."""


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
                yield self._drawn(call, deadline) if number == 0 else _ONE_TASK
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
        """What a smart tool draws for the first task."""
        if self._smart is None:
            return Unanswered("interactive", "smart tools are not answered here")
        settings = self._settings_for(call.project, parse_label_config(call.label_config))
        if in_control_group(call.project, call.tasks[0].id, settings.control_group):
            return _CONTROL_GROUP
        with self._metrics.phase("smart"):
            return self._smart(call, settings, deadline)

    def _prepared(self, uid: str, controls: Sequence[Control], deadline: float) -> PredictContext | Unanswered:
        if not controls:
            return Unanswered("no_control", "the labeling config has no control that labelloop serves")
        try:
            return prepare(self._models, uid, controls, self._settings_for(uid, controls), deadline)
        except LabelloopError as error:
            return _unanswered(error)

    def _items(
        self, call: PredictRequest, context: PredictContext | Unanswered, deadline: float, tally: Tally
    ) -> Iterator[Prediction]:
        """Answers `_TASKS_AT_ONCE` tasks at a time, so that memory does not grow with the request."""
        for first in range(0, len(call.tasks), _TASKS_AT_ONCE):
            if first and time.monotonic() >= deadline:
                context = Unanswered("deadline", "the deadline came before their turn (LABELLOOP_PREDICT_DEADLINE)")
            if isinstance(context, Unanswered):
                rest = len(call.tasks) - first
                named = [task.id for task in call.tasks[first : first + _NAMED]]
                tally.add("are answered empty", context.reason, context.message, named, count=rest)
                yield from repeat(context, rest)
                return
            tasks = call.tasks[first : first + _TASKS_AT_ONCE]
            share = context.control_group
            helped = [task.is_labeled or not in_control_group(call.project, task.id, share) for task in tasks]
            answers = self._answers(list(compress(tasks, helped)), context)
            for task, is_helped in zip(tasks, helped, strict=True):
                yield _counted(task, next(answers) if is_helped else _CONTROL_GROUP, tally)

    def _answers(self, tasks: Sequence[Task], context: PredictContext) -> Iterator[Answer | Unanswered]:
        """The answers of these tasks, in their order, each as soon as it is ready."""
        started: deque[Future[Started]] = deque(Future() for _ in tasks)
        waiting = deque(zip(tasks, started, strict=True))
        try:
            self._begin(waiting, context)
            while started:
                answer = _answer(started.popleft(), context.deadline)  # frees each task once it is answered
                yield answer
                if isinstance(answer, Unanswered) and answer.reason == _LOST:
                    yield from repeat(answer, len(started))  # the process ends: do not wait for images
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
    """End the trace of each version, at the first prediction that this process makes with it."""
    for control, trace in context.traces:
        told = {"project": uid, "control": control, "version": context.stamp}
        tracing.once("first prediction", trace, began=began, key=(uid, control, trace), **told)


def _answer(started: "Future[Started]", deadline: float) -> Answer | Unanswered:
    try:
        return result_of(started, deadline).answer()
    except LabelloopError as error:
        return _unanswered(error)
    except Exception as error:
        logger.exception("unexpected error in a task", extra={"event": "task_crashed"})
        return Unanswered("crashed", type(error).__name__)


def _counted(task: Task, answer: Answer | Unanswered, tally: Tally) -> Prediction:
    """The item of a task, after its outcome is counted in `tally`."""
    if isinstance(answer, Unanswered):
        tally.add("are answered empty", answer.reason, answer.message, [task.id])
        return answer
    tally.predicted()
    for error in answer.left_out:
        tally.add("are answered without some controls", error.reason, str(error), [task.id])
    return answer.prediction


def _unanswered(error: LabelloopError) -> Unanswered:
    if isinstance(error, ImageError):
        return Unanswered(error.reason, str(error))
    if isinstance(error, DeviceLost):
        return Unanswered(_LOST, str(error))
    return Unanswered("deadline" if isinstance(error, DeadlineExceeded) else "model", str(error))
