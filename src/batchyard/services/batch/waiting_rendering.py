"""DescribeJobs of jobs that have only waited so far: put together from what is stored encoded, and from what all of a kind have in common.

Of very many jobs most wait, and who looks at a hundred of them at random finds none of them encoded. Says the same as
`rendering.job_detail` (a test holds both against each other).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec
from msgspec import Raw

from batchyard.model.glimpse import Glimpse
from batchyard.model.job import Specification, Status
from batchyard.services.batch.several_rendering import PROCESS_MARK, runtime_of_job
from batchyard.services.desk import Desk

_encode = msgspec.json.Encoder().encode

_NETWORK = b',"networkInterfaces":[]'
_MARKED = _NETWORK + b',"runtimePlatform":' + _encode({"operatingSystemFamily": PROCESS_MARK})
_FLAGS = b',"isCancelled":%b,"isTerminated":%b'
_NO_FLAGS = _FLAGS % (b"false", b"false")
_BOOLEANS = {False: b"false", True: b"true"}


def is_plain(kind: Specification) -> bool:
    """Whether jobs of a kind can be shown here: those of one container, on a queue that is first in, first out."""
    return not kind.form and not kind.share


class _Common(NamedTuple):
    """The texts that all jobs of a kind and a status share."""

    arn: bytes
    queue: bytes
    definition: bytes
    container_end: bytes
    is_process: bool


def waiting_details(desk: Desk, glimpses: Iterable[Glimpse]) -> dict[str, Raw]:
    """Entries of DescribeJobs, encoded, by id. Those of which the container has to be looked into are left out."""
    common: dict[tuple[int, Status], _Common] = {}
    shown: dict[str, Raw] = {}
    for glimpse in glimpses:
        job_id, kind, job, spec = glimpse
        key = (id(kind), job.status)  # a kind is one object, and lives longer than this call
        texts = common.get(key)
        if texts is None:
            texts = common[key] = _common(desk, kind, job.status)
        container = bytes(spec.effective)
        if texts.is_process and b"runtimePlatform" in container:
            continue
        shown[job_id] = _detail(glimpse, texts, container, job.status_reason or desk.read.glimpse_reason(job_id, job.status, kind))
    return shown


def _common(desk: Desk, kind: Specification, status: Status) -> _Common:
    is_process = runtime_of_job(desk, kind) == "process"
    return _Common(
        b'{"jobArn":"arn:aws:batch:%b:%b:job/' % (kind.region.encode(), kind.account.encode()),
        b',"jobQueue":%b,"status":"%b","attempts":[],"createdAt":' % (_encode(kind.queue), status.value.encode()),
        b',"jobDefinition":%b,"container":' % _encode(kind.definition),
        _MARKED if is_process else _NETWORK,
        is_process,
    )


def _detail(glimpse: Glimpse, texts: _Common, container: bytes, reason: str) -> Raw:
    job, spec = glimpse.job, glimpse.spec
    job_id, extras = glimpse.id.encode(), bytes(spec.extras)
    end = texts.container_end
    parts = (
        texts.arn,
        job_id,
        b'","jobId":"',
        job_id,
        b'","jobName":',
        _encode(spec.name),
        texts.queue,
        b"%d" % job.created_at_ms,
        texts.definition,
        container[:-1],
        end if len(container) > 2 else end[1:],
        b'},"tags":',
        _encode(spec.tags) if spec.tags else b"{}",
        _FLAGS % (_BOOLEANS[job.is_cancelled], _BOOLEANS[job.is_terminated]) if job.is_cancelled or job.is_terminated else _NO_FLAGS,
        b"," + extras[1:-1] if len(extras) > 2 else b"",
        b',"statusReason":' + _encode(reason) if reason else b"",
        b"}",
    )
    return Raw(b"".join(parts))
