"""The archive of a log group: what each attempt of a job wrote, as a plain file in a bucket, with the record of the job beside it.

A log group with the tag `batchyard:log-archive` = `s3://BUCKET/PREFIX` gets

    PREFIX/QUEUE/2026-11-22/NAME/JOB/attempt-1.log      what the attempt wrote, as it wrote it (attempt-1.CONTAINER.log of several)
    PREFIX/QUEUE/2026-11-22/NAME/JOB/job.json           how the job ended, and each of its attempts

for every job whose output goes into that group; the day is that of the submission. It is told of jobs as webhooks are: the moves of jobs
are durable, an event is kept until it is carried out, and carrying it out again changes nothing.
"""

from __future__ import annotations

import functools
import json
import logging
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain, zip_longest
from typing import Any, NamedTuple

from batchyard.core.tasks import LOG_GROUP, log_group_of, log_stream_of
from batchyard.model.fault import Fault
from batchyard.model.tags import LOG_ARCHIVE
from batchyard.services.announcing.happening import STATE_CHANGE, Happening
from batchyard.services.announcing.listeners import Listener, Notice, TryLater
from batchyard.store.logs_book import Namespace
from batchyard.store.logs_store import LogStore

log = logging.getLogger(__name__)

PAGE_EVENTS, PAGE_BYTES = 10_000, 1_048_576
_PLACE = re.compile(LOG_ARCHIVE.pattern)
_TELLING = ("RUNNABLE", "SUCCEEDED", "FAILED")  # after an attempt that is tried again, and at the end
# what of a job is worth keeping for who looks at its log; its environment is not, which may hold what is nobody's business
_KEPT = ("jobArn", "jobName", "jobId", "jobQueue", "status", "statusReason", "jobDefinition", "tags", "shareIdentifier", "nodeDetails")
_OF_CONTAINER = ("image", "command", "resourceRequirements", "jobRoleArn", "exitCode", "reason")
_TIMES = ("createdAt", "startedAt", "stoppedAt")

Put = Callable[[Namespace, str, str, str, Iterable[bytes], str], None]
"""(namespace, log group, bucket, key, content, its type): an object for the log group. Raises a Fault when the bucket does not take it."""

Used = Callable[[str], Sequence[Mapping[str, Any]]]
"""(job id): what each of its closed attempts used, oldest first, as `usage.of_attempt` has it; nothing of a job that is forgotten."""


class _Output(NamedTuple):
    """A stream of an attempt."""

    attempt: int
    container: str  # "" where there is but one
    group: str
    stream: str


def listeners_of_archives(logs: LogStore, put: Put, used: Used) -> Mapping[str, Listener]:
    """One listener for each log group that has an archive, by key."""
    found: dict[str, Listener] = {}
    for namespace, group in logs.book.tagged():
        place = _PLACE.fullmatch(group.tags.get(LOG_ARCHIVE.name, ""))
        if place is None:
            continue
        archive = _Archive(logs, put, used, namespace, group.name, place["bucket"], (place["prefix"] or "").strip("/"))
        key = f"archive/{'/'.join(namespace)}/{group.name}"
        found[key] = Listener(key, archive.text_of, archive.send)
    return found


class _Archive:
    """The archive of one log group."""

    def __init__(self, logs: LogStore, put: Put, used: Used, namespace: Namespace, group: str, bucket: str, prefix: str) -> None:
        self._logs = logs
        self._used = used
        self._namespace = namespace
        self._group = group
        self._bucket = bucket
        self._prefix = prefix
        self._put = functools.partial(put, namespace, group, bucket)
        self._told = ""

    def text_of(self, event: Happening) -> str | None:
        """What is to be archived of an event, None for nothing."""
        detail = event["detail"]
        if event["detail-type"] != STATE_CHANGE or (event["account"], event["region"]) != self._namespace:
            return None
        outputs = [output for output in _outputs(detail) if output.group == self._group]
        is_final = detail["status"] != "RUNNABLE"
        if detail["status"] not in _TELLING or not (outputs or (is_final and self._group in _groups(detail))):
            return None
        last = outputs[-1].attempt if outputs else 0
        wanted = [output for output in outputs if is_final or output.attempt == last]
        record = _record(detail, self._used(detail["jobId"]))
        return json.dumps({"folder": self._folder(detail), "record": record, "outputs": wanted}, ensure_ascii=False)

    def send(self, notices: Sequence[Notice]) -> int:
        """Put the files of each; how many were done. Raises `TryLater` when the bucket does not take them: an operator can mend that."""
        for done, notice in enumerate(notices):
            try:
                self._carry_out(json.loads(notice.text))
            except Fault as fault:
                self._say(f"{fault.code}: {fault.message}")
                if done:
                    return done
                raise TryLater(fault.message) from fault
        self._told = ""
        return len(notices)

    def _carry_out(self, wanted: Mapping[str, Any]) -> None:
        folder = wanted["folder"]
        for output in (_Output(*each) for each in wanted["outputs"]):
            part = f".{output.container}" if output.container else ""
            chunks = self._read(output.stream)
            first = next(chunks, b"")
            if first:
                self._put(f"{folder}/attempt-{output.attempt}{part}.log", chain([first], chunks), "text/plain; charset=utf-8")
        record = json.dumps(wanted["record"], ensure_ascii=False, indent=2) + "\n"
        self._put(f"{folder}/job.json", [record.encode()], "application/json")

    def _read(self, name: str) -> Iterator[bytes]:
        """The lines of a stream, some at a time; nothing when it is not there or not there any more."""
        stream = self._logs.stream(self._namespace, self._group, name)
        if stream is None:
            return
        gap = stream.gap_at(0)
        try:
            while events := stream.after(gap, None, PAGE_EVENTS, PAGE_BYTES):
                gap = gap.behind(events)
                yield b"".join(event.message + b"\n" for event in events)
        except FileNotFoundError:
            return

    def _folder(self, detail: Mapping[str, Any]) -> str:
        day = _iso(detail["createdAt"])[:10]
        id = detail["jobId"].replace(":", "_").replace("#", "_node-")
        path = f"{detail['jobQueue'].rpartition('/')[2]}/{day}/{detail['jobName']}/{id}"
        return f"{self._prefix}/{path}" if self._prefix else path

    def _say(self, why: str) -> None:
        """Once for as long as it stays so."""
        if self._told != why:
            self._told = why
            log.warning("the logs of jobs in %s cannot be archived in %s (%s); it is tried again for a day", self._group, self._bucket, why)


