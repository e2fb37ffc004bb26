"""An export that asks for what changed only is, byte by byte, the one that asks for everything."""

import json
import random
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from jobs.train.data.earlier import Earlier, find_earlier
from jobs.train.data.export import LabelStudioExporter
from jobs.train.data.snapshot import Snapshot
from jobs.train.data.snapshot_writer import write_snapshot
from shared.labelstudio.api import ProjectState
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.requests import ProjectCounters
from shared.objectstore import ObjectStore
from shared.state import keys
from tests.fakes.train_parts import CONFIG, CREATED, UID, PagedProject, annotation, rectangle, served
from tests.servers.web_server import WebServer


class Living(PagedProject):
    """A project in which people work, with the fields of tasks as Label Studio keeps them."""

    def __init__(self, seed: int) -> None:
        super().__init__(count=0)
        self.choose = random.Random(seed)
        self.clock = 0
        for _ in range(12):
            self.somebody_adds_a_task()

    def one_thing_happens(self) -> None:
        acts = [act for name, act in vars(Living).items() if name.startswith("somebody_")]
        self.choose.choice(acts)(self)

    def somebody_adds_a_task(self) -> None:
        self.clock += 1
        self.tasks[self.clock] = {"id": self.clock, "data": {"image": f"s3://b/{self.clock}.jpg"}, "annotations": []}
        self._annotate(self.tasks[self.clock])

    def somebody_deletes_a_task(self) -> None:
        del self.tasks[self._task()["id"]]

    def somebody_annotates(self) -> None:
        self._annotate(self._task())

    def somebody_changes_an_annotation(self) -> None:
        task, one = self._annotated()
        self.clock += 1
        one |= {"result": self._regions(), "updated_at": self._moment()}
        self._counted(task)

    def somebody_deletes_an_annotation(self) -> None:
        task, one = self._annotated()
        task["annotations"].remove(one)
        self._counted(task)

    def somebody_deletes_an_annotation_and_makes_another(self) -> None:
        task, one = self._annotated()
        task["annotations"].remove(one)
        self._annotate(task)

    def somebody_skips_what_was_annotated(self) -> None:
        task, one = self._annotated()
        self.clock += 1
        one |= {"was_cancelled": True, "updated_at": self._moment()}
        self._counted(task)

    def somebody_removes_duplicates(self) -> None:
        """Annotations of one task are another one's then; none of the dates moves."""
        task, _ = self._annotated()
        first = self._task()
        if first is not task:
            first["annotations"] += self.tasks.pop(task["id"])["annotations"]
            self._counted(first, moved=False)

    def somebody_changes_the_data_of_a_task(self) -> None:
        """By an action of the data manager, which leaves `updated_at` alone."""
        self.clock += 1
        self._task()["data"] = {"image": f"s3://b/{self.clock}-new.jpg"}

    def somebody_restores_a_backup(self) -> None:
        task, one = self._annotated()
        one |= {"result": [], "updated_at": CREATED.isoformat()}
        task["updated_at"] = CREATED.isoformat()

    def _annotate(self, task: dict[str, Any]) -> None:
        self.clock += 1
        task["annotations"].append(annotation(self.clock, self._regions(), updated_at=self._moment()))
        self._counted(task)

    def _regions(self) -> list[dict[str, Any]]:
        return [rectangle(x=self.choose.uniform(0, 50)) for _ in range(self.choose.randrange(3))]

    def _counted(self, task: dict[str, Any], *, moved: bool = True) -> None:
        self.clock += 1
        skipped = sum(one["was_cancelled"] for one in task["annotations"])
        task |= {"total_annotations": len(task["annotations"]) - skipped, "cancelled_annotations": skipped}
        task |= {"updated_at": self._moment()} if moved else {}

    def _moment(self) -> str:
        return f"2026-02-01T00:00:00.{self.clock:06d}Z"

    def _task(self) -> dict[str, Any]:
        return self.choose.choice(list(self.tasks.values()))

    def _annotated(self) -> tuple[dict[str, Any], dict[str, Any]]:
        task = self.choose.choice([task for task in self.tasks.values() if task["annotations"]])
        return task, self.choose.choice(task["annotations"])

    def _page(self, query: dict[str, list[str]]) -> list[dict[str, Any]] | None:
        after = json.loads(query["query"][0])["filters"]["items"][0]["value"]
        listed = [task for number, task in sorted(self.tasks.items()) if number > after and task["total_annotations"]]
        return listed[: int(query["page_size"][0])]


