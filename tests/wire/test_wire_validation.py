"""What is refused, in which words, and what is let through: nulls, unknown members, lenient numbers."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_oracle import request

from batchyard.model.fault import Fault
from batchyard.wire import shapes
from batchyard.wire.validation import java_pattern

JSON = {"content-type": "application/json"}
SUBMIT = {"jobName": "j", "jobQueue": "q", "jobDefinition": "d"}


def submit(body: bytes | dict) -> dict:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return shapes.load("batch").decode("SubmitJob", request("POST", "/v1/submitjob", headers=JSON), text)


def logs(operation: str, body: bytes | dict) -> dict:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": f"Logs_20140328.{operation}"}
    return shapes.load("logs").decode(operation, request(headers=headers), text)


def refusal(code: str, call: object, *args: object) -> str:
    with pytest.raises(Fault) as caught:
        call(*args)  # type: ignore[operator]
    assert caught.value.code == code
    return caught.value.message


def test_nulls_are_absent_and_unknown_members_ignored_at_every_depth() -> None:
    assert submit(
        SUBMIT
        | {"shareIdentifier": None, "surprise": {"deep": [None]}, "parameters": {"a": "b", "c": None}}
        | {"containerOverrides": {"vcpus": None, "memory": 3, "command": ["x"], "novelty": None}}
    ) == SUBMIT | {"parameters": {"a": "b"}, "containerOverrides": {"memory": 3, "command": ["x"]}}


def test_empty_containers_stay() -> None:
    empties = {"arrayProperties": {}, "dependsOn": [], "parameters": {}, "containerOverrides": {"environment": []}}
    assert submit(SUBMIT | empties) == SUBMIT | empties


def test_an_empty_body_counts_as_an_empty_object() -> None:
    service = shapes.load("batch")
    assert service.decode("DescribeComputeEnvironments", request("POST", "/v1/describecomputeenvironments"), b"") == {}


def test_of_a_repeated_key_the_last_counts() -> None:
    assert submit(b'{"jobName":"a","jobQueue":"q","jobDefinition":"d","jobName":"b"}')["jobName"] == "b"


def test_a_number_where_batch_wants_a_string_is_taken_as_its_text() -> None:
    overrides = {"resourceRequirements": [{"type": "GPU", "value": 1}]}
    decoded = submit(SUBMIT | {"containerOverrides": overrides})
    assert decoded["containerOverrides"]["resourceRequirements"] == [{"type": "GPU", "value": "1"}]
    assert submit(SUBMIT | {"containerOverrides": {"memory": 2.0}})["containerOverrides"] == {"memory": 2}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"jobName": None}, "1 validation error detected: Value null at 'jobName' failed to satisfy constraint: Member must not be null"),
        (
            {"tags": {"": "x"}},
            "1 validation error detected: Value '' at 'tags.' failed to satisfy constraint: "
            "Member must have length greater than or equal to 1",
        ),
        (
            {"tags": {"k": "v" * 257}},
            f"1 validation error detected: Value '{'v' * 61}...' at 'tags.k' failed to satisfy constraint: "
            "Member must have length less than or equal to 256",
        ),
        (
            {"containerOverrides": {"memory": 2**31}},
            "1 validation error detected: Value '2147483648' at 'containerOverrides.memory' failed to satisfy constraint: "
            "Member must have value less than or equal to 2147483647",
        ),
        (
            {"retryStrategy": {"evaluateOnExit": [{"onReason": "x"}]}, "jobQueue": None},
            "2 validation errors detected: Value null at 'jobQueue' failed to satisfy constraint: Member must not be null; "
            "Value null at 'retryStrategy.evaluateOnExit[0].action' failed to satisfy constraint: Member must not be null",
        ),
        ({"jobName": 7, "dependsOn": "x"}, "Value at 'dependsOn' must be an array, not the string 'x'"),
        ({"jobName": ["a"]}, "Value at 'jobName' must be a string, not an array"),
        ({"jobName": True}, "Value at 'jobName' must be a string, not true or false"),
        ({"dependsOn": ["x"]}, "Value at 'dependsOn[0]' must be an object, not the string 'x'"),
        ({"dependsOn": [None]}, "Value at 'dependsOn[0]' must be an object, not null"),
        ({"containerOverrides": {"command": [None]}}, "Value at 'containerOverrides.command[0]' must be a string, not null"),
        ({"containerOverrides": {"memory": "2"}}, "Value at 'containerOverrides.memory' must be a whole number, not the string '2'"),
        ({"containerOverrides": {"memory": 2.5}}, "Value at 'containerOverrides.memory' must be a whole number, not the number 2.5"),
        ({"propagateTags": "true"}, "Value at 'propagateTags' must be true or false, not the string 'true'"),
        ({"parameters": {"a": {}}}, "Value at 'parameters.a' must be a string, not an object"),
        ({"arrayProperties": []}, "Value at 'arrayProperties' must be an object, not an array"),
    ],
)
def test_batch_says_which_field_and_what_it_must_be(members: dict, message: str) -> None:
    assert refusal("ClientException", submit, SUBMIT | members) == message


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (b"{", "could not be read as JSON"),
        (b"[]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'"x"', "must be a JSON object"),
        (b"nonsense", "could not be read as JSON"),
        (b'{"jobName": NaN}', "could not be read as JSON"),
        (b'{"jobName": "\xff"}', "not UTF-8"),
        (b'{"jobName": "\\ud800"}', "could not be read as JSON"),
        (b'{"jobName": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"surprise": ' + b'{"a":' * 100_000, "nested too deeply"),
        (b"[" * 900_000, "nested too deeply"),
        (b'{"jobName":"j","jobQueue":"q","jobDefinition":"d","containerOverrides":{"memory":1e999}}', "out of range"),
        (b'{"jobName":"j","jobQueue":"q","jobDefinition":"d","containerOverrides":{"memory":' + b"9" * 5000 + b"}}", "memory"),
        (b'{"jobName":"j","jobQueue":"q","jobDefinition":"d","containerOverrides":{"memory":' + b"9" * 30 + b"}}", "2147483647"),
        (b'{"jobName":"j","jobQueue":"q","jobDefinition":"d","containerOverrides":{"memory":1e15}}', "2147483647"),
        (b'{"jobName":"a"}{"jobName":"b"}', "could not be read as JSON"),
        (b"\x00\x01\x02", "could not be read as JSON"),
        (b'\xef\xbb\xbf{"jobName":"j"}', "could not be read as JSON"),
    ],
)
def test_hostile_json_is_a_client_exception_that_names_the_trouble(body: bytes, part: str) -> None:
    message = refusal("ClientException", submit, body)
    assert part in message or "could not be read as JSON" in message


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "multipart/form-data", "application/xml"])
def test_a_body_of_another_kind_is_refused(kind: str) -> None:
    service = shapes.load("batch")
    message = refusal(
        "UnsupportedMediaTypeException", service.decode, "SubmitJob", request(headers={"content-type": kind} if kind else {}), b"{}"
    )
    assert "application/json" in message


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/x-amz-json-1.1"])
def test_json_by_its_other_names_is_read(kind: str) -> None:
    assert shapes.load("batch").decode("SubmitJob", request(headers={"content-type": kind}), json.dumps(SUBMIT).encode()) == SUBMIT


def test_logs_tells_wrong_types_from_values_out_of_bounds() -> None:
    assert "must be a string" in refusal("SerializationException", logs, "CreateLogGroup", {"logGroupName": 7})
    assert refusal("InvalidParameterException", logs, "CreateLogGroup", {"logGroupName": "a b"}) == (
        "1 validation error detected: Value 'a b' at 'logGroupName' failed to satisfy constraint: "
        r"Member must satisfy regular expression pattern: [\.\-_/#A-Za-z0-9]+"
    )
    assert "Member must not be null" in refusal("InvalidParameterException", logs, "CreateLogGroup", {})
    assert "could not be read" in refusal("SerializationException", logs, "CreateLogGroup", b"{")
    assert logs("CreateLogGroup", {"logGroupName": "a/b#c.d", "tags": {"schlüssel": "wert mit räumen"}})["tags"]


def test_enums_are_left_to_the_services() -> None:
    assert submit(SUBMIT | {"dependsOn": [{"jobId": "x", "type": "NEVER_SEEN"}]})["dependsOn"][0]["type"] == "NEVER_SEEN"


def test_tag_operations_take_path_and_query() -> None:
    service = shapes.load("batch")
    arn = "arn:aws:batch:us-east-1:123456789012:job-queue/a/b:c"
    for path in (f"/v1/tags/{arn}", "/v1/tags/arn%3Aaws%3Abatch%3Aus-east-1%3A123456789012%3Ajob-queue%2Fa%2Fb%3Ac"):
        untag = request("DELETE", path, "tagKeys=a&tagKeys=b%26c%20d")
        assert service.match(untag) == ("UntagResource", {"resourceArn": arn})
        assert service.decode("UntagResource", untag, b"") == {"resourceArn": arn, "tagKeys": ["a", "b&c d"]}
        assert service.match(request("GET", path))[0] == "ListTagsForResource"
    missing = request("DELETE", f"/v1/tags/{arn}")
    assert refusal("UnknownOperationException", service.match, missing)
    too_long = request("DELETE", f"/v1/tags/{arn}", "tagKeys=" + "k" * 129)
    assert "'tagKeys[0]'" in refusal("ClientException", service.decode, "UntagResource", too_long, b"")


@pytest.mark.parametrize("path", ["/v1/tags/", "/v1/tags/%ff", "/v1/nothing", "/v1/submitjob/", "/v1/SubmitJob", "/", "", "/v1"])
def test_unknown_paths_are_no_operation(path: str) -> None:
    for method in ("GET", "POST", "DELETE", "PUT", "PATCH"):
        with pytest.raises(Fault) as caught:
            shapes.load("batch").match(request(method, path))
        assert caught.value.code in ("UnknownOperationException", "ClientException")


def test_forms_are_checked_too() -> None:
    service = shapes.load("sts")
    form = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}

    def assume(body: bytes, headers: dict[str, str] = form) -> dict:
        return service.decode("AssumeRole", request(headers=headers), body)

    body = b"Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fr&RoleSessionName=me"
    assert assume(body) == {"RoleArn": "arn:aws:iam::123456789012:role/r", "RoleSessionName": "me"}
    assert "DurationSeconds" in refusal("ValidationError", assume, body + b"&DurationSeconds=soon")
    assert "greater than or equal to 900" in refusal("ValidationError", assume, body + b"&DurationSeconds=5")
    assert "RoleSessionName" in refusal("ValidationError", assume, body.replace(b"RoleSessionName", b"X"))
    assert "numbered" in refusal("ValidationError", assume, body + b"&Tags.member.x.Key=a")
    assert refusal("MalformedQueryString", assume, body + b"&a=%ff")
    assert refusal("MalformedQueryString", assume, b"\xff")
    assert refusal("MalformedQueryString", assume, b"&a=1" * 30_000)
    assert refusal("MalformedQueryString", assume, body, {"content-type": "application/json"})
    assert assume(body + b"&" + b"a." * 400_000 + b"=1")
    tags = (
        b"&Tags.member.2.Key=b&Tags.member.2.Value=2&Tags.member.10.Key=c&Tags.member.10.Value=&Tags.member.1.Key=a&Tags.member.1.Value=1"
    )
    assert [tag["Key"] for tag in assume(body + tags)["Tags"]] == ["a", "b", "c"]


def test_what_no_answer_in_xml_could_show_again_is_refused() -> None:
    form = b"Action=CreateSecurityGroup&Version=2016-11-15&GroupName=a&GroupDescription=b%00"
    headers = {"content-type": "application/x-www-form-urlencoded"}
    with pytest.raises(Fault, match="a control character that XML cannot hold at 'Description'"):
        shapes.load("ec2").decode("CreateSecurityGroup", request(headers=headers), form)


def test_java_patterns_are_widened_or_given_up_never_narrowed() -> None:
    assert java_pattern(r"^([\p{L}\p{Z}\p{N}_.:/=+\-@]+)$") is not None
    assert java_pattern(r"[\p{M}]") is None
    assert java_pattern(r"(?s).*") is not None
    assert java_pattern(r"[\w-_]*") is not None
    assert java_pattern("[") is None


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["SubmitJob", "RegisterJobDefinition", "DescribeJobs", "TagResource", "ListJobs"]))
def test_arbitrary_bytes_never_break_batch(body: bytes, operation: str) -> None:
    try:
        shapes.load("batch").decode(operation, request("POST", "/v1/tags/x", headers=JSON), body)
    except Fault as fault:
        assert fault.code == "ClientException"


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_arbitrary_json_in_known_members_never_breaks_batch(data: st.DataObject) -> None:
    service = shapes.load("batch")
    operation = data.draw(st.sampled_from(["SubmitJob", "RegisterJobDefinition", "CreateComputeEnvironment", "ListJobs"]))
    names = list(service.model.input_shape(operation).members)
    body = data.draw(st.dictionaries(st.sampled_from(names), ANY_JSON, max_size=4))
    try:
        decoded = service.decode(operation, request(headers=JSON), json.dumps(body).encode())
    except Fault as fault:
        assert fault.code == "ClientException"
        assert "'" in fault.message
    else:
        assert None not in decoded.values()


def test_shapes_that_hold_themselves_are_checked_to_the_bottom_and_no_further() -> None:
    service = shapes.load("ssm")
    headers = {"content-type": "application/x-amz-json-1.1"}

    def nested(depth: int, name: object) -> bytes:
        inner: dict = {"Expression": name}
        for _ in range(depth):
            inner = {"Aggregators": [inner]}
        return json.dumps({"Aggregators": [inner]}).encode()

    assert service.decode("GetInventory", request(headers=headers), nested(3, "AWS:File.Name"))
    message = refusal("SerializationException", service.decode, "GetInventory", request(headers=headers), nested(3, []))
    assert "'Aggregators[0].Aggregators[0].Aggregators[0].Aggregators[0].Expression' must be a string" in message
    deep = refusal("SerializationException", service.decode, "GetInventory", request(headers=headers), nested(200, "AWS:File.Name"))
    assert "nested too deeply" in deep


def test_blobs_must_be_base64() -> None:
    service = shapes.load("lambda")

    def create(code: object) -> dict:
        body = json.dumps({"FunctionName": "f", "Role": "arn:aws:iam::123456789012:role/r", "Code": {"ZipFile": code}}).encode()
        return service.decode("CreateFunction", request(headers=JSON), body)

    assert create("aGVsbG8=")["Code"]["ZipFile"] == b"hello"
    assert "must be a base64 string" in refusal("SerializationException", create, "no base64!")
    assert "must be a base64 string" in refusal("SerializationException", create, 7)


def test_maps_in_forms() -> None:
    service = shapes.load("sns")
    form = {"content-type": "application/x-www-form-urlencoded"}
    body = (
        b"Action=CreateTopic&Name=t&Attributes.entry.1.key=a&Attributes.entry.1.value=b&Attributes.entry.2.key=c&Attributes.entry.2.value="
    )
    assert service.decode("CreateTopic", request(headers=form), body) == {"Name": "t", "Attributes": {"a": "b", "c": ""}}
    cut = body.replace(b"&Attributes.entry.2.value=", b"")
    assert "needs a key and a value" in refusal("ValidationError", service.decode, "CreateTopic", request(headers=form), cut)
