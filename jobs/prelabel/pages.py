"""Predicts and stores the tasks of one share, page by page."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from jobs.prelabel.parts import Parts
from jobs.prelabel.ports import Page, Part
from jobs.prelabel.progress import Counting
from jobs.prelabel.shares import Written
from jobs.prelabel.writer import Writer
from shared.control_group import in_control_group
from shared.errors import BudgetSpent
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.controls import Control
from shared.labelstudio.requests import PredictRequest
from shared.prediction.unanswered import Unanswered
from shared.state.heartbeat import Heartbeat
from shared.state.jobs import Jobs
from shared.state.jobs_record import OF_ALL_TASKS, Claim
from shared.state.projects import read_project
from shared.state.spending import Spending


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one run writes, decided when it begins."""

    label_config: str
    controls: Sequence[Control]
    version: str  # model_version of the predictions
    after: int  # only tasks with a greater id are looked at
    renewing: bool = False  # predictions that are there, made under other conditions (`Claim.under`), are replaced


class PagesWriter:
    """Writes shares of one round."""

    def __init__(self, parts: Parts, heartbeat: Heartbeat, spending: Spending, round_: Round) -> None:
        self._parts = parts
        self._heartbeat = heartbeat
        self._spending = spending
        self._round = round_

    def current(self) -> bool:
        """Whether this version is the one to show: it is served, and nobody has disconnected the project."""
        return self._heartbeat.patiently(self._current)

    def check_budget(self) -> None:
        """Raise BudgetSpent if the jobs may not run any longer."""
        if self._spending.seconds_left() <= 0:
            raise BudgetSpent(f"the other predictions wait: {self._spending.why}")

    def write(self, part: Part, report: Callable[[int], None]) -> Written:
        """Write until all is done, or this version is not to be shown any more.

        `report` is told how many tasks were looked at. Raises BudgetSpent, and what a step raises.
        """
        parts, round_ = self._parts, self._round
        left, empty, emptied, through, complete = 0, 0, 0, round_.after, True
        before = Counter(parts.reasons())
        counting, share = Counting(report), parts.settings.control_group
        with Writer(parts.target, renewing=round_.renewing) as writer:
            for page in _ahead(parts.target.pages(round_.version, through, part, renewing=round_.renewing)):
                if not self.current():
                    complete = False
                    break
                through = page.last
                tasks = [task for task in page.tasks if not in_control_group(parts.project_uid, task.id, share)]
                call = PredictRequest(tasks=tasks, project=parts.project_uid, label_config=round_.label_config)
                deadline = time.monotonic() + parts.settings.longest_run
                predictions = parts.predict(call, deadline) if tasks else iter(())
                for task, prediction in zip(tasks, predictions, strict=True):
                    self._heartbeat.check()  # else two processes could store the predictions of a page
                    assert task.id is not None
                    if prediction:
                        writer.add(task.id, prediction)
                        empty += not prediction["result"]
                    else:
                        left += 1
                        if task.id in page.there and _stays_unanswered(prediction):
                            writer.add(task.id, {"result": [], "model_version": round_.version})
                            emptied += 1
                    counting.task()
                counting.page(page.seen)
                if self._spending.seconds_left() <= 0:
                    writer.finish()
                    self.check_budget()
            writer.finish()
        why = Counter(parts.reasons()) - before + Counter({"not_stored": writer.refused})
        return Written(
            version=round_.version,
            through=through,
            stored=writer.stored - emptied,
            left=left + writer.refused,
            empty=empty,
            why=dict(why),
            complete=complete,
        )

    def _current(self) -> bool:
        project = read_project(self._parts.store, self._parts.project_uid)
        version = self._parts.models.version(self._round.controls)
        return project is not None and project.push and version == self._round.version


def round_of(parts: Parts, jobs: Jobs, heartbeat: Heartbeat, claim: Claim) -> Round:
    """What is to be written now. Raises SettingsError, LabelConfigError, ModelError, LabelStudioError, StoreError."""
    state = parts.target.state()
    state.require(parts.project_uid)
    controls = parse_label_config(state.counters.label_config)
    version = heartbeat.patiently(parts.models.choose, controls)
    before = heartbeat.patiently(jobs.read).prelabelled
    # The task up to which the last run left nothing to do: a few new tasks do not wait for a look at all.
    renewing = before is not None and before.outdated(version, claim.under)
    complete = before is not None and before.model_version == version and not before.left and not renewing
    after = before.through if before and complete else 0
    return Round(
        label_config=state.counters.label_config, controls=controls, version=version, after=after, renewing=renewing
    )


def _stays_unanswered(prediction: object) -> bool:
    """Whether this version has no prediction for any task, so that one that is there must not stay."""
    return isinstance(prediction, Unanswered) and prediction.reason in OF_ALL_TASKS


def _ahead(pages: Iterator[Page]) -> Iterator[Page]:
    """The pages, each asked for while the one before is worked on."""
    pool = ThreadPoolExecutor(1, "pages")
    try:
        following = pool.submit(next, pages, None)
        while (page := following.result()) is not None:
            following = pool.submit(next, pages, None)
            yield page
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
