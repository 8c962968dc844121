"""Webhooks: what a receiver is sent of jobs and queues, signed, at least once, whatever happens to either side."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from receiver import Receiver

from yard import Yard, quiet_port, serving, until


@pytest.fixture
def yard(tmp_path: Path, receiver: Receiver) -> Iterator[Yard]:
    with serving(tmp_path / "data", "--vcpus", "2", "--memory-mib", "1024", "--webhook", receiver.url) as made:
        yield made.with_queue()


def test_a_receiver_is_told_of_every_state_of_a_job(yard: Yard, receiver: Receiver) -> None:
    job_id = yard.submit(yard.definition_of("hello", "echo", "hello"))
    job = yard.until(job_id)
    statuses = until(lambda: s if (s := receiver.statuses(job_id))[-1:] == ["SUCCEEDED"] else None, "the last event")
    assert statuses == ["RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED"]
    event = receiver.events[-1]
    assert {k: event[k] for k in ("version", "source", "detail-type", "account", "region")} == {
        "version": "0",
        "source": "aws.batch",
        "detail-type": "Batch Job State Change",
        "account": "000000000000",
        "region": "us-east-1",
    }
    assert event["resources"] == [job["jobArn"]]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", event["time"])
    assert event["detail"] == job


def test_each_post_is_signed_with_the_folders_key(yard: Yard, receiver: Receiver) -> None:
    yard.submit(yard.definition_of("hello", "true"))
    until(lambda: receiver.requests or None, "an event")
    headers, body = receiver.requests[0]
    key = (yard.data / "webhook.key").read_text().strip().encode()
    expected = hmac.new(key, headers["x-batchyard-timestamp"].encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers["x-batchyard-signature"] == f"sha256={expected}"
    assert headers["x-batchyard-event-id"] == receiver.events[0]["id"]
    assert (yard.data / "webhook.key").stat().st_mode & 0o77 == 0


def test_retries_children_and_arrays_are_told_of(yard: Yard, receiver: Receiver) -> None:
    parent = yard.submit(yard.definition_of("no", "false"), arrayProperties={"size": 2}, retryStrategy={"attempts": 2})
    yard.until(parent)
    until(lambda: receiver.statuses(parent)[-1:] == ["FAILED"] or None, "the array's end")
    assert receiver.statuses(parent) == ["PENDING", "FAILED"]
    for child in (0, 1):
        told = receiver.statuses(f"{parent}:{child}")
        assert [s for s in told if s != "RUNNING"] == ["STARTING", "RUNNABLE", "STARTING", "FAILED"], told


def test_children_that_never_started_are_told_of_with_their_array(yard: Yard, receiver: Receiver) -> None:
    leader = yard.submit(yard.definition_of("sleep", "sleep", "600"))
    parent = yard.submit(yard.definition_of("yes", "true"), arrayProperties={"size": 3}, dependsOn=[{"jobId": leader}])
    yard.batch.terminate_job(jobId=parent, reason="not wanted")
    until(lambda: receiver.statuses(parent)[-1:] == ["FAILED"] or None, "the array's end")
    assert [receiver.statuses(f"{parent}:{child}") for child in range(3)] == [["FAILED"]] * 3


def test_a_queue_whose_head_is_stuck_is_told_of_once(tmp_path: Path, receiver: Receiver) -> None:
    with serving(tmp_path / "data", "--vcpus", "2", "--memory-mib", "1024", "--profile", "aws", "--webhook", receiver.url) as yard:
        yard.with_queue()
        stuck_head_is_told_of_once(yard, receiver)


def stuck_head_is_told_of_once(yard: Yard, receiver: Receiver) -> None:
    job_id = yard.submit(yard.definition_of("huge", "true", vcpus=64))

    def blocked() -> list[dict[str, object]]:
        return [e for e in receiver.events if e["detail-type"] == "Batch Job Queue Blocked"]

    until(lambda: blocked() or None, "the event")
    second = yard.submit(yard.definition_of("huge2", "true", vcpus=64))
    until(lambda: receiver.statuses(second) or None, "the second job's event")
    (event,) = blocked()
    job = yard.job(job_id)
    assert event["resources"] == [job["jobArn"], job["jobQueue"]]
    assert str(event["detail"]["statusReason"]).startswith("MISCONFIGURATION:")  # type: ignore[index]


def test_a_receiver_that_fails_for_a_while_misses_nothing_and_holds_up_no_job(yard: Yard, receiver: Receiver) -> None:
    receiver.status = 503
    job_id = yard.submit(yard.definition_of("hello", "true"))
    assert yard.until(job_id)["status"] == "SUCCEEDED"
    assert not receiver.requests
    receiver.status = 200
    statuses = until(lambda: s if (s := receiver.statuses(job_id))[-1:] == ["SUCCEEDED"] else None, "the events")
    assert statuses == ["RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED"]


def test_a_receiver_that_never_answers_holds_up_no_job(yard: Yard, receiver: Receiver) -> None:
    receiver.gate.clear()
    definition = yard.definition_of("hello", "true")
    jobs = [yard.submit(definition) for _ in range(5)]
    assert [yard.until(job)["status"] for job in jobs] == ["SUCCEEDED"] * 5
    assert not receiver.requests


def test_what_was_not_delivered_when_the_service_was_killed_arrives_after_its_restart(tmp_path: Path) -> None:
    port = quiet_port()
    with serving(tmp_path / "data", "--vcpus", "2", "--memory-mib", "1024", "--webhook", f"http://127.0.0.1:{port}/") as yard:
        yard.with_queue()
        definition = yard.definition_of("hello", "true")
        jobs = [yard.submit(definition) for _ in range(4)]
        for job in jobs:
            yard.until(job)
        last = yard.submit(definition)
        yard.kill()  # the last one's first moves were answered and perhaps not yet looked at
        receiver = Receiver(port)
        try:
            yard.start()
            for job in [*jobs, last]:
                until(lambda job=job: receiver.statuses(job)[-1:] == ["SUCCEEDED"] or None, f"the events of {job}", 60)  # type: ignore[misc]
                assert receiver.statuses(job)[:2] == ["RUNNABLE", "STARTING"]
        finally:
            receiver.close()
