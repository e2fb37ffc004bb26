"""Options that several subcommands have, and what these ask: the store and Label Studio of the settings."""

from pathlib import Path
from typing import Annotated

import typer

from functions.train_trigger.status.counting import Count, counting
from shared.labelstudio.api import LabelStudio
from shared.objectstore import ObjectStore, open_store
from shared.settings import Settings

_TIMEOUT = 30.0  # seconds: to add a backend Label Studio itself calls it four times
_LOOK = 3.0  # seconds that a command which needs the store alone waits for Label Studio

ProjectOption = Annotated[
    str | None,
    typer.Option(
        "--project", "-p", metavar="N", help="Id (the N in Label Studio's address /projects/N) or uid of a project."
    ),
]
ControlOption = Annotated[
    str | None,
    typer.Option("--control", "-c", metavar="NAME", help="Name of a control tag; needed only where there are several."),
]
VersionArgument = Annotated[int, typer.Argument(min=1, metavar="VERSION", help="Number of the version.")]
FolderOption = Annotated[
    Path, typer.Option("--to", metavar="DIR", help="Folder to write to: empty, or made if it is not there.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def store_of(settings: Settings) -> ObjectStore:
    return open_store(settings.store, s3_endpoint=settings.s3_endpoint)


def count_of(settings: Settings) -> Count | None:
    """Asks Label Studio what is annotated now; None without its address and token."""
    if settings.label_studio_url is None or settings.label_studio_api_key is None:
        return None
    return counting(LabelStudio(*settings.label_studio(), timeout=_LOOK), patience=_LOOK)


def label_studio_of(settings: Settings) -> LabelStudio:
    return LabelStudio(*settings.label_studio(), timeout=_TIMEOUT)
