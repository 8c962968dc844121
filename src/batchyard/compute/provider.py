"""What a provider of compute must promise: two verbs in, reports out.

A provider carries out effects and reports what it saw; it draws no conclusion. The engine keeps no outbox: what is still to be
done follows from its records (a STARTING attempt wants its Launch, a terminated one its StopAttempt, a pending instance its
StartInstance), so after every (re)connection the same effects come again. Hence the promises:

- Every effect may come twice, in any order, late. "Already so" counts as done and is not done again.
- An attempt that was once begun is never begun a second time by itself, whatever dies in between; if its outcome is unknown it is
  reported as AttemptEnded(cause="lost").
- An instance that was reported gone does not come back under its id.
- Reports are delivered at least once, oldest first per attempt, and kept (durably) until `acknowledge` says they are recorded.
- After a (re)connection the first report is ProviderBack with all instances and attempts that are held; attempts that have ended
  but are not acknowledged count as held, and their reports follow.
- After each ProviderBack, once it is known, and whenever it has changed by much comes ScratchSeen, the scratch space as it is: never late,
  for what came last holds. While it is not healthy nothing new is placed there; what was placed before may still be launched.
- Commands carry the epoch of the engine's lease; a provider refuses an older epoch than it has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from batchyard.model.messages import Effect, Report

Deliver = Callable[[Sequence[Report]], None]


class Provider(Protocol):
    """One source of compute. `start` connects and begins to deliver; none of the verbs blocks or raises for what is remote."""

    name: str

    async def start(self, deliver: Deliver, epoch: int) -> None:
        """Connect, and deliver from now on. `epoch`: of the engine that asks; what an earlier one asks for is not heard any more."""
        ...

    def carry_out(self, effects: Sequence[Effect]) -> None:
        """Send effects; what cannot be sent now is asked for again after the next ProviderBack."""
        ...

    def acknowledge(self, attempts: Sequence[str]) -> None:
        """The end of these attempts is recorded durably: the provider may forget them."""
        ...

    def announce(self) -> None:
        """Deliver a ProviderBack, and the reports that are not acknowledged, again: the engine starts anew from its store."""
        ...

    async def close(self) -> None:
        """Let go without ending any job."""
        ...
