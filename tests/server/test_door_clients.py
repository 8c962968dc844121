"""The door as boto3 meets it: every protocol, every kind of signature, faults, bodies both ways."""

from __future__ import annotations

import http.client
import json
import logging
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import pytest
from botocore.exceptions import ClientError
from door_toys import ACCOUNT, ARN, JOB, ROOT, Door
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchyard.wire import sigv4
from batchyard.wire.awschunked import UNSIGNED_TRAILER
from batchyard.wire.checksums import checksum_base64
from batchyard.wire.sigv4 import Credential

Clients = Callable[..., Any]


def refused(call: Callable[[], Any]) -> tuple[str, str, int]:
    with pytest.raises(ClientError) as caught:
        call()
    answer = caught.value.response
    return answer["Error"]["Code"], answer["Error"].get("Message", ""), answer["ResponseMetadata"]["HTTPStatusCode"]


def test_a_job_is_submitted(door: Door, client: Clients) -> None:
    door.toys.results["SubmitJob"] = {"jobId": "id-1", "jobName": "align", "jobArn": "arn:1"}
    answer = client("batch").submit_job(jobName="align", jobQueue="q", jobDefinition="d", parameters={"größe": "x"})
    assert answer["jobId"] == "id-1"
    operation, caller, params = door.toys.seen[-1]
    assert (operation, params) == (
        "SubmitJob",
        {"jobName": "align", "jobQueue": "q", "jobDefinition": "d", "parameters": {"größe": "x"}},
    )
    assert (caller.account, caller.region, caller.arn, caller.is_job) == (
        ACCOUNT,
        "eu-west-1",
        f"arn:aws:iam::{ACCOUNT}:root",
        False,
    )
    assert caller.request_id == answer["ResponseMetadata"]["RequestId"]


def test_tags_go_by_path_and_query(door: Door, client: Clients) -> None:
    door.toys.results["ListTagsForResource"] = {"tags": {"a": "b"}}
    batch = client("batch")
    assert batch.list_tags_for_resource(resourceArn=ARN)["tags"] == {"a": "b"}
    batch.untag_resource(resourceArn=ARN, tagKeys=["a", "b&c=d/é"])
    assert door.toys.seen[-1][2] == {"resourceArn": ARN, "tagKeys": ["a", "b&c=d/é"]}
    batch.tag_resource(resourceArn=ARN, tags={"k": "v"})
    assert door.toys.seen[-1][2] == {"resourceArn": ARN, "tags": {"k": "v"}}


