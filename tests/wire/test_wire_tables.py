"""The small tables: who is meant, which status, what XML is let in; and that nothing of botocore's code is needed to run."""

from __future__ import annotations

import subprocess
import sys

import pytest
from wire_oracle import request

from batchyard.model.fault import Fault
from batchyard.wire import errors, restxml, routes, shapes, xmltree
from batchyard.wire.http import HttpRequest
from batchyard.wire.servicemodel import read_model
from batchyard.wire.timestamps import iso8601, iso8601_millis, parse_timestamp, rfc822

SCOPE = "AWS4-HMAC-SHA256 Credential=AK/20261122/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=0"
FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}


@pytest.mark.parametrize(
    ("asked", "service"),
    [
        (request("POST", "/v1/submitjob", "", {"authorization": SCOPE.format("batch")}), "batch"),
        (request("POST", "/", "", {"authorization": SCOPE.format("monitoring")}), "cloudwatch"),
        (request("POST", "/v1/submitjob", "", {"authorization": SCOPE.format("s3")}), "s3"),
        (request("GET", "/b/k", "X-Amz-Credential=AK%2F20261122%2Fus-east-1%2Fs3%2Faws4_request"), "s3"),
        (request("GET", "/", "Action=GetCallerIdentity&X-Amz-Credential=AK/20261122/us-east-1/sts/aws4_request"), "sts"),
        (request("POST", "/", "", {"authorization": SCOPE.format("../../etc"), **FORM}), None),
        (request("POST", "/", "", {"x-amz-target": "Logs_20140328.GetLogEvents"}), "logs"),
        (request("POST", "/", "", {"x-amz-target": "DynamoDB_20120810.ListTables"}), "dynamodb_20120810"),
        (request("POST", "/", "", {"x-amz-target": "nonsense"}), "unknown"),
        (request("GET", "/", "Action=GetUser&Version=2010-05-08"), "iam"),
        (request("POST", "/v1/submitjob"), "batch"),
        (request("GET", "/v1/tags/arn%3A"), "batch"),
        (request("GET", "/v1/tags"), "s3"),
        (request("GET", "/v1/key"), "s3"),
        (request("POST", "/2015-03-31/functions/name/invocations"), "lambda"),
        (request("GET", "/2017-03-31/tags/arn%3Aaws%3Alambda"), "lambda"),
        (request("GET", "/2015-03-31/key"), "s3"),
        (request("POST", "/batchyard/v1/explain"), "batchyard"),
        (request("GET", "/batchyard/v1/explain"), "s3"),
        (request("POST", "/", "", FORM), None),
        (request("GET", "/"), "s3"),
        (request("PUT", "/bucket/v1/submitjob"), "s3"),
    ],
)
def test_the_service_is_found_by_scope_then_target_then_action_then_path(asked: HttpRequest, service: str | None) -> None:
    assert routes.service_of(asked) == service


def test_the_tables_of_routes_are_those_of_the_models() -> None:
    for prefix, service in routes.TARGETS.items():
        assert read_model(service).metadata.target_prefix == prefix
    for version, service in routes.VERSIONS.items():
        assert read_model(service).metadata.api_version == version
        assert routes.service_of_form(f"Action=X&Version={version}") == service


@pytest.mark.parametrize(
    ("service", "code", "status"),
    [
        ("batch", "ClientException", 400),
        ("batch", "ServerException", 500),
        ("batch", "TooManyRequestsException", 429),
        ("batch", "UnknownOperationException", 404),
        ("batch", "InvalidSignatureException", 403),
        ("batch", "RequestEntityTooLargeException", 413),
        ("batch", "NeverHeardOf", 400),
        ("logs", "ResourceNotFoundException", 400),
        ("logs", "ServiceUnavailableException", 500),
        ("logs", "InvalidSignatureException", 400),
        ("sts", "InvalidSignatureException", 403),
        ("sts", "UnknownOperationException", 400),
        ("iam", "NoSuchEntityException", 404),
        ("iam", "NoSuchEntity", 404),
        ("s3", "NoSuchKey", 404),
        ("s3", "NoSuchBucket", 404),
        ("s3", "NotImplemented", 501),
        ("s3", "InternalFailure", 500),
        ("s3", "MissingAuthenticationTokenException", 403),
        ("s3", "NotModified", 304),
        ("s3", "BucketAlreadyOwnedByYou", 409),
        ("s3", "RequestTimeoutException", 400),
    ],
)
def test_every_fault_has_one_status_per_service(service: str, code: str, status: int) -> None:
    response = shapes.load(service).encode_fault(Fault(code, "why & how"), "id")
    assert response.status == status
    assert (response.body == b"") == (status == 304)


def test_codes_are_renamed_for_the_protocol_that_knows_them_otherwise() -> None:
    fault = Fault("UnrecognizedClientException", "x")
    assert b"<Code>InvalidClientTokenId</Code>" in shapes.load("sts").encode_fault(fault, "id").body
    assert shapes.load("batch").encode_fault(fault, "id").headers["x-amzn-errortype"] == "UnrecognizedClientException"
    assert b'"__type":"UnrecognizedClientException"' in shapes.load("logs").encode_fault(fault, "id").body


def test_s3_faults_carry_their_fields() -> None:
    body = shapes.load("s3").encode_fault(Fault("NoSuchKey", "gone", Key="a<b", Resource="/x"), "id").body
    assert b"<Key>a&lt;b</Key><Resource>/x</Resource><RequestId>id</RequestId><HostId>" in body


def test_what_is_not_available_says_so() -> None:
    assert errors.not_available("batch", "SubmitServiceJob", "no SageMaker here").message == (
        "SubmitServiceJob is not available in this version of Batchyard. no SageMaker here."
    )
    assert errors.not_available("s3", "SelectObjectContent", "").code == "NotImplemented"
    assert errors.server_fault("batch").code == "ServerException"
    assert errors.server_fault("logs").code == "InternalFailure"


