"""Many seeds one after the other, and what they saw together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from batchyard.simulate import scenario as scenarios
from batchyard.simulate.scenario import KINDS, Scenario
from batchyard.simulate.simulator import Failed, Result, run


class Seen(NamedTuple):
    """What a number of runs were together. `failures` holds the messages of those that broke a rule, by seed."""

    runs: int
    turns: int
    jobs: int
    fired: Counter[str]
    failures: dict[int, str]

    @property
    def never_fired(self) -> list[str]:
        """Faults that no run saw."""
        return [kind for kind in KINDS if not self.fired[kind]]


def run_seeds(seeds: Iterable[int], scenario: Scenario | None = None, each: Callable[[Result], None] = lambda result: None) -> Seen:
    """Run every seed in `scenario`, or in turn through all that there are. `each` is told of every run that was good."""
    results: list[Result] = []
    failures: dict[int, str] = {}
    for seed in seeds:
        try:
            results.append(run(seed, scenario or scenarios.for_seed(seed)))
        except Failed as failed:
            failures[seed] = str(failed)
        else:
            each(results[-1])
    return Seen(len(results) + len(failures), sum(r.turns for r in results), sum(r.jobs for r in results), _together(results), failures)


def _together(results: Sequence[Result]) -> Counter[str]:
    fired: Counter[str] = Counter()
    for result in results:
        fired.update(result.fired)
    return fired
