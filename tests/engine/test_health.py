"""What `/healthz` says: ready while a job submitted now would start."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from batchyard.main.serve import health_of
from batchyard.model.capacity import Scratch


@pytest.mark.parametrize(
    ("trouble", "scratch", "told"),
    [
        ("", None, ""),
        ("", Scratch(True, "", 1, 0, 0), ""),
        ("", Scratch(True, "", 0, 9, 9), ""),
        ("the node is away", Scratch(False, "a device is lost", 1, 0, 0), "the node is away"),
        ("", Scratch(False, "a device is lost", 1, 0, 0), "no job starts: a device is lost"),
    ],
)
def test_not_ready_without_a_node_or_on_sick_scratch_space(trouble: str, scratch: Scratch | None, told: str) -> None:
    provider: Any = SimpleNamespace(trouble=trouble)
    reader: Any = SimpleNamespace(scratch=scratch)
    said = health_of(provider, reader)
    assert (said["ready"], said.get("trouble", "")) == (not told, told)
