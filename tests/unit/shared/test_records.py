"""Records between versions: those of 26 November 2026 are read for ever, and what a newer version added is not lost.

The files under `tests/records` were written by real runs and are never written again: a new state gets a file more.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from functions.train_trigger.decide import Policy, decide_before_asking
from jobs.train.checkpoints.store import Index
from jobs.train.control_dataset import Decided
from jobs.train.data.snapshot import Header, SnapshotTask, download
from shared.errors import StoreRefusal
from shared.evolve import evolve
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state import claims, jobs_fields, keys, launches
from shared.state.effort import CountedEffort
from shared.state.jobs import Jobs
from shared.state.jobs_record import JobsRecord
from shared.state.notes import Notes
from shared.state.projects import Project, read_project, write_project
from shared.state.records import Record, load, update
from shared.state.registry import Registry
from shared.state.runs import Baseline, Progress, RunRequest, Totals, TrainRequest
from shared.state.versions import Manifest, Pointer, Rejection
from tests.fakes.stores import LosesAnswers

UID = "1.1767225600"
PLACE = Path(__file__).parents[2] / "records"
KINDS: dict[str, type[Record]] = {
    kind.__name__: kind
    for kind in (
        CountedEffort,
        Decided,
        Index,
        JobsRecord,
        Manifest,
        Notes,
        Pointer,
        Progress,
        Project,
        Rejection,
        RunRequest,
        TrainRequest,
    )
}
ADDED = {"of_a_newer_version": {"deep": [1, None, "text"]}}


def written() -> Iterator[Any]:
    """Name, kind and bytes of every record there is."""
    for path in sorted(PLACE.glob("*.json")):
        yield pytest.param(KINDS[path.name.split(".")[0]], path.read_bytes(), id=path.stem)
    for number, line in enumerate((PLACE / "SnapshotTask.jsonl").read_bytes().splitlines()):
        yield pytest.param(SnapshotTask if number else Header, line, id=f"line {number} of dataset.json")


def parts(record: Record) -> Iterator[Record]:
    """The record and those in it."""
    yield record
    for name in type(record).model_fields:
        value = getattr(record, name)
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else (value,)
        for one in inner:
            if isinstance(one, Record):
                yield from parts(one)


def newer(record: Any) -> Any:
    """What a newer version would write: something more in each record. Answers JSON values."""
    told = json.loads(record.model_dump_json())

    def add(record: Any, told: Any) -> None:
        if isinstance(record, Record):
            for name in type(record).model_fields:
                add(getattr(record, name), told[name])
            told.update(ADDED)
        elif isinstance(record, tuple):
            for one, its in zip(record, told, strict=True):
                add(one, its)
        elif isinstance(record, dict):
            for name, one in record.items():
                add(one, told[name])

    add(record, told)
    return told


def holds(found: Any, told: Any) -> bool:
    """Whether JSON values are the same but for names that came later."""
    if isinstance(told, dict):
        return all(name in found and holds(found[name], one) for name, one in told.items())
    if isinstance(told, list):
        return len(found) == len(told) and all(map(holds, found, told))
    return bool(found == told)


@pytest.mark.parametrize(("kind", "data"), list(written()))
def test_what_was_written_once_is_read_for_ever(kind: type[Record], data: bytes) -> None:
    """And no field of it is unknown: whoever renames one forgets what stores hold under its old name."""
    record = kind.model_validate_json(data)
    assert [part.model_extra for part in parts(record)] == [{}] * len(list(parts(record)))
    assert holds(json.loads(record.to_json()), json.loads(data))


@pytest.mark.parametrize(("kind", "data"), list(written()))
def test_fields_of_a_newer_version_are_ignored_and_kept(kind: type[Record], data: bytes) -> None:
    known = kind.model_validate_json(data)
    record = kind.model_validate_json(json.dumps(newer(known)))
    assert all(getattr(record, name) is not None for name in kind.model_fields if getattr(known, name) is not None)
    assert json.loads(record.to_json()) == newer(known)


def test_the_dataset_of_an_older_attempt_is_gone_on_with(file_store: ObjectStore, tmp_path: Path) -> None:
    three_of_twelve = (PLACE / "SnapshotTask.jsonl").read_bytes().replace(b'"tasks":12', b'"tasks":3')
    file_store.put("dataset.json", three_of_twelve)
    snapshot = download(file_store, "dataset.json", tmp_path / "dataset.json")
    assert snapshot is not None
    assert [(task.id, bool(task.unusable)) for task in snapshot.tasks()] == [(1, False), (4, False), (5, True)]


def stored(store: ObjectStore, key: str) -> Any:
    found = store.get(key)
    assert found is not None
    return json.loads(found.data)


def test_a_run_passes_through_older_and_newer_programs(file_store: ObjectStore) -> None:
    """Every verb on a `jobs.json` of a newer version: what stands beside what it changes stays."""
    key = f"projects/{UID}/jobs.json"
    told = newer(JobsRecord.model_validate_json((PLACE / "JobsRecord.promoted.json").read_bytes()))
    other = newer(JobsRecord.model_validate_json((PLACE / "JobsRecord.queued.json").read_bytes()))
    file_store.put(key, json.dumps(told | {"prelabel": other["training"]}).encode())
    jobs = Jobs(file_store, UID)

    def kept(*records: str) -> None:
        found = stored(file_store, key)
        assert found["of_a_newer_version"] == ADDED["of_a_newer_version"]
        assert found["prelabel"] == other["training"]
        for name in records:
            assert found[name]["of_a_newer_version"] == ADDED["of_a_newer_version"], name

    claim = jobs.update(claims.take, "run", lifetime=60, forced=True).held
    kept("baseline", "last_run")
    found = stored(file_store, key)
    found["training"] |= ADDED  # a newer program had its hands on it meanwhile
    file_store.put(key, json.dumps(found).encode())
    claim = jobs.read().training or claim
    jobs.update(launches.refuse, claim, "no")
    claim = jobs.update(launches.retry_launch, jobs.read().training or claim, lifetime=60).held
    jobs.update(launches.record_job, claim, "job")
    claim = jobs.update(claims.start, claim.run_id, nonce="n", lifetime=60).held
    claim = jobs.update(claims.renew, claim, lifetime=60, longest_run=600).held
    jobs.update(jobs_fields.lower_val_border, 0.1)
    jobs.update(claims.interrupt, claim, "stopped")
    claim = jobs.update(launches.next_attempt, jobs.read().training or claim, lifetime=60, error="stopped").held
    kept("training", "baseline", "last_run")
    claim = jobs.update(claims.start, claim.run_id, nonce="m", lifetime=60).held
    jobs.update(claims.release, claim, outcome="promoted", baseline=Baseline(totals=Totals(), read_at=file_store.now()))
    kept()
    assert stored(file_store, key)["last_run"].keys() == json.loads(jobs.read().last_run.to_json()).keys()  # type: ignore[union-attr]
    jobs.update(jobs_fields.close)
    kept()


def test_a_setup_by_an_older_function_keeps_what_a_newer_one_knows_of_the_project(file_store: ObjectStore) -> None:
    key = f"projects/{UID}/project.json"
    told = newer(Project.model_validate_json((PLACE / "Project.json").read_bytes()))
    file_store.put(key, json.dumps(told).encode())
    write_project(file_store, UID, label_config=told["label_config"], title="Rocks", overrides={"epochs": 9})
    assert stored(file_store, key) == told | {"title": "Rocks", "overrides": {"epochs": 9}}
    before = file_store.get(key)
    write_project(file_store, UID, label_config=told["label_config"])
    assert file_store.get(key) == before, "nothing changed, so nothing was written"
    assert (read_project(file_store, UID) or Project(label_config="")).title == "Rocks"


def test_a_record_is_changed_by_what_it_can_hold_alone() -> None:
    claim = JobsRecord.model_validate_json((PLACE / "JobsRecord.queued.json").read_bytes()).held
    wrong: dict[str, Any] = {"attempt": 0}
    with pytest.raises(ValidationError, match="attempt"):
        evolve(claim, **wrong)
    misspelt: dict[str, Any] = {"atempt": 2}
    with pytest.raises(TypeError, match="Claim has no field atempt"):
        evolve(claim, **misspelt)
    assert evolve(claim, attempt=2).attempt == 2


def test_a_write_that_waited_out_an_outage_longer_than_the_patience_is_found(file_store: ObjectStore) -> None:
    """The job's store waits: the time is over, though nobody else wrote."""
    store = LosesAnswers(file_store, "refused")
    stored = update(JobsRecord, store, "key", lambda _: JobsRecord(serial="ours"), patience=0)
    assert stored is not None
    assert stored.serial == "ours"


