"""Counts which operations and members are exercised by tests over the wire; the figures of docs/compatibility.md come from here."""

from __future__ import annotations

import json
import os
from pathlib import Path

from wire_watch import Note

FIGURES = Path(__file__).parent.parent / "docs" / "wire-tests.json"
WRITE = "BATCHYARD_WRITE_WIRE_COUNTS"


class Counts:
    """Of each operation: the tests that call it, and the members seen in its requests and answers."""

    def __init__(self) -> None:
        self._tests: dict[str, dict[str, set[str]]] = {}
        self._members: dict[str, dict[str, dict[str, dict[str, set[str]]]]] = {}

    def add(self, note: Note) -> None:
        if not note.path:
            self._tests.setdefault(note.service, {}).setdefault(note.operation, set()).add(note.test)
            return
        seen = self._members.setdefault(note.service, {}).setdefault(note.operation, {"in": {}, "out": {}})
        seen[note.direction].setdefault(note.path, set()).add(note.test)

    def figures(self) -> dict[str, dict[str, dict[str, object]]]:
        """service -> operation -> {"tests": n, "in": {path: n}, "out": {path: n}}; n counts tests."""
        told: dict[str, dict[str, dict[str, object]]] = {}
        for service, operations in sorted(self._tests.items()):
            for operation, tests in sorted(operations.items()):
                seen = self._members.get(service, {}).get(operation, {"in": {}, "out": {}})
                paths = {way: {path: len(found) for path, found in sorted(seen[way].items())} for way in ("in", "out")}
                told.setdefault(service, {})[operation] = {"tests": len(tests), **paths}
        return told

    def lost(self) -> list[str]:
        """What the figures on record say is tested over the wire, and was not in this run."""
        if not FIGURES.exists():
            return []
        return [
            f"no test calls {service}.{operation} over the wire any more"
            for service, operations in json.loads(FIGURES.read_text()).items()
            for operation, seen in operations.items()
            if seen["tests"] > 1 and operation not in self._tests.get(service, {})  # one test alone may call it by chance
        ]

    def write_if_asked(self) -> None:
        if os.environ.get(WRITE):
            FIGURES.write_text(json.dumps(self.figures(), indent=1) + "\n")
