"""Ends whoever an earlier node left behind, before anything is reported or started: a lost attempt must not go on working."""

from __future__ import annotations

from batchyard.compute.local.host import Ground
from batchyard.compute.local.journal import Journal, Outcome
from batchyard.compute.local.loop import wall_ms
from batchyard.model.messages import AttemptEnded


def end(ground: Ground, journal: Journal) -> None:
    """Kill the orphans and note their attempts as lost."""
    ground.tree.end_orphans()
    for attempt in list(journal.intents):
        journal.note(Outcome(AttemptEnded(attempt, wall_ms(), "lost", reason="the node that ran it has died")))
    journal.flush()
