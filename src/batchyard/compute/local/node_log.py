"""The node's log, which is what it prints: who starts a node keeps that in a file."""

from __future__ import annotations


def say(sentence: str) -> None:
    """Write a line into it, at once."""
    print(sentence, flush=True)  # noqa: T201 - its log is its output
