"""The verb `wait`: one request that is answered when jobs end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batchyard.main.client import Client, Trouble
from batchyard.main.commands.place import from_folder
from yard import Yard, serving


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with serving(tmp_path_factory.mktemp("poll") / "data", "--vcpus", "2", "--memory-mib", "1024") as made:
        yield made.with_queue()


@pytest.fixture
def client(yard: Yard) -> Iterator[Client]:
    with Client(from_folder(Path(yard.data))) as client:
        yield client


def test_it_answers_when_all_have_ended(yard: Yard, client: Client) -> None:
    good, bad = yard.submit(yard.definition_of("good", "sleep", "0.3")), yard.submit(yard.definition_of("bad", "false"))
    answer = client.own("wait", jobs=[good, bad, good], timeoutSeconds=60)
    assert answer["waiting"] == []
    assert {job["jobId"]: job["status"] for job in answer["jobs"]} == {good: "SUCCEEDED", bad: "FAILED"}


def test_at_the_timeout_it_says_who_has_ended(yard: Yard, client: Client) -> None:
    short, long = yard.submit(yard.definition_of("short", "true")), yard.submit(yard.definition_of("long", "sleep", "600"))
    yard.until(short)
    answer = client.own("wait", jobs=[short, long], timeoutSeconds=0.2)
    assert ([job["jobId"] for job in answer["jobs"]], answer["waiting"]) == ([short], [long])
    yard.batch.terminate_job(jobId=long, reason="enough")


def test_children_without_a_record_end_with_their_array(yard: Yard, client: Client) -> None:
    leader = yard.submit(yard.definition_of("long", "sleep", "600"))
    parent = yard.submit(yard.definition_of("yes", "true"), arrayProperties={"size": 3}, dependsOn=[{"jobId": leader}])
    answers: list[dict[str, Any]] = []
    waiting = threading.Thread(target=lambda: answers.append(client.own("wait", jobs=[f"{parent}:1"], timeoutSeconds=60)))
    waiting.start()
    yard.batch.terminate_job(jobId=parent, reason="enough")
    waiting.join(90)
    assert [job["status"] for job in answers[0]["jobs"]] == ["FAILED"]
    yard.batch.terminate_job(jobId=leader, reason="enough")


def test_what_cannot_be_waited_for_is_refused(yard: Yard, client: Client) -> None:
    for params in ({}, {"jobs": []}, {"jobs": ["no-such-job"]}, {"jobs": ["x"], "timeoutSeconds": 61}, {"jobs": [1]}):
        with pytest.raises(Trouble) as trouble:
            client.own("wait", **params)
        assert trouble.value.code == "ClientException"
