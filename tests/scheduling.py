"""Which tests of `make test` run in one process, and which begin first.

The files that take minutes come first, so that at the end all processes are busy with short ones. What installs Label
Studio begins before what needs it, beside trainings that do not.
"""

from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

_DOWNLOADS = ("test_compose", "test_terraform", "test_aws", "test_kubernetes")
"""Files that one process runs one after the other: two must not make the same tool in .cache."""
_RAY = ("test_launcher_ray", "test_launchers")
"""Files that share a cluster, which takes 20 seconds to start."""
_CONNECT = ("test_connect",)
"""Files that share both functions, beside a Label Studio."""

_FIRST = (
    "downloads",
    "test_train_kills.py",
    "test_train_as_drawn.py",
    "test_train_tasks.py",
    "test_controls.py",
    "test_demo.py",
    "test_predict_function.py",
    "test_loop_browser.py",
    "test_scale_to_zero.py",
    "test_faults.py",
    "test_train_run.py",
    "test_trigger_label_studio.py",
    "connect",
    "test_images_label_studio.py",
    "test_train_label_studio.py",
    "test_label_studio_starter.py",
    "test_trigger_function.py",
    "test_predict_requests.py",
    "test_train_export.py",
    "ray",
    "test_images_formats.py",
    "test_train_yolo.py",
)
"""Groups, by what `group` answers or the name of the file; all others follow as they are collected."""


def group(nodeid: str) -> str:
    """Tests of one group run in one process: those of a file, and of all files that share what takes long."""
    path = nodeid.split("::", 1)[0]
    for name, files in (("downloads", _DOWNLOADS), ("ray", _RAY), ("connect", _CONNECT)):
        if Path(path).name.startswith(files):
            return name
    return path


def place(nodeid: str) -> int:
    """Tests with smaller numbers begin first."""
    name = Path(group(nodeid)).name
    return _FIRST.index(name) if name in _FIRST else len(_FIRST)


class Scheduling(LoadScopeScheduling):
    """Deals out whole groups, in the order in which the tests were collected."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)
