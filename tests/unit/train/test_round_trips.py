"""How often the store is asked, and what side by side: a bucket answers after 40 ms, Label Studio waits 3 s."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from functions.train_trigger.status.project import read_status, read_statuses
from infra.cli.projects import find_control
from infra.cli.versions import list_versions
from jobs.train.ending import DONE
from shared.labelstudio.config import parse_label_config
from shared.objectstore import ObjectStore, open_store
from shared.settings import Settings
from shared.state.projects import write_project
from shared.state.registry import Registry
from shared.state.rollback import move_pointer
from shared.state.versions import Pointer
from shared.web.backend import Backend
from tests.fakes.backend_parts import ask, settings, setup_body
from tests.fakes.predict_parts import UID, label_config, publish
from tests.fakes.stores import CountsTrips
from tests.fakes.train_parts import UID as JOB_UID
from tests.fakes.train_world import World
from tests.samples.versions import LOST, manifest

NAMES = [f"c{number}" for number in range(20)]
CONFIG = label_config(*NAMES)


@pytest.fixture
def counted(file_store: ObjectStore) -> CountsTrips:
    return CountsTrips(file_store)


def write_versions(
    folder: Path, control: str, count: int, content: Callable[[int], bytes] = lambda _: b"{}", uid: str = UID
) -> None:
    """Manifests as files, faster than the store writes them."""
    place = folder / "store" / "projects" / uid / "models" / control / "versions"
    place.mkdir(parents=True)
    for number in range(1, count + 1):
        (place / f"{number:06d}.json").write_bytes(content(number))


def write_promoted(folder: Path, control: str, count: int) -> None:
    """So many versions, and the pointer at the newest."""
    write_versions(folder, control, count, lambda number: manifest(number, f"run-{number}", control).to_json())
    pointer = Pointer(
        serial="s", version=count, fence=1000, run_id=f"run-{count}", reason="promote", moved_at=datetime.now(UTC)
    )
    path = folder / "store" / "projects" / UID / "models" / control / "pointer.json"
    path.write_bytes(pointer.to_json())


def backend_of(store: CountsTrips) -> Backend:
    return Backend(settings(LABELLOOP_POINTER_MAX_AGE=0), store)


def test_a_setup_asks_for_the_project_and_all_controls_side_by_side(
    counted: CountsTrips, file_store: ObjectStore, tmp_path: Path
) -> None:
    for name in NAMES:
        write_promoted(tmp_path, name, 1)
    write_project(file_store, UID, label_config=CONFIG)
    counted.meet(21, "/pointer.json", "/project.json")
    expected = "+".join(f"{name}:v1" for name in NAMES)
    assert ask(backend_of(counted), "POST", "/setup", setup_body(CONFIG)) == (200, {"model_version": expected})
    assert counted.count() == 1 + 3 * 20  # pointer, rejected versions, manifest: three trips, whatever the controls


def test_the_next_setups_read_no_manifest_again(counted: CountsTrips, file_store: ObjectStore, tmp_path: Path) -> None:
    for name in NAMES:
        write_promoted(tmp_path, name, 1)
    backend = backend_of(counted)
    for _ in range(3):
        ask(backend, "POST", "/setup", setup_body(CONFIG))
    read = [key for verb, key in counted.trips if verb == "get" and "/versions/" in key]
    assert (len(read), {counted.trips["get", key] for key in read}) == (20, {1})


def test_a_pointer_that_moved_is_seen_at_the_next_setup(
    counted: CountsTrips, file_store: ObjectStore, tmp_path: Path
) -> None:
    (tmp_path / "weights.pt").write_text("weights")
    backend = backend_of(counted)
    for version in (1, 2):
        publish(file_store, tmp_path / "weights.pt")
        assert ask(backend, "POST", "/setup", setup_body())[1] == {"model_version": f"label:v{version}"}
    move_pointer(file_store, UID, "label", 1)
    assert ask(backend, "POST", "/setup", setup_body())[1] == {"model_version": "label:v1"}


def test_a_project_that_was_forgotten_and_begins_again_is_served_with_its_own_version(
    file_store: ObjectStore, tmp_path: Path
) -> None:
    """Numbers begin anew then, and a manifest that was read before is another one's."""
    (tmp_path / "weights.pt").write_text("weights")
    publish(file_store, tmp_path / "weights.pt", labels=("Tree",))
    backend = Backend(settings(LABELLOOP_POINTER_MAX_AGE=0), file_store)
    (control,) = parse_label_config(label_config())
    assert backend.pointers.serving(UID, control).labels == ("Tree",)  # type: ignore[union-attr]
    for key in list(file_store.list(f"projects/{UID}/")):
        file_store.delete(key)
    registry = Registry(file_store, UID)
    registry.publish("label", lambda number: manifest(number, "run-of-later"))
    registry.promote("label", 1, fence=1000, run_id="run-of-later", expected=None)
    assert backend.pointers.serving(UID, control).run_id == "run-of-later"  # type: ignore[union-attr]


def test_hundreds_of_versions_are_answered_by_their_numbers_alone(
    counted: CountsTrips, file_store: ObjectStore, tmp_path: Path
) -> None:
    write_versions(tmp_path, "one", 300)
    write_versions(tmp_path, "two", 3)
    Registry(file_store, UID).reject("two", 2, "digest differs")
    counted.meet(4, "/versions/", "/rejected/")
    status, body = ask(backend_of(counted), "GET", "/versions")
    assert (status, len(body["versions"])) == (200, 302)
    assert body["versions"][:2] == ["one:v300", "one:v299"]
    assert body["versions"][300:] == ["two:v3", "two:v1"], "what failed verification cannot be served"
    assert counted.count() == 6  # the only project, its controls, and two lists of each
    assert counted.count("get") == 0


