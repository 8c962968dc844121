"""Scratch space per job at the wire, with the real boto3 and a real node: who waits for whom, what is said of it, and what is recorded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from batchyard.main.client import Client
from batchyard.main.commands.place import from_folder
from exec_client import UNTIL_LET_GO, let_go
from yard import Yard, serving, until

TAG = "batchyard:scratch-gib"
CAP_GIB = 2
WHOLE_MIB = 1945  # of 2 GiB, what can be promised


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    options = ("--vcpus", "8", "--memory-mib", "4096", "--scratch", "directory", "--scratch-gib", str(CAP_GIB))
    with serving(tmp_path_factory.mktemp("scratch") / "data", *options) as yard:
        yard.with_queue()
        yard.definition_of("waits", "sleep", "600")
        yard.definition_of("writes", "sh", "-c", "dd if=/dev/zero of=big bs=1M count=40 conv=fsync; sleep 1.5")
        yard.definition_of("true", "true")
        yield yard


class Holders:
    """Jobs that run until they are let go: they hold what they were promised for as long as the test likes."""

    def __init__(self, service: Yard) -> None:
        self._service = service
        self._jobs: list[str] = []

    def submit(self, definition: str = "waits", **more: Any) -> str:
        self._jobs.append(self._service.submit(definition, **more))
        return self._jobs[-1]

    def let_go(self) -> None:
        for job in self._jobs:
            self._service.batch.terminate_job(jobId=job, reason="let go")


@pytest.fixture
def holders(service: Yard) -> Iterator[Holders]:
    made = Holders(service)
    yield made
    made.let_go()


def own(yard: Yard, verb: str, **params: Any) -> dict[str, Any]:
    with Client(from_folder(yard.data)) as client:
        return client.own(verb, **params)


def known(yard: Yard) -> dict[str, Any]:
    """How the scratch space stands, once the node has said it."""
    return until(lambda: s if (s := own(yard, "machine")["scratch"])["isKnown"] and s["isHealthy"] else None, "the node to speak")


def quiet(yard: Yard) -> None:
    until(lambda: True if known(yard)["promisedMiB"] == 0 else None, "nothing to be promised any more")


def refused(call: Any, **params: Any) -> str:
    with pytest.raises(ClientError) as error:
        call(**params)
    assert error.value.response["Error"]["Code"] == "ClientException"
    return str(error.value.response["Error"]["Message"])


def test_two_that_together_ask_for_more_than_there_is_run_one_after_the_other(service: Yard, holders: Holders) -> None:
    quiet(service)
    assert known(service)["capacityMiB"] == WHOLE_MIB
    first = holders.submit(tags={TAG: "1.5"})
    service.until(first, "RUNNING")
    second = service.submit("true", tags={TAG: "1"})
    behind = service.submit("true")
    told = own(service, "explain", jobId=second)
    assert told["summary"] == (
        "environment: the job asks for 1 GiB of scratch space; of 1.899 GiB that can be promised,"
        " 1.5 GiB are promised to jobs that run, and 0 GiB are taken without a promise: 0.601 GiB short"
    )
    assert [reason["fix"] for reason in told["reasons"]] == ["wait for jobs to end, or ask for at most 0.399 GiB (batchyard:scratch-gib)"]
    assert service.job(second)["statusReason"] == told["summary"]
    assert own(service, "explain", jobId=behind)["summary"].startswith(f"waits behind {second}")
    stands = own(service, "machine")["scratch"]
    assert (stands["promisedMiB"], stands["freeMiB"]) == (1536, WHOLE_MIB - 1536)
    assert re.search(r"Promised to jobs +1\.5 GiB", service.cli("compute", "--data", str(service.data)).stdout)
    assert "1.5 GiB are promised to jobs that run" in service.cli("explain", second, "--data", str(service.data)).stdout
    holders.let_go()
    ended, then = service.until(first), service.until(second)
    assert (ended["status"], then["status"], service.until(behind)["status"]) == ("FAILED", "SUCCEEDED", "SUCCEEDED")
    assert then["startedAt"] >= ended["stoppedAt"]
    quiet(service)


def test_what_is_promised_survives_the_server(service: Yard, holders: Holders) -> None:
    quiet(service)
    holder = holders.submit(tags={TAG: "1.5"})
    service.until(holder, "RUNNING")
    service.kill()
    service.start()
    waiting = service.submit("true", tags={TAG: "1"})
    assert known(service)["promisedMiB"] == 1536
    assert "0.601 GiB short" in own(service, "explain", jobId=waiting)["summary"]
    holders.let_go()
    assert service.until(waiting)["startedAt"] >= service.until(holder)["stoppedAt"]


def test_a_job_that_asks_for_more_than_there_is_says_so_and_lets_others_pass(service: Yard) -> None:
    quiet(service)
    huge = service.submit("true", tags={TAG: "100"})
    reason = service.job(huge)["statusReason"]
    assert reason == (
        "MISCONFIGURATION:BATCHYARD_SCRATCH_SPACE - The job asks for 100 GiB of scratch space (tag batchyard:scratch-gib), and this machine"
        " can promise 1.899 GiB in all. Ask for at most 1.899 GiB, or start the server with --scratch-gib 112 or more."
    )
    told = own(service, "explain", jobId=huge)
    assert told["awsReason"] == "", "AWS has no word for it"
    assert "100 GiB" in told["summary"] and "--scratch-gib 112" in told["reasons"][0]["fix"]
    assert service.until(service.submit("true", tags={TAG: "1.899"}))["status"] == "SUCCEEDED"
    snapshot = service.batch.get_job_queue_snapshot(jobQueue="queue")["frontOfQueue"]["jobs"]
    assert [job["jobArn"].rpartition("/")[2] for job in snapshot] == [huge]
    service.batch.terminate_job(jobId=huge, reason="seen")
    assert service.until(huge)["status"] == "FAILED"


def test_the_tag_of_a_definition_holds_and_that_of_a_job_wins(service: Yard, holders: Holders) -> None:
    quiet(service)
    arn = service.definition_of("tagged", "sleep", "600", tags={TAG: "1"})
    one = holders.submit("tagged")
    two = holders.submit("tagged", tags={TAG: "0.25"})
    for job in (one, two):
        service.until(job, "RUNNING")
    assert own(service, "machine")["scratch"]["promisedMiB"] == 1024 + 256
    service.batch.tag_resource(resourceArn=arn, tags={TAG: "0.5"})
    three = holders.submit("tagged")
    service.until(three, "RUNNING")
    assert own(service, "machine")["scratch"]["promisedMiB"] == 1024 + 256 + 512
    holders.let_go()
    for job in (one, two, three):
        service.until(job)


def test_children_and_nodes_and_several_containers_are_promised_theirs(service: Yard, holders: Holders) -> None:
    quiet(service)
    array = holders.submit(arrayProperties={"size": 3}, tags={TAG: "0.8"})
    until(lambda: True if own(service, "machine")["scratch"]["promisedMiB"] == 2 * 820 else None, "two children to be placed")
    assert service.job(array)["arrayProperties"]["statusSummary"]["RUNNABLE"] == 1
    holders.let_go()
    service.until(array)
    quiet(service)
    container = {
        "image": "busybox",
        "command": ["sh", "-c", UNTIL_LET_GO],
        "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}],
    }
    nodes = {"numNodes": 2, "mainNode": 0, "nodeRangeProperties": [{"targetNodes": "0:1", "container": container}]}
    service.batch.register_job_definition(jobDefinitionName="nodes", type="multinode", nodeProperties=nodes, tags={TAG: "0.5"})
    gang = service.submit("nodes")
    until(lambda: True if own(service, "machine")["scratch"]["promisedMiB"] == 1024 else None, "both nodes to be placed")
    too_many = service.submit("nodes", tags={TAG: "1"})
    assert "asks for 2 GiB of scratch space" in service.job(too_many)["statusReason"], "both together"
    service.batch.terminate_job(jobId=too_many, reason="seen")
    let_go(service, f"{gang}#0")
    assert service.until(gang)["status"] == "SUCCEEDED"
    several = {"containers": [{**container, "name": name, "essential": name == "b"} for name in ("a", "b")]}
    service.batch.register_job_definition(jobDefinitionName="several", type="container", ecsProperties={"taskProperties": [several]})
    quiet(service)
    task = service.submit("several", tags={TAG: "0.5"})
    service.until(task, "RUNNING")
    assert own(service, "machine")["scratch"]["promisedMiB"] == 512, "of the task, not of each container"
    let_go(service, task, "--container", "b")
    service.until(task)
    (attempt,) = own(service, "cost", jobId=task)["attempts"]
    assert [each["name"] for each in attempt["containers"]] == ["a", "b"]
    assert all(each["cpuSeconds"] >= 0 and "diskPeakMiB" not in each for each in attempt["containers"]) and "diskPeakMiB" in attempt


@pytest.mark.parametrize("value", ["0", "-1", "lots", "1.2345", "1000000", "1 GiB", ""])
def test_values_that_are_refused(service: Yard, value: str) -> None:
    for call, params in (
        (service.batch.submit_job, {"jobName": "j", "jobQueue": "queue", "jobDefinition": "true"}),
        (
            service.batch.register_job_definition,
            {"jobDefinitionName": "bad", "type": "container", "containerProperties": {"image": "x", "vcpus": 1, "memory": 64}},
        ),
    ):
        message = refused(call, **params, tags={TAG: value})
        assert message == f"Tag {TAG} may not be {value!r}. Its values are: GIB, a number from 0.001 to 999999.999."


def test_the_tag_of_a_job_cannot_be_changed_and_is_not_for_a_queue(service: Yard) -> None:
    answer = service.batch.submit_job(jobName="j", jobQueue="queue", jobDefinition="true", tags={TAG: "1", "mine": "yes"})
    for call, params in (
        (service.batch.tag_resource, {"tags": {TAG: "2"}}),
        (service.batch.untag_resource, {"tagKeys": [TAG]}),
    ):
        assert "cannot be changed" in refused(call, resourceArn=answer["jobArn"], **params)
    service.batch.tag_resource(resourceArn=answer["jobArn"], tags={TAG: "1", "other": "too"})
    assert service.batch.list_tags_for_resource(resourceArn=answer["jobArn"])["tags"] == {TAG: "1", "mine": "yes", "other": "too"}
    queue = service.batch.describe_job_queues(jobQueues=["queue"])["jobQueues"][0]["jobQueueArn"]
    assert "is not for a job queue" in refused(service.batch.tag_resource, resourceArn=queue, tags={TAG: "1"})


def test_what_an_attempt_wrote_and_held_stands_in_its_record(service: Yard) -> None:
    job = service.submit("writes", tags={TAG: "0.5"})
    assert service.until(job)["status"] == "SUCCEEDED"
    known_of = own(service, "cost", jobId=job)
    assert known_of["scratchMiB"] == 512
    (attempt,) = known_of["attempts"]
    assert 39 <= attempt["diskPeakMiB"] <= 60
    shown = service.cli("job", job, "--data", str(service.data)).stdout
    assert re.search(r"Scratch space +512 MiB promised", shown)
    assert "DISK PEAK" in shown and re.search(rf" {attempt['diskPeakMiB']:.0f} MiB", shown)
    if "writtenMiB" in attempt:  # as far as the kernel tells: without a cgroup of its own nobody knows
        assert 39 <= attempt["writtenMiB"] <= 80
