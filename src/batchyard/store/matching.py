"""Whether a job answers a question to the list of jobs (ListJobs filters, specification section 1.8)."""

from __future__ import annotations

from batchyard.model.job import Job, Specification
from batchyard.model.view import JobQuery


def matches(query: JobQuery, job: Job, spec: Specification) -> bool:
    """True if the job satisfies every condition of the query beside queue, array and status."""
    if query.name is not None and not _like(query.name.lower(), spec.name.lower()):
        return False
    if query.share is not None and query.share != spec.share:
        return False
    if query.definition is not None and not _is_definition(query.definition, spec.definition):
        return False
    if query.created_before_ms is not None and job.created_at_ms >= query.created_before_ms:
        return False
    return query.created_after_ms is None or job.created_at_ms > query.created_after_ms


def _like(pattern: str, text: str) -> bool:
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern


def _is_definition(wanted: str, arn: str) -> bool:
    """An ARN means that revision; a name means all its revisions."""
    if wanted.startswith("arn:"):
        return wanted == arn
    name = arn.rpartition("/")[2].rpartition(":")[0]
    return _like(wanted, name)
