"""Builds an image's stages without Docker, as root on Linux: a Debian by debootstrap, one overlay a stage, chroot.

What is proved: that the instructions of the Dockerfile run, and that their result runs as the user of the image on a
read-only root. What is not: Debian's Python 3.11 stands in for the base image's, and no Docker ever read the file.
"""

import json
import os
import shlex
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.infra.dockerfiles import Context, Instruction, Stage, ancestry, environ, stages

_PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DEVICES = {"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9}  # minor numbers of major 1


class ChrootImages:
    """Builds stages below `folder` (on a file system that overlays can lie on), each once."""

    def __init__(self, repository: Path, dockerfile: Path, folder: Path) -> None:
        self._repository = repository
        self._context = Context(repository).files()
        self._stages = stages(dockerfile)
        self._folder = folder
        self._built: dict[str, list[Path]] = {}  # the layers of each stage, the lowest first

    def build(self, target: str, arguments: Mapping[str, str] | None = None) -> None:
        """Run the instructions of the stage and of those that it needs. Raises CalledProcessError."""
        if target in self._built:
            return
        stage = self._stages[target]
        if stage.base in self._stages:
            self.build(stage.base, arguments)
            below = self._built[stage.base]
        else:
            below = [self._debian()]
        layer = self.layer(target)
        shutil.rmtree(layer, ignore_errors=True)
        layer.mkdir(parents=True)
        values = dict(arguments or {})
        for copy in stage.named("COPY"):
            if "from" in copy.flags:
                self.build(copy.flags["from"], arguments)
        with self._mounted([*below, layer], writable=True) as root:
            folder = _workdir(ancestry(self._stages, target)[:-1])
            for instruction in stage.instructions:
                if instruction.keyword == "WORKDIR":
                    folder = instruction.text
                    (root / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
                else:
                    self._run(instruction, target, root, folder, values)
        self._built[target] = [*below, layer]

    @contextmanager
    def process(
        self, target: str, variables: Mapping[str, str], command: Sequence[str] | None = None, *, log: Path
    ) -> Iterator[subprocess.Popen[bytes]]:
        """The stage's CMD (or `command`) as its USER, on a read-only root with an empty /tmp; ended on leaving."""
        family = ancestry(self._stages, target)
        last = {instruction.keyword: instruction.text for stage in family for instruction in stage.instructions}
        user, group = last["USER"].split(":")
        with self._mounted(self._built[target], writable=False) as root:
            subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", root / "tmp"], check=True)
            inner = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs", "--"]
            script = f"cd {last['WORKDIR']} && exec {shlex.join([*inner, *(command or json.loads(last['CMD']))])}"
            # Processes of its own: what it started ends with it, as in a container.
            outer = ["unshare", "--pid", "--fork", "--kill-child", f"--mount-proc={root / 'proc'}", "chroot", str(root)]
            with log.open("ab") as output:
                process = subprocess.Popen(
                    [*outer, "/bin/sh", "-c", script],
                    env=self._environ(target) | dict(variables),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            try:
                yield process
            finally:
                if process.poll() is None:  # its one child is the first of its processes: with it all end
                    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
                        os.kill(int(child), signal.SIGKILL)
                process.wait()
                subprocess.run(["umount", root / "tmp"], check=True)

    def layer(self, target: str) -> Path:
        """The folder of what the stage itself wrote."""
        return self._folder / target

    def bytes_of(self, target: str, folder: str) -> int:
        """Of all files below a folder of the image (relative), as its layers hold them."""
        layers = (layer / folder for layer in self._built[target])
        return sum(path.lstat().st_size for layer in layers for path in layer.rglob("*") if not path.is_dir())

    def _debian(self) -> Path:
        base = self._folder / "debian"
        if not (base / "usr/bin/python").exists():
            shutil.rmtree(base, ignore_errors=True)
            command = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", str(base)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            (base / "usr/bin/python").symlink_to("python3")
            for known in ("/etc/ssl/certs/ca-certificates.crt", "/etc/resolv.conf", "/etc/hosts"):
                shutil.copyfile(known, base / known.lstrip("/"))
        return base

    def _run(self, instruction: Instruction, target: str, root: Path, folder: str, arguments: dict[str, str]) -> None:
        if instruction.keyword == "ARG":
            name, _, default = instruction.text.partition("=")
            arguments.setdefault(name, default.strip('"'))
        elif instruction.keyword == "COPY":
            self._copy(instruction, root, folder)
        elif instruction.keyword == "RUN":
            subprocess.run(
                ["chroot", root, "/bin/sh", "-c", f"cd {folder} && {instruction.text}"],
                env=self._environ(target) | {"PIP_CERT": "/etc/ssl/certs/ca-certificates.crt"} | arguments,
                check=True,
            )

    def _copy(self, copy: Instruction, root: Path, folder: str) -> None:
        *sources, target = copy.text.split()
        place = root / os.path.normpath(os.path.join(folder, target)).lstrip("/")
        if "from" in copy.flags:
            shutil.copytree(self.layer(copy.flags["from"]) / sources[0].lstrip("/"), place, dirs_exist_ok=True)
            return
        for source in sources:
            found = [path for path in self._context if source == "." or path.is_relative_to(source)]
            assert found, f"COPY {source}: not in the build context"
            for path in found:
                inside = path if source == "." else path.relative_to(source)
                to = place / inside if inside.parts else place / path.name if target.endswith("/") else place
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(self._repository / path, to)

    def _environ(self, target: str) -> dict[str, str]:
        found = environ(self._stages, target)
        return found | {"PATH": found.get("PATH", "$PATH").replace("$PATH", _PATH)}

    @contextmanager
    def _mounted(self, layers: Sequence[Path], *, writable: bool) -> Iterator[Path]:
        """The layers as one root, with /proc, /sys and the plain devices."""
        mounted = Path(tempfile.mkdtemp(prefix="mounted-", dir=self._folder))
        root, work = mounted / "root", mounted / "work"
        root.mkdir()
        work.mkdir()
        if writable:
            lower, upper = layers[:-1], layers[-1]
            options = f"lowerdir={':'.join(map(str, reversed(lower)))},upperdir={upper},workdir={work}"
        else:
            options = f"ro,lowerdir={':'.join(map(str, reversed(layers)))}"
        with ExitStack() as mounts:
            mounts.callback(shutil.rmtree, mounted)

            def mount(*arguments: str | Path) -> None:
                subprocess.run(["mount", *arguments], check=True)
                mounts.callback(subprocess.run, ["umount", arguments[-1]], check=True)

            mount("-t", "overlay", "-o", options, "overlay", root)
            mount("-t", "proc", "proc", root / "proc")
            mount("-t", "sysfs", "-o", "ro", "sysfs", root / "sys")
            mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", root / "dev")
            for name, number in _DEVICES.items():
                os.mknod(root / "dev" / name, 0o666 | stat.S_IFCHR, os.makedev(1, number))
                (root / "dev" / name).chmod(0o666)
            (root / "dev/shm").mkdir(mode=0o777)
            (root / "dev/shm").chmod(0o1777)
            yield root


def _workdir(family: Sequence[Stage]) -> str:
    lines = [instruction.text for stage in family for instruction in stage.named("WORKDIR")]
    return lines[-1] if lines else "/"
