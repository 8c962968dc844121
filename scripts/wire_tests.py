"""What tests exercise over the wire, as the compatibility page shows it: per operation and per member of requests and answers.

The figures come from docs/wire-tests.json, which a whole run of the tests writes: `make wire-counts`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from batchyard.wire import shapes

FIGURES = Path(__file__).parent.parent / "docs" / "wire-tests.json"
SHOWN_MOST = 12


def figures() -> dict[str, dict[str, dict[str, Any]]]:
    """service -> operation -> {"tests": n, "in": {path: n}, "out": {path: n}}; empty before the first whole run."""
    found: dict[str, dict[str, dict[str, Any]]] = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    return found


def top(paths: Iterable[str]) -> set[str]:
    """The members of the first level."""
    return {path.split(".")[0].split("[")[0] for path in paths}


def row(service: str, operation: str, seen: Mapping[str, Any]) -> tuple[str, ...]:
    """The line of one operation: tests, members of its request and its answer that tests have seen, and those they have not."""
    model = shapes.load(service).model
    asked, answered = set(model.input_shape(operation).members), set(model.output_shape(operation).members)
    sent, got = top(seen.get("in", {})) & asked, top(seen.get("out", {})) & answered
    missing = sorted(f"`{name}`" for name in asked - sent)
    more = f" and {len(missing) - SHOWN_MOST} more" if len(missing) > SHOWN_MOST else ""
    deep = len(seen.get("in", {})) + len(seen.get("out", {}))
    return (
        f"`{operation}`",
        str(seen.get("tests", 0)),
        f"{len(sent)} of {len(asked)}",
        f"{len(got)} of {len(answered)}",
        str(deep),
        ", ".join(missing[:SHOWN_MOST]) + more,
    )


def summary(service: str, served: Iterable[str]) -> tuple[int, int, int]:
    """(operations of `served` with a test over the wire, members seen at any depth, wire tests counted once per operation)."""
    seen = figures().get(service, {})
    with_test = [seen[name] for name in served if name in seen]
    return len(with_test), sum(len(each["in"]) + len(each["out"]) for each in with_test), sum(each["tests"] for each in with_test)


def rows(service: str, served: Iterable[str]) -> list[tuple[str, ...]]:
    """One line per operation."""
    seen = figures().get(service, {})
    return [row(service, operation, seen.get(operation, {})) for operation in sorted(served)]