def test_who_am_i(client: Clients) -> None:
    assert client("sts").get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:root"
    assert client("sts", JOB).get_caller_identity()["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/job-role/attempt-1"


def test_faults_reach_the_client_as_awss(client: Clients) -> None:
    batch = client("batch")
    assert refused(lambda: batch.describe_job_queues(jobQueues=["x"])) == ("ClientException", "JobQueue ['x'] not found.", 400)
    assert refused(lambda: client("logs").get_log_events(logGroupName="g", logStreamName="s")) == (
        "ResourceNotFoundException",
        "The specified log stream does not exist.",
        400,
    )
    not_yet = "SubmitServiceJob is not available in this version of Batchyard. It is a toy."
    assert refused(
        lambda: batch.submit_service_job(jobName="a", jobQueue="q", serviceRequestPayload="", serviceJobType="SAGEMAKER_TRAINING")
    ) == ("ClientException", not_yet, 400)
    assert refused(lambda: client("logs").delete_log_group(logGroupName="g"))[0] == "UnsupportedOperationException"
    assert refused(lambda: client("sts").get_session_token())[0] == "UnsupportedOperationException"
    for service, call in (("iam", "list_users"), ("ec2", "describe_vpcs"), ("dynamodb", "list_tables"), ("efs", "describe_file_systems")):
        code, message, status = refused(getattr(client(service), call))
        assert (code.removesuffix("Exception"), status) == ("UnsupportedOperation", 400), service
        assert "not available in this version of Batchyard" in message


def test_our_own_mistakes_stay_in_the_house(door: Door, client: Clients, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        code, message, status = refused(lambda: client("batch").delete_job_queue(jobQueue="q"))
        assert (code, status) == ("ServerException", 500)
        assert "secret" not in message
        assert refused(lambda: client("logs").test_metric_filter(filterPattern="", logEventMessages=["x"]))[0] == "InternalFailure"
        assert refused(lambda: client("s3").get_object(Bucket="open", Key="secret"))[0] == "InternalError"
    assert sum("the secret of the house" in record.exc_text for record in caplog.records if record.exc_text) == 3
    figures = urllib.request.urlopen(f"{door.url}/metrics").read().decode()
    assert 'batchyard_unexpected_exceptions_total{operation="DeleteJobQueue",service="batch"} 1.0' in figures
    assert 'batchyard_requests_total{operation="DeleteJobQueue",service="batch",status="500"} 1.0' in figures


def test_wrong_keys_secrets_and_tokens(client: Clients) -> None:
    wrong_secret = Credential(ROOT.access_key_id, "wrong", None, "", "", "")
    stranger = Credential("AKIASTRANGER", "wrong", None, "", "", "")
    stale = Credential(JOB.access_key_id, JOB.secret_access_key, "stale", "", "", "")
    expected = {
        "batch": ("describe_compute_environments", "InvalidSignatureException", "UnrecognizedClientException", 403),
        "logs": ("describe_log_groups", "InvalidSignatureException", "UnrecognizedClientException", 400),
        "sts": ("get_caller_identity", "SignatureDoesNotMatch", "InvalidClientTokenId", 403),
        "s3": ("list_buckets", "SignatureDoesNotMatch", "InvalidAccessKeyId", 403),
    }
    for service, (call, wrong, unknown, status) in expected.items():
        assert refused(getattr(client(service, wrong_secret), call))[::2] == (wrong, status)
        assert refused(getattr(client(service, stranger), call))[::2] == (unknown, status)
        assert refused(getattr(client(service, stale), call))[0] in (unknown, "InvalidToken")


def test_a_presigned_get_caller_identity(door: Door, client: Clients) -> None:
    url = client("sts", region="us-east-1").generate_presigned_url("get_caller_identity", ExpiresIn=3600, HttpMethod="GET")
    with urllib.request.urlopen(url) as answer:
        assert f"arn:aws:iam::{ACCOUNT}:root".encode() in answer.read()


S3_WAYS = {
    "plain": {},
    "no checksum": {"request_checksum_calculation": "when_required"},
    "virtual path": {"s3": {"addressing_style": "path"}},
    "unsigned payload": {"s3": {"payload_signing_enabled": False}},
    "signed payload": {"s3": {"payload_signing_enabled": True}},
}


@pytest.mark.parametrize("way", S3_WAYS)
@pytest.mark.parametrize("size", [0, 1, 100_000, 3_000_000])
def test_objects_go_in_and_come_out(door: Door, client: Clients, way: str, size: int) -> None:
    s3 = client("s3", **S3_WAYS[way])
    content = os.urandom(size)
    s3.put_object(Bucket="b", Key="größe/a b+c", Body=content)
    assert s3.get_object(Bucket="b", Key="größe/a b+c")["Body"].read() == content
    assert s3.head_object(Bucket="b", Key="größe/a b+c")["ContentLength"] == size
    assert door.toys.callers[-1] is not None
    assert door.toys.callers[-1].account == ACCOUNT


def framed(content: bytes, size: int, trailer: bytes) -> Iterator[bytes]:
    for at in range(0, len(content), size):
        piece = content[at : at + size]
        yield b"%x\r\n%s\r\n" % (len(piece), piece)
    yield b"0\r\n" + trailer + b"\r\n\r\n"


@pytest.mark.parametrize("algorithm", ["crc32", "crc32c", "crc64nvme", "sha256"])
def test_bodies_framed_by_the_client_with_a_checksum_behind_them(door: Door, algorithm: str) -> None:
    """As the JavaScript SDK sends them over http: unsigned chunks in a chunked transfer, the checksum in a trailer."""
    content = os.urandom(300_000)
    name = f"x-amz-checksum-{algorithm}"
    url = f"{door.url}/b/framed-{algorithm}"
    headers = {
        "content-encoding": "aws-chunked",
        "x-amz-decoded-content-length": str(len(content)),
        "x-amz-trailer": name,
    }
    signed = sigv4.sign("PUT", url, headers, b"", ROOT, "us-east-1", "s3", time.time(), payload=UNSIGNED_TRAILER)
    for sent, status in ((content, 200), (content[:-1] + bytes([content[-1] ^ 1]), 400)):
        trailer = f"{name}:{checksum_base64(algorithm, content)}".encode()
        connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=60)
        connection.request("PUT", f"/b/framed-{algorithm}", framed(sent, 70_001, trailer), signed, encode_chunked=True)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == status, text
        connection.close()
    assert b"<Code>BadDigest</Code>" in text
    assert door.toys.objects[f"/b/framed-{algorithm}"] == content
    assert door.toys.trailers[f"/b/framed-{algorithm}"] == {name: checksum_base64(algorithm, content)}


@pytest.mark.parametrize("version", ["boto3's default", "s3v4"])
def test_presigned_objects(door: Door, client: Clients, version: str) -> None:
    s3 = client("s3", JOB, signature_version=version) if version == "s3v4" else client("s3", JOB)
    put = s3.generate_presigned_url("put_object", Params={"Bucket": "b", "Key": "pre signed+ü"}, ExpiresIn=3600)
    assert ("X-Amz-Signature" in put) == (version == "s3v4")
    with urllib.request.urlopen(urllib.request.Request(put, b"content", {"content-type": ""}, method="PUT")) as answer:
        assert answer.status == 200
    get = s3.generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "pre signed+ü"}, ExpiresIn=3600)
    with urllib.request.urlopen(get) as answer:
        assert answer.read() == b"content"
    assert door.toys.callers[-1] is not None
    assert door.toys.callers[-1].is_job
    for tampered in (get.replace("pre%20signed", "pre%20signe"), get + "&versionId=1", get + "&x-amz-acl=public-read"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(tampered)
        assert caught.value.code == 403
        assert b"<Code>SignatureDoesNotMatch</Code>" in caught.value.read()
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(s3.generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "k"}, ExpiresIn=-60))
    assert b"<Message>Request has expired</Message>" in caught.value.read() or version == "s3v4"


