"""Version numbers are unique, and the fence of the pointer only grows, also with concurrent writers."""

from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors import ClaimLost, ModelError, NotFound, PreconditionFailed, StoreError, StoreRefusal
from shared.objectstore import ObjectStore
from shared.state import keys
from shared.state.projects import projects, projects_of
from shared.state.registry import Registry
from shared.state.rollback import version_before
from shared.state.versions import WEIGHTS
from tests.fakes.stores import BeforeWrite, LosesAnswers, Unreachable
from tests.samples.versions import LOST, PASSED, UID, publish, served


@pytest.fixture
def registry(file_store: ObjectStore) -> Registry:
    return Registry(file_store, UID)


@pytest.fixture
def five(registry: Registry) -> Registry:
    """Versions 1 to 5, all good but v3, which lost against its champion; v5 is promoted under fence 5000."""
    for number in range(1, 6):
        publish(registry, f"run-{number}", gate=LOST if number == 3 else PASSED)
    registry.promote("label", 5, fence=5000, run_id="run-5", expected=None)
    return registry


def test_an_empty_project_serves_nothing(registry: Registry) -> None:
    assert registry.controls() == []
    assert registry.pointer("label") is None
    assert registry.serving("label") is None
    assert registry.versions("label") == []
    assert registry.published_by("label", "run") is None
    assert registry.fence() == 0


def test_a_run_publishes_once(registry: Registry) -> None:
    assert publish(registry, "run-a") == 1
    assert publish(registry, "run-a") == 1
    assert publish(registry, "run-b") == 2
    assert publish(registry, "run-a") == 1
    found = registry.published_by("label", "run-a")
    assert found is not None
    assert found.version == 1


def test_two_attempts_of_a_run_that_publish_at_once_make_one_version(file_store: ObjectStore) -> None:
    other = Registry(file_store, UID)
    slow = Registry(BeforeWrite(file_store, lambda: publish(other, "run")), UID)
    assert publish(slow, "run") == 1
    assert len(other.versions("label")) == 1


def test_a_publish_whose_answer_was_lost_makes_one_version(file_store: ObjectStore) -> None:
    assert publish(Registry(LosesAnswers(file_store, "refused"), UID), "run") == 1
    assert len(Registry(file_store, UID).versions("label")) == 1


def test_promote_moves_the_pointer_from_the_version_it_expects(five: Registry) -> None:
    pointer = five.pointer("label")
    assert pointer is not None
    assert (pointer.version, pointer.fence, pointer.run_id, pointer.reason) == (5, 5000, "run-5", "promote")
    publish(five, "run-6")
    with pytest.raises(PreconditionFailed):
        five.promote("label", 6, fence=6000, run_id="run-6", expected=4)
    with pytest.raises(PreconditionFailed):
        five.promote("label", 6, fence=6000, run_id="run-6", expected=None)
    assert five.promote("label", 6, fence=6000, run_id="run-6", expected=5).moved
    assert (served(five), five.fence()) == (6, 6000)


def test_promote_twice_changes_nothing(five: Registry) -> None:
    before = five.pointer("label")
    again = five.promote("label", 5, fence=5001, run_id="run-5", expected=None)
    assert (again.moved, again.pointer) == (False, before)


def test_a_pointer_never_names_what_is_not_there(five: Registry) -> None:
    with pytest.raises(NotFound):
        five.promote("label", 6, fence=6000, run_id="run-6", expected=5)
    assert served(five) == 5


def test_a_zombie_changes_nothing(five: Registry) -> None:
    assert publish(five, "run-zombie") == 6
    with pytest.raises(ClaimLost, match="fence 5000"):
        five.promote("label", 6, fence=4999, run_id="run-zombie", expected=5)
    assert served(five) == 5


def test_a_rollback_beats_the_run_that_is_active(five: Registry) -> None:
    publish(five, "run-6")  # claimed under 6000, before the rollback took 7000
    assert five.promote("label", 4, fence=7000, run_id="rollback-7000", expected=5, reason="rollback").moved
    with pytest.raises(ClaimLost):
        five.promote("label", 6, fence=6000, run_id="run-6", expected=4)
    with pytest.raises(ClaimLost):  # nor its second attempt
        five.promote("label", 6, fence=6001, run_id="run-6", expected=4)
    assert served(five) == 4
    assert five.promote("label", 6, fence=8000, run_id="run-8", expected=4).moved