@pytest.mark.parametrize("count", [3, 30])
def test_status_makes_as_many_trips_however_many_versions_there_are(tmp_path: Path, count: int) -> None:
    store = CountsTrips(open_store((tmp_path / "store").as_uri()))
    controls = ("label", "poly", "third")
    for name in controls:
        write_promoted(tmp_path, name, count)
    write_project(store.inside, UID, label_config=label_config(*controls))
    store.meet(3, "/pointer.json")
    status = read_status(store, UID, Settings())
    assert [(one.name, one.versions, one.serving) for one in status.controls] == [
        (name, count, count) for name in controls
    ]
    assert (store.count("get"), store.count()) == (2 + 2 * 3, 3 + 4 * 3)


def test_the_status_of_many_projects_is_read_side_by_side(counted: CountsTrips, file_store: ObjectStore) -> None:
    uids = [f"{number}.5" for number in range(10)]
    for uid in uids:
        write_project(file_store, uid, label_config=label_config())
    counted.meet(10, "/jobs.json")
    assert [status.uid for status in read_statuses(counted, uids, Settings())] == uids


def test_a_run_makes_as_many_trips_however_many_versions_there_are(tmp_path: Path) -> None:
    trips = {}
    for count in (9, 40):
        store = CountsTrips(open_store((tmp_path / str(count) / "store").as_uri()))
        write_versions(
            tmp_path / str(count), "label", count, lambda number: manifest(number, f"run-{number}").to_json(), JOB_UID
        )
        world = World(store, tmp_path / str(count))
        assert world.new_run() == DONE
        assert world.served() == count + 1
        before = store.count("get")
        assert world.new_run() == DONE, "the one before removed what is not kept, and read of all whether it is"
        assert world.served() == count + 2
        trips[count] = store.count("get") - before
    assert trips[9] == trips[40] <= 40


def test_all_versions_are_read_side_by_side(tmp_path: Path) -> None:
    store = CountsTrips(open_store((tmp_path / "store").as_uri()))
    write_versions(tmp_path, "label", 20, lambda number: manifest(number, f"run-{number}").to_json())
    store.meet(20, *(f"/versions/{number:06d}.json" for number in range(1, 21)))
    assert [one["version"] for one in list_versions(store, UID, find_control(store, UID, None))[0]] == list(
        range(1, 21)
    )


def test_a_prediction_reads_the_pointers_of_all_controls_and_the_project_side_by_side(
    counted: CountsTrips, file_store: ObjectStore, tmp_path: Path
) -> None:
    for name in NAMES:
        write_promoted(tmp_path, name, 1)
    write_project(file_store, UID, label_config=CONFIG, overrides={"confidence": 0.5})
    counted.meet(21, "/pointer.json", "/project.json")
    assert backend_of(counted).settings_for(UID, parse_label_config(CONFIG)).confidence == 0.5


def test_an_unknown_version_is_refused_by_the_numbers_alone(tmp_path: Path) -> None:
    store = CountsTrips(open_store((tmp_path / "store").as_uri()))
    write_versions(tmp_path, "label", 30)
    with pytest.raises(Exception, match=r"no version v31; there are v1, v2, .* v30"):
        move_pointer(store, UID, "label", 31)
    assert store.count("get") == 0


def test_a_fence_asks_for_all_pointers_side_by_side(
    counted: CountsTrips, file_store: ObjectStore, tmp_path: Path
) -> None:
    for name in NAMES:
        write_promoted(tmp_path, name, 1)
    counted.meet(20, "/pointer.json")
    assert Registry(counted, UID).fence() == 1000


def test_an_attempt_finds_what_its_run_published_among_the_newest_versions(tmp_path: Path) -> None:
    store = CountsTrips(open_store((tmp_path / "store").as_uri()))
    write_versions(tmp_path, "label", 40, lambda number: manifest(number, f"run-{number}").to_json())
    registry = Registry(store, UID)
    assert registry.published_by("label", "run-39").version == 39  # type: ignore[union-attr]
    assert registry.published_by("label", "run-new") is None
    assert store.count("get") == 8
    assert registry.publish("label", lambda number: manifest(number, "run-new")).version == 41
    assert store.count("get") == 8, "manifests never change"


def test_the_newest_good_version_is_looked_for_side_by_side(tmp_path: Path) -> None:
    store = CountsTrips(open_store((tmp_path / "store").as_uri()))
    write_versions(
        tmp_path,
        "label",
        30,
        lambda number: manifest(number, f"run-{number}", **({} if number in (1, 30) else {"gate": LOST})).to_json(),  # type: ignore[arg-type]
    )
    registry = Registry(store, UID)
    registry.promote("label", 30, fence=1000, run_id="run-30", expected=None)
    registry.reject("label", 30, "digest differs")
    store.meet(5, *(f"/versions/{number:06d}.json" for number in (22, 23, 24, 25, 26)))
    found = registry.serving("label")
    assert found is not None
    assert found.version == 1
    before = store.count("get")
    registry.serving("label")
    assert store.count("get") == before + 1  # the pointer