def test_nobody_in_particular_reaches_s3_as_nobody(door: Door) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{door.url}/open/secret")
    assert [(caller.account, caller.user_id) for caller in door.toys.callers] == [("", "anonymous")]
    body = caught.value.read()
    assert b"<Code>AccessDenied</Code>" in body
    assert b"<Resource>/open/secret</Resource>" in body
    assert caught.value.headers["x-amz-request-id"].encode() in body


def test_nobody_in_particular_reaches_nothing_else(door: Door) -> None:
    request = urllib.request.Request(f"{door.url}/v1/submitjob", b"{}", {"content-type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    assert caught.value.code == 403
    assert caught.value.headers["x-amzn-errortype"] == "MissingAuthenticationTokenException"
    assert json.load(caught.value) == {"message": "Missing Authentication Token"}


def test_a_header_from_a_query_string_cannot_split_the_response(door: Door, client: Clients) -> None:
    s3 = client("s3")
    s3.put_object(Bucket="b", Key="split", Body=b"x")
    url = s3.generate_presigned_url(
        "get_object", Params={"Bucket": "b", "Key": "split", "ResponseContentDisposition": "a\r\nx-evil: 1"}, ExpiresIn=3600
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url)
    assert caught.value.code == 400
    assert "x-evil" not in caught.value.headers


def test_a_body_that_breaks_off_is_not_taken_for_whole(door: Door, client: Clients) -> None:
    s3 = client("s3")
    s3.put_object(Bucket="b", Key="breaks", Body=b"x" * 100_000)
    with pytest.raises(Exception, match=r"IncompleteRead|Connection broken|ended|closed"):
        s3.get_object(Bucket="b", Key="breaks")["Body"].read()


def test_our_own_routes(door: Door) -> None:
    def ask(verb: str, body: bytes, **more: str) -> tuple[int, dict]:
        url = f"{door.url}/batchyard/v1/{verb}"
        headers = sigv4.sign("POST", url, {"content-type": "application/json"} | more, body, JOB, "us-east-1", "batchyard", time.time())
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error) | {"code": error.headers["x-amzn-errortype"]}

    assert ask("explain", b'{"job": "x", "none": null}') == (200, {"echo": {"job": "x"}, "arn": JOB.arn})
    assert ask("nothing", b"{}")[1]["code"] == "UnknownOperationException"
    assert ask("explain", b"[")[1]["code"] == "ClientException"
    assert ask("explain", b"[]")[0] == 400


def test_health_and_figures_need_no_signature(door: Door, client: Clients) -> None:
    with urllib.request.urlopen(f"{door.url}/healthz") as answer:
        assert answer.headers["content-type"] == "application/json"
        assert json.load(answer) == {"ready": True, "version": "0"}
    client("batch").describe_compute_environments()
    with urllib.request.urlopen(f"{door.url}/metrics") as answer:
        text = answer.read().decode()
    assert 'batchyard_requests_total{operation="DescribeComputeEnvironments",service="batch",status="200"}' in text
    assert 'batchyard_request_seconds_bucket{le="+Inf",operation="DescribeComputeEnvironments",service="batch"}' in text


def test_the_aws_command_line(door: Door) -> None:
    environment = os.environ | {
        "AWS_ACCESS_KEY_ID": JOB.access_key_id,
        "AWS_SECRET_ACCESS_KEY": JOB.secret_access_key,
        "AWS_SESSION_TOKEN": JOB.session_token or "",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": door.url,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    aws = str(Path(sys.executable).with_name("aws"))
    done = subprocess.run([aws, "sts", "get-caller-identity"], capture_output=True, text=True, env=environment, check=False)
    assert json.loads(done.stdout)["Arn"] == JOB.arn, done.stderr


@settings(max_examples=25, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=20), min_size=1, max_size=5),
    st.lists(st.text(max_size=10), max_size=4),
)
def test_any_text_survives_the_way(door: Door, tags: dict[str, str], command: list[str]) -> None:
    batch = _client(door)
    batch.submit_job(jobName="j", jobQueue="q", jobDefinition="d", tags=tags, containerOverrides={"command": command})
    params = door.toys.seen[-1][2]
    assert (params["tags"], params["containerOverrides"]["command"]) == (tags, command)


@lru_cache(maxsize=1)
def _client(door: Door) -> Any:
    return boto3.client(
        "batch",
        endpoint_url=door.url,
        region_name="us-east-1",
        aws_access_key_id=ROOT.access_key_id,
        aws_secret_access_key=ROOT.secret_access_key,
        config=botocore.config.Config(retries={"max_attempts": 0}),
    )