def snapshot_of(url: str, path: Path, earlier: Earlier) -> Snapshot:
    with closing(LabelStudioExporter(url, "0" * 40, page_size=5)) as exporter:
        return write_snapshot(
            exporter.tasks(1, earlier.is_same),
            ProjectState(ProjectCounters(id=1, created_at=CREATED, label_config=CONFIG), CREATED),
            parse_label_config(CONFIG),
            path,
            val_fraction=0.2,
            check=lambda: None,
            earlier=earlier.take,
        )


def annotations_asked(web: WebServer) -> list[str]:
    """Tasks whose annotations were asked for since the last call."""
    asked = [seen.path.split("/")[3] for seen in web.seen if seen.path.endswith("/annotations/")]
    web.seen.clear()
    return asked


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_in_between_both_ways_read_the_same(seed: int, tmp_path: Path) -> None:
    living = Living(seed)
    with served(living) as web:
        last = snapshot_of(web.url, tmp_path / "last.json", Earlier())
        for _ in range(6):
            for _ in range(living.choose.randrange(4)):
                living.one_thing_happens()
            whole = snapshot_of(web.url, tmp_path / "whole.json", Earlier())
            every = annotations_asked(web)
            changes = snapshot_of(web.url, tmp_path / "changes.json", Earlier(last.tasks()))
            some = annotations_asked(web)
            assert changes.path.read_bytes() == whole.path.read_bytes()
            assert len(some) <= len(every)
            last = Snapshot(changes.path.rename(tmp_path / "last.json"), changes.header)


def test_only_what_changed_is_asked_for(tmp_path: Path) -> None:
    living = Living(0)
    with served(living) as web:
        last = snapshot_of(web.url, tmp_path / "last.json", Earlier())
        assert len(annotations_asked(web)) == 12
        snapshot_of(web.url, tmp_path / "again.json", Earlier(last.tasks()))
        assert annotations_asked(web) == []
        living.somebody_adds_a_task()
        living.somebody_changes_the_data_of_a_task()
        made = snapshot_of(web.url, tmp_path / "later.json", Earlier(last.tasks()))
        assert annotations_asked(web) == [str(max(living.tasks))]
    assert [task.data["$image"] for task in made.tasks()] == [task["data"]["image"] for task in living.tasks.values()]


@pytest.mark.parametrize("why", ["another labeling config", "another labelloop", "no run is kept", None])
def test_an_earlier_snapshot_is_used_if_it_was_made_alike(
    file_store: ObjectStore, tmp_path: Path, why: str | None
) -> None:
    with served(Living(0)) as web:
        made = snapshot_of(web.url, tmp_path / "made.json", Earlier())
    if why == "another labelloop":
        header, *lines = made.path.read_text().splitlines(keepends=True)
        made.path.write_text("".join([header.replace(made.header.made_by, "0.0.1"), *lines]))
    if why != "no run is kept":
        for run_id in ("20260101-000000-b", "20260102-000000-a"):
            file_store.upload(keys.run(UID, run_id, "dataset.json"), made.path)
    config = CONFIG.replace("Rock", "Stone") if why == "another labeling config" else CONFIG
    earlier = find_earlier(file_store, UID, config, tmp_path / "earlier.json")
    [first, *_] = made.tasks()
    assert earlier.is_same(first.id, first.seen) == (why is None)
    assert why is not None or earlier.take(first.id) == first


def test_a_label_studio_that_does_not_say_when_tasks_changed_is_asked_for_everything(tmp_path: Path) -> None:
    tasks = {
        number: {"id": number, "data": {"image": "a"}, "annotations": [annotation(number)]} for number in (1, 2, 3)
    }
    with served(PagedProject(3, tasks=tasks)) as web:
        last = snapshot_of(web.url, tmp_path / "last.json", Earlier())
        annotations_asked(web)
        snapshot_of(web.url, tmp_path / "again.json", Earlier(last.tasks()))
        assert len(annotations_asked(web)) == 3
