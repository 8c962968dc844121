"""Watching a run until all its jobs have ended, and taking one Spot instance away under it."""

from __future__ import annotations

import collections
import dataclasses
import pathlib
import time
import typing

from variant_calling import endpoint, service, submission

if typing.TYPE_CHECKING:
    import collections.abc

POLL_S = 0.25
RECLAIM_NOTICE_S = 1.0
"""The notice that the demo gives; on AWS it is two minutes."""
STATUSES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")


@dataclasses.dataclass(frozen=True)
class Standing:
    """Where a step stands: its jobs by status. An array's jobs are its children."""

    counts: collections.Counter[str]

    @property
    def is_final(self) -> bool:
        """Whether all its jobs have ended."""
        return all(status in submission.FINAL for status in self.counts.elements())

    @property
    def ended(self) -> int:
        """How many of its jobs have ended."""
        return sum(self.counts[status] for status in submission.FINAL)


Picture = dict[str, Standing]
"""Where every step stands, by its name."""


class Reclaim:
    """Takes the instance of one job away as soon as the job runs there, unless it has lost another one before."""

    def __init__(self, clients: endpoint.Clients, service_folder: pathlib.Path, job_id: str) -> None:
        self.clients = clients
        self.service_folder = service_folder
        self.job_id = job_id
        self.instance: str | None = None

    def look(self) -> str | None:
        """Reclaim if it is time: the instance at the moment it is reclaimed, else None."""
        if self.instance is not None:
            return None
        job = submission.describe(self.clients, [self.job_id]).get(self.job_id, {})
        arn = (job.get("container") or {}).get("containerInstanceArn", "")
        if job.get("status") != "RUNNING" or not arn or job.get("attempts"):
            return None
        self.instance = arn.rpartition("/")[2]
        try:
            service.reclaim(self.service_folder, self.instance, RECLAIM_NOTICE_S)
        except service.ServiceError as refusal:
            if "does not exist" not in str(refusal):  # else it is gone already: the service died before it could answer the first time
                raise
        return self.instance


def standing(job: dict[str, typing.Any]) -> Standing:
    """Where a step stands, from DescribeJobs' detail of its job."""
    array = job.get("arrayProperties") or {}
    if "size" not in array:
        return Standing(collections.Counter([job["status"]]))
    counts = collections.Counter({status: count for status, count in (array.get("statusSummary") or {}).items() if count})
    # until the parent has counted its children, all of them are where the parent is
    counts[job["status"] if job["status"] not in submission.FINAL else "PENDING"] += array["size"] - counts.total()
    return Standing(+counts)


def until_ended(
    clients: endpoint.Clients,
    job_ids: dict[str, str],
    *,
    reclaim: Reclaim | None,
    show: collections.abc.Callable[[Picture, str | None], None],
    within_s: float,
) -> Picture:
    """Poll until every step has ended: the last picture. `show` gets each picture and a word on what happened.

    TimeoutError when it takes longer than `within_s`.
    """
    deadline = time.monotonic() + within_s
    while True:
        details = submission.describe(clients, list(job_ids.values()))
        missing = [name for name, job_id in job_ids.items() if job_id not in details]
        if missing:
            raise LookupError(f"the service does not know jobs that it had accepted: {', '.join(missing)}")
        picture = {name: standing(details[job_id]) for name, job_id in job_ids.items()}
        taken = reclaim.look() if reclaim and not picture["align"].is_final else None
        show(picture, f"reclaimed Spot instance {taken} under align[{_index(reclaim)}]" if taken else None)
        if all(details[job_id]["status"] in submission.FINAL for job_id in job_ids.values()):
            return picture
        if time.monotonic() > deadline:
            raise TimeoutError(f"the workflow did not end within {within_s:.0f} s")
        time.sleep(POLL_S)


def _index(reclaim: Reclaim | None) -> str:
    return reclaim.job_id.rpartition(":")[2] if reclaim else ""
