"""The keys of all objects in the store; no other file spells one.

    projects/<uid>/project.json                                labeling config, title, overrides (CAS)
    projects/<uid>/jobs.json                                   claims, fence, baseline of the last run (CAS)
    projects/<uid>/prelabel.json                               how far the job is that writes predictions ahead
    projects/<uid>/prelabel/0003.json                          the share of one of its workers (CAS)
    projects/<uid>/effort.json                                 what predictions saved, as it was counted last
    projects/<uid>/models/<control>/pointer.json               the version to serve (CAS)
    projects/<uid>/models/<control>/versions/000012.json       manifest (create only)
    projects/<uid>/models/<control>/notes.json                 what people note on versions (CAS)
    projects/<uid>/models/<control>/dismissed.json             suspects that people found right (CAS)
    projects/<uid>/models/<control>/rejected/000012.json       a version whose file is bad, or was deleted (create only)
    projects/<uid>/models/<control>/files/<sha256>/<name>      weights.pt, weights.onnx … (create only)
    base/<name>/base.json                                      base weights (create only)
    base/<name>/files/<sha256>/<name>                          their weights.pt and weights.onnx (create only)
    runs/<uid>/<run_id>/…                                      request, dataset, progress, checkpoints, tiles
    images/<uid>/…                                             images that jobs keep, if a setting says so

CAS: changed by compare-and-swap only. Uids and names of controls are percent-encoded. A folder's name has no `/` at its
end. Runs of all projects lie below one prefix, so that a store's lifecycle rules reach them. Below `labelloop/`,
`shared.objectstore` tests a store.
"""

import re
from collections.abc import Iterable
from urllib.parse import quote, unquote

PROJECTS, RUNS, IMAGES = "projects", "runs", "images"
"""The folders in which each project has one of its own."""
BASE = "base"
"""The folder of base weights, which all projects share."""
_NUMBERED = re.compile(r".*/(?:versions|rejected)/([0-9]{6}|[1-9][0-9]{6,})\.json", re.DOTALL)


def folders_of(uid: str) -> tuple[str, ...]:
    """The folders that hold everything of a project."""
    return project_folder(uid), runs(uid), images(uid)


def project_folder(uid: str) -> str:
    """Folder of its records and models."""
    return f"{PROJECTS}/{quote(uid, safe='')}"


def project(uid: str) -> str:
    """Key of a `Project`."""
    return f"{project_folder(uid)}/project.json"


def jobs(uid: str) -> str:
    """Key of a `JobsRecord`."""
    return f"{project_folder(uid)}/jobs.json"


def prelabel(uid: str) -> str:
    """Key of a `Writing`."""
    return f"{project_folder(uid)}/prelabel.json"


def effort(uid: str) -> str:
    """Key of a `CountedEffort`."""
    return f"{project_folder(uid)}/effort.json"


def share(uid: str, number: int) -> str:
    """Key of a `Share`, which every prelabelling by several workers takes anew."""
    return f"{project_folder(uid)}/prelabel/{number:04d}.json"


def models(uid: str) -> str:
    """Folder of a project's controls."""
    return f"{project_folder(uid)}/models"


def control_folder(uid: str, control: str) -> str:
    """Folder of one control: its pointer, versions and files."""
    return f"{models(uid)}/{encode(control)}"


def pointer(uid: str, control: str) -> str:
    """Key of a `Pointer`."""
    return f"{control_folder(uid, control)}/pointer.json"


def notes(uid: str, control: str) -> str:
    """Key of a `Notes`."""
    return f"{control_folder(uid, control)}/notes.json"


def versions(uid: str, control: str) -> str:
    """Folder of manifests."""
    return f"{control_folder(uid, control)}/versions"


def manifest(uid: str, control: str, version: int) -> str:
    """Key of a `Manifest`."""
    return f"{versions(uid, control)}/{version:06d}.json"


def rejections(uid: str, control: str) -> str:
    """Folder of the records about versions with a bad file, or without any since they were deleted."""
    return f"{control_folder(uid, control)}/rejected"


def rejection(uid: str, control: str, version: int) -> str:
    """Key of a `Rejection`."""
    return f"{rejections(uid, control)}/{version:06d}.json"


def dismissals(uid: str, control: str) -> str:
    """Key of a `Dismissals`."""
    return f"{control_folder(uid, control)}/dismissed.json"


def files(uid: str, control: str) -> str:
    """Folder of the files of all versions."""
    return f"{control_folder(uid, control)}/files"


def file(uid: str, control: str, sha256: str, name: str) -> str:
    """Key of an immutable file."""
    return f"{files(uid, control)}/{sha256}/{name}"


def base_weights(name: str) -> str:
    """Key of a `BaseWeights`."""
    return f"{BASE}/{encode(name)}/base.json"


def base_files(name: str) -> str:
    """Folder of their files."""
    return f"{BASE}/{encode(name)}/files"


def base_file(name: str, sha256: str, file_name: str) -> str:
    """Key of an immutable file of base weights."""
    return f"{base_files(name)}/{sha256}/{file_name}"


def runs(uid: str) -> str:
    """Folder of a project's runs."""
    return f"{RUNS}/{quote(uid, safe='')}"


def run(uid: str, run_id: str, name: str) -> str:
    """Key of a run's file: `request.json`, `dataset.json`, `progress.json`."""
    return f"{runs(uid)}/{run_id}/{name}"


def checkpoints(uid: str, run_id: str, control: str = "") -> str:
    """Folder of a run's checkpoints, or of those of one control."""
    return run(uid, run_id, f"checkpoints/{encode(control)}").rstrip("/")


def tiles(uid: str, run_id: str, control: str) -> str:
    """Key of what a run decided about tiles for one control."""
    return run(uid, run_id, f"tiles/{encode(control)}.json")


def checkpoint_index(attempt: int) -> str:
    """Name of the file, one a control, in which an attempt names its checkpoints; written after the first one."""
    return f"{attempt:04d}.json"


def images(uid: str) -> str:
    """Folder of the images that jobs keep."""
    return f"{IMAGES}/{quote(uid, safe='')}"


def older_runs(uid: str) -> str:
    """Folder where an older labelloop wrote runs: nothing reads it any more."""
    return f"{project_folder(uid)}/runs"


def encode(name: str) -> str:
    """A control's name as one part of a key. Label Studio accepts names like `../../x`."""
    return quote(name, safe="").replace(".", "%2E")


def decode(part: str) -> str:
    """The uid or the control that a part of a key stands for."""
    return unquote(part)


def numbers(listed: Iterable[str]) -> list[int]:
    """The numbers of versions in keys of manifests or rejections, ascending. Other keys, as of copies, are left out."""
    return sorted(int(match[1]) for key in listed if (match := _NUMBERED.fullmatch(key)))
