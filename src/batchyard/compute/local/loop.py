"""The node's event loop: descriptors, timers on the boot clock, ended children. One thread, no framework, quick to import."""

from __future__ import annotations

import heapq
import itertools
import os
import select
import selectors
import signal
import time
from collections.abc import Callable

READ, WRITE, URGENT = 1, 4, 2  # epoll's own numbers for EPOLLIN, EPOLLOUT and EPOLLPRI


def boot_s() -> float:
    """Seconds since the machine started, sleep included, where there is such a clock: it never jumps."""
    return time.clock_gettime(_BOOT_CLOCK)


_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def wall_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class Timer:
    """A call that is due at some time; see `Loop.at`."""

    __slots__ = ("callback", "order", "when_s")

    def __init__(self, when_s: float, order: int, callback: Callable[[], None]) -> None:
        self.when_s = when_s
        self.order = order
        self.callback: Callable[[], None] | None = callback

    def __lt__(self, other: Timer) -> bool:
        return (self.when_s, self.order) < (other.when_s, other.order)


class Loop:
    """Calls what was registered: `watch` for descriptors, `at` for points in time, `on_children` when a child has ended."""

    def __init__(self, on_children: Callable[[], None]) -> None:
        self._poller: _Epoll | _Selector = _Epoll() if hasattr(select, "epoll") else _Selector()
        self._watched: dict[int, Callable[[int], object]] = {}
        self._timers: list[Timer] = []
        self._cancelled = 0
        self._order = itertools.count()
        self._on_children = on_children
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._signals = reading
        self.watch(reading, self._children)

    def watch(self, descriptor: int, callback: Callable[[int], object], events: int = READ) -> None:
        """Call back with the events that are ready, again and again while they are. For a watched descriptor: change it."""
        self._poller.set(descriptor, events, descriptor in self._watched)
        self._watched[descriptor] = callback

    def forget(self, descriptor: int) -> None:
        """Watch it no longer; to be called before it is closed."""
        if self._watched.pop(descriptor, None):
            self._poller.forget(descriptor)

    def at(self, when_s: float, callback: Callable[[], None]) -> Timer:
        """Call once when the boot clock reads `when_s` or later."""
        timer = Timer(when_s, next(self._order), callback)
        heapq.heappush(self._timers, timer)
        return timer

    def cancel(self, timer: Timer | None) -> None:
        """Do not call it any more. Cancelled timers are thrown out in bulk: most attempts end long before their timeout."""
        if timer is None or timer.callback is None:
            return
        timer.callback = None
        self._cancelled += 1
        if self._cancelled > 1000 and self._cancelled * 2 > len(self._timers):
            self._timers = [kept for kept in self._timers if kept.callback is not None]
            heapq.heapify(self._timers)
            self._cancelled = 0

    def wake_at(self, when_s: float) -> None:
        """Do not wait beyond that time."""
        self.at(when_s, _nothing)

    def once(self) -> None:
        """Wait for something and handle all that is there."""
        timeout_s = -1.0
        if self._timers:
            timeout_s = max(0.0, self._timers[0].when_s - boot_s())
        for descriptor, events in self._poller.wait(timeout_s):
            callback = self._watched.get(descriptor)
            if callback:
                callback(events)
        now_s = boot_s()
        while self._timers and self._timers[0].when_s <= now_s:
            timer = heapq.heappop(self._timers)
            if timer.callback is None:
                self._cancelled -= 1
            else:
                due, timer.callback = timer.callback, None
                due()

    def _children(self, _: int) -> None:
        try:
            os.read(self._signals, 4096)
        except BlockingIOError:
            return
        self._on_children()


def _nothing() -> None:
    """A timer that only wakes us up."""


class _Epoll:
    def __init__(self) -> None:
        self._epoll = select.epoll()

    def set(self, descriptor: int, events: int, known: bool) -> None:
        if known:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.register(descriptor, events)

    def forget(self, descriptor: int) -> None:
        self._epoll.unregister(descriptor)

    def wait(self, timeout_s: float) -> list[tuple[int, int]]:
        # Rounded up to epoll's milliseconds, or a timer that is due in a moment would be polled for.
        return self._epoll.poll(timeout_s + 0.001 if timeout_s >= 0 else -1, 256)


class _Selector:
    """The same on systems without epoll."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def set(self, descriptor: int, events: int, known: bool) -> None:
        wanted = (selectors.EVENT_READ if events & READ else 0) | (selectors.EVENT_WRITE if events & WRITE else 0)
        if known:
            self._selector.modify(descriptor, wanted)
        else:
            self._selector.register(descriptor, wanted)

    def forget(self, descriptor: int) -> None:
        self._selector.unregister(descriptor)

    def wait(self, timeout_s: float) -> list[tuple[int, int]]:
        ready = self._selector.select(None if timeout_s < 0 else timeout_s)
        return [
            (key.fd, (READ if mask & selectors.EVENT_READ else 0) | (WRITE if mask & selectors.EVENT_WRITE else 0)) for key, mask in ready
        ]
