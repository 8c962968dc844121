"""Prints the diagram of a job's states, drawn from the table itself, as it stands in ARCHITECTURE.md.

python scripts/draw_states.py          print it
python scripts/draw_states.py --write  put it into ARCHITECTURE.md
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from batchyard.core.lifecycle import ARRAY_MOVES, GANG_MOVES, MOVES, NODE_MOVES, Event, Move
from batchyard.model.job import Status

PAGE = Path(__file__).parent.parent / "ARCHITECTURE.md"
MARKS = ("<!-- states -->", "<!-- /states -->")


def diagram(moves: dict[tuple[Status, type[Event]], Move]) -> str:
    """A Mermaid state diagram: one arrow per state, event and result; events that change nothing are left out."""
    first = next(iter(moves))[0]
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {first}"]
    for (state, event), (_handler, targets) in moves.items():
        lines += [f"    {state} --> {target}: {event.__name__}" for target in targets if target is not state]
    lines += [f"    {state} --> [*]" for state in Status if state.is_final]
    return "\n".join([*lines, "```"])


def block() -> str:
    """What stands between the marks: jobs first, then the parents of arrays, then multi-node parallel jobs."""
    titles = {
        "A job, or a child of an array": MOVES,
        "The parent of an array": ARRAY_MOVES,
        "A multi-node parallel job, which is its own main node": GANG_MOVES,
        "Any other node of a multi-node parallel job": NODE_MOVES,
    }
    return "\n\n".join(f"{title}:\n\n{diagram(moves)}" for title, moves in titles.items()) + "\n"


def page_with_diagram(text: str) -> str:
    start, end = MARKS
    return re.sub(f"{start}.*?{end}", lambda _: f"{start}\n{block()}{end}", text, flags=re.DOTALL)


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(page_with_diagram(PAGE.read_text()))
    else:
        print(block())  # noqa: T201
