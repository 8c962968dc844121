"""The node's log, which is what it prints: who starts a node keeps that in a file."""

from __future__ import annotations

import contextlib


def say(sentence: str) -> None:
    """Write a line into it, at once. On a full disk it is not written: that ends neither the node nor any job."""
    with contextlib.suppress(OSError):
        print(sentence, flush=True)  # noqa: T201 - its log is its output