def _outputs(detail: Mapping[str, Any]) -> list[_Output]:
    """The streams of a job's attempts, oldest first."""
    found: list[_Output] = []
    tasks = (detail.get("ecsProperties") or {}).get("taskProperties") or []
    groups = {container["name"]: log_group_of(container) for task in tasks for container in task["containers"] if "name" in container}
    for number, attempt in enumerate(detail.get("attempts") or (), 1):
        parts = [part for task in attempt.get("taskProperties") or () for part in task["containers"]]
        named = [(part["name"], groups.get(part["name"], LOG_GROUP), part.get("logStreamName")) for part in parts]
        single = attempt.get("container") or {}
        for name, group, stream in named or [("", log_group_of(detail.get("container") or {}), single.get("logStreamName"))]:
            found += [_Output(number, name, group, stream)] if stream else []
    for number, attempt in enumerate(detail.get("eksAttempts") or (), 1):
        id = uuid.UUID(attempt["podName"].partition(".")[2]).hex  # a pod is named after its attempt, and so are its streams
        parts = [*attempt.get("initContainers", ()), *attempt.get("containers", ())]
        found += [_Output(number, part["name"], LOG_GROUP, log_stream_of(part, detail["jobDefinition"], id)) for part in parts]
    return found


def _groups(detail: Mapping[str, Any]) -> set[str]:
    """Where a job's output goes, or would have gone."""
    tasks = (detail.get("ecsProperties") or {}).get("taskProperties") or []
    several = [container for task in tasks for container in task["containers"]]
    return {log_group_of(container) for container in several or [detail.get("container") or {}]}


def _record(detail: Mapping[str, Any], used: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A small record of the job: what it was, how it ended, when, and what its attempts used."""
    container, attempts = detail.get("container") or {}, detail.get("eksAttempts") or detail.get("attempts") or ()
    return {
        **{name: detail[name] for name in _KEPT if detail.get(name)},
        **{name: _iso(detail[name]) for name in _TIMES if detail.get(name)},
        **{name: container[name] for name in _OF_CONTAINER if name in container},
        "attempts": [_attempt(attempt, figures or {}) for attempt, figures in zip_longest(attempts, used[: len(attempts)])],
    }


def _attempt(attempt: Mapping[str, Any], used: Mapping[str, Any]) -> dict[str, Any]:
    parts = [part for task in attempt.get("taskProperties") or () for part in task["containers"]] or [
        *attempt.get("initContainers", ()),
        *attempt.get("containers", ()),
    ]
    shown: dict[str, Any] = {name: _iso(attempt[name]) for name in _TIMES if attempt.get(name)}
    shown |= {name: attempt[name] for name in ("statusReason",) if attempt.get(name)}
    shown |= _end(attempt.get("container") or {}) | _figures(used)
    if parts:
        of_each = {each["name"]: each for each in used.get("containers") or ()}
        shown["containers"] = [{"name": part["name"], **_end(part), **_figures(of_each.get(part["name"], {}))} for part in parts]
    return shown


def _figures(used: Mapping[str, Any]) -> dict[str, Any]:
    """What was measured, in numbers."""
    return {name: figure for name, figure in used.items() if isinstance(figure, int | float)}


def _end(container: Mapping[str, Any]) -> dict[str, Any]:
    return {name: container[name] for name in ("exitCode", "reason", "logStreamName") if name in container}


def _iso(at_ms: int) -> str:
    seconds, ms = divmod(at_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03d}Z"
