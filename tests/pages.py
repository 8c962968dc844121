"""Our Markdown pages as tests read them: their links, what they name, and their commands, run as a reader would run them."""

from __future__ import annotations

import re
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
NOT_RUN = "<!-- not run"
SHELLS = {"bash": "{}", "python": "python - <<'END OF THE BLOCK'\n{}END OF THE BLOCK\n"}
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
COMMAND_LIMIT_S = 600


class Block(NamedTuple):
    """A fenced block. `runs` is False for one that a comment `<!-- not run ... -->` in the line above excludes."""

    language: str
    text: str
    line: int
    runs: bool


class Step(NamedTuple):
    """Commands of a page and, where a `text` block follows at once, the output that the page promises."""

    block: Block
    promised: str | None


class Said(NamedTuple):
    """What one step printed, on stdout and stderr."""

    step: Step
    output: str


def pages() -> list[Path]:
    """Every page for readers, README first."""
    top = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    beside = [page for folder in ("bench", "examples") for page in sorted((ROOT / folder).rglob("README.md"))]
    return [*top, *sorted((ROOT / "docs").rglob("*.md")), *beside]


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a page."""
    for found in _FENCE.finditer(text):
        above = text[: found.start()].rstrip("\n").rpartition("\n")[2]
        yield Block(found["language"], found["text"], text.count("\n", 0, found.start()) + 1, not above.startswith(NOT_RUN))


def section(text: str, heading: str) -> str:
    """The part of a page from `heading` ("## The tour") to the next heading of the same level or above."""
    level = heading.index(" ")
    start = re.search(rf"^{re.escape(heading)}$", text, re.MULTILINE)
    assert start, f"there is no heading {heading!r}"
    rest = text[start.end() :]
    outside = _FENCE.sub(lambda fence: "." * len(fence[0]), rest)  # a comment in a shell block looks like a heading
    end = re.search(rf"^#{{1,{level}}} ", outside, re.MULTILINE)
    return rest[: end.start()] if end else rest


def prose(text: str) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", text)


def steps(text: str) -> list[Step]:
    """The commands (`bash` and `python` blocks) of a page or section in their order."""
    found: list[Step] = []
    previous: Block | None = None
    for block in blocks(text):
        if block.language in SHELLS and block.runs:
            found.append(Step(block, None))
        elif block.language == "text" and previous is not None and previous.language in SHELLS and previous.runs:
            found[-1] = Step(previous, block.text)
        previous = block
    return found


def run(to_run: Sequence[Step], folder: Path, environment: Mapping[str, str]) -> list[Said]:
    """Run steps one after the other in one shell, as a reader does who copies them; the first command that fails ends it all."""
    mark = f"<<{uuid.uuid4().hex}>>"
    script = "\n".join(["exec 2>&1; set -e -o pipefail", *(f"{_typed(step.block)}\necho '{mark}'" for step in to_run)])
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_LIMIT_S
    )
    outputs = done.stdout.decode().split(f"{mark}\n")
    failed = f"line {to_run[len(outputs) - 1].block.line} of the page" if len(outputs) <= len(to_run) else "the end"
    assert done.returncode == 0, f"exit code {done.returncode} at {failed}:\n{outputs[-1]}"
    return [Said(step, output) for step, output in zip(to_run, outputs, strict=False)]


def _typed(block: Block) -> str:
    return SHELLS[block.language].format(block.text)


def check(said: Said) -> None:
    """The output is what the page promises; there `...` stands for anything in a line, and alone in a line for any lines."""
    if said.step.promised is None:
        return
    patterns = map(_pattern, said.step.promised.rstrip("\n").split("\n"))
    said_lines = "\n".join(line.rstrip() for line in said.output.strip("\n").split("\n")) + "\n"
    promised = f"line {said.step.block.line} promises:\n{said.step.promised}\n"
    assert re.fullmatch("".join(patterns), said_lines), f"{promised}but it says:\n{said_lines}"


def _pattern(line: str) -> str:
    if line.strip() == "...":
        return r"(?:[^\n]*\n)*?"
    return r"[^\n]*".join(map(re.escape, line.rstrip().split("..."))) + r"\n"
