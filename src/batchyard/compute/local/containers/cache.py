"""The images that this node has pulled: what they take is bounded, and the one that was not used for the longest goes first.

Only what this node pulled is ever removed: images that people pulled, built or loaded are theirs, and on a machine without a registry could
not be had again. What a container uses, running or not, is never removed either: the daemon refuses.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path

from batchyard.compute.local.containers.engine import Engine, EngineError
from batchyard.compute.local.loop import wall_ms

FILE = "images.json"
RECENT_MS = 60_000  # what was used so lately may be about to start
_GIB = 1024**3


class ImageCache:
    """`limit_gib` None: without a bound. What was pulled, and when it was used last, is remembered in `file`."""

    def __init__(self, engine: Engine, limit_gib: float | None, file: Path, say: Callable[[str], None]) -> None:
        self._engine = engine
        self._limit_bytes = None if limit_gib is None else int(limit_gib * _GIB)
        self._recent_ms = RECENT_MS
        self._file = file
        self._say = say
        self._used_ms = _read(file)  # when each image that we pulled was used last, by the name it was pulled by

    def used(self, name: str) -> None:
        """An attempt is about to start from it."""
        if name in self._used_ms:
            self._used_ms[name] = wall_ms()

    def pulled(self, name: str) -> None:
        """It was not here and is now: it is ours to remove. Written down at once, or nobody would ever remove it."""
        self._used_ms[name] = wall_ms()
        self._write()

    async def trim(self, keep: Collection[str]) -> None:
        """Remove images until what we pulled is within the limit; not those in `keep`. EngineAway."""
        if self._limit_bytes is not None:
            await self._remove_until(self._limit_bytes, keep)

    async def empty(self, keep: Collection[str]) -> int:
        """Remove all that can be, because a disk is full: how many images went. EngineAway."""
        return await self._remove_until(0, keep)

    async def _remove_until(self, limit_bytes: int, keep: Collection[str]) -> int:
        sizes = await self._engine.image_sizes()
        known = len(self._used_ms)
        self._used_ms = {name: used_ms for name, used_ms in self._used_ms.items() if name in sizes}  # others were removed by somebody
        held = sum(sizes[name] for name in self._used_ms)
        removed = 0
        for name in sorted(self._used_ms, key=self._used_ms.__getitem__):
            if held <= limit_bytes:
                break
            if name in keep or wall_ms() - self._used_ms[name] < self._recent_ms:
                continue
            try:
                await self._engine.remove_image(name)
            except EngineError:
                continue  # a container uses it
            self._say(f"image {name} is removed from this node: {sizes[name] / _GIB:.2f} GiB, not used for the longest")
            held -= sizes[name]
            removed += 1
            del self._used_ms[name]
        if len(self._used_ms) != known:
            self._write()
        return removed

    def close(self) -> None:
        """Remember when what was used."""
        if self._used_ms:
            self._write()

    def _write(self) -> None:
        draft = self._file.with_suffix(".new")
        try:
            draft.write_text(json.dumps(self._used_ms, indent=1) + "\n")
            draft.replace(self._file)
        except OSError as error:
            self._say(f"cannot remember which images were pulled: {error}")


def _read(file: Path) -> dict[str, int]:
    """What an earlier node remembered; nothing if it cannot be read: then those images are never removed."""
    try:
        told = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return {str(name): int(used_ms) for name, used_ms in told.items()} if isinstance(told, dict) else {}
