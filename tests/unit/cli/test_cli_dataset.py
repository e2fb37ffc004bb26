"""dataset: what a version learnt from, after Label Studio holds something else."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from infra.cli.dataset import write_dataset
from infra.datasets.rebuilding import SameBytes
from jobs.train.data.annotations import ExportedTask
from jobs.train.data.fetching import Fetching
from jobs.train.data.image_cache import Folder, ImageCache
from jobs.train.ending import DONE
from shared.errors import ImageError, LabelloopError, NotKnown
from shared.evolve import evolve
from shared.media.fetch import Fetched, Version
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state.versions import DATASET
from tests.fakes.train_parts import CONFIG, UID, annotation, jpeg, rectangle, settings_for
from tests.fakes.train_world import World

CHOICES = (
    '<View><Image name="img" value="$image"/><Choices name="label" toName="img"><Choice value="../pine"/>'
    '<Choice value="oak \U0001f332"/></Choices></View>'
)


class Pictures:
    """A source of images: those that the world's tasks name, until they are changed or gone."""

    def __init__(self) -> None:
        self.changed: set[object] = set()
        self.gone: dict[object, str] = {}
        self.asked: list[object] = []

    def fetch_newer(self, value: object, *, task_id: int | None, deadline: float, known: Version | None) -> Fetched:
        self.asked.append(value)
        if value in self.gone:
            raise ImageError(self.gone[value], "it is away")
        return Fetched(jpeg(seed=int(value in self.changed)), Version(etag=f"{value in self.changed}"))


class Again:
    """A world with a first version, and the means to have its dataset again."""

    def __init__(self, store: ObjectStore, folder: Path) -> None:
        self.world = World(store, folder)
        self.pictures = Pictures()
        self.settings: Settings = settings_for("http://label-studio.test", folder)
        self.cached: tuple[Folder, ...] = ()
        self.said: list[str] = []

    def cache(self) -> ImageCache:
        return ImageCache(self.pictures, self.cached, scope="")

    def write(self, folder: Path, *, format_name: str = "yolo", version: int = 1) -> dict[str, Any]:
        written = write_dataset(
            self.world.registry,
            self.world.registry.manifest("label", version),
            Fetching(self.cache(), self.cache(), str, None),
            self.settings,
            format_name=format_name,
            folder=folder,
            tell=self.said.append,
        )
        return written.as_json() | {"sentence": written.sentence()}


@pytest.fixture
def again(file_store: ObjectStore, tmp_path: Path) -> Again:
    return Again(file_store, tmp_path)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def tasks(folder: Path) -> dict[int, dict[str, Any]]:
    lines = map(json.loads, (folder / "tasks.jsonl").read_text().splitlines())
    return {line["task"]: line for line in lines}


def test_it_is_as_it_was_when_annotations_were_changed_and_deleted(again: Again, tmp_path: Path) -> None:
    studio = again.world.studio
    studio.all[4] = ExportedTask(5, {"image": "x5"}, (annotation(5, [rectangle("Rock"), rectangle(x=0, y=0)]),))
    assert again.world.new_run() == DONE
    first = again.write(tmp_path / "first")
    assert first["images"]["train"] + first["images"]["val"] == 39
    assert (first["missing"], first["differs"]) == ({}, "")
    assert first["sentence"].startswith(f"{first['images']['train']} images to train on and ")

    studio.all[4] = ExportedTask(5, {"image": "x5"}, (annotation(5, [rectangle()]),))
    del studio.all[10:20]
    studio.config = CONFIG.replace("Rock", "Stone")
    again.world.trainer.score = 0.7
    assert again.world.new_run() == DONE
    again.write(tmp_path / "second")
    assert files(tmp_path / "first") == files(tmp_path / "second")
    data = json.loads((tmp_path / "first" / "data.yaml").read_text())
    assert data["names"] == ["Tree", "Rock"]
    assert "path" not in data  # so it can be moved
    [label] = (tmp_path / "first" / "labels").rglob("5.txt")
    assert [line.split()[0] for line in label.read_text().splitlines()] == ["1", "0"]
    assert len(files(tmp_path / "first" / "images")) == 39
    other = again.write(tmp_path / "third", version=2)
    assert other["images"]["train"] + other["images"]["val"] == 29