def test_a_second_rollback_to_the_same_version_takes_the_new_fence(five: Registry) -> None:
    five.promote("label", 4, fence=6000, run_id="person", expected=5, reason="rollback")
    assert not five.promote("label", 4, fence=6000, run_id="person", expected=4, reason="rollback").moved
    assert five.promote("label", 4, fence=7000, run_id="person", expected=4, reason="rollback").moved
    assert five.fence() == 7000


def test_a_promotion_whose_answer_was_lost_is_ours(file_store: ObjectStore) -> None:
    registry = Registry(file_store, UID)
    publish(registry, "run-1")
    first = Registry(LosesAnswers(file_store, "refused"), UID)
    assert first.promote("label", 1, fence=1000, run_id="run-1", expected=None).moved
    publish(registry, "run-2")
    second = Registry(LosesAnswers(file_store, "refused"), UID)
    assert second.promote("label", 2, fence=2000, run_id="run-2", expected=1).moved
    assert served(registry) == 2


@pytest.mark.parametrize("expected", [None, 1])
def test_a_promotion_that_came_second_decides_again(file_store: ObjectStore, expected: int | None) -> None:
    registry = Registry(file_store, UID)
    for number in (1, 2, 3):
        publish(registry, f"run-{number}")
    if expected:
        registry.promote("label", 1, fence=1000, run_id="run-1", expected=None)

    def faster() -> object:
        return registry.promote("label", 2, fence=2000, run_id="run-2", expected=expected)

    slow = Registry(BeforeWrite(file_store, faster), UID)
    with pytest.raises(PreconditionFailed):
        slow.promote("label", 3, fence=3000, run_id="run-3", expected=expected)
    assert served(registry) == 2
    assert slow.promote("label", 3, fence=3000, run_id="run-3", expected=2).moved


def test_a_rejected_version_gives_way_to_the_newest_good_one_behind_it(five: Registry) -> None:
    for rejected, expected in [(5, 4), (4, 2), (2, 1), (1, None)]:
        five.reject("label", rejected, "digest differs")
        assert served(five) == expected
    five.reject("label", 5, "again")
    assert five.rejected("label") == {1, 2, 4, 5}


def test_after_a_rollback_nothing_newer_is_served(five: Registry) -> None:
    five.promote("label", 2, fence=6000, run_id="rollback", expected=5, reason="rollback")
    five.reject("label", 2, "digest differs")
    assert served(five) == 1


def back(registry: Registry, version: int, fence: int) -> tuple[int, ...]:
    """A person moves the pointer; answers what is rolled back then."""
    before = registry.pointer("label")
    assert before is not None
    pointer = registry.promote(
        "label", version, fence=fence, run_id=f"rollback-{fence}", expected=before.version, reason="rollback"
    ).pointer
    assert [each.version for each in registry.rolled_back("label")] == list(pointer.rolled_back)
    return pointer.rolled_back


def test_what_a_person_went_back_from_is_remembered_until_a_person_serves_it_again(five: Registry) -> None:
    assert five.rolled_back("label") == []
    assert back(five, 4, 6000) == (5,)
    assert back(five, 1, 7000) == (2, 3, 4, 5)
    assert back(five, 4, 8000) == (2, 3, 5)
    publish(five, "run-6")
    five.promote("label", 6, fence=9000, run_id="run-6", expected=4)
    assert [each.version for each in five.rolled_back("label")] == [2, 3, 5]
    five.reject("label", 6, "digest differs")
    assert served(five) == 4, "v5 is good and newer, but somebody went back from it"
    pointer = five.pointer("label")
    assert pointer is not None
    five.withdraw("label", [3, 5], seen=pointer)
    assert back(five, 1, 10_000) == (2, 4, 6)


