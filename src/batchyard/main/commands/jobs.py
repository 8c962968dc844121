"""jobs: what waits, runs and has ended lately, as a table."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import click

from batchyard.main.client import Client
from batchyard.main.commands.draw import FINAL, STATUSES, console, emit, is_terminal, say, table, table_lines
from batchyard.main.commands.lookup import JobDetail, bare_id, details, last_of, why
from batchyard.main.commands.place import talks
from batchyard.main.commands.times import brief
from batchyard.main.commands.times import since as moment_ms

COLUMNS = ("JOB", "NAME", "QUEUE", "STATUS", "AGE", "RAN", "REASON")
UNFINISHED = tuple(status for status in STATUSES if status not in FINAL)
WATCH_EVERY_S = 2.0


@click.command()
@click.option("-q", "--queue", "queues", multiple=True, help="Only this queue (name or ARN)  [all]")
@click.option(
    "-s",
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(STATUSES, case_sensitive=False),
    help="Only this status  [all unfinished, and those that ended lately]",
)
@click.option("--array", metavar="PARENT", help="The children of this array job.")
@click.option("--since", default="1d", show_default=True, help="How far back finished jobs were submitted (10m, 2h, 3d, a time).")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Rows per queue and status at most.")
@click.option("--watch", is_flag=True, help="Draw it anew every two seconds, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document (with --watch: one per line).")
@talks
def jobs(
    client: Client,
    *,
    queues: Sequence[str],
    statuses: Sequence[str],
    array: str | None,
    since: str,
    limit: int,
    watch: bool,
    as_json: bool,
) -> None:
    """List the jobs that wait, run, or ended lately.

    An array is one row (its parent); --array lists its children.
    """
    since_ms = moment_ms(since, _now_ms())
    parent = bare_id(array) if array else None

    def look() -> list[JobDetail]:
        if parent:
            found = _children(client, parent, statuses, limit)
        else:
            found = _all_queues(client, queues, statuses, since_ms, limit)
        return found

    if watch:
        _watch(look, as_json)
    found = look()
    if as_json:
        emit({"jobs": found})
        return
    if not found:
        say("No jobs." if parent or statuses else f"No jobs that wait or run, and none since {since} that have ended.")
        return
    table(COLUMNS, rows(found, _now_ms()))
    _say_what_is_left_out(found, limit)


def _all_queues(client: Client, queues: Sequence[str], statuses: Sequence[str], since_ms: int, limit: int) -> list[JobDetail]:
    """The jobs of the queues, unfinished first, newest first; without `statuses` finished ones only if submitted since `since_ms`."""
    names = [last_of(queue) for queue in queues] or [str(queue["jobQueueName"]) for queue in client.pages("DescribeJobQueues", "jobQueues")]
    found: list[JobDetail] = []
    for name in names:
        listed = [job for status in statuses or UNFINISHED for job in _listed(client, limit, jobQueue=name, jobStatus=status)]
        if not statuses:
            later = [{"name": "AFTER_CREATED_AT", "values": [str(since_ms)]}]
            recent = client.pages("ListJobs", "jobSummaryList", jobQueue=name, filters=later)
            listed += islice((job for job in recent if job["status"] in FINAL and job["createdAt"] >= since_ms), limit)
        found += [job | {"jobQueue": name} for job in _once(listed)]
    return sorted(_completed(client, found), key=lambda job: (job["status"] in FINAL, -job["createdAt"]))


def _children(client: Client, parent: str, statuses: Sequence[str], limit: int) -> list[JobDetail]:
    """The children of an array, by index."""
    listed = [job for status in statuses or STATUSES for job in _listed(client, limit, arrayJobId=parent, jobStatus=status)]
    queue = last_of(str(details(client, [parent]).get(parent, {}).get("jobQueue", "")))
    children = [job | {"jobQueue": queue} for job in _once(listed) if ":" in job["jobId"]]
    return sorted(_completed(client, children), key=lambda job: int(job["jobId"].rpartition(":")[2]))


def _listed(client: Client, limit: int, **where: Any) -> list[JobDetail]:
    return list(islice(client.pages("ListJobs", "jobSummaryList", **where), limit))


def _once(listed: list[JobDetail]) -> list[JobDetail]:
    """A job that moved between two lists stands in both: keep what was seen last."""
    return list({job["jobId"]: job for job in listed}.values())


def _completed(client: Client, found: list[JobDetail]) -> list[JobDetail]:
    """Summaries of AWS's filtered lists lack the start and the reason: those are looked up, for as many as are shown."""
    bare = [job["jobId"] for job in found if job["status"] in FINAL and "startedAt" not in job and "statusReason" not in job]
    known = details(client, bare) if bare else {}
    return [job | {key: known[job["jobId"]][key] for key in _LACKING if key in known.get(job["jobId"], {})} for job in found]


_LACKING = ("startedAt", "stoppedAt", "statusReason", "container")


def rows(found: Sequence[JobDetail], now_ms: int) -> list[tuple[str, ...]]:
    """One row of text per job, for COLUMNS."""
    return [
        (
            job["jobId"],
            job["jobName"] + (f" [{job['arrayProperties']['size']}]" if (job.get("arrayProperties") or {}).get("size") else ""),
            job["jobQueue"],
            job["status"],
            brief(now_ms - job["createdAt"]),
            ran(job, now_ms),
            why(job) if job["status"] in ("RUNNABLE", "FAILED") else "",
        )
        for job in found
    ]


def ran(job: JobDetail, now_ms: int) -> str:
    """How long the latest attempt ran, or has been running; empty if it has not started."""
    started = job.get("startedAt")
    if not started or job["status"] in ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING"):
        return ""
    return brief((job.get("stoppedAt") or now_ms) - started)


def _say_what_is_left_out(found: Sequence[JobDetail], limit: int) -> None:
    counts: dict[tuple[str, str], int] = {}
    for job in found:
        at = (job["jobQueue"], job["status"])
        counts[at] = counts.get(at, 0) + 1
    if any(count >= limit for count in counts.values()):
        say(f"At most {limit} rows per queue and status are shown: --limit N shows more.")


def _watch(look: Callable[[], list[JobDetail]], as_json: bool) -> None:
    """Draws what `look` finds again and again; ends with Ctrl-C."""
    if as_json or not is_terminal():
        while True:
            found = look()
            if as_json:
                emit({"at": _now_ms(), "jobs": found}, on_a_line=True)
            else:
                table(COLUMNS, rows(found, _now_ms()))
                click.echo("")
            time.sleep(WATCH_EVERY_S)
    from rich.live import Live
    from rich.text import Text

    screen = console()
    with Live(console=screen, screen=True, auto_refresh=False) as live:
        while True:
            lines = table_lines(COLUMNS, rows(look(), _now_ms()), screen.width)
            live.update(Text.from_ansi("\n".join([time.strftime("%H:%M:%S"), *lines])), refresh=True)
            time.sleep(WATCH_EVERY_S)


def _now_ms() -> int:
    return int(time.time() * 1000)
