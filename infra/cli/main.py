"""The `labelloop` command."""

import os
import sys
from pathlib import Path

import typer

from infra.cli.commands import annotations, loop, starting, upkeep, versions
from infra.cli.environment import Invocation
from infra.cli.output import escape_unknown_characters
from shared.errors import LabelloopError

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
        context.obj = Invocation(os.environ, Path.cwd())


def run() -> None:
    """Run the command; exit code 1 and one sentence for an error, 130 for Ctrl-C."""
    escape_unknown_characters()
    try:
        app()
    except LabelloopError as error:
        print(f"labelloop: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    run()
