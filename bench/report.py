"""What the sections print: tables with medians, ratios and goals, and what the machine was like."""

from __future__ import annotations

import math
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


@dataclass(slots=True)
class Line:
    """One row: what was measured, the figure of every alternation (empty: `why_not` says why), and what Batchyard should reach."""

    name: str
    figures: list[float] = field(default_factory=list)
    unit: str = "/s"
    compared: str = ""  # e.g. "31 x moto"
    goal: str = ""
    reached: bool | None = None
    why_not: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.figures)


def compare(line: Line, peer: Line, *, at_least: float | None = None) -> None:
    """Note the ratio of `line` to `peer` (both per second), and whether it is `at_least` so much."""
    if not line.figures or not peer.figures:
        return
    ratio = line.median / peer.median
    line.compared += f"{', ' if line.compared else ''}{ratio:.1f} x {peer.name}"
    if at_least is not None:
        want(line, f">= {at_least:g} x {peer.name}", ratio >= at_least)


def want(line: Line, goal: str, reached: bool) -> None:
    """Note a goal; a line with several has reached them only together."""
    line.goal += f"{' and ' if line.goal else ''}{goal}"
    line.reached = reached if line.reached is None else line.reached and reached


class Difference(NamedTuple):
    """How much more one of two takes that were measured in turns: the median of the differences, and where it lies with 95 % certainty."""

    median: float
    low: float
    high: float


def paired(ours: Sequence[float], peer: Sequence[float]) -> Difference:
    """What `ours` is above `peer`, of which each figure was taken next to the one at the same place: what a machine does beside meets both.

    The bounds are those of the sign test: they ask nothing of how the differences are spread. With less than six there are none.
    """
    above = sorted(our - its for our, its in zip(ours, peer, strict=True))
    count = len(above)
    below = 0.0  # the chance that so few lie on one side of the true median
    cut = 0
    while (below := below + math.comb(count, cut) / 2**count) <= 0.025:
        cut += 1
    return Difference(statistics.median(above), above[cut - 1] if cut else -math.inf, above[-cut] if cut else math.inf)


def show(title: str, lines: Iterable[Line]) -> None:
    """Print a section's table."""
    rows = [_row(line) for line in lines]
    widths = [max(len(row[n]) for row in rows) for n in range(4)]
    print(f"\n{title}")
    for row in rows:
        print(
            f"  {row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:<{widths[2]}}  {row[3]:<{widths[3]}}  {row[4]}".rstrip(), flush=True
        )


def _row(line: Line) -> tuple[str, str, str, str, str]:
    if line.why_not or not line.figures:
        return line.name, "not run:", line.why_not or "no figure", "", ""
    spread = f"({_number(min(line.figures))}-{_number(max(line.figures))}, n={len(line.figures)})" if len(line.figures) > 1 else ""
    verdict = "" if line.reached is None else f"goal {line.goal}: {'reached' if line.reached else 'MISSED'}"
    return line.name, f"{_number(line.median)} {line.unit}".strip(), spread, line.compared, verdict


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def percentile(values: Sequence[float], part: float) -> float:
    """The value below or at which `part` of all lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def machine(folder: Path) -> str:
    """One line about where this ran: figures of a busy machine are not those of a quiet one."""
    load = ", ".join(f"{part:.2f}" for part in os.getloadavg())
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, CPython {platform.python_version()},"
        f" {'root' if os.geteuid() == 0 else 'not root'}, files on {_file_system(folder)}, load average {load}"
    )


def _file_system(folder: Path) -> str:
    """The kind of file system that holds `folder`: a durable write to tmpfs would be none."""
    best, kind = "", "?"
    mounts = Path("/proc/mounts")
    for line in mounts.read_text(errors="replace").rstrip("\n").split("\n") if mounts.exists() else ():
        _, place, found, *_ = line.split()
        if str(folder.resolve()).startswith(place.rstrip("/") + "/") and len(place) >= len(best):
            best, kind = place, found
    return kind
