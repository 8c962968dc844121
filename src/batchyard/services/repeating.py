"""Steps that are repeated after a crash and act once: the changes of a step are numbered, and each leaves its answer beside it.

A server may be killed between a change and the note that it was made. The repeated step makes the same calls in the same order; a change
whose answer is there already is not made again, it answers the same. Change and answer stand in one transaction, so this holds for every
service on the shelf. Answers are sealed (some are secret) and taken away with `forget` once the step is over.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Protocol

import msgspec

from batchyard.store.shelf import NO_REGION, Drawer, Place

ANSWER = "answer"


class Sealing(Protocol):
    """What hides the answers."""

    def seal(self, text: bytes, context: str) -> bytes: ...
    def open(self, sealed: bytes, context: str) -> bytes: ...


class Step:
    """One step, by its token. A repeated step is another `Step` with the same token."""

    def __init__(self, token: str, account: str, sealer: Sealing) -> None:
        self.token = token
        self._place = _place(account)
        self._sealer = sealer
        self._count = 0

    def once(self, act: Callable[[Drawer], Any]) -> Callable[[Drawer], Any]:
        """`act`, unless it was carried out before: then its answer alone."""
        self._count += 1
        name = f"{self.token}/{self._count:04d}"

        def guarded(drawer: Drawer) -> Any:
            answers = drawer.elsewhere(self._place)
            kept = answers.get(ANSWER, name)
            if kept is not None:
                return msgspec.msgpack.decode(self._sealer.open(kept["sealed"], name))
            answer = msgspec.msgpack.encode(act(drawer))
            answers.put(ANSWER, name, {"sealed": self._sealer.seal(answer, name)})
            return msgspec.msgpack.decode(answer)  # the same kinds of values as when it is repeated

        return guarded


current_step: ContextVar[Step | None] = ContextVar("current_step", default=None)


def forget(drawer: Drawer, token: str) -> None:
    """Take the answers of a step away, in the transaction that notes its outcome."""
    answers = drawer.elsewhere(_place(drawer.place.account))
    for name, _ in answers.entries(ANSWER, prefix=f"{token}/"):
        answers.delete(ANSWER, name)


def _place(account: str) -> Place:
    return Place("repeating", account, NO_REGION)
