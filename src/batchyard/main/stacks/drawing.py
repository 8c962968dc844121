"""A stack's operation as it goes on: a live tree of resources on a terminal, a line for each event where there is none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from batchyard.main.commands.draw import console, is_terminal, say
from batchyard.main.commands.times import brief, span
from batchyard.main.stacks.watching import Event, Node, Tree, is_over, is_own

if TYPE_CHECKING:
    from rich.tree import Tree as RichTree

Show = Callable[[Iterable[Event]], None]
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


@contextmanager
def progress(tree: Tree, *, is_quiet: bool = False) -> Iterator[Show]:
    """What shows events: on a terminal by a tree that stays when it is over, else by lines; all on stderr. `is_quiet` shows nothing."""
    if is_quiet:
        yield lambda events: [tree.take(event) for event in events].clear()
    elif is_terminal(err=True):
        from rich.live import Live

        def take(events: Iterable[Event]) -> None:
            for event in events:
                tree.take(event)

        with Live(console=console(err=True), refresh_per_second=10, get_renderable=lambda: drawn(tree), vertical_overflow="visible"):
            yield take
    else:
        yield Lines(tree).show


class Lines:
    """Events as plain lines: how long after the first one, what became of what, and why. That a resource has begun is left out."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.began: Any = None

    def show(self, events: Iterable[Event]) -> None:
        for event in events:
            self.began = self.began or event["Timestamp"]
            since_ms = (event["Timestamp"] - self.began).total_seconds() * 1000
            place = self.tree.take(event)
            if is_over(event["ResourceStatus"]) or is_own(event):
                say(f"{brief(since_ms):>7}  {line(event, place)}")


def line(event: Event, place: str) -> str:
    """An event in a line: status, type, where, reason."""
    words = f"{event['ResourceStatus']:<20}  {event.get('ResourceType', ''):<34}  {place or event['StackName']}"
    reason = str(event.get("ResourceStatusReason") or "")
    return f"{words}  {reason}" if reason else words


def drawn(tree: Tree) -> RichTree:
    """The tree for a terminal: the stack, its resources in the order in which they came up, nested ones as branches."""
    from rich.tree import Tree as RichTree

    now = time.time()
    top = RichTree(_label(tree.root, now), guide_style="bright_black")
    _grow(top, tree.root, now)
    return top


def _grow(branch: RichTree, node: Node, now: float) -> None:
    for each in sorted(node.below.values(), key=lambda one: (not one.begun_at, one.begun_at)):
        _grow(branch.add(_label(each, now)), each, now)


def _label(node: Node, now: float) -> Any:
    from rich.text import Text

    text = Text(no_wrap=True, overflow="ellipsis")
    sign, style = _sign(node.status, now)
    text.append(f"{sign} ", style)
    text.append(node.logical_id, "bold" if not node.above and node.below else "")
    if node.above is not None or not node.below:
        text.append(f"  {node.type}", "bright_black")
    if node.status:
        text.append(f"  {node.status}", style)
    if node.begun_at:
        took_ms = ((node.ended_at or now) - node.begun_at) * 1000
        text.append(f"  {span(took_ms)}", "bright_black")
    if node.status.endswith("FAILED") and node.reason:
        text.append(f"\n  {node.reason}", "red")
    return text


def _sign(status: str, now: float) -> tuple[str, str]:
    if not status:
        return "·", "bright_black"
    if not is_over(status):
        return _FRAMES[int(now * 10) % len(_FRAMES)], "yellow" if "ROLLBACK" in status or "DELETE" in status else "cyan"
    if status.endswith("FAILED") or "ROLLBACK" in status:
        return "✗", "bold red"
    return ("-", "bright_black") if status.startswith("DELETE") else ("✓", "green")


def styled(status: str) -> str:
    """A status of a stack for a line of text: in its colour on a terminal."""
    bad = status.endswith("FAILED") or "ROLLBACK" in status
    return click.style(status, fg="red" if bad else "green" if is_over(status) else "yellow", bold=True)
