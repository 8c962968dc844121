"""The Batch API through the door, with the real boto3: what only shows on the wire."""

from __future__ import annotations

import http.client
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from yard import Yard, serving, until


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with serving(tmp_path_factory.mktemp("batch") / "data", "--vcpus", "8", "--memory-mib", "4096") as yard:
        yard.with_queue()
        yard.definition_of("true", "true")
        yield yard


@pytest.fixture
def name() -> str:
    return f"n{uuid.uuid4().hex[:12]}"


def signed(service: Yard, method: str, path: str) -> tuple[int, bytes]:
    """A request whose path goes out exactly as written here."""
    session = boto3.Session(service.endpoint["access_key_id"], service.endpoint["secret_access_key"])
    request = AWSRequest(method, service.url + path)
    SigV4Auth(session.get_credentials(), "batch", service.endpoint["region"]).add_auth(request)
    connection = http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=60)
    connection.request(method, path, headers=dict(request.headers.items()))
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_refusals_are_the_modelled_exception(service: Yard) -> None:
    with pytest.raises(service.batch.exceptions.ClientException) as refused:
        service.batch.submit_job(jobName="j", jobQueue="gone", jobDefinition="true")
    answer = refused.value.response
    assert answer["Error"] == {"Message": "JobQueue gone not found.", "Code": "ClientException"}
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 400 and answer["ResponseMetadata"]["RequestId"]
    assert answer["message"] == "JobQueue gone not found."


def test_the_request_id_in_a_message_is_that_of_the_answer(service: Yard) -> None:
    with pytest.raises(service.batch.exceptions.ClientException) as refused:
        service.batch.submit_job(jobName="-", jobQueue="queue", jobDefinition="true")
    error = refused.value.response
    request_id = error["ResponseMetadata"]["RequestId"]
    assert error["message"] == f"Error executing request, Exception : Job name should match valid pattern, RequestId: {request_id}"


def test_tags_by_arn_in_the_path(service: Yard, name: str) -> None:
    arn = service.definition_of(name, "true", tags={"a": "1"})
    service.batch.tag_resource(resourceArn=arn, tags={"b": "2", "c d/é": "3"})
    service.batch.untag_resource(resourceArn=arn, tagKeys=["a", "c d/é"])
    assert service.batch.list_tags_for_resource(resourceArn=arn)["tags"] == {"b": "2"}
    for path in (f"/v1/tags/{quote(arn, safe='')}", f"/v1/tags/{quote(arn, safe=':/')}"):
        assert signed(service, "GET", path) == (200, b'{"tags":{"b":"2"}}')


def test_tags_from_every_create_show_everywhere(service: Yard, name: str) -> None:
    job_id = service.submit("true", tags={"k": "v"})
    arn = service.job(job_id)["jobArn"]
    service.until(job_id)
    service.batch.tag_resource(resourceArn=arn, tags={"late": "1"})
    assert service.job(job_id)["tags"] == service.batch.list_tags_for_resource(resourceArn=arn)["tags"] == {"k": "v", "late": "1"}


def test_create_change_and_destroy_as_terraform_does(service: Yard, name: str) -> None:
    batch = service.batch
    environment = service.environment_of(name)
    queue = service.queue_of(name, environment, tags={"batchyard:spill": "scale"})
    (shown,) = batch.describe_job_queues(jobQueues=[queue])["jobQueues"]
    assert (shown["status"], shown["statusReason"]) == ("VALID", "JobQueue Healthy")
    batch.update_compute_environment(computeEnvironment=name, computeResources={"maxvCpus": 4}, updatePolicy={})
    batch.update_compute_environment(computeEnvironment=name, state="DISABLED")
    with pytest.raises(batch.exceptions.ClientException, match="found existing JobQueue relationship"):
        batch.delete_compute_environment(computeEnvironment=name)
    batch.update_job_queue(jobQueue=name, state="DISABLED")
    batch.delete_job_queue(jobQueue=name)
    until(lambda: True if not batch.describe_job_queues(jobQueues=[name])["jobQueues"] else None, "the queue to go")
    batch.delete_compute_environment(computeEnvironment=environment)
    until(lambda: True if not batch.describe_compute_environments(computeEnvironments=[name])["computeEnvironments"] else None, "it to go")
    with pytest.raises(batch.exceptions.ClientException, match="does not exist"):
        batch.delete_compute_environment(computeEnvironment=environment)


