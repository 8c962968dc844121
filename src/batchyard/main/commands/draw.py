"""How commands show things: rich on a terminal, plain lines into a pipe, one JSON document for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

STYLES = {
    "SUBMITTED": "dim",
    "PENDING": "dim",
    "RUNNABLE": "yellow",
    "STARTING": "cyan",
    "RUNNING": "bold cyan",
    "SUCCEEDED": "green",
    "FAILED": "bold red",
    "ENABLED": "green",
    "DISABLED": "yellow",
    "VALID": "green",
    "INVALID": "bold red",
    "ok": "green",
    "warn": "yellow",
    "fail": "bold red",
    "running": "green",
    "pending": "cyan",
    "shutting-down": "yellow",
}
STATUSES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")
FINAL = frozenset({"SUCCEEDED", "FAILED"})


def emit(document: Any, *, on_a_line: bool = False) -> None:
    """One JSON document on stdout: indented, or on a line of its own where more will follow."""
    click.echo(json.dumps(document, indent=None if on_a_line else 2, ensure_ascii=False))


def say(text: str) -> None:
    """A remark for people, on stderr: stdout holds the answer alone."""
    click.echo(text, err=True)


def is_terminal(*, err: bool = False) -> bool:
    return (sys.stderr if err else sys.stdout).isatty()


def console(*, err: bool = False) -> Console:
    """A rich console; imported here, because it costs more than most commands take."""
    from rich.console import Console

    return Console(stderr=err, highlight=False)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, keep: Sequence[str] = ()) -> None:
    """A table on stdout. On a terminal `keep` names the columns that are never cut; in a pipe nothing is, and columns stand apart
    by two spaces."""
    held = [list(row) for row in rows]
    if is_terminal():
        _rich_table(columns, held, keep)
        return
    widths = [max(len(line[i]) for line in [list(columns), *held]) for i in range(len(columns))]
    for line in [list(columns), *held]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _rich_table(columns: Sequence[str], rows: list[list[str]], keep: Sequence[str]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        drawn.add_column(column, no_wrap=column in keep, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    console().print(drawn)


def pairs(rows: Iterable[tuple[str, str]]) -> None:
    """Names and values in two columns; those without a value are left out."""
    held = [(name, value) for name, value in rows if value]
    width = max((len(name) for name, _ in held), default=0)
    for name, value in held:
        value = value.replace("\n", "\n" + " " * (width + 2))
        shown = click.style(value, **_click_style(value)) if is_terminal() else value
        click.echo(f"{name.ljust(width)}  {shown}")


def heading(text: str) -> None:
    click.echo("")
    click.echo(click.style(text, bold=True) if is_terminal() else text)


def _click_style(value: str) -> dict[str, Any]:
    style = STYLES.get(value, "")
    colour = style.removeprefix("bold ")
    return {"fg": None if colour in ("", "dim") else colour, "bold": style.startswith("bold"), "dim": style == "dim"}


Branch = tuple[str, Sequence["Branch"]]


def tree(root: Branch) -> None:
    """A tree on stdout: each branch is a text and its own branches."""
    click.echo(root[0])
    _branches(root[1], "")


def _branches(branches: Sequence[Branch], indent: str) -> None:
    for i, (text, below) in enumerate(branches):
        last = i == len(branches) - 1
        first, *rest = text.split("\n")
        click.echo(f"{indent}{'└── ' if last else '├── '}{first}")
        for line in rest:
            click.echo(f"{indent}{'    ' if last else '│   '}{line}")
        _branches(below, indent + ("    " if last else "│   "))
