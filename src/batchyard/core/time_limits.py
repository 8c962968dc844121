"""jobStateTimeLimitActions: the head of a queue that has been stuck for a named reason for too long is cancelled (specification, 3.7).

The head is the first ready job that does not merely wait for consumable resources. An array's children need the same and are stuck
together, so an array has one time, and ends as a whole.
"""

from __future__ import annotations

from itertools import islice

from batchyard.core import consumables, gang_reasons, reasons
from batchyard.model.capacity import Queue, Stuck
from batchyard.model.job import Specification
from batchyard.model.view import YardView

CANCELED = "Canceled by JobStateTimeLimit action due to reason: {reason}"
LOOK_PAST = 100  # jobs that wait for consumable resources


def stuck_head(view: YardView, queue: Queue, now_ms: int) -> Stuck | None:
    """What the head is stuck for, as of now; None if it is not, or if no time limit of the queue is about that."""
    waiting = islice(view.ready(queue.arn), LOOK_PAST)
    head = next((w for w in waiting if not any(consumables.reasons(view, w.spec.consumables))), None)
    if head is None:
        return None
    reason = _reason(view, queue, head.spec)
    if reason not in {limit.reason for limit in queue.time_limits}:
        return None
    before = queue.stuck
    if before is not None and (before.job_id, before.reason) == (head.spec.id, reason):
        return before
    return Stuck(head.spec.id, reason, now_ms)


def _reason(view: YardView, queue: Queue, spec: Specification) -> str:
    """AWS's code of what keeps a job at the head; "" for nothing that AWS has a code for.

    More scratch space than there can be is a resource requirement that cannot be met: a time limit for that holds for it too. Scratch space
    that others hold, or that is not healthy, is no reason to end a job.
    """
    if spec.nodes:
        words, own = gang_reasons.head_words(view, queue, spec), gang_reasons.own_words(view, queue, spec)
    else:
        words, own = reasons.head_words(view, queue, spec.needs), reasons.own_words(view, queue, spec.needs)
    return (words or (reasons.JOB_RESOURCE_REQUIREMENT if own else "")).partition(" - ")[0]


def due_ms(queue: Queue, stuck: Stuck | None) -> int | None:
    """When the time of a stuck head is up."""
    if stuck is None:
        return None
    return next((stuck.since_ms + limit.max_time_s * 1000 for limit in queue.time_limits if limit.reason == stuck.reason), None)
