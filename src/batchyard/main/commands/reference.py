"""The page docs/reference/command-line.md, written from the commands themselves: `python -m batchyard.main.commands.reference`."""

from __future__ import annotations

from typing import Any

import click

from batchyard.main.cli import COMMANDS, batchyard

WIDTH = 100
_HEAD = """\
# The command line

Written from the commands' own help by `python -m batchyard.main.commands.reference > docs/reference/command-line.md`; a test
compares the two.

Answers go to stdout, remarks, progress and errors to stderr. With `--json` the answer is one JSON document, or one per line where
it goes on (`logs --follow`, `jobs --watch`). On a terminal tables are fitted to its width; in a pipe nothing is cut.

| exit code | meaning |
|---|---|
| 0 | done; with `submit --wait`: the job SUCCEEDED |
| 1 | the request was refused, a job FAILED (`submit --wait`), a check failed (`doctor`) |
| 2 | wrong usage, or asked for something that what answers here (AWS Batch) does not tell |
| 3 | no service answers, or none is known |
| 4 | credentials are missing, expired, unknown or not allowed to do this |
| 130 | interrupted with Ctrl-C; a job that was waited for goes on |
"""


def page() -> str:
    """The whole page, as Markdown."""
    width: dict[str, Any] = {"terminal_width": WIDTH, "max_content_width": WIDTH}
    top = click.Context(batchyard, info_name="batchyard", **{**batchyard.context_settings, **width})
    parts = [_HEAD, _block("batchyard", batchyard.get_help(top))]
    for name in COMMANDS:
        command = batchyard.get_command(top, name)
        if command is not None:
            parts += _blocks(command, f"batchyard {name}", click.Context(command, info_name=name, parent=top, **width), width)
    return "\n".join(parts)


def _blocks(command: click.Command, title: str, context: click.Context, width: dict[str, Any]) -> list[str]:
    """A command, and those below it where it is a group."""
    found = [_block(title, command.get_help(context))]
    for name, below in getattr(command, "commands", {}).items():
        found += _blocks(below, f"{title} {name}", click.Context(below, info_name=name, parent=context, **width), width)
    return found


def _block(title: str, text: str) -> str:
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    return f"## {title}\n\n```text\n{lines}\n```\n"


if __name__ == "__main__":
    click.echo(page(), nl=False)
