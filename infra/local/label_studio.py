"""Installs a real Label Studio into a virtual environment of its own, and starts it with fresh data.

Label Studio's first start migrates its database, which takes up to 90 s. `install` does it once and keeps the empty
database, without user and secret key; each new data folder gets a copy.
"""

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests

from infra.local.processes import LOOPBACK, Child, Say, StartError, choose_port, only_one
from shared.web.peer import straight_session

VERSION = "1.23.2"
REPOSITORY = Path(__file__).resolve().parents[2]
VENV = REPOSITORY / ".cache" / f"label-studio-{VERSION}"
_DATABASE = "label_studio.sqlite3"
_LOCAL_FILES = "local-files"
_KEPT_TOKEN = "personal_access_token"  # noqa: S105  (a file in its folder)
_START_SECONDS = 180.0  # until it must be healthy


@dataclass(frozen=True, slots=True)
class Account:
    """The only user, an administrator. To start again with the same data folder, give the same account."""

    username: str = "annotator@example.com"  # for the login page, like the password
    password: str = field(default_factory=lambda: secrets.token_urlsafe(9), repr=False)
    token: str = field(default_factory=lambda: secrets.token_hex(20), repr=False)  # the legacy token


@dataclass(frozen=True, slots=True)
class LabelStudioServer:
    """A running Label Studio, with its account."""

    url: str  # http://127.0.0.1:PORT
    account: Account
    folder: Path  # its data: database, uploads, local files
    process: Child = field(repr=False)

    @property
    def token(self) -> str:
        """The legacy token, 40 hexadecimal digits, for `Authorization: Token …`."""
        return self.account.token

    @property
    def local_files(self) -> Path:
        """What it serves at `/data/local-files/?d=…`, to projects with a storage for the folder in it."""
        return self.folder / _LOCAL_FILES

    def session(self) -> requests.Session:
        """A session that sends the legacy token."""
        session = straight_session()
        session.headers["Authorization"] = f"Token {self.token}"
        return session

    def personal_access_token(self) -> str:
        """The personal access token (a JWT refresh token): made at the first call, then kept in `folder`.

        Label Studio answers it only once, and makes no second one. Raises StartError.
        """
        kept = self.folder / _KEPT_TOKEN
        if kept.exists():
            return kept.read_text()
        answer = self.session().post(f"{self.url}/api/token/", timeout=30)
        if not answer.ok:
            raise StartError(f"Label Studio made no personal access token: {answer.status_code} {answer.text[:300]}")
        kept.write_text(token := str(answer.json()["token"]))
        return token


def install(venv: Path = VENV, say: Say = print) -> None:
    """Make the virtual environment and the empty database beside it, if missing. Raises StartError."""
    venv.parent.mkdir(parents=True, exist_ok=True)
    with only_one(venv.with_name(f"{venv.name}.lock")):
        if _installed(venv) != VERSION:
            say(f"installing Label Studio {VERSION} into {venv} (once, about a minute)")
            _run([sys.executable, "-m", "venv", "--clear", venv], say, "cannot make a virtual environment")
            pip: list[str | Path] = [venv / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--no-input"]
            _run(
                [*pip, "install", "--no-compile", f"label-studio=={VERSION}"],
                say,
                f"cannot install Label Studio {VERSION}",
            )
        template = migrated_database(venv)
        if not template.exists():
            _migrate(venv, template, say)


@contextmanager
def label_studio(
    folder: Path,
    venv: Path = VENV,
    *,
    account: Account | None = None,
    environ: Mapping[str, str] | None = None,
    say: Say = print,
) -> Iterator[LabelStudioServer]:
    """Start Label Studio on the loopback address with its data in `folder`; end it on leaving. Raises StartError.

    `environ`: more variables. Backends and webhooks at private addresses are allowed.
    """
    install(venv, say)
    account = account or Account()
    folder = folder.resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # the database holds the token
    if not (folder / _DATABASE).exists():
        shutil.copyfile(migrated_database(venv), folder / _DATABASE)
    port = choose_port()
    variables = _environ(folder) | {
        "LABEL_STUDIO_USERNAME": account.username,
        "LABEL_STUDIO_PASSWORD": account.password,
        "LABEL_STUDIO_USER_TOKEN": account.token,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "ML_BLOCK_LOCAL_IP": "false",
        "SSRF_PROTECTION_ENABLED": "false",
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(folder / _LOCAL_FILES),
    }
    (folder / _LOCAL_FILES).mkdir(exist_ok=True)
    command = [*map(str, _program(venv)), "start", "--no-browser", "--internal-host", LOOPBACK, "--port", str(port)]
    say("starting Label Studio")
    process = Child("Label Studio", command, folder / "label-studio.log", environ=variables | dict(environ or {}))
    try:
        url = f"http://{LOOPBACK}:{port}"
        process.wait_until_healthy(f"{url}/health", _START_SECONDS, say)
        yield LabelStudioServer(url, account, folder, process)
    finally:
        process.stop()


def _environ(folder: Path) -> dict[str, str]:
    """The whole environment: Label Studio must not see the caller's LABEL_STUDIO_URL, HOST, DEBUG …"""
    return {
        "PATH": os.defpath,
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder),
        "COLLECT_ANALYTICS": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        "LATEST_VERSION_CHECK": "false",
    }


def _program(venv: Path) -> list[str | Path]:
    """Label Studio's command. Not its shebang, which is wrong if the environment was moved."""
    return [venv / "bin" / "python", venv / "bin" / "label-studio"]


def migrated_database(venv: Path) -> Path:
    """The path of the empty database that `install` makes."""
    return venv.with_name(f"{venv.name}.sqlite3")


def _migrate(venv: Path, template: Path, say: Say) -> None:
    """Make the empty database with `label-studio version`: every command migrates first, and this one does no more."""
    say("preparing Label Studio's database (once, up to 90 s)")
    folder = template.with_suffix(".new")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    _run(
        [*_program(venv), "version"],
        lambda _: None,
        "Label Studio cannot prepare its database",
        _environ(folder.resolve()),
    )
    (folder / _DATABASE).replace(template)
    shutil.rmtree(folder)


def _installed(venv: Path) -> str | None:
    """The version of Label Studio in the environment; None: none, or pip was interrupted, which installs it last."""
    found = sorted(venv.glob("lib/python3.*/site-packages/label_studio-*.dist-info"))
    return found[-1].name.removeprefix("label_studio-").removesuffix(".dist-info") if found else None


def _run(command: list[str | Path], say: Say, problem: str, environ: Mapping[str, str] | None = None) -> None:
    """Run a command, passing its output to `say`. Raises StartError with `problem` and the last lines if it fails."""
    lines = []
    with subprocess.Popen(  # noqa: S603
        [str(part) for part in command], env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip())
            say(lines[-1][:100])
    if process.returncode:
        raise StartError(
            f"{problem}: {command[0]} ended with exit code {process.returncode}\n" + "\n".join(lines[-15:])
        )
