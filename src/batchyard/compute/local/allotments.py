"""Every attempt's part of the scratch space: the ground that its directories stand on, its limit there, and the most that it held.

An attempt has one directory, however many containers: `open` when it is there, `close` before it is used for something else or given up.
What each holds is looked at four times a second while it runs, and at its end. Where the ground keeps limits itself (subvolumes), a writer
meets its own; elsewhere the directories are walked aside, and whoever holds more than its limit is ended. What containers hold in layers
of their own (`layers`) counts with what is in the directory, against the same limit, and is always watched.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from batchyard.compute.local.allotment import Outcome, Part
from batchyard.compute.local.ground import Ground, Plain
from batchyard.compute.local.layers import Layers
from batchyard.compute.local.loop import Loop, boot_s
from batchyard.compute.local.scratch_shares import Tenant, beside, share_bytes
from batchyard.compute.local.sweep import Sweeper
from batchyard.compute.local.walker import Walker, bytes_at_once
from batchyard.model.capacity import Resources

_MIB = 1024 * 1024
_LOOK_S = 0.25
_REST = 50  # so many times as long as a look took, nobody is looked at: with very many attempts, less often
_RELIEF_S = 5.0  # until what was ended for want of room has made some
_PATIENCE_S, _LITTLE_PATIENCE_S = 60.0, 10.0  # what is not cleared away by then may never be, and is no reason never to begin


class Allotments:
    """Those of one node. Until it is told to stand on a scratch space, directories are plain and nobody has a limit."""

    def __init__(self, loop: Loop | None = None, walker: Walker | None = None) -> None:
        """Without a loop nobody is looked at but when `look` is called; without a walker no plain directory is, before its end."""
        self.ground: Ground = Plain()
        self.on_excess: Callable[[str], None] = lambda attempt: None  # told of an attempt that is to be ended
        self._loop = loop
        self._walker = walker
        self.layers = Layers(walker)
        self.layers.on_end = self._layer_ended
        self._relieved_s = float("-inf")
        self._room_bytes = 0
        self._vcpus = 0.0
        self._parts: dict[str, Part] = {}  # by path
        self._outcomes: dict[str, Outcome] = {}  # by attempt, until they are asked for
        self._left: dict[str, int] = {}  # what lies in directories that nobody has and that are not removed yet, by path
        self._waiting_s: dict[str, float] = {}  # since when attempts wait for room, by attempt
        self._looking = False
        self._stale = False  # limits are not what they should be
        # As of the last sharing out, so that a share can be told without looking at everybody:
        self._left_bytes, self._free_vcpus = 0, 0.0
        self._given_bytes = 0  # all limits together
        self._sharing_vcpus = 0.0

    def stand_on(self, ground: Ground, room_bytes: int = 0, vcpus: float = 0.0) -> None:
        """From now on directories are made on this ground. Before any is made: the scratch space was mounted.

        `room_bytes`: what attempts may hold together (0: nobody has a limit); `vcpus`: what may run at a time.
        """
        self.ground = ground
        self._room_bytes, self._vcpus = room_bytes, vcpus
        self._share_out()

    def has_now(self, room_bytes: int) -> None:
        """The room is another one: the disk below the scratch space was filled, or cleared, by others."""
        if room_bytes != self._room_bytes:
            self._room_bytes = room_bytes
            self._share_out()

    def has_room(self, attempt: str, needs: Resources) -> bool:
        """Whether an attempt's part is there (of a share, a good piece): it may still have to be cleared of what others left.

        Asked again and again until it is, it is True at last in any case.
        """
        leaving = self._leaving_bytes()
        if self._room_bytes and leaving:
            part = needs.scratch_mib * _MIB or self._share(needs.vcpus) // 4
            is_there = part + self._given_bytes + leaving <= self._room_bytes
            patience_s = _PATIENCE_S if needs.scratch_mib else _LITTLE_PATIENCE_S
            if not is_there and boot_s() - self._waiting_s.setdefault(attempt, boot_s()) < patience_s:
                return False
        self._waiting_s.pop(attempt, None)
        return True

    # --- directories ---

    def open(self, attempt: str, needs: Resources, path: str) -> None:
        """The attempt's directory is there, made or moved by the ground: from now on it counts, and its limit holds."""
        part = self._parts[path] = Part(attempt, needs, path)
        if self._room_bytes:
            self._admit(part)
        self._look_soon()

    def measure(self, path: str) -> None:
        """Look at it now: a part of what it holds is about to go."""
        part = self._parts.get(path)
        if part is not None:
            held = self.ground.used_bytes(path)
            part.measured(bytes_at_once(path) if held is None else held, self.layers.held_bytes(part.attempt))

    def is_light(self, path: str) -> bool:
        """Whether a directory that is empty also counts as such: what was removed may count until the file system has committed that."""
        return (self.ground.used_bytes(path) or 0) < _MIB

    def close(self, path: str, is_empty: bool = False) -> None:
        """Nobody writes there any more: measured for the last time. `is_empty`: nothing lies in it, so it need not be."""
        part = self._parts.pop(path, None)
        if part is None:
            return
        held = self.ground.used_bytes(path)
        if held is None:
            seen = self._walker.forget(path) if self._walker else None
            held = 0 if is_empty else max(bytes_at_once(path), seen or 0)
        part.measured(held, self.layers.held_bytes(part.attempt))
        if held >= _MIB:
            self._left[path] = held
        self._outcomes[part.attempt] = part.outcome()
        if part.limit_bytes is not None:
            self._given_bytes -= part.limit_bytes
            self._stale = self._stale or bool(part.promise_bytes) or part.held_bytes > self._share(part.vcpus)
            if not part.promise_bytes:
                self._sharing_vcpus -= part.vcpus

    def give_up(self, path: str, sweeper: Sweeper) -> None:
        """Have a directory removed with all that it holds, soon."""
        known = self.ground.leaving_bytes()
        is_gone = self.ground.remove(path)
        if is_gone or self.ground.leaving_bytes() > known:
            self._left.pop(path, None)  # or it would be counted twice
        if not is_gone:
            sweeper.remove(path)
        self._look_soon()

    def outcome(self, attempt: str) -> Outcome | None:
        """What came of an attempt's part, once; None if it had none."""
        self._waiting_s.pop(attempt, None)
        return self._outcomes.pop(attempt, None)

    def end(self) -> None:
        """The node ends: nobody looks into directories any more."""
        if self._walker:
            self._walker.close()

    @property
    def are_looked_at(self) -> bool:
        """Whether there is any, or something of those that were given up is still there."""
        return self._looking

    @property
    def promised_held_bytes(self) -> int:
        """What those hold on the scratch space that were promised something."""
        return sum(part.here_bytes for part in self._parts.values() if part.promise_bytes)

    # --- limits ---

    def _admit(self, part: Part) -> None:
        """Give a new one its limit: others get another one only if they must."""
        if not part.promise_bytes:
            self._sharing_vcpus += part.vcpus
            share = self._share(part.vcpus)
            if share + self._given_bytes + self._leaving_bytes() <= self._room_bytes:
                self._given_bytes += share
                self._set(part, share)
                return
        self._share_out()

    def _share(self, vcpus: float) -> int:
        weight = max(self._free_vcpus, self._sharing_vcpus)
        return share_bytes(self._left_bytes, weight, vcpus) if weight > 0 else 0

    def _share_out(self) -> None:
        """Give everybody the limit that is due, by what each holds now; first to those who get less."""
        self._stale = False
        if not self._room_bytes:
            return
        for part in self._parts.values():
            self._measure(part)
        tenants = {path: Tenant(part.vcpus, part.promise_bytes, part.kept_bytes) for path, part in self._parts.items()}
        now = {path: part.limit_bytes for path, part in self._parts.items() if part.limit_bytes is not None}
        due, somebody_waits = beside(self._leaving_bytes(), self._room_bytes, self._vcpus, tenants, now)
        promised = [tenant for tenant in tenants.values() if tenant.promise_bytes]
        self._left_bytes = max(0, self._room_bytes - sum(tenant.promise_bytes for tenant in promised))
        self._free_vcpus = max(0.0, self._vcpus - sum(tenant.vcpus for tenant in promised))
        self._sharing_vcpus = sum(tenant.vcpus for tenant in tenants.values() if not tenant.promise_bytes)
        self._given_bytes = sum(due.values())
        for path in sorted(due, key=lambda path: due[path] > (self._parts[path].limit_bytes or 0)):
            self._set(self._parts[path], due[path])
        # Who holds more than a share may hold less at the next look: then the others get more.
        self._stale = somebody_waits or any(tenant.held_bytes and tenant.held_bytes == due[path] for path, tenant in tenants.items())

    def _set(self, part: Part, limit_bytes: int) -> None:
        part.was_lowered = part.limit_bytes is not None and limit_bytes < part.limit_bytes
        part.limit_bytes = limit_bytes
        part.is_kept = self.ground.limit(part.path, part.ground_limit_bytes(limit_bytes))

    # --- looking ---

    def _look_soon(self, after_s: float = _LOOK_S) -> None:
        if not self._looking and self._loop is not None:
            self._looking = True
            self._loop.at(boot_s() + after_s, self.look)

    def look(self) -> None:
        """What does each hold; does anybody hold too much; is anything due?"""
        began_s = boot_s()
        if self._walker:
            self._walker.take_in()
        for part in list(self._parts.values()):
            self._measure(part)
            if part.is_beyond:
                if part.was_lowered:
                    self._stale = True  # once, it keeps what it held before
                else:
                    part.was_ended = True
                    self.on_excess(part.attempt)
        self._relieve()
        self._left = {path: held for path, held in self._left.items() if os.path.lexists(path)}
        is_due = self.ground.look()
        if self._stale:
            self._share_out()
        self._looking = False
        if self._parts or self._left or is_due:
            self._look_soon(max(_LOOK_S, (boot_s() - began_s) * _REST))

    def _measure(self, part: Part) -> None:
        held = self.ground.used_bytes(part.path)
        if held is None and self._walker:
            held = self._walker.look(part.path)
        layer_bytes = self.layers.held_bytes(part.attempt)
        is_new = layer_bytes != part.layer_bytes
        if held is not None or is_new:
            part.measured(part.here_bytes if held is None else held, layer_bytes)
        if is_new and part.is_kept and part.limit_bytes is not None:
            self.ground.limit(part.path, part.ground_limit_bytes(part.limit_bytes))

    def _relieve(self) -> None:
        """Where layers lie it is nearly full: who holds most there is ended, if it is so much that this mends it. One at a time."""
        short = self.layers.short()
        if short is None or boot_s() - self._relieved_s < _RELIEF_S:
            return
        parts = self._parts.values()
        part = next((part for part in parts if part.crowded), None) or max(parts, key=lambda part: part.layer_bytes, default=None)
        if part is not None and part.layer_bytes >= short.bytes:
            part.crowded = short.why
            self._relieved_s = boot_s()
            self.on_excess(part.attempt)

    def _layer_ended(self, attempt: str) -> None:
        """It is about to be removed, perhaps before the next look."""
        for part in self._parts.values():
            if part.attempt == attempt:
                self._measure(part)

    def _leaving_bytes(self) -> int:
        return self.ground.leaving_bytes() + sum(self._left.values())
