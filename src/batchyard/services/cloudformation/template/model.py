"""A template as it was read, and the error that names the line of what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from batchyard.model.fault import Fault

Path = tuple[str | int, ...]  # from the root: ("Resources", "Queue", "Properties", "Priority")


class TemplateFault(Fault):
    """A template that is refused: `ValidationError`, with AWS's words where they are known and the line where there is one.

    AWS's own words of texts that are not well-formed hold the line already; to others it is added.
    """

    def __init__(self, message: str, line: int = 0) -> None:
        self.line = line
        super().__init__("ValidationError", message if not line or f"(line {line}" in message else f"{message} (line {line})")


@dataclass(frozen=True, slots=True)
class Template:
    """What was read. Functions stand in their long form ({"Fn::Sub": ...}, {"Ref": ...}), dates and long digits as strings.

    `lines` has the line (from 1) of every key and element by its path.
    """

    content: Mapping[str, Any]
    text: str
    lines: Mapping[Path, int] = field(default_factory=dict)

    def section(self, name: str) -> Mapping[str, Any]:
        """A section, {} where it is not there or is none."""
        found = self.content.get(name)
        return found if isinstance(found, Mapping) else {}

    def line(self, path: Path) -> int:
        """The line of what is at `path`, or of the nearest that is above it; 0 when unknown."""
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[:-1]
        return 0
