"""What EventBridge would be told of jobs and queues: the envelope and the two kinds of events of Batch (specification, section 2.12)."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Iterator
from typing import Any

import msgspec

from batchyard.engine.reader import EngineReader
from batchyard.model.job import Job, Specification, Status
from batchyard.services.batch.rendering import arn_of_job, job_detail
from batchyard.store.outbox import Move

SOURCE = "aws.batch"
STATE_CHANGE = "Batch Job State Change"
QUEUE_BLOCKED = "Batch Job Queue Blocked"

Happening = dict[str, Any]
"""One event in EventBridge's form: plain values, as JSON has them."""


def envelope(id: str, kind: str, source: str, account: str, region: str, at_ms: int, resources: list[str], detail: Any) -> Happening:
    """The event, with the members and in the order that EventBridge has."""
    return {
        "version": "0",
        "id": id,
        "detail-type": kind,
        "source": source,
        "account": account,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_ms // 1000)),
        "region": region,
        "resources": resources,
        "detail": detail,
    }


def of_move(desk: Any, move: Move) -> Iterator[Happening]:
    """The events of one move. Children of an array that never had a record of their own are told of when they fail with it."""
    read: EngineReader = desk.read
    spec = read.specification(move.job.spec_id)
    if spec is None:  # forgotten meanwhile
        return
    if move.job.is_array and move.job.status is Status.FAILED:
        for child in read.children_without_record(move.job, spec):
            yield _state_change(desk, child, spec, move)
    yield _state_change(desk, move.job, spec, move)


def _state_change(desk: Any, job: Job, spec: Specification, move: Move) -> Happening:
    """The same event has the same id whenever it is made, so that who gets it twice can tell."""
    digest = hashlib.sha256(f"{job.id}/{move.seq}/{move.at_ms}".encode()).digest()
    id = str(uuid.UUID(bytes=digest[:16], version=4))
    return envelope(
        id, STATE_CHANGE, SOURCE, spec.account, spec.region, move.at_ms, [arn_of_job(job, spec)], plain(job_detail(desk, job, spec))
    )


def of_blocked(desk: Any, job: Job, spec: Specification, words: str, now_ms: int) -> Happening:
    """The head of a queue cannot start as things are; `words` are AWS's statusReason for it."""
    detail = plain(job_detail(desk, job, spec)) | {"statusReason": words}
    resources = [arn_of_job(job, spec), spec.queue]
    return envelope(str(uuid.uuid4()), QUEUE_BLOCKED, SOURCE, spec.account, spec.region, now_ms, resources, detail)


def plain(detail: dict[str, Any]) -> dict[str, Any]:
    """A detail with what is stored encoded (the container) decoded."""
    return msgspec.json.decode(msgspec.json.encode(detail))  # type: ignore[no-any-return]
