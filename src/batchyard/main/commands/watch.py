"""Seeing one job through: its states as they come, an array's bar, and at the end what went wrong and where."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import click

from batchyard.main.client import EXIT_FAILED, Client, Trouble, Unreachable
from batchyard.main.commands.draw import STATUSES, console, emit, is_terminal, say
from batchyard.main.commands.lookup import JobDetail, detail, details, is_array_parent, is_final, last_lines, unknown, why
from batchyard.main.commands.times import span

NAPS_NEAR_S = (0.1, 1.0)  # the first nap between two looks, and the longest
NAPS_AWS_S = (2.0, 10.0)
PATIENCE_S = 120.0  # a service that is started again is waited for
LAST_LINES = 20
KNOWN_WITHIN_S = 10.0
REASON_EVERY_S = 3.0
FAILED_CHILDREN_SHOWN = 5

Show = Callable[[JobDetail, float], None]


def see_through(client: Client, job_id: str, *, as_json: bool = False) -> int:
    """Watch a job until it ends; 0 if it SUCCEEDED, else 1. Progress goes to stderr, with `as_json` only the end to stdout."""
    started = time.monotonic()
    try:
        job = _watched(client, job_id, None if as_json else started)
    except KeyboardInterrupt:
        return _interrupted(client, job_id)
    except Trouble:
        say(f"The watch ends, {job_id} does not:")
        raise
    if as_json:
        emit(job)
    else:
        _verdict(client, job, time.monotonic() - started)
    return 0 if job["status"] == "SUCCEEDED" else EXIT_FAILED


def _watched(client: Client, job_id: str, started: float | None) -> JobDetail:
    client.patience_s = PATIENCE_S
    if started is None:
        return _until_end(client, job_id, lambda job, elapsed_s: None, 0.0)
    if is_terminal(err=True):
        return _with_rich(client, job_id, started)
    return _until_end(client, job_id, _Lines().show, started)


def _until_end(client: Client, job_id: str, show: Show, started: float) -> JobDetail:
    nap, longest = NAPS_NEAR_S if client.place.is_near else NAPS_AWS_S
    reasons = _Reasons(client)
    while True:
        job = _submitted(client, job_id)
        show(reasons.added(job), time.monotonic() - started)
        if is_final(job):
            return job
        reasons.rest(job_id, nap)
        nap = min(longest, nap * 1.3)


def _submitted(client: Client, job_id: str) -> JobDetail:
    """The job, also where it takes the service a moment to know what it has just accepted."""
    give_up_at = time.monotonic() + KNOWN_WITHIN_S
    while True:
        found = details(client, [job_id]).get(job_id)
        if found:
            return found
        if time.monotonic() >= give_up_at:
            raise unknown(client, job_id)
        time.sleep(NAPS_NEAR_S[1])


class _Reasons:
    """Asks the service now and then why a waiting job waits; not once it turned out that nobody can say."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.can_say = self.can_tell = client.place.is_near
        self.asked_at = time.monotonic()
        self.reason = ""

    def added(self, job: JobDetail) -> JobDetail:
        """The job with the service's reason where it waits and has none of its own."""
        if job["status"] != "RUNNABLE" or job.get("statusReason") or not self.can_say:
            return job
        if time.monotonic() - self.asked_at >= REASON_EVERY_S:
            self.asked_at = time.monotonic()
            try:
                self.reason = str(self.client.own("explain", jobId=job["jobId"]).get("summary", ""))
            except Trouble:  # an extra: what the job itself says is shown all the same
                self.can_say = False
        return job | {"statusReason": self.reason}

    def rest(self, job_id: str, nap_s: float) -> None:
        """Until the next look: shorter where the service can say that the job has ended."""
        if self.can_tell:
            try:
                self.client.own("wait", jobs=[job_id], timeoutSeconds=nap_s)
                return
            except Unreachable:  # it is started again: the next look waits for it
                pass
            except Trouble:  # no service of ours, an older one, or too many wait
                self.can_tell = False
        time.sleep(nap_s)


