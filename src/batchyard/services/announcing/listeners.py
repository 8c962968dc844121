"""Who wants to be told: what a listener is, and what becomes of a delivery to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from batchyard.services.announcing.happening import Happening


@dataclass(frozen=True, slots=True)
class Notice:
    """One event on its way to one listener: `text` is what it gets."""

    id: str
    at_ms: int
    text: str


class TryLater(Exception):
    """The listener does not take it now; the message says why."""


class Refused(Exception):
    """The listener will never take this one: it is dropped and counted. The message says why."""


class Send(Protocol):
    """Hands notices on, in a thread. Returns how many of the first were taken; raises `TryLater` or `Refused` about the first."""

    def __call__(self, notices: Sequence[Notice], /) -> int: ...


class Take(Protocol):
    """The same from the event loop, for what does not block it."""

    def __call__(self, notices: Sequence[Notice], /) -> Awaitable[int]: ...


@dataclass(frozen=True, slots=True)
class Listener:
    """`key` names it across restarts. `text_of` gives what it is to be sent of an event, None when it does not want it.

    It has either `send` or `take`. `is_for_bus` is false of one that no event of jobs can concern.
    """

    key: str
    text_of: Callable[[Happening], str | None]
    send: Send | None = None
    take: Take | None = None
    is_for_bus: bool = True
