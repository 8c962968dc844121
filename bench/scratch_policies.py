"""(g) Scratch space that grows, in simulation: how often a writer meets a full disk while a volume can still be had, for three policies.

The same writers and the same times to get a volume for each policy, from seeds. Levels as the archived autoscaler for EBS volumes
(awslabs/amazon-ebs-autoscale) has them: grow at 50 % used, 80 % with 4 to 6 volumes, 90 % above; volumes of 150 GB, then 300, 1000 and
1500, at most 16 volumes and 8 TB. In 2018 it looked every second; in 2022 every two, and each volume took three seconds more, between its
lists of volumes. All begin with the same size here (its defaults were 20 GB in 2018 and 200 in 2022).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from batchyard.scratch.policy import GIB, MIB, Freeze, Grow, Limits, State, decide, look_again_s
from batchyard.scratch.rates import Meter

CAP = 8000 * GIB
INITIAL = 100 * GIB
VOLUMES_MAX = 16
WRITE = 4000 * GIB
GROW_S = (8.0, 40.0)  # assumed of EBS: to create, attach and add a volume
RATES_MB_S = (100, 250, 500, 1000, 2000, 4000)


@dataclass
class Outcome:
    """Of one run."""

    was_full: bool
    mb_s: float
    held_s: float


@dataclass
class Ask:
    """What a policy wants now."""

    grow_bytes: int = 0
    more_s: float = 0.0  # that it takes by itself
    hold: bool = False
    pause_s: float = 1.0


Policy = Callable[[State], Ask]


def rung(count: int) -> tuple[float, int]:
    """With so many volumes: the part that is used when it grows, and by how many GB."""
    return (0.5, 150) if count < 4 else (0.8, 300) if count <= 6 else (0.9, 1000) if count <= 10 else (0.9, 1500)


def by_level(poll_s: float, more_s: float = 0.0) -> Policy:
    """The thresholds; looks every `poll_s`, and not at all while it grows."""

    def ask(state: State) -> Ask:
        count = len(state.volumes)
        level, size = rung(count)
        is_due = state.free_bytes < state.capacity_bytes * (1 - level)
        may = not state.is_growing and count < VOLUMES_MAX and state.capacity_bytes < CAP
        return Ask(size * GIB if is_due and may else 0, more_s, pause_s=poll_s)

    return ask


def ours() -> Policy:
    """Batchyard's."""
    allowed = Limits(cap_bytes=CAP, step_bytes=150 * GIB, largest_bytes=1500 * GIB, reserve_bytes=256 * MIB, fastest_bytes_s=4 * GIB)

    def ask(state: State) -> Ask:
        decision = decide(state, allowed)
        pause_s = look_again_s(state, allowed)
        if isinstance(decision, Grow):
            return Ask(decision.bytes, 0.0, decision.freeze, min(pause_s, 0.01) if decision.freeze else pause_s)
        return Ask(0, 0.0, isinstance(decision, Freeze), pause_s)

    return ask


def simulate(policy: Policy, rate_mb_s: float, seed: int) -> Outcome:
    """One writer that writes `WRITE` bytes, with pauses, as fast as it may."""
    dice = random.Random(seed)
    volumes, used, now_s, looked_s, held_s = [INITIAL], 0.0, 0.0, 0.0, 0.0
    pending: tuple[float, int, float] | None = None
    meter, measured_s, is_held, was_full = Meter(), 20.0, False, False
    while used < WRITE:
        if pending is not None and pending[0] <= now_s:
            volumes.append(pending[1])
            measured_s, pending, is_held = max(measured_s, pending[2]), None, False
        meter.add(now_s, int(used))
        seen = State(
            now_s=now_s,
            volumes=tuple(volumes),
            free_bytes=int(sum(volumes) - used),
            rate_bytes_s=meter.rate_bytes_s(now_s),
            grow_s=measured_s,
            look_s=now_s - looked_s,
            is_growing=pending is not None,
        )
        looked_s = now_s
        wish = policy(seen)
        if wish.grow_bytes and pending is None:
            took_s = dice.uniform(*GROW_S) + wish.more_s
            pending = (now_s + took_s, wish.grow_bytes, took_s)
        is_held = is_held or wish.hold
        pause_s = wish.pause_s if pending is None else max(0.001, min(wish.pause_s, pending[0] - now_s))
        if is_held and pending is not None:
            pause_s = max(0.001, pending[0] - now_s)
            held_s += pause_s
        else:
            used += rate_mb_s * 1e6 * pause_s
            if used > sum(volumes):
                was_full, used = True, float(sum(volumes))
                if not pending and (len(volumes) >= VOLUMES_MAX or sum(volumes) >= CAP):
                    break
        now_s += pause_s
    return Outcome(was_full, used / now_s / 1e6, held_s)


def run(*, is_quick: bool) -> None:
    """Measure and print."""
    runs = 5 if is_quick else 20
    policies = {"levels of 2018": by_level(1.0), "levels of 2022": by_level(2.0, 3.0), "Batchyard": ours()}
    times = f"a volume takes {GROW_S[0]:g} to {GROW_S[1]:g} s (assumed)"
    print(f"\n(g) A writer fills {WRITE // GIB:,} GiB, beginning with {INITIAL // GIB}; {times}. Simulated, {runs} runs each")
    print("  runs that met a full disk while a volume could be had; MB/s that the writer came to, waiting included")
    print("  " + f"{'writer MB/s':<20}" + "".join(f"{rate:>16,}" for rate in RATES_MB_S))
    for name, policy in policies.items():
        cells = []
        for rate in RATES_MB_S:
            outcomes = [simulate(policy, rate, seed) for seed in range(runs)]
            full = sum(one.was_full for one in outcomes) / runs
            speed = sum(one.mb_s for one in outcomes) / runs
            cells.append(f"{f'{full:.0%} at {speed:,.0f}':>16}")
        print("  " + f"{name:<20}" + "".join(cells), flush=True)