class _Lines:
    """Plain progress: one line whenever something has changed."""

    def __init__(self) -> None:
        self.last = ""

    def show(self, job: JobDetail, elapsed_s: float) -> None:
        line = standing(job)
        if line != self.last:
            self.last = line
            say(f"{span(elapsed_s * 1000):>12}  {line}")


def standing(job: JobDetail) -> str:
    """How a job stands, in a line: its status and reason, for an array its children by status."""
    summary = (job.get("arrayProperties") or {}).get("statusSummary") or {}
    if is_array_parent(job) and not is_final(job):
        counts = [f"{summary[status]} {status}" for status in reversed(STATUSES) if summary.get(status)]
        return ", ".join(counts) or str(job["status"])
    reason = job.get("statusReason", "")
    return f"{job['status']}  {reason}".rstrip() if job["status"] in ("RUNNABLE", "FAILED") else str(job["status"])


def _with_rich(client: Client, job_id: str, started: float) -> JobDetail:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, SpinnerColumn, TextColumn, TimeElapsedColumn

    first = _submitted(client, job_id)
    size = int((first.get("arrayProperties") or {}).get("size") or 0)
    bar: list[ProgressColumn] = [BarColumn(bar_width=30), MofNCompleteColumn()] if size else []
    text = TextColumn("{task.description}", markup=False)
    with Progress(SpinnerColumn(), TimeElapsedColumn(), *bar, text, console=console(err=True), transient=True) as progress:
        task = progress.add_task(standing(first), total=size or None)

        def show(job: JobDetail, elapsed_s: float) -> None:
            summary = (job.get("arrayProperties") or {}).get("statusSummary") or {}
            ended = summary.get("SUCCEEDED", 0) + summary.get("FAILED", 0)
            progress.update(task, description=standing(job), completed=ended if size else 0)

        return _until_end(client, job_id, show, started)


def _interrupted(client: Client, job_id: str) -> int:
    """Ctrl-C: the job goes on unless the person at the terminal wants it ended."""
    client.patience_s = 0.0
    say("")
    if is_terminal(err=True) and sys.stdin.isatty():
        try:
            end = click.confirm("The job goes on without this watch. End it as well?", default=False, err=True)
        except click.Abort:
            end = False
        if end:
            client.batch("TerminateJob", jobId=job_id, reason="Ended from the command line")
            say(f"{job_id} is being ended.")
            return 130
    say(f"{job_id} goes on. End it: batchyard terminate {job_id}   See it: batchyard job {job_id}")
    return 130


def _verdict(client: Client, job: JobDetail, elapsed_s: float) -> None:
    ran = job["stoppedAt"] - job["startedAt"] if job.get("startedAt") and job.get("stoppedAt") else None
    took = f" (ran {span(ran)})" if ran is not None else ""
    word = click.style(job["status"], fg="green" if job["status"] == "SUCCEEDED" else "red", bold=True)
    click.echo(f"{word} after {span(elapsed_s * 1000)}{took}", err=True)
    if job["status"] == "FAILED":
        say(f"  {why(job)}")
        if is_array_parent(job):
            _failed_children(client, job["jobId"])
        else:
            _last_words(client, job)


def _last_words(client: Client, job: JobDetail) -> None:
    lines = last_lines(client, job, LAST_LINES)
    if lines:
        say(f"Its last lines (all: batchyard logs {job['jobId']}):")
    for line in lines:
        say(f"  {line}")


def _failed_children(client: Client, parent: str) -> None:
    listed: list[dict[str, Any]] = []
    for child in client.pages("ListJobs", "jobSummaryList", arrayJobId=parent, jobStatus="FAILED"):
        listed.append(child)
        if len(listed) > FAILED_CHILDREN_SHOWN:
            break
    for child in listed[:FAILED_CHILDREN_SHOWN]:
        say(f"  {child['jobId']}  {why(child)}")
    if len(listed) > FAILED_CHILDREN_SHOWN:
        say(f"  ... and more: batchyard jobs --array {parent} --status FAILED")
    if listed:
        _last_words(client, detail(client, listed[0]["jobId"]))
