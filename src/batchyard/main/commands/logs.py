"""logs: what a job wrote, and what it writes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import click

from batchyard.main.client import EXIT_CANNOT, Client, Trouble
from batchyard.main.commands.draw import emit, say
from batchyard.main.commands.lookup import (
    FileReader,
    JobDetail,
    LogReader,
    container_names,
    detail,
    is_array_parent,
    is_final,
    log_driver,
    log_group,
    log_reader,
    log_sources,
    node_ids,
    of_container,
    why,
)
from batchyard.main.commands.place import talks
from batchyard.main.commands.times import since as moment_ms
from batchyard.main.commands.times import stamp

NAP_NEAR_S = 0.3
NAP_AWS_S = 2.0
LATE_S = 2.0  # AWS shows the last lines a little after the end
PATIENCE_S = 120.0


@click.command()
@click.argument("job_id", metavar="JOB")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job ends, through all its attempts.")
@click.option("--attempt", type=click.IntRange(1, 10), help="The log of this attempt  [the latest]")
@click.option(
    "--container", metavar="NAME", help="Of a job of several containers, this one  [the one that failed, else the first essential one]"
)
@click.option("--since", help="Only what was written since (10m, 2h, a time).")
@click.option("--timestamps", is_flag=True, help="Put the time before each line.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document (with --follow: one event per line).")
@talks
def logs(
    client: Client,
    *,
    job_id: str,
    follow: bool,
    attempt: int | None,
    container: str | None,
    since: str | None,
    timestamps: bool,
    as_json: bool,
) -> None:
    """Print a job's log. JOB is an id, a child's id (ID:3) or a node's (ID#1; a multi-node job's own id is its main node)."""
    start_ms = moment_ms(since, int(time.time() * 1000)) if since else None
    job = detail(client, job_id)
    if is_array_parent(job):
        size = job["arrayProperties"]["size"]
        fix = f"Name a child: batchyard logs {job['jobId']}:0 (to {size - 1}); `batchyard jobs --array {job['jobId']}` lists them."
        raise Trouble(f"{job['jobId']} is an array of {size} jobs and has no log of its own.", fix, exit_code=EXIT_CANNOT)
    for main_node in node_ids(job)[:1]:
        job = detail(client, main_node)
    job = of_container(job, container or "")
    if follow:
        client.patience_s = PATIENCE_S
        for event in _followed(client, job, attempt, start_ms):
            _print(event, timestamps=timestamps, as_json=as_json)
        return
    stream = _stream(job, attempt)
    if not stream:
        raise _no_log(job, attempt)
    reader = log_reader(client, job, stream, start_ms)
    if as_json:
        where = {"logGroupName": log_group(job), "logStreamName": stream} if isinstance(reader, LogReader) else reader.where
        emit({**where, "events": list(reader.read())})
        return
    for event in reader.read():
        _print(event, timestamps=timestamps, as_json=False)


def _print(event: dict[str, Any], *, timestamps: bool, as_json: bool) -> None:
    if as_json:
        emit(event, on_a_line=True)
        return
    message = str(event["message"]).rstrip("\n")
    click.echo(f"{stamp(event['timestamp'])}  {message}" if timestamps else message)


def _stream(job: JobDetail, attempt: int | None) -> str:
    """Where the log of an attempt is (None: of the latest that has one); "" if there is none."""
    streams = log_sources(job)
    if attempt is not None:
        return streams[attempt - 1] if attempt <= len(streams) else ""
    return next((stream for stream in reversed(streams) if stream), "")


def _no_log(job: JobDetail, attempt: int | None) -> Trouble:
    if log_driver(job) == "none":
        return Trouble(f"{job['jobId']} has the log driver none: what it writes is not kept.", exit_code=EXIT_CANNOT)
    tried = len(job.get("attempts") or [])
    if attempt is not None and (tried or is_final(job)):
        return Trouble(
            f"{job['jobId']} has no log of an attempt {attempt}.", f"It is {job['status']}, with {tried} attempts that have ended."
        )
    if is_final(job):
        return Trouble(f"{job['jobId']} never ran, so there is no log: it is {job['status']} ({why(job) or 'no reason given'}).")
    fix = f"It is {job['status']}: batchyard explain {job['jobId']} says why. With --follow its log is waited for."
    return Trouble(f"{job['jobId']} has not started yet, so there is no log.", fix)


def _followed(client: Client, job: JobDetail, attempt: int | None, start_ms: int | None) -> Iterator[dict[str, Any]]:
    """The events of all attempts (or of one) as they come, until the job (or the attempt) has ended and nothing is left."""
    nap_s = NAP_NEAR_S if client.place.is_near else NAP_AWS_S
    readers: list[LogReader | FileReader] = []
    ended_at: float | None = None
    names = container_names(job)
    first = attempt or max(1, len(log_sources(job)))  # what came before the latest attempt is not asked for
    while True:
        streams = log_sources(job)
        for number, stream in enumerate(streams[first - 1 : attempt], first):
            if number - first >= len(readers):
                if readers or number > 1:
                    say(f"--- attempt {number} ---")
                readers.append(log_reader(client, job, stream, start_ms))
        for reader in readers:
            yield from reader.read()
        over = is_final(job) or (attempt is not None and attempt <= len(job.get("attempts") or []))
        if over and (client.place.is_near or (ended_at is not None and time.monotonic() - ended_at > LATE_S)):
            break
        ended_at = ended_at or (time.monotonic() if over else None)
        time.sleep(nap_s)
        job = of_container(detail(client, job["jobId"]), names[0] if names else "")
    if not readers:
        raise _no_log(job, attempt)
