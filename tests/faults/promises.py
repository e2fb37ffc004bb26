"""What holds after every fault, looked at behind the backs of the programs: each check answers what is broken."""

import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from functions.train_trigger.launchers.local.line import TURN
from shared.errors import LabelloopError
from shared.state import keys
from tests.faults.world import World

Check = Callable[[World], list[str]]


def runs_ended(world: World) -> list[str]:
    """Nobody holds a claim, and no annotation was lost: the baseline is what Label Studio holds now."""
    record = world.jobs.read()
    if claim := record.training:
        return [f"{claim.run_id} has not ended: attempt {claim.attempt} is {claim.state}, {claim.error or 'no error'}"]
    if record.closed:
        return ["the project is closed, and nobody deleted it"]
    found, held = record.baseline.digest if record.baseline else None, world.project.digest()
    if found != held:
        return [
            f"annotations were lost to training: no run read what Label Studio holds now; last: {record.last_run!r}"
        ]
    return []


def pointers_verify(world: World) -> list[str]:
    """Every pointer names a version whose files are what its manifest says."""
    broken = []
    for control in world.registry.controls():
        pointer = world.registry.pointer(control)
        if pointer is None:
            continue
        try:
            manifest = world.registry.manifest(control, pointer.version)
            with tempfile.TemporaryDirectory() as folder:
                for entry in manifest.files:
                    world.registry.download_file(control, entry, Path(folder) / "file")
        except LabelloopError as error:
            broken.append(f"the pointer of {control} names v{pointer.version}: {error}")
        if rejected := world.registry.rejected(control):
            broken.append(f"versions {rejected} of {control} were rejected, and no file of theirs is bad")
    return broken


def nothing_doubled(world: World) -> list[str]:
    """One version of a run; one prediction of a version for each task."""
    doubled = []
    for control in world.registry.controls():
        runs = Counter(manifest.run_id for manifest in world.registry.versions(control))
        doubled += [f"run {run} made {count} versions of {control}" for run, count in runs.items() if count > 1]
        fences = [manifest.fence for manifest in world.registry.versions(control)]
        if fences != sorted(set(fences)):
            doubled.append(f"the fences of {control}'s versions do not grow: {fences}")
    held = Counter(world.project.predictions())
    return doubled + [
        f"Label Studio holds {count} predictions of {version} for task {task}"
        for (task, version), count in sorted(held.items())
        if count > 1
    ]


def no_process_left(world: World) -> list[str]:
    """Only the programs run, nothing of a training and nothing of a program that was killed."""
    groups = world.supervisor.groups()
    return [f"left: {process}" for process in world.supervisor.processes() if process.group not in groups]


def no_file_left(world: World) -> list[str]:
    """Nothing of a run's scratch, of a broken download or upload, of its checkpoints."""
    work, cache = Path(world.settings.work_dir), Path(world.settings.cache_dir)
    left = [path for path in work.glob("*/*") if path.parent.name not in ("logs", "weights")]
    left = [path for path in left if not path.name.startswith(TURN)]  # locks, as many as may train at once
    left += [path for path in cache.rglob("*") if ".part" in path.name or path.name.startswith(".unverified")]
    left += world.disk.folder.joinpath("tmp").iterdir()
    runs = keys.runs(world.jobs.uid) + "/"
    held = [key for key in world.real_store.list(runs) if "/checkpoints/" in key]
    uploads = world.s3.client().list_multipart_uploads(Bucket=world.s3.bucket).get("Uploads", ())
    return [f"left: {one}" for one in (*left, *held, *(upload["Key"] for upload in uploads))]


def all_predicted(world: World) -> list[str]:
    """Every task has its prediction of the version that is served now, once; asks twice, as people do."""
    for _ in range(2):
        world.project.retrieve_predictions()
    version = world.project.model_version()
    held = Counter(task for task, found in world.project.predictions() if found == version)
    return [
        f"task {task} has {held[task]} predictions of {version}, which is served now"
        for task in world.project.tasks
        if held[task] != 1
    ]


PROMISES: dict[str, Check] = {
    "every run ended, no annotation lost to training": runs_ended,
    "no process left": no_process_left,
    "no file left": no_file_left,
    "every pointer verified": pointers_verify,
    "nothing doubled": nothing_doubled,
    "every task predicted, once": all_predicted,
}
"""In the order in which they are looked at."""
