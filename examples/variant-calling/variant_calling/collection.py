"""What a run leaves behind: records of its jobs, its logs in the log bucket, its results on this machine."""

from __future__ import annotations

import concurrent.futures
import pathlib
import typing

import botocore.exceptions

from variant_calling import endpoint, patience, reckoning, service, submission

LOG_GROUP = "/aws/batch/job"
CALLS_AT_ONCE = 4


def records(
    clients: endpoint.Clients, run: submission.Run, job_ids: dict[str, str], service_folder: pathlib.Path
) -> list[reckoning.Record]:
    """A record of every job of the run, in the order of the steps and their children."""
    single = submission.single_jobs(run, job_ids)
    details = submission.describe(clients, single)
    with concurrent.futures.ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        costs = dict(zip(single, pool.map(lambda job_id: service.cost_usd(service_folder, job_id), single), strict=True))
    made: dict[str, list[reckoning.Record]] = {}
    for step in run.steps:
        made[step.name] = []
        for index, job_id in enumerate(submission.children(job_ids[step.name], step)):
            after = [record for earlier in step.after for record in made[earlier]]
            after += [made[step.lockstep_after][index]] if step.lockstep_after else []
            made[step.name].append(reckoning.record(step.name, details[job_id], costs[job_id], spot=not step.urgent, after=after))
    return [record for step in run.steps for record in made[step.name]]


def archive_logs(
    clients: endpoint.Clients, run: submission.Run, all_records: list[reckoning.Record], bucket: str, folder: pathlib.Path
) -> list[str]:
    """Copy the log of every attempt to the log bucket and to the folder: the keys in the bucket."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [
        (attempt.stream, f"{record.label.replace('[', '-').rstrip(']')}.attempt-{number}.log")
        for record in all_records
        for number, attempt in enumerate(record.attempts, 1)
        if attempt.stream
    ]

    def one(stream: str, name: str) -> str:
        path = folder / name
        path.write_text("".join(f"{line}\n" for line in log_lines(clients, stream)), encoding="utf-8")
        key = f"jobs/{run.name}/{name}"
        patience.patiently(lambda: clients.s3.put_object(Bucket=bucket, Key=key, Body=path.read_bytes()))
        return key

    with concurrent.futures.ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        return list(pool.map(lambda each: one(*each), wanted))


def log_lines(clients: endpoint.Clients, stream: str) -> list[str]:
    """All messages of a log stream, the oldest first; empty when the job never wrote one and there is no stream."""
    lines: list[str] = []
    token: str | None = None
    while True:
        request: dict[str, typing.Any] = {"logGroupName": LOG_GROUP, "logStreamName": stream, "startFromHead": True}
        if token:
            request["nextToken"] = token
        try:
            answer = patience.patiently(lambda request=request: clients.logs.get_log_events(**request))  # type: ignore[misc]
        except botocore.exceptions.ClientError as problem:
            if problem.response["Error"]["Code"] == "ResourceNotFoundException":
                return lines
            raise
        lines += [event["message"] for event in answer["events"]]
        if answer["nextForwardToken"] == token:
            return lines
        token = answer["nextForwardToken"]
