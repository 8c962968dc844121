"""Whose credentials are whose: what a live attempt belongs to, and the role that its job's definition names."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from batchyard.engine.engine import Engine
from batchyard.main.keys import HeldAttempt


def held_by(engine: Engine) -> Callable[[str], HeldAttempt | None]:
    """Looks up what a live attempt belongs to; through the engine, whose yard is another one after it was rebuilt."""

    def held(attempt: str) -> HeldAttempt | None:
        job_id = engine.yard.attempts.get(attempt)
        job = engine.yard.jobs.get(job_id) if job_id is not None else None
        if job is None:
            return None
        return HeldAttempt(job.id, _job_role(engine.yard.specifications[job.spec_id].part_of(job).effective))

    return held


class _Task(msgspec.Struct, rename="camel"):
    task_role_arn: str | None = None


class _Roles(msgspec.Struct, rename="camel"):
    """Of a job's effective container or task, the roles alone: decoding the rest would cost each request of a job."""

    job_role_arn: str | None = None
    task_properties: list[_Task] = []


def _job_role(effective: msgspec.Raw) -> str:
    """The ARN of the role that a job's definition names, "" for none."""
    roles = msgspec.json.decode(effective, type=_Roles)
    return roles.job_role_arn or next((task.task_role_arn for task in roles.task_properties if task.task_role_arn), "")