def test_words_of_a_newer_version_are_read_where_they_only_tell(file_store: ObjectStore) -> None:
    jobs, registry = Jobs(file_store, UID), Registry(file_store, UID)
    told = json.loads((PLACE / "JobsRecord.promoted.json").read_bytes())
    told["last_run"]["outcome"] = "postponed"
    file_store.put(f"projects/{UID}/jobs.json", json.dumps(told).encode())
    policy = Policy.of(Settings())
    assert decide_before_asking(jobs.read(), policy, file_store.now(), forced=True) is None
    told = json.loads((PLACE / "Progress.finished.json").read_bytes()) | {"phase": "distill"}
    file_store.put(keys.run(UID, "run", "progress.json"), json.dumps(told).encode())
    progress = jobs.runs.progress("run")
    assert progress is not None
    assert progress.phase == "distill"
    told = json.loads((PLACE / "Pointer.promote.json").read_bytes()) | {"reason": "experiment"}
    file_store.put(f"projects/{UID}/models/label/pointer.json", json.dumps(told).encode())
    assert (registry.pointer("label") or 0).version == 1  # type: ignore[union-attr]


def test_a_body_that_is_no_record_is_refused_with_what_to_do(file_store: ObjectStore) -> None:
    file_store.put("a", b'{"version": "secret"}')
    with pytest.raises(StoreRefusal, match=r"a in file.* is no Pointer .*serial.*upgrade") as failure:
        load(Pointer, file_store, "a")
    assert "secret" not in str(failure.value)


@pytest.mark.parametrize(
    "kind",
    [JobsRecord, Manifest, Pointer, Rejection, CountedEffort, Progress, RunRequest],
    ids=lambda kind: kind.__name__,
)
def test_a_time_without_its_zone_is_refused(kind: type[Record], file_store: ObjectStore) -> None:
    """Somebody wrote it by hand: it could be compared with no other one."""
    refused = 0
    for path in sorted(PLACE.glob(f"{kind.__name__}*.json")):
        naive = re.sub(rb"(\d\d:\d\d:\d\d(?:\.\d+)?)(?:Z|[+-]\d\d:\d\d)\"", rb'\1"', path.read_bytes())
        if naive == path.read_bytes():
            continue
        file_store.put("a", naive)
        with pytest.raises(StoreRefusal, match="timezone"):
            load(kind, file_store, "a")
        refused += 1
    assert refused
