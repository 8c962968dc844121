"""The loop that keeps scratch space ahead of its writers: look, decide, act; one turn is one look."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from batchyard.scratch import policy
from batchyard.scratch.freezer import Freezer
from batchyard.scratch.policy import Freeze, Grow, Limits, Nothing, Refuse, Shrink, State, Wait
from batchyard.scratch.provision import Backend, ScratchError, Usage
from batchyard.scratch.rates import Meter
from batchyard.scratch.resting import Rest
from batchyard.scratch.watching import STATUS, Status
from batchyard.scratch.work import Work

__all__ = ["STATUS", "Counters", "Daemon", "Status", "hurry"]
log = logging.getLogger(__name__)

_REMEMBERED_GROWS = 8
_PROBE_EVERY_S, _PROBE_SICK_EVERY_S = 30.0, 2.0
_STATUS_EVERY_S = 1.0
_QUIET_S = 0.1  # before something is done that can as well be done later
_RETRY_FIRST_S, _RETRY_LAST_S = 0.25, 60.0
_STILL_S = 2.0  # so long nothing may have been written before nobody is taken at their word that nobody can


@dataclass(slots=True)
class Counters:
    """What has happened since the daemon was started; they only rise."""

    looks: int = 0
    grows: int = 0
    grown_bytes: int = 0
    grow_failures: int = 0
    shrinks: int = 0
    shrink_failures: int = 0
    freezes: int = 0
    frozen_s: float = 0.0
    probes_failed: int = 0


class Daemon:
    """One place, its back end, its writers."""

    def __init__(
        self,
        backend: Backend,
        limits: Limits,
        *,
        status: Path | None = None,
        freezer: Freezer | None = None,
        assumed_grow_s: float = 0.5,
        freeze_limit_s: float = 60.0,
        meter: Meter | None = None,
        rest: Rest | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`assumed_grow_s` holds until a grow was measured; writers are never held longer than `freeze_limit_s` at a time.
        `rest`: somebody who knows all writers, and says when there are none."""
        self._rest = rest
        self._is_resting = False
        self._backend, self._status, self._freezer, self._clock = backend, status, freezer, clock
        self._limits = replace(
            limits,
            can_shrink=limits.can_shrink and backend.can_shrink,
            volumes_max=None if backend.volumes_max is None else min(limits.volumes_max or backend.volumes_max, backend.volumes_max),
            smallest_bytes=max(limits.smallest_bytes, backend.smallest_bytes),
            most_bytes=backend.largest_bytes,
            unit_bytes=max(limits.unit_bytes, backend.unit_bytes),
        )
        self.counters = Counters()
        self._meter = meter or Meter()
        self._grows: deque[float] = deque([assumed_grow_s], maxlen=_REMEMBERED_GROWS)
        self._freeze_limit_s = freeze_limit_s
        self._work: Work | None = None
        self._probing: Work | None = None
        self._stopping: Work | None = None
        self._telling: Work | None = None
        self._told: State | None = None
        self._growing_bytes = 0
        self._modest_bytes: int | None = None  # more than this was not to be had a moment ago
        self._frozen_at_s: float | None = None
        self._holds_for_others = False  # those who held the writers have left them to us, and no look has followed yet
        self._may_freeze = True
        self._looked_s: float | None = None
        self._failures = 0
        self._retry_at_s = 0.0
        self._refusal = self._why_not = self._unsettled = ""  # the last: why what a former daemon left half done is still so
        self._used_peak = 0
        self._probed_s = self._told_s = float("-inf")

    def start(self, *, thaws: bool = True, settles_beside: bool = False) -> None:
        """Thaw, if it is for us, bring up what is recorded, see whether it is healthy: a full one is not, and growing heals it.

        With `settles_beside` what is mounted already is looked at while what a former daemon left half done is finished or undone.
        """
        if self._freezer is not None:
            self._freezer.open(thaws=thaws)
        if settles_beside and self._backend.is_up():
            self._settle()
            return
        self._backend.ensure()
        try:
            self._backend.probe()
        except (ScratchError, OSError) as error:
            self._why_not = str(error)
            log.error("not healthy at the start: %s", error)

    def take_over(self, are_held: bool) -> None:
        """Whether somebody else holds the writers already: then they go on when a look finds room. Else nobody is to be held now.

        Another thread may say so at any time: the next look takes it in.
        """
        if self._freezer is None:
            return
        if are_held:
            self._holds_for_others = True
        else:
            self._freezer.thaw()

    @property
    def why_not(self) -> str:
        """Why a job may not be given this place; "" if it may."""
        return self._why_not

    def turn(self) -> float:
        """Look once, decide, act. Returns how many seconds until the next look."""
        now_s = self._clock()
        self._take_in(now_s)
        if self._holds_for_others:
            self._holds_for_others = False
            self._frozen_at_s = now_s
            self.counters.freezes += 1
        try:
            usage = self._backend.usage()
        except (ScratchError, OSError) as error:
            return self._lost(now_s, error)
        self.counters.looks += 1
        self._meter.add(now_s, usage.used_bytes)
        state = self._state(now_s, usage)
        self._used_peak = max(self._used_peak, state.capacity_bytes - state.free_bytes)
        self._looked_s = now_s
        decision = self._act(state)
        self._check(now_s, is_soon=bool(self._why_not) or usage.free_bytes < self._limits.reserve_bytes)
        rest_s = self._rest_s(state, decision)
        self._is_resting = rest_s > 0
        if now_s - self._told_s >= _STATUS_EVERY_S and (self._telling is None or self._telling.is_done):
            self._told_s, self._told = now_s, state
            self._telling = Work("status", lambda: self._tell(state), self._clock)
        pause_s = policy.look_again_s(state, self._limits)
        return min(pause_s, 0.01) if self._work is not None or self._frozen_at_s is not None else max(pause_s, rest_s)

    def _rest_s(self, state: State, decision: policy.Decision) -> float:
        """For how long nobody can write and nothing is to be done; 0.0 if it has to be looked as often as ever."""
        if self._rest is None or self._work is not None or self._probing is not None or self._frozen_at_s is not None or self._why_not:
            return 0.0
        is_still = isinstance(decision, Nothing | Refuse) and state.quiet_s >= _STILL_S
        return self._rest.left_s() if is_still else 0.0

    def run(self, stop: threading.Event) -> None:
        """Turns until `stop`; then what is under way comes to its end, the writers go on, and everything stays where it is.

        Who sets `stop` wakes `rest`, if there is one.
        """
        try:
            while not stop.is_set():
                if self._rest is None:
                    stop.wait(self.turn())
                else:
                    self._rest.look(self.turn)
            if self._work is not None:
                self._work.join(60)
                self._take_in(self._clock())
        finally:
            self.close()

    def close(self) -> None:
        """Thaw; let go of the record. What is there stays."""
        if self._freezer is not None:
            self._freezer.close()
        self._backend.close()

    def _state(self, now_s: float, usage: Usage) -> State:
        """What the policy is told. The volume that is being made has its bytes already, and gives no room yet."""
        return State(
            now_s=now_s,
            volumes=self._backend.volumes(),
            free_bytes=usage.free_bytes,
            metadata_free_bytes=usage.metadata_free_bytes,
            inodes=usage.inodes,
            inodes_free=usage.inodes_free,
            rate_bytes_s=self._meter.rate_bytes_s(now_s),
            burst_bytes_s=self._meter.burst_bytes_s(),
            grow_s=max(self._grows),
            look_s=0.0 if self._looked_s is None else now_s - self._looked_s,
            quiet_s=self._meter.quiet_s(now_s),
            room_bytes=self._room_bytes(),
            grows_left=self._backend.grows_left(),
            is_growing=self._work is not None,
            retry_at_s=self._retry_at_s,
        )

    def _room_bytes(self) -> int | None:
        """How much there is to be had. Where nobody knows, it is found by asking for half of what was refused."""
        known = self._backend.room_bytes()
        return known if self._modest_bytes is None or known is not None else self._modest_bytes

    def _act(self, state: State) -> policy.Decision:
        decision = policy.decide(state, self._limits)
        self._stop_shrinking_for_writers(state)
        self._refusal = decision.reason if isinstance(decision, Refuse) else ""
        match decision:
            case Freeze():
                self._hold(state.now_s)
            case Wait(freeze=True):
                self._hold(state.now_s)
            case Grow(size, freeze, why):
                if freeze:
                    self._hold(state.now_s)
                log.info("growing by %d bytes: %s", size, why)
                self._growing_bytes = size
                self._work = Work("grow", lambda: self._backend.grow(size), self._clock)
            case Shrink(index):
                log.info("giving back %d bytes", state.volumes[index])
                self._work = Work("shrink", lambda: self._backend.shrink(index), self._clock)
            case _:
                if self._work is None:
                    self._let_go(state.now_s)
                    if self._unsettled and state.now_s >= self._retry_at_s:
                        self._settle()
                    elif state.quiet_s >= _QUIET_S and self._backend.owes_sweep():
                        self._work = Work("sweep", self._backend.sweep, self._clock)
        if self._frozen_at_s is not None and state.now_s - self._frozen_at_s > self._freeze_limit_s:
            log.error("writers were held for %g s, and are let go: no room came", self._freeze_limit_s)
            self._may_freeze = False
            self._let_go(state.now_s)
        return decision

    def _stop_shrinking_for_writers(self, state: State) -> None:
        """Moving what a volume holds may take an hour, and a writer does not wait for so long."""
        work = self._work
        if work is None or work.verb != "shrink" or (self._stopping is not None and not self._stopping.is_done):
            return
        if isinstance(policy.decide(replace(state, is_growing=False, retry_at_s=0.0), self._limits), Grow):
            if not work.is_unwanted:
                log.info("no room is given back now: it is needed")
            work.is_unwanted = True
            self._stopping = Work("stop", self._backend.stop_shrinking, self._clock)

    def _take_in(self, now_s: float) -> None:
        """What became of the work beside. Counted, and remembered, only if it succeeded."""
        work = self._work
        if work is None or not work.is_done:
            return
        self._work = None
        if work.verb == "sweep" or (work.failure and work.is_unwanted):
            return
        if work.verb == "settle":
            self._unsettled = self._why_not = work.failure
            if work.failure:
                self._put_off(now_s, work)
            else:
                self._failures, self._retry_at_s = 0, 0.0
            return
        if work.failure:
            self._put_off(now_s, work)
            if work.verb == "grow":
                self.counters.grow_failures += 1
                self._why_not = work.failure
                if work.met_no_room and self._limits.volumes_max is not None:
                    self._modest_bytes = max(self._limits.step_bytes, self._limits.smallest_bytes, self._growing_bytes // 2)
            else:
                self.counters.shrink_failures += 1
            return
        self._failures, self._retry_at_s, self._may_freeze = 0, 0.0, True
        if work.verb == "grow":
            if len(self._grows) == 1 and not self.counters.grows:
                self._grows.clear()  # what was assumed
            self._grows.append(work.took_s)
            self._modest_bytes = None
            self.counters.grows += 1
            self.counters.grown_bytes += self._growing_bytes
        else:
            self.counters.shrinks += 1
        self._told_s = float("-inf")  # let the status tell of it at once

    def _put_off(self, now_s: float, work: Work) -> None:
        """What failed is tried again, later and later."""
        self._failures += 1
        self._retry_at_s = now_s + min(_RETRY_LAST_S, _RETRY_FIRST_S * 2 ** (self._failures - 1))
        log.error("%s failed, again in %.2f s: %s", work.verb, self._retry_at_s - now_s, work.failure)

    def _settle(self) -> None:
        self._work = Work("settle", self._backend.ensure, self._clock)

    def _hold(self, now_s: float) -> None:
        if self._freezer is None or not self._may_freeze or self._frozen_at_s is not None:
            return
        self._frozen_at_s = now_s
        self.counters.freezes += 1
        with contextlib.suppress(ScratchError):  # the cgroup went with its job: nobody to be held
            self._freezer.freeze()

    def _let_go(self, now_s: float) -> None:
        if self._freezer is None or self._frozen_at_s is None:
            return
        with contextlib.suppress(ScratchError):
            self._freezer.thaw()
        self.counters.frozen_s += now_s - self._frozen_at_s
        self._frozen_at_s = None

    def _check(self, now_s: float, *, is_soon: bool) -> None:
        """The health gate: whether a job may be given this place. One that is sick, or full to the brim, is looked at often."""
        if self._probing is not None:
            if self._probing.is_done:
                self._why_not = self._probing.failure or self._unsettled
                self.counters.probes_failed += 1 if self._probing.failure else 0
                self._probing = None
        elif now_s - self._probed_s >= (_PROBE_SICK_EVERY_S if is_soon else _PROBE_EVERY_S):
            self._probed_s = now_s
            self._probing = Work("probe", self._backend.probe, self._clock)

    def _lost(self, now_s: float, error: Exception) -> float:
        """The place cannot even be looked at: say so, hold nobody, try again."""
        self._let_go(now_s)
        if str(error) != self._why_not:
            log.error("the scratch space cannot be looked at: %s", error)
        self._why_not = str(error)
        if self._told is not None:
            self._tell(self._told)
        return 1.0

    def _tell(self, state: State) -> None:
        """Write the status; a reader sees a whole one."""
        if self._status is None:
            return
        told = Status(
            at_s=time.time(),
            is_healthy=not self._why_not,
            why_not=self._why_not,
            refusal=self._refusal,
            capacity_bytes=state.capacity_bytes,
            cap_bytes=self._limits.cap_bytes,
            used_bytes=max(0, state.capacity_bytes - state.free_bytes),
            free_bytes=state.free_bytes,
            metadata_free_bytes=state.metadata_free_bytes,
            inodes=state.inodes,
            inodes_free=state.inodes_free,
            volumes=state.volumes,
            rate_bytes_s=state.rate_bytes_s,
            grow_s=state.grow_s,
            used_peak_bytes=self._used_peak,
            is_growing=state.is_growing,
            room_bytes=state.room_bytes,
            is_frozen=self._frozen_at_s is not None,
            is_resting=self._is_resting,
            counters={name: getattr(self.counters, name) for name in Counters.__slots__},
        )
        write(self._status, msgspec.json.format(msgspec.json.encode(told), indent=1) + b"\n")


def write(path: Path, text: bytes) -> None:
    """Write a file as a whole; over what is there, where the disk has no room for another one: who reads that may have to look again."""
    partial = path.with_suffix(".new")
    try:
        partial.write_bytes(text)
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError), open(path, "r+b") as file:
            file.write(text)
            file.truncate()


def hurry() -> None:
    """Be woken before the writers, where that is allowed: a daemon that waits for its turn on a busy machine is late."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except OSError:
        with contextlib.suppress(OSError):
            os.nice(-20)
