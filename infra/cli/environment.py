"""The settings of the `labelloop` command: from the environment, and from `labelloop.env` in the current folder.

`labelloop up` writes that file, so that other commands in the same folder need no variables. It holds secrets: only its
owner can read it, and only labelloop's own processes get its variables.
"""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import set_key
from dotenv.parser import parse_stream

from shared.errors import SettingsError
from shared.settings import Settings, variable

FILE = "labelloop.env"
_HEADER = "# Made by `labelloop up`, read by every labelloop command that runs in this folder. Holds secrets.\n"
_NOT_FROM_ENVIRONMENT = ("HOST",)
"""Shells set HOST to the machine's name; only the file and `up --host` say where to listen."""
_FOR_ONE_START = ("LABELLOOP_DUMMY", "TRAIN_REQUEST")


@dataclass(frozen=True, slots=True)
class Invocation:
    """The environment of a command and the folder that it is run in."""

    environ: Mapping[str, str] = field(repr=False)
    folder: Path

    @property
    def file(self) -> Path:
        """Path of the folder's labelloop.env, which need not exist."""
        return self.folder / FILE

    def variables(self) -> dict[str, str]:
        """All variables; those of the environment win over those of the file."""
        environ = {name: value for name, value in self.environ.items() if name not in _NOT_FROM_ENVIRONMENT and value}
        return self.from_file() | environ

    def from_file(self) -> dict[str, str]:
        """The variables of the file; {} without one. Raises SettingsError if it cannot be read."""
        return {name: value for name, value in _read(self.file).items() if value}

    def settings(self) -> Settings:
        """The settings. Raises SettingsError, which names the file if one was read."""
        variables = self.variables()
        try:
            return Settings.from_environ(variables)
        except SettingsError as error:
            where = f" (from the environment and {self.file})" if self.file.exists() else ""
            raise SettingsError(f"{error}{where}") from error

    def connection_settings(self) -> Settings:
        """The settings, for commands that need Label Studio. Raises SettingsError without its address and token."""
        settings = self.settings()
        if settings.label_studio_url is None or settings.label_studio_api_key is None:
            raise SettingsError(
                "which Label Studio? Set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY (in Label Studio: Account & "
                f"Settings → Personal Access Token), or run this in the folder where `labelloop up` made {FILE}"
            )
        return settings


def trigger_url(settings: Settings) -> str:
    """The address of functions/train_trigger. Raises SettingsError if it is not set."""
    if settings.train_trigger_url is None:
        raise SettingsError(
            "where is functions/train_trigger? Set TRAIN_TRIGGER_URL, or run this in the folder where `labelloop up` "
            f"made {FILE}"
        )
    return settings.train_trigger_url


def to_keep(environ: Mapping[str, str]) -> dict[str, str]:
    """The settings of an environment that the other commands and the next start use too."""
    names = {variable(name) for name in Settings.model_fields} - {*_NOT_FROM_ENVIRONMENT, *_FOR_ONE_START}
    return {name: environ[name] for name in sorted(names) if environ.get(name)}


def keep(file: Path, values: Mapping[str, str]) -> list[str]:
    """Write variables into the file, which is made with mode 0600 if needed. Answers the names that changed.

    Raises SettingsError if it cannot be read or written.
    """
    try:
        if not file.exists():
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
                new.write(_HEADER)
        present = _read(file)
        changed = [name for name, value in values.items() if present.get(name) != value]
        if changed:
            file.chmod(0o600)  # also where a person made it
        for name in changed:
            set_key(file, name, values[name], quote_mode="auto")
    except OSError as error:
        raise SettingsError(f"{file} cannot be written ({error.strerror}): run this in a folder of your own") from error
    return changed


def _read(file: Path) -> dict[str, str | None]:
    try:
        with file.open(encoding="utf-8") as lines:
            found = list(parse_stream(lines))
    except (FileNotFoundError, IsADirectoryError):  # which `keep` names
        return {}
    except OSError as error:
        raise SettingsError(
            f"{file} cannot be read ({error.strerror}): only its owner may; run this as that user, or in another folder"
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file} is no UTF-8 text (byte {error.start}): save it as UTF-8") from error
    for one in found:
        if one.error:
            text = one.original.string
            line = one.original.line + text[: len(text) - len(text.lstrip())].count("\n")
            raise SettingsError(f"line {line} of {file} cannot be read: write NAME=value, and close open quotes")
    return {one.key: one.value for one in found if one.key is not None}


def first_values(folder: Path, predict_port: int, train_trigger_port: int) -> dict[str, str]:
    """The variables of a new file: loopback addresses, new secrets, a store beside the file."""
    return {
        "HOST": "127.0.0.1",
        "PREDICT_URL": f"http://127.0.0.1:{predict_port}",
        "TRAIN_TRIGGER_URL": f"http://127.0.0.1:{train_trigger_port}",
        "LABELLOOP_STORE": (folder / "labelloop-data" / "store").as_uri(),
        "LABELLOOP_WORK_DIR": str(folder / "labelloop-data" / "work"),
        "LABELLOOP_CACHE_DIR": str(folder / "labelloop-data" / "cache"),
        "LABELLOOP_BASIC_AUTH_PASSWORD": secrets.token_urlsafe(18),
        "LABELLOOP_WEBHOOK_SECRET": secrets.token_urlsafe(18),
    }
