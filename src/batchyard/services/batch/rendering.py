"""Shows jobs as AWS shows them: the detail of DescribeJobs and the summary of ListJobs.

Members that say nothing are left out, lists and maps of the container are there even when empty (API reference, JobDetail).
"""

from __future__ import annotations

from itertools import islice
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from batchyard.core import loglines
from batchyard.model.job import Attempt, Job, Specification
from batchyard.services.batch import several_rendering
from batchyard.services.batch.several_rendering import PROCESS_MARK, runtime_of_job
from batchyard.services.desk import Desk

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode

_MOST_ENCODED = 4096
_END = b"," + _encode({"networkInterfaces": [], "runtimePlatform": {"operatingSystemFamily": PROCESS_MARK}})[1:]


class _Encoded(NamedTuple):
    """A detail as it was last sent, and all that it was made of."""

    job: Job
    spec: Specification
    reason: str
    text: Raw


def encoded_detail(desk: Desk, job: Job, spec: Specification) -> Raw:
    """One entry of DescribeJobs, encoded. Who waits for jobs asks for the same ones again and again, and mostly nothing has changed."""
    if job.is_array or job.is_multi_node:  # these count their parts
        return Raw(_encode(job_detail(desk, job, spec)))
    reason = _reason(desk, job, spec)
    known: _Encoded | None = desk.encoded.get(job.id)
    if known is not None and known.job is job and known.spec is spec and known.reason == reason:
        return known.text
    if len(desk.encoded) >= _MOST_ENCODED:
        for oldest in list(islice(desk.encoded, _MOST_ENCODED // 2)):
            del desk.encoded[oldest]
    text = Raw(_encode(_detail(desk, job, spec, reason)))
    desk.encoded[job.id] = _Encoded(job, spec, reason, text)
    return text


def job_detail(desk: Desk, job: Job, spec: Specification) -> dict[str, Any]:
    """One entry of DescribeJobs."""
    return _detail(desk, job, spec, _reason(desk, job, spec))


def _detail(desk: Desk, job: Job, spec: Specification, reason: str) -> dict[str, Any]:
    spec = spec.part_of(job)
    detail: dict[str, Any] = {
        "jobArn": arn_of_job(job, spec),
        "jobName": spec.name,
        "jobId": job.id,
        "jobQueue": spec.queue,
        "status": job.status.value,
        "attempts": [_attempt(spec, attempt) for attempt in job.attempts],
        "createdAt": job.created_at_ms,
        "jobDefinition": spec.definition,
        "container": {} if spec.form else _container(desk, job, spec),
        "tags": spec.tags if job.index is None and job.node is None else {},
        "isCancelled": job.is_cancelled,
        "isTerminated": job.is_terminated,
    }
    detail.update(_decode(spec.extras))
    if spec.share:
        detail |= {"shareIdentifier": spec.share, "schedulingPriority": spec.priority}
    _add_outcome(job, reason, detail)
    if spec.form and not job.is_multi_node:
        several_rendering.add(desk, job, spec, detail)
    if job.is_array:
        detail["arrayProperties"] = {
            "statusSummary": _status_summary(desk, job),
            "statusSummaryLastUpdatedAt": desk.now_ms(),
            "size": spec.array_size,
        }
    elif job.index is not None:
        detail["arrayProperties"] = {"statusSummary": {}, "index": job.index}
    elif job.node is not None:
        detail["nodeDetails"] = {"nodeIndex": job.node, "isMainNode": job.node == spec.main_node}
    elif job.is_multi_node:
        del detail["container"]  # each node has its own
    return detail


def job_summary(desk: Desk, job: Job, spec: Specification) -> dict[str, Any]:
    """One entry of ListJobs."""
    summary: dict[str, Any] = {
        "jobArn": arn_of_job(job, spec),
        "jobId": job.id,
        "jobName": spec.name,
        "createdAt": job.created_at_ms,
        "status": job.status.value,
        "jobDefinition": spec.definition,
        "isCancelled": job.is_cancelled,
        "isTerminated": job.is_terminated,
    }
    if spec.share:
        summary["shareIdentifier"] = spec.share
    _add_outcome(job, _reason(desk, job, spec), summary)
    container = {} if job.is_array else _exit(job.latest)
    if container:
        summary["container"] = container
    if job.is_array:
        summary["arrayProperties"] = {"size": spec.array_size, "statusSummary": _status_summary(desk, job)}
    elif job.index is not None:
        summary["arrayProperties"] = {"index": job.index}
    elif job.node is not None:
        summary["nodeProperties"] = {"isMainNode": job.node == spec.main_node, "numNodes": spec.num_nodes, "nodeIndex": job.node}
    elif job.is_multi_node:
        summary["nodeProperties"] = {"numNodes": spec.num_nodes}
    return summary


def arn_of_job(job: Job, spec: Specification) -> str:
    """A job's ARN."""
    return f"arn:aws:batch:{spec.region}:{spec.account}:job/{job.id}"


def _add_outcome(job: Job, reason: str, shown: dict[str, Any]) -> None:
    if reason:
        shown["statusReason"] = reason
    if job.started_at_ms is not None:
        shown["startedAt"] = job.started_at_ms
    if job.stopped_at_ms is not None:
        shown["stoppedAt"] = job.stopped_at_ms


def _reason(desk: Desk, job: Job, spec: Specification) -> str:
    if job.status_reason or not job.status.is_waiting:
        return job.status_reason
    return desk.read.waiting_reason(job, spec)


def _status_summary(desk: Desk, job: Job) -> dict[str, int]:
    return {status.value: count for status, count in desk.read.summary(job).items()}


def _container(desk: Desk, job: Job, spec: Specification) -> dict[str, Any] | Raw:
    """The effective container, and what the latest attempt made of it. Where it has none, the text that is stored is that of the answer but
    for its end."""
    if job.latest is None and runtime_of_job(desk, spec) == "process" and b"runtimePlatform" not in (stored := bytes(spec.effective)):
        return Raw(stored[:-1] + (_END if len(stored) > 2 else _END[1:]))
    container = _decode(spec.effective)
    container["networkInterfaces"] = []
    if runtime_of_job(desk, spec) == "process":
        container["runtimePlatform"] = {**container.get("runtimePlatform", {}), "operatingSystemFamily": PROCESS_MARK}
    latest = job.latest
    if latest is not None and not job.is_array:
        container.update(_run(spec, latest))
    return container


def _attempt(spec: Specification, attempt: Attempt) -> dict[str, Any]:
    if spec.form:
        return several_rendering.attempt(spec, attempt)
    return {"container": {**_run(spec, attempt), "networkInterfaces": []}, **several_rendering.course(attempt)}


def _run(spec: Specification, attempt: Attempt) -> dict[str, Any]:
    """Where an attempt ran and how it ended. The log stream, if its driver has one, shows once the attempt has started."""
    shown: dict[str, Any] = {**several_rendering.place(spec, attempt), **_exit(attempt)}
    if attempt.started_at_ms is not None and loglines.has_stream(spec.effective):
        shown["logStreamName"] = attempt.log_stream
    return shown


def _exit(attempt: Attempt | None) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if attempt is not None:
        if attempt.exit_code is not None:
            shown["exitCode"] = attempt.exit_code
        if attempt.reason:
            shown["reason"] = attempt.reason[:255]
    return shown
