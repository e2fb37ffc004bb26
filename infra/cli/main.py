"""The `labelloop` command."""

import errno
import os
import sys
from pathlib import Path

import typer

from infra.cli.commands import annotations, loop, starting, upkeep, versions
from infra.cli.environment import Invocation
from infra.cli.output import escape_unknown_characters
from shared.errors import LabelloopError, SettingsError

app = typer.Typer(
    name="labelloop",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for each in (starting, loop, versions, annotations, upkeep):
    app.add_typer(each.commands)


@app.callback()
def labelloop(context: typer.Context) -> None:
    """YOLO models that learn from your annotators, inside Label Studio.

    Start with `labelloop up`, then `labelloop connect --project N` in another terminal, in the same
    folder. Settings come from the environment and from labelloop.env in the current folder, which `up` makes.
    """
    if context.obj is None:
        context.obj = Invocation(os.environ, _current_folder())


def _current_folder() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise SettingsError("the current folder was deleted: run this in another one") from error


def run() -> None:
    """Run the command; exit code 1 and one sentence for an error, 130 for Ctrl-C."""
    escape_unknown_characters()
    try:
        try:
            app()
        finally:
            print(end="", flush=True)  # here, where its failure can be told
    except LabelloopError as error:
        print(f"labelloop: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print(f"labelloop: nothing more can be written: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python writes what is left when it ends
        sys.exit(1)


if __name__ == "__main__":
    run()
