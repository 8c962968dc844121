"""cancel and terminate: take back jobs that wait, end jobs that run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from batchyard.main.client import EXIT_FAILED, Client, Trouble
from batchyard.main.commands.draw import FINAL, emit, say
from batchyard.main.commands.lookup import details, unknown
from batchyard.main.commands.place import talks


@click.command()
@click.argument("job_ids", metavar="JOB...", nargs=-1, required=True)
@click.option("--reason", default="Cancelled from the command line", show_default=True, help="What the job's statusReason will say.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@talks
def cancel(client: Client, *, job_ids: Sequence[str], reason: str, as_json: bool) -> None:
    """Cancel jobs that have not started.

    Those that run are left alone (see terminate).

    An array is cancelled with all its children.
    """
    _stop(client, "CancelJob", job_ids, reason, as_json)


@click.command()
@click.argument("job_ids", metavar="JOB...", nargs=-1, required=True)
@click.option("--reason", default="Terminated from the command line", show_default=True, help="What the job's statusReason will say.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@talks
def terminate(client: Client, *, job_ids: Sequence[str], reason: str, as_json: bool) -> None:
    """End jobs, whether they wait or run.

    Those that run get SIGTERM, and SIGKILL after 30 seconds.

    An array is ended with all its children.
    """
    _stop(client, "TerminateJob", job_ids, reason, as_json)


def _stop(client: Client, operation: str, job_ids: Sequence[str], reason: str, as_json: bool) -> None:
    """One call per job; unknown jobs, which AWS passes over in silence, are named, and the exit code says so."""
    known = details(client, job_ids)
    outcomes: list[dict[str, Any]] = []
    for job_id in dict.fromkeys(job_ids):
        if job_id not in known:
            outcomes.append({"jobId": job_id, "done": False, "note": unknown(client, job_id).message})
            continue
        job = known[job_id]
        try:
            client.batch(operation, jobId=job["jobId"], reason=reason)
        except Trouble as trouble:
            outcomes.append({"jobId": job["jobId"], "done": False, "note": trouble.message})
            continue
        outcomes.append({"jobId": job["jobId"], "done": True, "note": _note(operation, job["jobId"], job["status"])})
    if as_json:
        emit({"jobs": outcomes})
    else:
        for outcome in outcomes:
            say(f"{outcome['jobId']}  {outcome['note']}")
    if not all(outcome["done"] for outcome in outcomes):
        raise SystemExit(EXIT_FAILED)


def _note(operation: str, job_id: str, status: str) -> str:
    if status in FINAL:
        return f"had already ended: {status}"
    if operation == "CancelJob":
        if status in ("STARTING", "RUNNING"):
            return f"is {status}: cancel does not end it. batchyard terminate {job_id} does"
        return "is cancelled once its dependencies have ended" if status == "PENDING" else "is cancelled"
    return "is being ended"
