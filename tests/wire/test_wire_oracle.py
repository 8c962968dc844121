"""Every operation both ways against botocore's own serializer and parser."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from wire_oracle import Values, as_botocore_reads, as_botocore_sends, plain, without_empties

from batchyard.wire import restxml, shapes

QUICK = settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), database=None, phases=[Phase.generate])
LOGS = [
    "CreateLogGroup", "CreateLogStream", "DeleteLogGroup", "DeleteLogStream", "DescribeLogGroups", "DescribeLogStreams",
    "FilterLogEvents", "GetLogEvents", "ListTagsForResource", "PutLogEvents", "PutRetentionPolicy", "TagResource",
    "PutTransformer", "StartQuery",
]  # fmt: skip
STS = list(shapes.load("sts").operations)
IAM = ["CreateRole", "AttachRolePolicy", "ListRoles", "GetRole", "CreateInstanceProfile", "SimulatePrincipalPolicy"]
STACKS = ["CreateStack", "DescribeStacks", "CreateChangeSet", "DescribeStackEvents", "UpdateStackSet"]
EVENTS = ["PutEvents", "PutRule", "PutTargets", "ListRules"]
PLAIN_JSON = [
    *(("batch", name) for name in shapes.load("batch").operations),
    *(("logs", name) for name in LOGS),
    *(("events", name) for name in EVENTS),
    # services that are not served yet, for what their models have and Batch's and Logs' have not: payloads and members in headers,
    # shapes that hold themselves, free documents
    *(("lambda", name) for name in ("Invoke", "CreateFunction", "ListFunctions", "DeleteFunction")),
    *(("efs", name) for name in ("DescribeFileSystems", "PutFileSystemPolicy")),
    ("ssm", "GetInventory"),
    ("ecs", "RegisterTaskDefinition"),
    ("ecs", "DescribeTasks"),
]
FORMS = [
    *(("sts", name) for name in STS),
    *(("iam", name) for name in IAM),
    *(("cloudformation", name) for name in STACKS),
    *(("sns", name) for name in ("CreateTopic", "GetTopicAttributes", "Publish")),
]
S3_BODIES = [
    "CompleteMultipartUpload", "CreateBucket", "DeleteObjects", "PutBucketTagging", "PutBucketLifecycleConfiguration",
    "PutBucketEncryption", "PutObjectTagging", "PutBucketCors", "PutBucketVersioning", "PutPublicAccessBlock",
    "PutBucketAcl", "PutBucketNotificationConfiguration", "PutBucketReplication", "PutBucketOwnershipControls",
]  # fmt: skip
S3_ANSWERS = [
    name
    for name in shapes.load("s3").operations
    if name not in ("GetObject", "GetObjectTorrent", "SelectObjectContent", "GetObjectAnnotation", "GetBucketLocation")
    and not shapes.load("s3").model.operations[name].deprecated
]


@pytest.mark.parametrize(("service_name", "operation"), PLAIN_JSON)
def test_json_requests_are_read_as_botocore_writes_them(service_name: str, operation: str) -> None:
    service = shapes.load(service_name)

    @QUICK
    @given(Values(service, whole_seconds=True).structure(service.model.input_shape(operation)))
    def holds(params: dict) -> None:
        request, body = as_botocore_sends(service_name, operation, params)
        matched, _ = service.match(request, body)
        assert matched == operation
        assert service.decode(operation, request, body) == plain(params)

    holds()


@pytest.mark.parametrize(("service_name", "operation"), PLAIN_JSON)
def test_json_responses_are_read_by_botocore_as_they_were_meant(service_name: str, operation: str) -> None:
    service = shapes.load(service_name)

    @QUICK
    @given(Values(service).structure(service.model.output_shape(operation)))
    def holds(result: dict) -> None:
        if service_name == "lambda" and "StatusCode" in service.model.output_shape(operation).members:
            # what botocore always finds
            result |= {"StatusCode": 202} | ({"Payload": b"{}"} if operation == "Invoke" else {})
        meant = plain(result)
        assert shapes.check(service, operation, meant) == []
        found = as_botocore_reads(service_name, operation, service.encode(operation, meant, "id-1"))
        metadata = found.pop("ResponseMetadata")
        assert metadata["RequestId"] == "id-1"
        if operation == "Invoke":
            found["Payload"] = found["Payload"].encode()
        assert found == meant

    holds()


@pytest.mark.parametrize(("service_name", "operation"), FORMS)
def test_forms_are_read_as_botocore_writes_them(service_name: str, operation: str) -> None:
    service = shapes.load(service_name)

    @QUICK
    @given(Values(service, xml=True).structure(service.model.input_shape(operation)))
    def holds(params: dict) -> None:
        request, body = as_botocore_sends(service_name, operation, params)
        matched, _ = service.match(request, body)
        assert matched == operation
        assert service.decode(operation, request, body) == without_empties(plain(params))

    holds()


@pytest.mark.parametrize(("service_name", "operation"), FORMS)
def test_form_answers_are_read_by_botocore_as_they_were_meant(service_name: str, operation: str) -> None:
    service = shapes.load(service_name)

    @QUICK
    @given(Values(service, xml=True).structure(service.model.output_shape(operation)))
    def holds(result: dict) -> None:
        meant = plain(result)
        assert shapes.check(service, operation, meant) == []
        found = as_botocore_reads(service_name, operation, service.encode(operation, meant, "id-1"))
        assert found.pop("ResponseMetadata")["RequestId"] == "id-1"
        assert without_empties(found) == without_empties(meant)

    holds()


@pytest.mark.parametrize("operation", S3_BODIES)
def test_s3_bodies_are_read_as_botocore_writes_them(operation: str) -> None:
    service = shapes.load("s3")
    shape = service.model.input_shape(operation)

    @QUICK
    @given(Values(service, xml=True, whole_seconds=True).structure(shape))
    def holds(params: dict) -> None:
        request, body = as_botocore_sends("s3", operation, params)
        matched, _ = service.match(request)
        assert matched == operation
        payload = shape.payload
        assert payload is not None
        meant = plain(params.get(payload))
        found = restxml.decode_body(service, operation, body).get(payload)
        assert without_empties(found) == without_empties(meant)
        assert without_empties(service.decode(operation, request, body)) == without_empties(plain(params))

    holds()


@pytest.mark.parametrize("operation", S3_ANSWERS)
def test_s3_answers_are_read_by_botocore_as_they_were_meant(operation: str) -> None:
    service = shapes.load("s3")
    shape = service.model.output_shape(operation)

    @settings(QUICK, max_examples=3)
    @given(Values(service, xml=True, whole_seconds=True).structure(shape))
    def holds(result: dict) -> None:
        result.pop("Expires", None)  # a string here, a time to botocore
        if operation == "GetBucketPolicy":
            result.setdefault("Policy", "{}")  # botocore reads no body as an empty policy
        meant = plain(result)
        response = service.encode(operation, meant, "id-1")
        found = as_botocore_reads("s3", operation, response)
        assert found.pop("ResponseMetadata")["RequestId"] == "id-1"
        assert without_empties(found) == without_empties(meant)

    holds()


@pytest.mark.parametrize("service_name", ["batch", "logs", "sts", "s3", "iam", "cloudformation", "events", "ssm"])
@given(message=st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn")), min_size=1, max_size=30))
@settings(max_examples=10, deadline=None)
def test_faults_are_read_by_botocore_as_they_were_meant(service_name: str, message: str) -> None:
    from batchyard.model.fault import Fault

    service = shapes.load(service_name)
    operation = service.operations[0]
    found = as_botocore_reads(service_name, operation, service.encode_fault(Fault("LimitExceeded", message), "id-9"))
    assert found["Error"]["Code"] == "LimitExceeded"
    assert found["Error"]["Message"] == message
    assert found["ResponseMetadata"]["HTTPStatusCode"] in (400, 409)
    assert found["ResponseMetadata"]["RequestId"] == "id-9"
