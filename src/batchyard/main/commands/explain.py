"""explain: why a job has not started yet, and the smallest change that would start it."""

from __future__ import annotations

from typing import Any

import click

from batchyard.main.client import EXIT_CANNOT, BeyondAws, Client, Trouble
from batchyard.main.commands.draw import Branch, emit, tree
from batchyard.main.commands.lookup import JobDetail, detail, last_of, why
from batchyard.main.commands.place import talks

WAITING = ("SUBMITTED", "PENDING", "RUNNABLE")


@click.command()
@click.argument("job_id", metavar="JOB")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@talks
def explain(client: Client, *, job_id: str, as_json: bool) -> None:
    """Say why a job waits, and what would start it.

    For each compute environment: what is short, and the smallest change that would mend it.

    AWS Batch keeps most of this to itself: there the status, its reason and the place in the queue are shown, and the exit code is 2
    if the job still waits.
    """
    job = detail(client, job_id)
    try:
        answer = client.own("explain", jobId=job["jobId"])
    except BeyondAws as beyond:
        _as_far_as_aws_tells(client, job, as_json, beyond)
        return
    if as_json:
        emit(answer)
        return
    tree((f"{job['jobId']}  {job['jobName']}  {answer.get('status', job['status'])}", _branches(answer)))


def _branches(answer: dict[str, Any]) -> list[Branch]:
    branches: list[Branch] = [(str(answer["summary"]), [])] if answer.get("summary") else []
    if answer.get("position") is not None:
        ahead = answer.get("aheadOf")
        behind = f", ahead of {len(ahead) if isinstance(ahead, list) else ahead}" if ahead else ""
        branches.append((f"position {answer['position']} in its queue{behind}", []))
    if answer.get("awsReason"):
        branches.append((f"in AWS's words: {answer['awsReason']}", []))
    for reason in answer.get("reasons") or []:
        below: list[Branch] = (
            [(f"short: {reason['shortfall']}", [])] if reason.get("shortfall", "") not in answer.get("summary", "") else []
        )
        if reason.get("fix"):
            below.append((f"fix:   {reason['fix']}", []))
        branches.append((last_of(str(reason.get("environment") or "the queue")), below))
    return branches


def _as_far_as_aws_tells(client: Client, job: JobDetail, as_json: bool, beyond: BeyondAws) -> None:
    """What DescribeJobs and GetJobQueueSnapshot say. Raises `beyond`, with its sentence, if the job waits."""
    waits = job["status"] in WAITING
    position = _position(client, job) if job["status"] == "RUNNABLE" else None
    if as_json:
        emit({"jobId": job["jobId"], "status": job["status"], "statusReason": job.get("statusReason"), "position": position})
    else:
        branches: list[Branch] = [(why(job) or "no reason is given", [])]
        if position is not None:
            branches.append((f"position {position} in {last_of(job['jobQueue'])}", []))
        elif waits:
            branches.append(("not among the first 100 of its queue", []))
        branches += [(f"waits for {entry.get('jobId', 'the child before it')}", []) for entry in job.get("dependsOn") or [] if waits]
        tree((f"{job['jobId']}  {job['jobName']}  {job['status']}", branches))
    if waits:
        beyond.message = f"{client.place.name} does not say what is short in which compute environment: only a Batchyard service does."
        beyond.fix = "On AWS, compare the job's vCPUs and memory with `batchyard compute` and its instance types."
        beyond.exit_code = EXIT_CANNOT
        raise beyond


def _position(client: Client, job: JobDetail) -> int | None:
    """The job's place in its queue, from 1; None if it is not among the first hundred or nobody tells."""
    try:
        snapshot = client.batch("GetJobQueueSnapshot", jobQueue=job["jobQueue"])
    except Trouble:  # not allowed, or not offered there: an extra
        return None
    front = (snapshot.get("frontOfQueue") or {}).get("jobs") or []
    for place, entry in enumerate(front, 1):
        if entry.get("jobArn", "").endswith(f"job/{job['jobId']}"):
            return place
    return None
