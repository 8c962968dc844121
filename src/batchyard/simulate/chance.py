"""The dice of a simulation: whether a fault happens now, and how often each kind has."""

from __future__ import annotations

from collections import Counter
from random import Random

from batchyard.simulate.scenario import Faults


class Chance:
    """Asked with the name of a fault. `stop` ends all faults, so that the end of a run can be judged."""

    def __init__(self, seed: int, faults: Faults) -> None:
        self.fired: Counter[str] = Counter()
        self._random = Random(f"faults {seed}")
        self._faults = faults
        self._stopped = False

    def __call__(self, kind: str) -> bool:
        likelihood: float = getattr(self._faults, kind)
        if self._stopped or not likelihood or self._random.random() >= likelihood:
            return False
        self.fired[kind] += 1
        return True

    def stop(self) -> None:
        self._stopped = True


class Violation(AssertionError):
    """Something that must always hold does not."""


def require(condition: bool, what: str) -> None:
    """Raise a Violation unless the condition holds."""
    if not condition:
        raise Violation(what)
