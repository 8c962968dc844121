"""job: everything that is known about one job."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import click

from batchyard.main.client import Client, Trouble
from batchyard.main.commands.draw import STATUSES, emit, heading, pairs, table
from batchyard.main.commands.jobs import ran
from batchyard.main.commands.lookup import (
    JobDetail,
    container_of,
    detail,
    details,
    is_array_parent,
    is_final,
    last_of,
    log_group,
    log_sources,
    log_streams,
    node_ids,
)
from batchyard.main.commands.place import talks
from batchyard.main.commands.sizes import size
from batchyard.main.commands.times import moment, span

MOST_NODES = 20  # that are shown one by one


@click.command()
@click.argument("job_id", metavar="JOB")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document: AWS's JobDetail, and `cost` where it is known.")
@talks
def job(client: Client, *, job_id: str, as_json: bool) -> None:
    """Show everything about one job.

    Its state and why, its times, attempts, resources, log streams and cost.

    JOB is an id, a child's id (ID:3) or an ARN.
    """
    found = detail(client, job_id)
    cost = _cost(client, found["jobId"])
    if as_json:
        emit(found | ({"cost": cost} if cost else {}))
        return
    now_ms = int(time.time() * 1000)
    pairs(_identity(found))
    heading("Times")
    pairs(_times(found, now_ms))
    if is_array_parent(found):
        heading("Children")
        summary = found["arrayProperties"].get("statusSummary") or {}
        pairs([(status, str(summary[status])) for status in STATUSES if summary.get(status)])
    elif nodes := node_ids(found)[:MOST_NODES]:
        heading("Nodes")
        known = details(client, nodes)
        pairs([(f"#{id.rpartition('#')[2]}", _state(known[id])) for id in nodes if id in known])
    else:
        heading("Container")
        pairs([*_container(found), ("Scratch space", f"{size(cost['scratchMiB'])} promised" if cost.get("scratchMiB") else "")])
    if found.get("attempts"):
        heading("Attempts")
        table(*_attempts(found["attempts"], cost.get("attempts") or []))
        columns, rows = _containers(cost.get("attempts") or [])
        if rows:
            heading("What their containers used")
            table(columns, rows)
    if cost.get("usd"):
        heading(f"Cost: {usd(cost['usd'])} USD")
    _next_steps(found)


def _state(node: JobDetail) -> str:
    return "  ".join(filter(None, (node["status"], node.get("statusReason", ""))))


def _cost(client: Client, job_id: str) -> dict[str, Any]:
    """What the service measured and reckoned (cost, memory, CPU); empty where nobody does."""
    if not client.place.is_near:
        return {}
    try:
        return client.own("cost", jobId=job_id)
    except Trouble:  # an extra: AWS's own answer is shown all the same
        return {}


def _identity(job: JobDetail) -> list[tuple[str, str]]:
    depends_on = [f"{entry.get('jobId', 'SEQUENTIAL')} {entry.get('type', '')}".strip() for entry in job.get("dependsOn") or []]
    retry = job.get("retryStrategy") or {}
    return [
        ("Job", job["jobId"]),
        ("Name", job["jobName"]),
        ("Status", job["status"]),
        ("Reason", job.get("statusReason", "")),
        ("Queue", last_of(job["jobQueue"])),
        ("Definition", last_of(job["jobDefinition"])),
        ("Array", f"{job['arrayProperties']['size']} children" if is_array_parent(job) else ""),
        ("Depends on", "\n".join(depends_on)),
        ("Attempts", f"{len(job.get('attempts') or [])} ended, {retry.get('attempts', 1)} at most" if not is_array_parent(job) else ""),
        ("Timeout", span(1000 * job["timeout"]["attemptDurationSeconds"]) if job.get("timeout") else ""),
        ("Cancelled", "yes" if job.get("isCancelled") else ""),
        ("Terminated", "yes" if job.get("isTerminated") else ""),
        ("Parameters", _mapping(job.get("parameters") or {})),
        ("Tags", _mapping(job.get("tags") or {})),
    ]


def _times(job: JobDetail, now_ms: int) -> list[tuple[str, str]]:
    return [
        ("Submitted", f"{moment(job['createdAt'])}  ({span(now_ms - job['createdAt'])} ago)"),
        ("Started", moment(job.get("startedAt"))),
        ("Stopped", moment(job.get("stoppedAt"))),
        ("Ran" if is_final(job) else "Has run", ran(job, now_ms)),
    ]


def _container(job: JobDetail) -> list[tuple[str, str]]:
    import shlex

    container = container_of(job)
    needs = {entry["type"]: entry["value"] for entry in container.get("resourceRequirements") or []}
    environment = {entry["name"]: entry.get("value", "") for entry in container.get("environment") or []}
    return [
        ("Image", container.get("image", "")),
        ("Command", shlex.join(container.get("command") or [])),
        ("vCPUs", str(needs.get("VCPU") or container.get("vcpus") or "")),
        ("Memory", f"{needs.get('MEMORY') or container.get('memory')} MiB" if needs.get("MEMORY") or container.get("memory") else ""),
        ("GPUs", str(needs.get("GPU", ""))),
        ("Environment", _mapping(environment)),
        ("Exit code", str(container.get("exitCode", ""))),
        ("Reason", container.get("reason", "")),
        ("Instance", last_of(container.get("containerInstanceArn", ""))),
        ("Log group", log_group(job) if log_streams(job) else ""),
        ("Log stream", (log_streams(job) or [""])[-1]),
    ]


_USED = ["PEAK", "CPU", "READ", "WRITTEN", "DISK PEAK"]


def _attempts(attempts: Sequence[JobDetail], used: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """The table of attempts: columns and rows; what was measured stands in columns of its own where there is anything."""
    columns = ["#", "STARTED", "RAN", "EXIT", "REASON", "LOG STREAM"]
    rows = []
    for number, attempt in enumerate(attempts, 1):
        container = container_of(attempt)
        started, stopped = attempt.get("startedAt"), attempt.get("stoppedAt")
        reasons = [attempt.get("statusReason", ""), container.get("reason", "")]
        rows.append(
            [
                str(number),
                moment(started),
                span(stopped - started) if started and stopped else "",
                str(container.get("exitCode", "")),
                "; ".join(reason for reason in reasons if reason),
                container.get("logStreamName", ""),
            ]
        )
    if used:
        columns[4:4] = [*_USED, "USD"]
        by_number = {measured["number"]: measured for measured in used}
        for row in rows:
            measured = by_number.get(int(row[0]), {})
            row[4:4] = [*_figures(measured), usd(measured["usd"]) if measured.get("usd") else ""]
    return columns, rows


def _containers(used: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """The table of what the containers of tasks used: columns and rows, none where attempts have one container."""
    columns = ["#", "CONTAINER", *_USED[:-1]]
    return columns, [
        [str(attempt["number"]), container["name"], *_figures(container)[:-1]]
        for attempt in used
        for container in attempt.get("containers", [])
    ]


def _figures(used: dict[str, Any]) -> list[str]:
    """What was measured of an attempt or a container, for the columns `_USED`."""
    cpu_s = used.get("cpuSeconds")
    disk = [size(used.get(name)) for name in ("readMiB", "writtenMiB", "diskPeakMiB")]
    return [size(used.get("peakMemoryMiB")), span(1000 * cpu_s) if cpu_s is not None else "", *disk]


def usd(amount: float) -> str:
    """US dollars to the millionth."""
    return f"{amount:.6f}" if amount >= 1e-6 else "< 0.000001"


def _next_steps(job: JobDetail) -> None:
    job_id = job["jobId"]
    if is_array_parent(job):
        heading(f"Its children: batchyard jobs --array {job_id}")
    elif node_ids(job) and job.get("startedAt"):
        heading(f"The log of its main node: batchyard logs {job_id}   of node n: batchyard logs '{job_id}#n'")
    elif log_sources(job):
        heading(f"Its log: batchyard logs {job_id}")
    elif not is_final(job):
        heading(f"Why it waits: batchyard explain {job_id}")


def _mapping(pairs_of: dict[str, str]) -> str:
    return "\n".join(f"{name}={value}" for name, value in pairs_of.items())
