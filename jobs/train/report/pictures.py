"""The pictures of a report: which are shown, and what both models find in them."""

from jobs.train.new_version import NewVersion
from jobs.train.report import scenes
from jobs.train.report.choosing import Choice, Compared, choose
from jobs.train.report.scenes import Copy, Panel, Scene
from jobs.train.training import Seen
from shared.labelstudio.controls import Control
from shared.yolo_task import OBJECTS

_VIDEOS = 3  # whose tracks are drawn


class Pictures:
    """The pictures of one new version, whose name is given when they are drawn: it is not known before."""

    def __init__(self, version: NewVersion) -> None:
        """Empty until `look` and `look_at_videos` are called."""
        self._version = version
        self._choice = Choice((), (), 0, 0, 0)
        self._looked = dict[str, tuple[Copy, Seen, Seen | None]]()  # by picture
        self._videos = dict[str, Copy]()  # by task

    def look(self) -> None:
        """Choose the pictures, and ask both models about them again: all that they found was not kept.

        Raises ClaimLost, StoreError.
        """
        version, ours, theirs = self._version, self._version.judged.ours, self._version.judged.theirs
        choice = choose(
            ours.evidence,
            ours.shown,
            theirs.evidence if theirs else None,
            theirs.shown if theirs else {},
            version.compared,
        )
        self._choice = choice
        files = [each.picture for each in (*choice.different, *choice.worst)]
        if not files:
            return
        attempt, data = version.attempt, version.dataset.data
        found = [attempt.trainer.look(side.contender, data, files) for side in (ours, theirs) if side]
        for file, (seen, *other) in zip(files, zip(*found, strict=True), strict=True):
            copy = scenes.small_copy(seen.picture, attempt.images.max_pixels)
            self._looked[file] = copy, seen, other[0] if other else None

    def look_at_videos(self) -> None:
        """The videos whose tracks differ most, each over one of its frames."""
        followed = self._version.judged.ours.followed
        if followed is None:
            return
        frames = sorted((self._version.dataset.data.parent / "images" / "val").glob("*"))
        theirs = self._version.judged.theirs
        before = theirs.followed.videos if theirs and theirs.followed else {}

        def gain(task: str) -> float:
            score = followed.videos[task].scores()["IDF1"]
            return -abs(score - before[task].scores()["IDF1"]) if task in before else score

        for task in sorted(followed.videos, key=gain)[:_VIDEOS]:
            of_task = [frame for frame in frames if frame.stem.split("-", 1)[0] == task]
            if of_task and followed.videos[task].trajectories:
                copy = scenes.small_copy(of_task[len(of_task) // 2], self._version.attempt.images.max_pixels)
                self._videos[task] = copy

    def scenes(self, me: str) -> tuple[list[Scene], list[Scene]]:
        """(those in which the models differ most, the worst). `me`: how the version is called."""
        different, worst = (
            [self._scene(each, me) for each in some if each.picture in self._looked]
            for some in (self._choice.different, self._choice.worst)
        )
        return different, worst

    def trajectories(self, me: str) -> list[Scene]:
        """The tracks of the videos that were looked at."""
        return [self._trajectories(task, copy, me) for task, copy in self._videos.items()]

    def _scene(self, compared: Compared, me: str) -> Scene:
        version, names = self._version, self._version.names
        copy, seen, other = self._looked[compared.picture]
        theirs = version.judged.theirs
        title = _title(compared, version.control, me, theirs.name if theirs else "")
        if seen.outcome is None:
            said = [scenes.guess_panel(other, names, theirs.name)] if other and theirs else []
            panels = [scenes.chosen_panel(seen, names), *said, scenes.guess_panel(seen, names, me)]
            return Scene(title, copy, tuple(panels), drawn=False)
        objects = OBJECTS[version.control.yolo_task]
        shown = {class_: each for class_, each in version.judged.ours.shown.items() if class_ in version.compared}
        panels = [scenes.label_panel(seen, copy, names, objects)]
        if other and theirs:
            before = {class_: each for class_, each in theirs.shown.items() if class_ in version.compared}
            panels.append(scenes.found_panel(other, copy, names, theirs.name, before))
        panels.append(scenes.found_panel(seen, copy, names, me, shown))
        return Scene(title, copy, tuple(panels), drawn=True)

    def _trajectories(self, task: str, copy: Copy, me: str) -> Scene:
        judged = self._version.judged
        panels = list[Panel]()
        for side, name in ((judged.theirs, ""), (judged.ours, me)):
            counts = side.followed.videos.get(task) if side and side.followed else None
            if counts is None or counts.trajectories is None or side is None:
                continue
            annotated, tracked = counts.trajectories
            if not panels:
                panels.append(scenes.trajectories_panel(annotated, copy, "labels", f"{len(annotated.steps)} objects"))
            says = f"IDF1 {counts.scores()['IDF1']:.2f}, {len(tracked.steps)} tracks, {counts.switches} switches"
            panels.append(scenes.trajectories_panel(tracked, copy, name or side.name, says))
        return Scene(f"task {task}", copy, tuple(panels), drawn=True)

    def said(self, me: str) -> str:
        """How many pictures there are, and what became better or worse."""
        choice, theirs = self._choice, self._version.judged.theirs
        if not choice.pictures:
            return "There are no pictures of this val set."
        val = f"{choice.pictures} {'image' if choice.pictures == 1 else 'images'} of the val set"
        if theirs is None:
            return f"There was nothing to compare {me} with. Of the {val}, from the best to the worst:"
        equal = choice.pictures - choice.better - choice.worse
        said = (
            f"Of the {val}, {me} does better on {choice.better} than {theirs.name}, worse on {choice.worse}, and "
            f"{'the same' if equal else 'equally well'} on {equal}."
        )
        return f"{said} Those where both differ most, for better or worse:" if choice.different else said


def _title(compared: Compared, control: Control, me: str, other: str) -> str:
    part = compared.picture.rpartition("/")[2].partition(".")[0].partition("-")[2]  # of `12-3.jpg`: a frame or a crop
    what = "frame" if control.media == "video" else "region"
    task = f"task {compared.task}{f', {what} {part}' if part else ''}"
    if control.yolo_task == "classify":
        return task
    left = f"{compared.work:.1f} left to correct"
    if compared.before is None:
        return f"{task}: {left}"
    if abs(compared.before - compared.work) < 0.05:
        return f"{task}: {left}, as with {other}"
    which = f"{me} is better" if compared.work < compared.before else f"{me} is worse"
    return f"{task}, {which}: {left}, {compared.before:.1f} with {other}"