def test_bytes_that_are_not_the_manifests_never_stand_at_the_path(
    registry: Registry, file_store: ObjectStore, tmp_path: Path
) -> None:
    (tmp_path / WEIGHTS).write_bytes(b"weights")
    entry = registry.upload_file("label", WEIGHTS, tmp_path / WEIGHTS)
    [key] = file_store.list("projects/")
    file_store.put(key, b"poison")
    cache = tmp_path / "cache"
    cache.mkdir()
    with pytest.raises(ModelError, match=entry.sha256):
        registry.download_file("label", entry, cache / "copy")
    assert list(cache.iterdir()) == []
    with pytest.raises(StoreError, match="no-such-folder"):  # trouble of this machine says nothing about the version
        registry.download_file("label", entry, tmp_path / "no-such-folder" / "copy")


@pytest.mark.parametrize(
    "control", ["../../x", "..", ".", "a/b", "/", "Bäume 🌲", "%2E%2E", "a\\b", "label:1", "pointer.json"]
)
def test_any_control_name_stays_in_its_own_place(registry: Registry, file_store: ObjectStore, control: str) -> None:
    publish(registry, "run", control)
    registry.promote(control, 1, fence=1000, run_id="run", expected=None)
    publish(registry, "run", "label")
    assert registry.controls() == sorted([control, "label"])
    assert served(registry, control) == 1
    found = registry.serving(control)
    assert found is not None
    assert found.control == control
    assert registry.pointer("label") is None
    assert all(key.startswith(f"projects/{UID}/models/") and key.count("/") <= 5 for key in file_store.list(""))
    assert "." not in keys.encode(control)


def test_an_odd_uid_cannot_leave_the_store(file_store: ObjectStore) -> None:
    with pytest.raises(StoreError):
        Registry(file_store, "..").pointer("label")
    assert Registry(file_store, "../..").pointer("label") is None


def test_files_of_others_among_the_versions_are_left_alone(five: Registry, file_store: ObjectStore) -> None:
    for name in (".DS_Store", "000006.json~", "notes.txt", "6.json", "0000006.json", "٠٠٠٠٠٦.json", "old/000006.json"):
        file_store.put(f"projects/{UID}/models/label/versions/{name}", b"?")
    file_store.put(f"projects/{UID}/models/label/rejected/old/000005.json", b"?")
    assert served(five) == 5
    assert [one.version for one in five.versions("label")] == [1, 2, 3, 4, 5]
    assert publish(five, "run-6") == 6


def test_a_record_of_a_newer_labelloop_is_said(five: Registry, file_store: ObjectStore) -> None:
    file_store.put(f"projects/{UID}/models/label/pointer.json", b'{"version": 5, "secret": "hunter2"}')
    with pytest.raises(StoreRefusal, match=r"pointer\.json .* no Pointer") as failure:
        five.serving("label")
    assert "hunter2" not in str(failure.value)


def test_a_store_that_is_gone_is_an_error_and_no_absence(file_store: ObjectStore) -> None:
    registry = Registry(Unreachable(file_store), UID)
    uses: list[Callable[[], object]] = [
        lambda: registry.serving("label"),
        lambda: registry.pointer("label"),
        registry.controls,
        registry.fence,
        lambda: publish(registry, "run"),
        lambda: registry.reject("label", 1, ""),
    ]
    for use in uses:
        with pytest.raises(StoreError, match="network broke"):
            use()


def test_projects_are_listed_once_each(store: ObjectStore) -> None:
    for uid in ("1.2", "1.20", "3.4"):
        for control in ("a", "b"):
            publish(Registry(store, uid), "run", control)
    assert list(projects(store)) == ["1.2", "1.20", "3.4"]
    assert projects_of(store, 1) == ["1.2", "1.20"]
    assert projects_of(store, 2) == []


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe{}"])
def test_a_manifest_that_is_no_record_takes_nothing_from_the_others(
    five: Registry, file_store: ObjectStore, data: bytes
) -> None:
    file_store.put(keys.manifest(UID, "label", 4), data)
    five = Registry(file_store, UID)  # which has read none of them
    before = five.newest_before("label", 5)
    assert before is not None
    assert before.version == 2, "the newest good one that can be read"
    assert version_before(file_store, UID, "label") == 2
    five.reject("label", 5, "bad")
    assert served(five) == 2
    assert five.published_by("label", "run-1") is not None
    assert publish(five, "run-6") == 6
    assert [one.version for one in five.readable("label")] == [1, 2, 3, 5, 6]
    with pytest.raises(StoreRefusal, match="versions/000004"):
        five.versions("label")  # whoever removes files has to know all
