"""How commands show things: in colours and fitted to a terminal, whole into a pipe, as one JSON document for machines."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
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
BELOW = "REASON"
NARROWEST = 6
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


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on stdout: on a terminal fitted to its width, in a pipe whole."""
    for line in table_lines(columns, rows, shutil.get_terminal_size().columns if is_terminal() else None):
        click.echo(line)


def table_lines(columns: Sequence[str], rows: Iterable[Sequence[str]], width: int | None) -> list[str]:
    """The lines of a table whose columns stand two spaces apart.

    With a `width`: in colours, without the columns that are empty; what does not fit goes below its row (the column BELOW), then
    the widest columns are cut, but never the first, which names the row.
    """
    held = [list(columns), *(list(row) for row in rows)]
    if width is None:
        widths = _widths(held)
        return ["  ".join(cell.ljust(size) for cell, size in zip(line, widths, strict=True)).rstrip() for line in held]
    filled = [i for i in range(len(columns)) if i == 0 or any(line[i] for line in held[1:])]
    held = [[line[i] for i in filled] for line in held]
    below = [""] * len(held)
    if _total(_widths(held)) > width and BELOW in held[0]:
        at = held[0].index(BELOW)
        below = ["", *(line[at] for line in held[1:])]
        held = [line[:at] + line[at + 1 :] for line in held]
    widths = _cut_to(_widths(held), width)
    drawn = []
    for number, (line, beneath) in enumerate(zip(held, below, strict=True)):
        cells = [_fitted(cell, size, is_head=number == 0) for cell, size in zip(line, widths, strict=True)]
        drawn.append("  ".join(cells).rstrip())
        drawn += [click.style("  " + part, dim=True) for part in textwrap.wrap(beneath, max(20, width - 2))]
    return drawn


def _widths(lines: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + 2 * (len(widths) - 1)


def _cut_to(widths: list[int], width: int) -> list[int]:
    """The widths with the widest taken down, one by one, until all fit or nothing is left to take."""
    while _total(widths) > width and len(widths) > 1:
        widest = max(range(1, len(widths)), key=widths.__getitem__)
        if widths[widest] <= NARROWEST:
            break
        widths[widest] -= 1
    return widths


def _fitted(cell: str, width: int, *, is_head: bool) -> str:
    text = cell if len(cell) <= width else cell[: width - 1] + "…"
    return click.style(text.ljust(width), **({"bold": True} if is_head else _click_style(cell)))


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
    """click's words for the style of a status; none for any other text."""
    style = STYLES.get(value, "")
    if style in ("", "dim"):
        return {"dim": True} if style else {}
    return {"fg": style.removeprefix("bold "), **({"bold": True} if style.startswith("bold") else {})}


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
