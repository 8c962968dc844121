"""The images that this node has pulled: what they take is bounded, and the one that was not used for the longest goes first.

Only what this node pulled is ever removed: images that people pulled, built or loaded are theirs, and on a machine without a registry could
not be had again. So an image is known by its id as well: what somebody puts under a name that we pulled is not ours, and what we pulled
before stays ours when its name goes to a later one. What a container uses, running or not, is never removed either: the daemon refuses.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import msgspec

from batchyard.compute.local.containers.engine import Engine, EngineError, HeldImage
from batchyard.compute.local.loop import wall_ms

FILE = "images.json"
RECENT_MS = 60_000  # what was used so lately may be wanted again at once, by another attempt of the same job
_GIB = 1024**3
Keep = Callable[[], Collection[str]]  # names of images that are not to be removed now


class Pulled(msgspec.Struct, omit_defaults=True):
    """An image of ours. `id` is "" while it is being pulled, and of what a node before this version pulled."""

    used_ms: int
    id: str = ""


class Outcome(msgspec.Struct, frozen=True):
    """What came of removing: how many images went, and in how many milliseconds to look again (None: not by itself)."""

    removed: int = 0
    again_ms: int | None = None


class ImageCache:
    """`limit_gib` None: without a bound. What was pulled, and when it was used last, is remembered in `file`."""

    def __init__(self, engine: Engine, limit_gib: float | None, file: Path, say: Callable[[str], None]) -> None:
        self._engine = engine
        self._limit_bytes = None if limit_gib is None else int(limit_gib * _GIB)
        self._file = file
        self._say = say
        self._ours = _read(file)  # by the name that each was pulled by; by its id when another one has that name now

    def used(self, name: str) -> None:
        """An attempt is about to start from it, or has just ended."""
        if name in self._ours:
            self._ours[name].used_ms = wall_ms()

    def pulling(self, name: str) -> None:
        """It is not here, and is asked for: ours, whatever becomes of us. Written down before, or nobody would ever remove it."""
        if name not in self._ours:
            self._ours[name] = Pulled(wall_ms())
            self._write()

    def pulled(self, name: str, id: str, *, was_here: bool) -> None:
        """It was pulled. One that `was_here` before and was not ours still is not."""
        ours = self._ours.get(name)
        if ours is None and was_here:
            return
        if ours is not None and ours.id not in ("", id):
            self._ours[ours.id] = ours
        self._ours[name] = Pulled(wall_ms(), id)
        self._write()

    def not_pulled(self, name: str) -> None:
        """It could not be had."""
        if name in self._ours and not self._ours[name].id:
            del self._ours[name]
            self._write()

    @property
    def is_bounded(self) -> bool:
        """Whether there is a limit, and anything to remove."""
        return self._limit_bytes is not None and bool(self._ours)

    async def trim(self, keep: Keep) -> Outcome:
        """Remove images until what we pulled is within the limit; not those to `keep`. EngineAway."""
        return await self._remove(self._limit_bytes, keep, RECENT_MS, lambda: False)

    async def empty(self, keep: Keep, is_enough: Callable[[], bool] = lambda: False) -> Outcome:
        """Remove all that can be, or until it `is_enough`, because a disk is full. EngineAway."""
        return await self._remove(0, keep, 0, is_enough)

    async def _remove(self, limit_bytes: int | None, keep: Keep, recent_ms: int, is_enough: Callable[[], bool]) -> Outcome:
        here = self._settle(await self._engine.images(), keep)
        held = {here[name].id: here[name].bytes for name in self._ours if name in here}
        removed, again_ms = 0, None
        for name in sorted(here, key=lambda name: self._ours[name].used_ms):
            if limit_bytes is None or sum(held.values()) <= limit_bytes or is_enough():
                break
            age_ms = wall_ms() - self._ours[name].used_ms
            if name in keep():
                continue  # looked at again when its container has ended
            if age_ms < recent_ms:
                again_ms = min(again_ms or recent_ms, recent_ms - age_ms)
                continue
            try:
                await self._engine.remove_image(name if name in here[name].names else here[name].id)
            except EngineError:
                continue  # a container uses it
            image = here[name]
            self._say(f"image {name} is removed from this node: {image.bytes / _GIB:.2f} GiB, not used for the longest")
            held.pop(image.id, None)
            removed += 1
            self._ours.pop(name, None)
        if removed:
            self._write()
        return Outcome(removed, again_ms)

    def _settle(self, images: Sequence[HeldImage], keep: Keep) -> dict[str, HeldImage]:
        """Those of ours that are here, by what we know them by. What others removed, or put others in the place of, is ours no more."""
        by_id = {image.id: image for image in images}
        by_name = {name: image for image in images for name in image.names}
        before = dict(self._ours)
        here: dict[str, HeldImage] = {}
        for name, ours in before.items():
            image = by_name.get(name) or by_id.get(name) or (by_id.get(ours.id) if "@" in name else None)  # with a tag and a digest
            if image is not None and ours.id in ("", image.id):
                here[name], ours.id = image, image.id
            elif image is not None or name not in keep():  # not one that is just being pulled
                del self._ours[name]
                former = by_id.get(ours.id)
                if former is not None and not former.tags:
                    here[former.id] = former
                    self._ours[former.id] = ours
        if self._ours.keys() != before.keys():
            self._write()
        return here

    def close(self) -> None:
        """Remember when what was used."""
        if self._ours:
            self._write()

    def _write(self) -> None:
        draft = self._file.with_suffix(".new")
        try:
            draft.write_bytes(msgspec.json.format(msgspec.json.encode(self._ours), indent=1) + b"\n")
            draft.replace(self._file)
        except OSError as error:
            self._say(f"cannot remember which images were pulled: {error}")


def _read(file: Path) -> dict[str, Pulled]:
    """What an earlier node remembered; nothing if it cannot be read: then those images are never removed."""
    try:
        told = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return {str(name): _pulled(one) for name, one in told.items()} if isinstance(told, dict) else {}


def _pulled(told: Any) -> Pulled:
    """Earlier versions wrote only when it was used."""
    if isinstance(told, dict):
        return Pulled(int(told.get("used_ms") or 0), str(told.get("id") or ""))
    return Pulled(int(told))