def test_paginators(service: Yard, name: str) -> None:
    for _ in range(5):
        service.definition_of(name, "true")
    pages = list(service.batch.get_paginator("describe_job_definitions").paginate(jobDefinitionName=name, PaginationConfig={"PageSize": 2}))
    assert [[d["revision"] for d in page["jobDefinitions"]] for page in pages] == [[5, 4], [3, 2], [1]]
    jobs = [service.submit("true", name=name) for _ in range(5)]
    filters: list[dict[str, Any]] = [{"name": "JOB_NAME", "values": [name.upper()]}]
    listed = service.batch.get_paginator("list_jobs").paginate(jobQueue="queue", filters=filters, PaginationConfig={"PageSize": 2})
    assert [job["jobId"] for page in listed for job in page["jobSummaryList"]] == jobs[::-1]


def test_empty_forms_that_clients_send(service: Yard) -> None:
    job_id = service.submit(
        "true", arrayProperties={}, tags={}, dependsOn=[], parameters={}, containerOverrides={"environment": [], "command": []}
    )
    assert service.until(job_id)["status"] == "SUCCEEDED"
    failed = service.batch.list_jobs(jobQueue="queue", nextToken="", jobStatus="FAILED")["jobSummaryList"]  # by other tests, if any
    assert job_id not in [job["jobId"] for job in failed]


def test_a_finished_job_lists_with_its_outcome(service: Yard, name: str) -> None:
    job_id = service.submit("true", name=name, containerOverrides={"command": ["sh", "-c", "exit 7"]})
    service.until(job_id)
    (summary,) = service.batch.list_jobs(jobQueue="queue", filters=[{"name": "JOB_NAME", "values": [name]}])["jobSummaryList"]
    assert summary["container"] == {"exitCode": 7} and summary["startedAt"] <= summary["stoppedAt"]
    assert summary["statusReason"] == "Essential container in task exited"


def test_many_at_once_and_an_unknown_one(service: Yard) -> None:
    jobs = [service.submit("true", containerOverrides={"command": ["sleep", "600"]}) for _ in range(2)]
    unknown = str(uuid.uuid4())
    answer = service.batch.terminate_jobs(jobs=[*jobs, unknown], reason="enough")
    assert (answer["successful"], answer["errors"]) == ([*jobs, unknown], [])
    assert {service.until(job)["statusReason"] for job in jobs} == {"enough"}
    assert service.batch.cancel_job(jobId=unknown, reason="x")["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_what_is_not_there_yet_says_so(service: Yard) -> None:
    with pytest.raises(service.batch.exceptions.ClientException, match="not"):
        service.batch.create_service_environment(serviceEnvironmentName="s", serviceEnvironmentType="SAGEMAKER_TRAINING", capacityLimits=[])
    with pytest.raises(service.batch.exceptions.ClientException, match="efsVolumeConfiguration is not available in this version"):
        service.batch.register_job_definition(
            jobDefinitionName="efs",
            type="container",
            containerProperties={"image": "x", "volumes": [{"efsVolumeConfiguration": {"fileSystemId": "fs-1"}}]},
        )


def test_the_snapshot_of_a_queue(service: Yard, name: str) -> None:
    queue = service.queue_of(name, "environment")  # of its own: jobs of other tests may wait in the usual one
    snapshot = service.batch.get_job_queue_snapshot(jobQueue=queue)
    assert snapshot["frontOfQueue"]["jobs"] == [] and snapshot["frontOfQueue"]["lastUpdatedAt"] > 1_600_000_000_000