def test_an_image_with_other_bytes_is_named_and_left_out(again: Again, tmp_path: Path) -> None:
    again.world.studio.away[3] = "not_found"
    again.world.new_run()
    again.pictures.changed.add("x5")
    again.pictures.gone["x7"] = "not_found"
    said = again.write(tmp_path / "out")
    assert said["missing"] == {"5": "changed", "7": "not_found"}
    assert "2 of 38 tasks are missing (1 changed, 1 not_found), task 5: x5 has SHA-256" in said["sentence"]
    assert not list((tmp_path / "out" / "images").rglob("5.*"))
    listed = tasks(tmp_path / "out")
    assert [listed[number]["missing"] for number in (4, 5, 7)] == ["", "changed", "not_found"]
    assert (listed[3]["left_out"], listed[3]["image"], listed[3]["sha256"]) == ("not_found", "x3", "")
    assert "Not complete: 2 of 38 tasks are missing" in (tmp_path / "out" / "README.md").read_text()


def test_an_image_that_is_kept_is_taken_wherever_it_is_gone(again: Again, tmp_path: Path) -> None:
    again.world.new_run()
    again.cached = (Folder(tmp_path / "cache", 10**9),)
    for number in (5, 6):
        again.cache().fetch(f"x{number}", task_id=number, deadline=time.monotonic() + 5)
    again.pictures.changed.add("x5")
    again.pictures.gone["x6"] = "not_found"
    again.pictures.asked.clear()
    assert again.write(tmp_path / "out")["missing"] == {}
    assert not {"x5", "x6"} & set(again.pictures.asked)


def test_no_digest_is_no_image(again: Again) -> None:
    with pytest.raises(ImageError, match="the version learnt from another"):
        SameBytes(again.cache(), {}).fetch("x1", task_id=1, deadline=time.monotonic() + 5)


def test_most_images_gone_or_an_outage_write_nothing(again: Again, tmp_path: Path) -> None:
    again.world.new_run()
    for number in range(1, 30):
        again.pictures.gone[f"x{number}"] = "not_found"
    with pytest.raises(LabelloopError, match=r"of v1 of 'label' cannot be fetched any more: 29 of 39 images"):
        again.write(tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_coco_has_the_same_objects(again: Again, tmp_path: Path) -> None:
    again.world.new_run()
    said = again.write(tmp_path / "out", format_name="coco")
    for split in ("train", "val"):
        coco = json.loads((tmp_path / "out" / "annotations" / f"instances_{split}.json").read_text())
        assert [category["name"] for category in coco["categories"]] == ["Tree", "Rock"]
        assert len(coco["images"]) == len(coco["annotations"]) == said["images"][split]
        assert coco["annotations"][0]["bbox"] == [16, 12, 32, 24]
        assert all((tmp_path / "out" / "images" / split / image["file_name"]).is_file() for image in coco["images"])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"README.md", "annotations", "images", "tasks.jsonl"}


def test_choices_have_folders_with_harmless_names_and_no_coco(again: Again, tmp_path: Path) -> None:
    studio = again.world.studio
    studio.config = CHOICES
    for number in range(1, 40):
        chosen = "../pine" if number % 2 else "oak \U0001f332"
        region = {"from_name": "label", "to_name": "img", "type": "choices", "value": {"choices": [chosen]}}
        studio.all[number - 1] = ExportedTask(number, {"image": f"x{number}"}, (annotation(number, [region]),))
    assert again.world.new_run() == DONE
    again.write(tmp_path / "out")
    for split in ("train", "val"):
        assert sorted(path.name for path in (tmp_path / "out" / split).iterdir()) == ["000__pine", "001_oak_"]
    with pytest.raises(LabelloopError, match="use --format yolo"):
        again.write(tmp_path / "coco", format_name="coco")
    assert list((tmp_path / "coco").iterdir()) == []


def test_what_is_refused(again: Again, tmp_path: Path) -> None:
    again.world.new_run()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(LabelloopError, match=r"holds notes\.txt"):
        again.write(tmp_path / "mine")
    with pytest.raises(LabelloopError, match="--format voc is not known, there are yolo, coco"):
        again.write(tmp_path / "out", format_name="voc")

    def older(number: int) -> Any:
        manifest = again.world.registry.manifest("label", 1)
        files = tuple(one for one in manifest.files if one.name != DATASET)
        return evolve(manifest, version=number, run_id="older", files=files)

    again.world.registry.publish("label", older)
    with pytest.raises(NotKnown, match=r"v2 of 'label' holds no dataset\.jsonl\.gz"):
        again.write(tmp_path / "out", version=2)


def test_images_in_the_store_stay_while_a_version_needs_them(again: Again) -> None:
    world = again.world
    for number in range(1, 40):
        world.store.put(f"images/{UID}/x{number}", b"kept")
    world.image_key = str
    world.new_run()
    del world.studio.all[30:]
    world.trainer.score = 0.7
    world.new_run()
    assert len(list(world.store.list(f"images/{UID}/"))) == 39
