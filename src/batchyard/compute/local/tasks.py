"""Coroutines on the node's loop: what takes several steps, each of which waits for something, written as if nothing waited.

A task runs until it awaits a `Promise` that is not kept yet, and goes on, from the loop's one thread, once it is. There are no threads and
no asyncio here: the node borrows the identity of jobs for moments (see `spawn`), which no second thread would survive.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

from batchyard.compute.local.loop import Loop, boot_s
from batchyard.compute.local.node_log import say

T = TypeVar("T")


class Cancelled(Exception):
    """Thrown into a task that is to be given up, where it waits."""


class Promise(Generic[T]):
    """A value that is there later. Whoever awaits it goes on once it is kept or broken; both happen once, what comes later is ignored."""

    def __init__(self) -> None:
        self.done = False
        self._value: T | None = None
        self._error: BaseException | None = None
        self._waiting: list[Callable[[], None]] = []

    def keep(self, value: T) -> None:
        """Here is the value."""
        if not self.done:
            self.done, self._value = True, value
            self._wake()

    def fail(self, error: BaseException) -> None:
        """It will not come, for this reason."""
        if not self.done:
            self.done, self._error = True, error
            self._wake()

    def then(self, callback: Callable[[], None]) -> None:
        """Call once it is done; at once if it is."""
        if self.done:
            callback()
        else:
            self._waiting.append(callback)

    def result(self) -> T:
        """The value, or what went wrong."""
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            callback()

    def __await__(self) -> Generator[Promise[Any], None, T]:
        if not self.done:
            yield self
        return self.result()


class Task(Promise[T]):
    """A coroutine under way; its own result is a promise too. One that fails and that nobody awaits must be looked at by its starter."""

    def __init__(self, steps: Coroutine[Any, Any, T]) -> None:
        super().__init__()
        self._steps = steps
        self._turn = 0  # rises with every step, so that a promise that was given up cannot wake us
        self._step(None)

    def cancel(self) -> None:
        """Throw Cancelled into it where it waits. Nothing happens if it is done."""
        if not self.done:
            self._step(Cancelled())

    def _step(self, thrown: BaseException | None) -> None:
        self._turn += 1
        turn = self._turn
        try:
            awaited: Promise[Any] = self._steps.throw(thrown) if thrown else self._steps.send(None)
        except StopIteration as stop:
            self.keep(stop.value)
        except Exception as error:  # noqa: BLE001 - not swallowed: it belongs to whoever asks for the result
            self.fail(error)
        else:
            awaited.then(lambda: self._step(None) if turn == self._turn else None)


def pause(loop: Loop, seconds: float) -> Promise[None]:
    """Kept after so long."""
    promise: Promise[None] = Promise()
    loop.at(boot_s() + seconds, lambda: promise.keep(None))
    return promise


def either(*promises: Promise[Any]) -> Promise[None]:
    """Kept as soon as one of them is done, well or not."""
    first: Promise[None] = Promise()
    for promise in promises:
        promise.then(lambda: first.keep(None))
    return first


def both(one: Promise[Any], other: Promise[Any]) -> Promise[None]:
    """Kept once the two are done, well or not."""
    last: Promise[None] = Promise()
    for promise in (one, other):
        promise.then(lambda: last.keep(None) if one.done and other.done else None)
    return last


def aside(steps: Coroutine[Any, Any, None]) -> None:
    """Have it done, soon, without waiting for it; a mistake of our own in it goes into the node's log."""
    task = Task(steps)

    def look() -> None:
        try:
            task.result()
        except Exception as error:  # noqa: BLE001 - not swallowed: nobody else waits for it
            say("".join(traceback.format_exception(error)))

    task.then(look)


class Turnstile:
    """Lets so many tasks at a time pass; the others wait in order."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: deque[Promise[None]] = deque()

    async def enter(self) -> None:
        """Wait for a place. Leave it in any case."""
        if self._free and not self._waiting:
            self._free -= 1
            return
        turn: Promise[None] = Promise()
        self._waiting.append(turn)
        try:
            await turn
        except Cancelled:
            if turn.done:
                self.leave()
            else:
                self._waiting.remove(turn)
            raise

    def leave(self) -> None:
        """The place is free for the next one."""
        if self._waiting:
            self._waiting.popleft().keep(None)
        else:
            self._free += 1