DELETE = b"<Delete><Object><Key>a</Key></Object></Delete>"


@pytest.mark.parametrize(
    "document",
    [
        b"<Delete>",
        b"text",
        b"<a></b>",
        b"\xff\xfe<\x00D\x00",
        b"<!DOCTYPE Delete><Delete/>",
        b'<!DOCTYPE d [<!ENTITY x "y">]><Delete><Object><Key>&x;</Key></Object></Delete>',
        b'<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><Delete><Object><Key>&x;</Key></Object></Delete>',
        b"<Delete><Object><Key>&undefined;</Key></Object></Delete>",
        b'<?xml version="1.0" encoding="utf-7"?>' + DELETE.replace(b"a", b"\xe9"),
        b"<a>" * 60 + b"</a>" * 60,
        b"<a>" * 200_000,
        b"<Delete/>",
        b"<Delete><Quiet>maybe</Quiet><Object><Key>a</Key></Object></Delete>",
        b"<Delete><Object><VersionId>1</VersionId></Object></Delete>",
        b"<Delete><Object><Key>a</Key><Size>many</Size></Object></Delete>",
        b"<Delete><Object><Key>\x00</Key></Object></Delete>",
        b" " * (9 << 20),
    ],
)
def test_xml_that_is_wrong_or_dangerous_is_malformed(document: bytes) -> None:
    with pytest.raises(Fault) as caught:
        restxml.decode_body(shapes.load("s3"), "DeleteObjects", document)
    assert caught.value.code == "MalformedXML"


def test_xml_is_read_whatever_its_prefixes_comments_and_extras() -> None:
    document = (
        b'<?xml version="1.0" encoding="UTF-8"?><!-- c --><s:Delete xmlns:s="http://s3.amazonaws.com/doc/2006-03-01/">'
        b"<s:Object><s:Key>a<![CDATA[<b>]]>&amp;&#xe9;</s:Key><s:New>1</s:New></s:Object></s:Delete>"
    )
    assert restxml.decode_body(shapes.load("s3"), "DeleteObjects", document) == {"Delete": {"Objects": [{"Key": "a<b>&é"}]}}


def test_characters_that_xml_cannot_hold_are_written_as_s3_writes_them() -> None:
    assert xmltree.escape("a&b<c>\r\x01") == "a&amp;b&lt;c&gt;&#xd;&#x1;"
    assert xmltree.escape_attribute('"\n') == "&quot;&#10;"


def test_roots_are_the_ones_that_clients_look_for() -> None:
    service = shapes.load("s3")
    body = restxml.encode_body(service, "CreateMultipartUpload", {"UploadId": "u"})
    assert b'<InitiateMultipartUploadResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><UploadId>u<' in body
    assert b'<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/">eu-west-1<' in restxml.encode_body(
        service, "GetBucketLocation", {"LocationConstraint": "eu-west-1"}
    )
    assert restxml.encode_body(service, "DeleteObject", {"VersionId": "v"}) == b""
    assert set(restxml.ROOTS) <= set(service.operations)


def test_times_in_all_their_forms() -> None:
    moment = 1_795_356_900.25
    assert iso8601(moment) == "2026-11-22T14:15:00.250Z"
    assert iso8601(1_795_356_900) == "2026-11-22T14:15:00Z"
    assert iso8601_millis(1_795_356_900) == "2026-11-22T14:15:00.000Z"
    assert rfc822(moment) == "Sun, 22 Nov 2026 14:15:00 GMT"
    for text in ("2026-11-22T14:15:00Z", "2026-11-22T14:15:00", "2026-11-22T15:15:00+01:00", "Sun, 22 Nov 2026 14:15:00 GMT", "1795356900"):
        assert parse_timestamp(text) == 1_795_356_900
    for text in ("", "yesterday", "2026-13-40", "9" * 40, "Sun, 99 Nov 2026 14:15:00 GMT"):
        with pytest.raises(ValueError, match="is not a timestamp"):
            parse_timestamp(text)


def test_unknown_services_are_a_lookup_error() -> None:
    for name in ("nonsense", "../batch", ""):
        with pytest.raises(LookupError):
            shapes.load(name)


def test_a_result_that_is_not_of_its_model_is_found() -> None:
    service = shapes.load("batch")
    wrong = {"jobs": [{"jobName": 1, "status": "DANCING", "novelty": 2, "startedAt": 1.5}], "more": {}}
    assert shapes.check(service, "DescribeJobs", wrong) == [
        "DescribeJobs.jobs[0].jobName: expected string, got int",
        "DescribeJobs.jobs[0].status: 'DANCING' is not one of SUBMITTED, PENDING, RUNNABLE, STARTING, RUNNING, SUCCEEDED, FAILED",
        "DescribeJobs.jobs[0].novelty: the model has no such member",
        "DescribeJobs.jobs[0].startedAt: expected long, got float",
        "DescribeJobs.more: the model has no such member",
    ]


def test_a_null_never_leaves_the_house() -> None:
    service = shapes.load("batch")
    answer = service.encode("DescribeJobs", {"jobs": [{"jobName": "a:null", "startedAt": None}]}, "id")
    assert answer.body == b'{"jobs":[{"jobName":"a:null"}]}'


def test_botocore_itself_is_never_imported() -> None:
    code = (
        "import sys; from batchyard.wire import shapes, sigv4, restxml\n"
        "for name in ('batch', 'logs', 'sts', 's3'): shapes.load(name).xml\n"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in ('botocore', 'boto3', 'dateutil', 'urllib3')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
