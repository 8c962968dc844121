"""queues, compute, reclaim: where jobs wait, what they run on, and taking a Spot instance away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from batchyard.main.client import BeyondAws, Client, Trouble
from batchyard.main.commands.draw import FINAL, STATUSES, emit, heading, pairs, say, table
from batchyard.main.commands.lookup import last_of
from batchyard.main.commands.place import talks
from batchyard.main.commands.sizes import size
from batchyard.main.commands.times import moment

COUNTED_AT_MOST = 100
WAITING = ("SUBMITTED", "PENDING", "RUNNABLE")
RUNNING = ("STARTING", "RUNNING")


@click.command()
@click.option("--counts/--no-counts", default=True, help="Count the jobs that wait and run (five calls per queue)  [counts]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@talks
def queues(client: Client, *, counts: bool, as_json: bool) -> None:
    """List the job queues.

    Priority, state, environments in their order, and how many jobs wait and run.
    """
    found = sorted(client.pages("DescribeJobQueues", "jobQueues"), key=lambda queue: (-queue.get("priority", 0), queue["jobQueueName"]))
    if counts:
        found = [queue | {"jobs": _counts(client, queue["jobQueueName"])} for queue in found]
    if as_json:
        emit({"jobQueues": found})
        return
    if not found:
        say("No job queues. Make one: aws batch create-job-queue")
        return
    columns = ["QUEUE", "PRIORITY", "STATE", "STATUS", *(["WAITING", "RUNNING"] if counts else []), "ENVIRONMENTS", "REASON"]
    table(columns, [_queue_row(queue, counts=counts) for queue in found])


def _counts(client: Client, queue: str) -> dict[str, Any]:
    """How many unfinished jobs there are by status; at most a hundred of each are counted, and `more` says whether there are more."""
    tally: dict[str, Any] = {}
    more = []
    for status in STATUSES:
        if status not in FINAL:
            page = client.batch("ListJobs", jobQueue=queue, jobStatus=status, maxResults=COUNTED_AT_MOST)
            tally[status] = len(page.get("jobSummaryList", []))
            if page.get("nextToken"):
                more.append(status)
    return tally | {"more": more}


def _queue_row(queue: dict[str, Any], *, counts: bool) -> list[str]:
    order = sorted(queue.get("computeEnvironmentOrder") or [], key=lambda entry: entry["order"])
    status = queue.get("status", "")
    row = [queue["jobQueueName"], str(queue.get("priority", "")), queue.get("state", ""), status]
    if counts:
        row += [_tally(queue["jobs"], WAITING), _tally(queue["jobs"], RUNNING)]
    reason = queue.get("statusReason", "") if status != "VALID" else ""
    return [*row, " > ".join(last_of(entry["computeEnvironment"]) for entry in order), reason]


def _tally(jobs: dict[str, Any], statuses: Sequence[str]) -> str:
    return f"{sum(jobs[status] for status in statuses)}{'+' if set(statuses) & set(jobs['more']) else ''}"


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@talks
def compute(client: Client, *, as_json: bool) -> None:
    """List the compute environments, their instances and the scratch space.

    vCPUs wanted, least and most; what runs where, and at what price; what of the machine's scratch space is promised to jobs.
    """
    environments = sorted(
        client.pages("DescribeComputeEnvironments", "computeEnvironments"), key=lambda e: str(e["computeEnvironmentName"])
    )
    instances: list[dict[str, Any]] | None
    scratch: dict[str, Any] = {}
    try:
        instances = client.own("instances").get("instances", [])
        scratch = _scratch(client)
        unseen = ""
    except BeyondAws:
        instances = None
        unseen = (
            f"{client.place.name} does not show instances: on AWS they are seen through ECS (aws ecs list-container-instances) and EC2."
        )
    if as_json:
        emit({"computeEnvironments": environments, "instances": instances, "scratch": scratch or None})
        if unseen:
            say(unseen)
        return
    if environments:
        columns = ["ENVIRONMENT", "STATE", "STATUS", "KIND", "VCPUS", "MIN", "MAX", "TYPES", "REASON"]
        table(columns, [_environment_row(environment) for environment in environments])
    else:
        say("No compute environments. Make one: aws batch create-compute-environment")
    if unseen:
        say("\n" + unseen)
    elif instances:
        heading("Instances")
        columns = ["INSTANCE", "ENVIRONMENT", "TYPE", "VCPUS", "MEMORY", "STATE", "USD/H", "JOBS"]
        table(columns, [_instance_row(instance) for instance in instances])
    elif environments:
        say("\nNo instances now.")
    if scratch.get("isKnown"):
        heading("Scratch space")
        pairs(_scratch_rows(scratch))


def _scratch(client: Client) -> dict[str, Any]:
    """How the machine's scratch space stands; empty where nobody says."""
    try:
        return client.own("machine").get("scratch") or {}
    except Trouble:  # an extra
        return {}


def _environment_row(environment: dict[str, Any]) -> list[str]:
    resources = environment.get("computeResources") or {}
    status = environment.get("status", "")
    return [
        environment["computeEnvironmentName"],
        environment.get("state", ""),
        status,
        resources.get("type", environment.get("type", "")),
        str(resources.get("desiredvCpus", "")),
        str(resources.get("minvCpus", "")),
        str(resources.get("maxvCpus", "")),
        " ".join(resources.get("instanceTypes") or []),
        environment.get("statusReason", "") if status != "VALID" else "",
    ]


def _scratch_rows(scratch: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("Not ready", "" if scratch["isHealthy"] else f"{scratch['whyNot']}: no job starts"),
        ("Can be promised", size(scratch["capacityMiB"])),
        ("Promised to jobs", size(scratch["promisedMiB"])),
        ("Taken without a promise", size(scratch["unpromisedMiB"])),
        ("Free", size(scratch["freeMiB"])),
    ]


def _instance_row(instance: dict[str, Any]) -> list[str]:
    state = instance.get("state", "")
    if instance.get("reclaimAt"):
        state += f", taken away at {moment(instance['reclaimAt'])}"
    price = instance.get("pricePerHour")
    return [
        instance["id"],
        last_of(instance.get("environment", "")),
        instance.get("typeName", "") + (" (Spot)" if instance.get("spot") else ""),
        f"{instance.get('vcpus', 0):g}",
        f"{instance.get('memoryMiB', 0)} MiB",
        state,
        f"{price:.4f}" if price else "",
        " ".join(instance.get("jobs") or []),
    ]


@click.command()
@click.argument("instance")
@click.option("--notice", type=click.FloatRange(min=0), metavar="SECONDS", help="How long its jobs are warned  [the service's setting]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@talks
def reclaim(client: Client, *, instance: str, notice: float | None, as_json: bool) -> None:
    """Take a Spot instance away, as AWS would.

    Its jobs get a notice, then the host is gone.

    Its jobs end with "Host EC2 (instance ...) terminated." and are tried again if their retry strategy says so. AWS Batch has no
    such call (there, AWS Fault Injection Service interrupts Spot instances).
    """
    try:
        answer = client.own("reclaim", instance=instance, **({"noticeSeconds": notice} if notice is not None else {}))
    except BeyondAws as beyond:
        beyond.message = f"{client.place.name} cannot take an instance away on demand: only a Batchyard service does."
        beyond.fix = "On AWS, use AWS Fault Injection Service: aws:ec2:send-spot-instance-interruptions."
        raise
    if as_json:
        emit(answer)
        return
    at = moment(answer.get("reclaimAt")) or "once its notice has run out"
    say(f"{instance} is taken away: {at}.")
