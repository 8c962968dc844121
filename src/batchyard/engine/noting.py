"""Which moves of jobs are written down for those who want to be told of them (webhooks, rules). While nobody does, nothing is."""

from __future__ import annotations

from batchyard.model.job import Job, Status
from batchyard.store.records import Changes

MOST_MOVES = 1_000_000  # that wait to be handed on; further ones are dropped and counted


class Noting:
    """One per engine. `told` is the number of the last move that was handed on; `room` is how many more may wait.

    `seen` is the number of the last move that callers can see: one that is written, but not merged yet, is not to be told of, or who
    is told would look and find the job as it was before.
    """

    def __init__(self) -> None:
        self.is_wanted = False
        self.told = 0
        self.seen = 0
        self.room = MOST_MOVES
        self.dropped = 0

    def note(self, changes: Changes, old: Job | None, job: Job, now_ms: int) -> None:
        """Write down that `job` came into another status. As on AWS nothing is told of SUBMITTED."""
        if job.status is Status.SUBMITTED or (old is not None and old.status is job.status):
            return
        if self.room <= 0:
            self.dropped += 1
            return
        self.room -= 1
        changes.moves.append((now_ms, job))
