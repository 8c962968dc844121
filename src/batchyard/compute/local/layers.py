"""What attempts hold beside their directories: the layers that their containers write to, and what else of theirs lies with a daemon.

A layer is known by the directories that it lies in, which are walked as other directories are (`walker`), or by what somebody says that
it holds, where nobody may look. When its container has ended it holds what it held last, until it is removed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from batchyard.compute.local.walker import Walker, bytes_at_once


class Short(NamedTuple):
    """Where layers lie there is little room: `why`, in words, and how much should be free."""

    why: str
    bytes: int


class _Layer:
    """One container's."""

    __slots__ = ("held_bytes", "is_over", "paths")

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = paths
        self.held_bytes = 0
        self.is_over = False  # nobody writes there any more


class Layers:
    """Those of one node's containers, by attempt."""

    def __init__(self, walker: Walker | None = None) -> None:
        self.on_end: Callable[[str], None] = lambda attempt: None  # a layer of this attempt is as it will be until it is gone
        self.short: Callable[[], Short | None] = lambda: None  # whether there is too little room left where they lie
        self._walker = walker
        self._of: dict[str, dict[str, _Layer]] = {}

    def add(self, attempt: str, container: str, paths: Sequence[str] = ()) -> None:
        """A container of the attempt has a layer, in these directories: from now on they are walked. Without any, it is to be told of."""
        self._of.setdefault(attempt, {})[container] = _Layer(paths)
        self.held_bytes(attempt)  # the walker begins at once

    def tell(self, attempt: str, container: str, held_bytes: int) -> None:
        """A layer holds so much now, as somebody says who knows."""
        layer = self._of.get(attempt, {}).get(container)
        if layer is not None:
            layer.held_bytes = held_bytes

    def end(self, attempt: str, container: str) -> None:
        """The container has ended: looked at for the last time."""
        layer = self._of.get(attempt, {}).get(container)
        if layer is not None and not layer.is_over:
            layer.is_over = True
            if layer.paths:
                layer.held_bytes = sum(max(bytes_at_once(path), self._forget(path)) for path in layer.paths)
            self.on_end(attempt)

    def remove(self, attempt: str, container: str) -> None:
        """It is gone, and holds nothing."""
        layers = self._of.get(attempt, {})
        layer = layers.pop(container, None)
        if layer is not None and not layer.is_over:
            for path in layer.paths:
                self._forget(path)
        if not layers:
            self._of.pop(attempt, None)

    def held_bytes(self, attempt: str) -> int:
        """What those of an attempt hold together, as far as it was seen."""
        layers = self._of.get(attempt)
        if not layers:
            return 0
        for layer in layers.values():
            if layer.paths and not layer.is_over and self._walker:
                layer.held_bytes = sum(self._walker.look(path) or 0 for path in layer.paths)
        return sum(layer.held_bytes for layer in layers.values())

    def _forget(self, path: str) -> int:
        return (self._walker.forget(path) if self._walker else None) or 0
