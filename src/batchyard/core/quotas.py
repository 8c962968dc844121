"""What each profile allows: one table (specification, section 7; AWS's service limits), and the bucket that a rate is kept with.

`aws` has AWS's own figures. `open` lifts what only protects a shared cloud, and keeps what keeps one machine's answers quick.
None means: no bound.
"""

from __future__ import annotations

from msgspec import Struct

KIB = 1024
DAY_S = 86_400.0


class Quotas(Struct, frozen=True, kw_only=True):
    """Counts are per account and region."""

    job_queues: int | None
    compute_environments: int | None
    consumable_resources: int | None
    environments_per_queue: int
    definition_bytes: int  # of RegisterJobDefinition
    submission_bytes: int | None  # of SubmitJob
    overrides_bytes: int | None  # of containerOverrides: AWS takes such a job, and then it fails
    submissions_per_s: float | None  # of SubmitJob, per account
    job_retention_s: float | None  # of finished jobs; None keeps them
    definition_retention_s: float | None  # of INACTIVE job definitions


PROFILES = {
    "open": Quotas(
        job_queues=None,
        compute_environments=None,
        consumable_resources=None,
        environments_per_queue=10,
        definition_bytes=1024 * KIB,
        submission_bytes=None,
        overrides_bytes=None,
        submissions_per_s=None,
        job_retention_s=None,
        definition_retention_s=None,
    ),
    "aws": Quotas(
        job_queues=50,
        compute_environments=50,
        consumable_resources=50_000,
        environments_per_queue=3,
        definition_bytes=24 * KIB,
        submission_bytes=30 * KIB,
        overrides_bytes=8192,
        submissions_per_s=50,
        job_retention_s=7 * DAY_S,
        definition_retention_s=180 * DAY_S,
    ),
}


class Bucket:
    """Lets through `rate_per_s` on average, and as many at once as it lets through in one second."""

    __slots__ = ("_at_ms", "_rate", "_tokens")

    def __init__(self, rate_per_s: float, now_ms: int) -> None:
        self._rate = rate_per_s
        self._tokens = rate_per_s
        self._at_ms = now_ms

    def take(self, now_ms: int) -> bool:
        """Whether one more may pass now."""
        passed_ms = max(0, now_ms - self._at_ms)
        self._tokens = min(self._rate, self._tokens + passed_ms * self._rate / 1000)
        self._at_ms = max(self._at_ms, now_ms)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
