"""Chooses the pictures of a report: where challenger and champion differ most, and where the challenger is worst. Pure.

What counts is the work of correcting what is shown (`shown_choice`): missed objects drawn, imprecise ones moved, wrong
ones deleted. Of a classifier: whether the guess is right, and of pictures that are alike in that, how little it
believes in what is annotated.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.train.evidence import Classified, Evidence, Found
from jobs.train.shown_choice import saved
from shared.geometry.detections import Floats
from shared.state.versions import Shown

DIFFERENT, WORST = 6, 6
"""Pictures of each kind."""
_SLIGHT = 1e-9


@dataclass(frozen=True, slots=True)
class Compared:
    """One picture of the val set."""

    picture: str  # its file, below the folder of the val set
    task: str  # id
    objects: int  # annotated
    work: float  # that is left with the challenger, in objects drawn by hand
    before: float | None  # with the champion; None: not compared


@dataclass(frozen=True, slots=True)
class Choice:
    """The pictures that are shown, and numbers of all of them."""

    different: tuple[Compared, ...]  # of the most different one on; without a champion: from the best to the worst
    worst: tuple[Compared, ...]  # none of `different`
    better: int  # pictures with less work left than with the champion
    worse: int
    pictures: int  # in the val set


def choose(ours: Evidence, our_shown: Mapping[int, Shown], theirs: Evidence | None, their_shown: Mapping[int, Shown],
           classes: tuple[int, ...]) -> Choice:  # fmt: skip
    """`theirs`: on the same pictures in the same order; None without a champion. `classes`: those that are compared."""
    pictures, tasks = _pictures(ours)
    objects, work = _work(ours, our_shown, classes)
    doubt = _doubt(ours)
    before = None if theirs is None else _work(theirs, their_shown, classes)[1]
    compared = [
        Compared(picture, task, int(count), float(left), None if before is None else float(before[number]))
        for number, (picture, task, count, left) in enumerate(zip(pictures, tasks, objects, work, strict=True))
    ]
    difference = np.zeros(len(compared)) if before is None else work - before
    if theirs is None:
        order = np.lexsort((doubt, work))
        places = np.unique(np.linspace(0, max(len(order) - 1, 0), DIFFERENT).round().astype(np.int64))
        different = [compared[number] for number in order[places].tolist()] if len(order) else []
    else:
        order = np.lexsort((-np.abs(doubt - _doubt(theirs)), -np.abs(difference)))
        different = _first(
            [compared[number] for number in order.tolist() if abs(difference[number]) > _SLIGHT], DIFFERENT
        )
    taken = {each.picture for each in different}
    bad = [compared[number] for number in np.lexsort((-doubt, -work)).tolist() if work[number] > _SLIGHT]
    worst = _first([each for each in bad if each.picture not in taken], WORST)
    return Choice(
        tuple(different),
        tuple(worst),
        better=int((difference < -_SLIGHT).sum()),
        worse=int((difference > _SLIGHT).sum()),
        pictures=len(compared),
    )


def _first(some: list[Compared], count: int) -> list[Compared]:
    """The first ones, of as many tasks as possible: neighbouring frames of a video look alike. In their order."""
    tasks = set[str]()
    again = []
    for place, each in enumerate(some):
        again.append((each.task in tasks, place))
        tasks.add(each.task)
    return [some[place] for place in sorted(place for _, place in sorted(again)[:count])]


def _pictures(evidence: Evidence) -> tuple[list[str], list[str]]:
    """(files, ids of their tasks); empty if the evidence does not tell."""
    if isinstance(evidence, Found):
        known = [(each.picture, each.task) for each in evidence.outcomes if each.picture]
        return ([file for file, _ in known], [task for _, task in known]) if known else ([], [])
    if isinstance(evidence, Classified):
        return list(evidence.pictures), [_task_of(file) for file in evidence.pictures]
    return [], []


def _work(
    evidence: Evidence, shown: Mapping[int, Shown], classes: tuple[int, ...]
) -> tuple[Floats | NDArray[np.int64], Floats]:
    """(pictures,) annotated objects, and the work that is left."""
    if isinstance(evidence, Found):
        outcomes = [each for each in evidence.outcomes if each.picture]
        rows = saved(outcomes, {class_: each for class_, each in shown.items() if class_ in classes})
        there = np.array([np.isin(each.truth, classes).sum() for each in outcomes], dtype=np.float64)
        return there, there - rows[:, 1] if len(outcomes) else there
    if isinstance(evidence, Classified) and evidence.pictures:
        guessed = evidence.guessed
        right = evidence.truth[np.arange(len(guessed)), guessed] & (guessed >= 0)
        return evidence.truth.sum(axis=1), (~right).astype(np.float64)
    return np.zeros(0), np.zeros(0)


def _doubt(evidence: Evidence) -> Floats:
    """(pictures,) how little a classifier believes in what is annotated, 0–1; zeros where that is not known."""
    if isinstance(evidence, Classified) and evidence.chances is not None and len(evidence.pictures):
        doubt: Floats = 1 - np.where(evidence.truth, evidence.chances, 0.0).max(axis=1)
        return doubt
    return np.zeros(len(_pictures(evidence)[0]))


def _task_of(file: str) -> str:
    """As `val_set.task_of`: `12` of `class000001/12-3.png`."""
    return file.rpartition("/")[2].partition(".")[0].partition("-")[0]
