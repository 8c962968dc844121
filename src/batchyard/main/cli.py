"""The command `batchyard`: imports the command that is asked for, and turns what goes wrong into a sentence and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from batchyard import __version__
from batchyard.main.client import Trouble

COMMANDS = {
    "up": "up",
    "serve": "serve",
    "down": "serve",
    "env": "serve",
    "submit": "submit",
    "jobs": "jobs",
    "job": "job",
    "logs": "logs",
    "exec": "exec",
    "explain": "explain",
    "cancel": "stop",
    "terminate": "stop",
    "queues": "capacity",
    "compute": "capacity",
    "reclaim": "capacity",
    "stack": "stack",
    "doctor": "doctor",
    "simulate": "simulate",
    "node": "node",
    "scratch": "scratch",
    "entrypoint": "entrypoint",
    "image": "image",
}
_FUNCTIONS = {"exec": "execute"}  # where the command's name is taken
EPILOG = """\b
Where commands talk to, the first that is there:
  --data DIR                     the service of that folder
  AWS_ENDPOINT_URL and keys      as `batchyard env` sets them
  $BATCHYARD_DATA, ./.batchyard  the nearest service
  the usual AWS configuration    real AWS Batch (at once with --aws)

\b
Exit codes: 0 done, 1 failed or refused, 2 wrong usage or beyond what AWS
answers, 3 no service answers, 4 no valid credentials, 130 interrupted.
"""


class Commands(click.Group):
    """The commands, each imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = getattr(import_module(f"batchyard.main.commands.{module}"), _FUNCTIONS.get(cmd_name, cmd_name))
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = _nearest(args[0], list(COMMANDS))
            raise click.UsageError(f"{error.message} Did you mean {near!r}?", ctx) if near else error from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Trouble as trouble:
            _show(trouble)
            ctx.exit(trouble.exit_code)
        except KeyboardInterrupt:
            click.echo("", err=True)
            ctx.exit(130)


def _show(trouble: Trouble) -> None:
    """One sentence on stderr, and below it what to do."""
    click.echo(click.style("Error: ", fg="red") + trouble.message, err=True)
    if trouble.fix:
        click.echo("  " + trouble.fix.replace("\n", "\n  "), err=True)


def _nearest(word: str, words: Sequence[str]) -> str | None:
    from difflib import get_close_matches

    return next(iter(get_close_matches(word, words, n=1)), None)


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, "--version", prog_name="batchyard", message="%(prog)s %(version)s")
@click.pass_context
def batchyard(ctx: click.Context) -> None:
    """An open AWS Batch that anyone can run: the same API, a real scheduler, real jobs."""
    if os.environ.get("NO_COLOR"):
        ctx.color = False


def main() -> None:
    """Run the command that the process was called with."""
    batchyard(args=sys.argv[1:], prog_name="batchyard")
