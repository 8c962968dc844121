"""Every operation of every service, fed with what hypothesis makes of botocore's shapes: valid, then with a broken body, path, query and
headers. None may fail unexpectedly.

Each run draws anew (where CI is set, the same each time); a failure prints its example. BATCHYARD_FUZZ_EXAMPLES=200 looks longer.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import http.client
import json
import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from batchyard.main.serve import SERVICES
from batchyard.services import s3
from batchyard.wire import shapes
from batchyard.wire.http import HttpResponse
from batchyard.wire.servicemodel import Shape
from batchyard.wire.validation import java_pattern
from wire.wire_oracle import Values, as_botocore_reads, as_botocore_sends
from yard import Yard

pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")  # long examples are shown all the same
KNOWN = ["known", "known:1", "/known", "arn:aws:batch:us-east-1:000000000000:job-queue/known", "arn:aws:iam::000000000000:role/known"]
EXAMPLES = int(os.environ.get("BATCHYARD_FUZZ_EXAMPLES", "2"))
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink] if EXAMPLES > 10 else [Phase.generate],
)
MODULES = {**{name: module for name, module in SERVICES.items() if name != "batchyard"}, "s3": s3}
LAST = re.compile("Delete|Deregister|Terminate|Remove|Update|Disable|Detach|Deactivate")  # what ends others comes after them
# Valid by the shapes, and not what a service of one's own should be asked for at random.
STRANGE = [
    None,
    True,
    -1,
    0,
    2**63,
    1e308,
    "",
    "a" * 70_000,
    "\u0000\ud7ff\U0001f9ec",
    [],
    {},
    [None],
    {"a": {"b": [1]}},
    "${x}",
    "../..",
    "%00",
    -62_135_596_801,  # times before the first year, and after the last one of four digits
    253_402_300_800,
    1e20,
    -1e20,
    float("nan"),
    float("inf"),
]
# Texts of a form that some member has: valid, or only nearly.
ODD = [
    *(
        "http://127.0.0.1:1/x",
        "http://h:99999/",
        "http://h:port/",
        "http://h:80:90/",
        "http://[::1",
        "http://[x]/",
        "https://a b/",
        "http://\x00/",
    ),
    *("rate(0 minutes)", "rate(99999999999999999999 days)", "cron(* * * * ? *)", "cron(61 25 32 13 8 1)", "cron()"),
    *('{"a": [{"numeric": ["<", 1e999]}]}', '{"a": [{"wildcard": "***"}]}', '{"a": [{"cidr": "1.2.3.4/99"}]}', "[" * 3000, '{"a": 1'),
    *("arn:aws:::::", "arn:aws:logs:us-east-1:000000000000:log-group:known", "arn:aws:s3:::known/%zz", "sg-", "0", "-1", "9" * 40, "1e400"),
    *("2020-13-45T99:00:00Z", "$.a[", "$..", "<a>", "<$.a>", "(", "(?P<", "\\", "\ufeff", '"a"', "NaN"),
]
# What stands in paths, queries and headers where it does not belong; percent-encoded as far as it has to be.
BENT = [
    *("", "..", "%2e%2e", "%00", "%0a", "%ff", "%zz", "%", "+", ";", "//", "*", "a" * 3000, "a=b&a=c", "%F0%9F%A7%AC", "%ED%A0%80", "AAAA"),
    *("-1", "0", "9" * 30, "1e400", "nan", "true", "null", "2020-13-45T99:00:00Z", "99999-01-01T00:00:00Z", "0000-00-00"),
    *("bytes=5-1", "bytes=-0", "bytes=9-99999999999999999999", "W/%22x%22", "text/xml;charset=utf-7", "gzip", "aws-chunked"),
    *("STREAMING-UNSIGNED-PAYLOAD-TRAILER", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
]
HEADERS = [
    *("content-type", "content-encoding", "content-md5", "content-language", "range", "if-match", "if-none-match", "if-modified-since"),
    *("if-unmodified-since", "date", "x-amz-date", "x-amz-target", "x-amz-content-sha256", "x-amz-decoded-content-length", "x-amz-trailer"),
    *("x-amz-sdk-checksum-algorithm", "x-amz-checksum-crc32", "x-amz-security-token", "x-amzn-trace-id", "user-agent", "accept", "origin"),
]


class Fuzzed(Values):
    """Values of shapes, with names among them of what is there."""

    def _text(self, shape: Shape, low: int, high: int) -> st.SearchStrategy[str]:
        made = super()._text(shape, low, high)
        if shape.enum:
            return made
        pattern = java_pattern(shape.pattern) if shape.pattern else ""
        fitting = [name for name in KNOWN + self._odd() if low <= len(name) <= high and re.search(pattern or "", name)]
        return st.one_of(st.sampled_from(fitting), made) if fitting else made

    def _odd(self) -> list[str]:
        return [text for text in ODD if not self.xml or text.isprintable()]

    def outside(self, name: str) -> st.SearchStrategy[Any]:
        made = super().outside(name)
        shape = self.model.shapes[name]
        return st.one_of(st.sampled_from(KNOWN), made) if shape.type == "string" and not shape.enum else made


@functools.cache
def values(service: str) -> Fuzzed:
    return Fuzzed(shapes.load(service), whole_seconds=True, xml=service in ("s3", "iam", "sts", "ec2"))


def operations() -> list[tuple[str, str]]:
    """(service, operation) of all that is served, those that take away at the end of each service."""
    return [
        (service, operation)
        for service, module in MODULES.items()
        for operation in sorted(module.OPERATIONS, key=lambda name: (bool(LAST.match(name)), name))
        if operation in shapes.load(service).operations
    ]


class Wire:
    """Raw requests to the service, without boto3's own checks in between."""

    def __init__(self, yard: Yard) -> None:
        self.yard = yard
        self.place = urlsplit(yard.url).netloc
        self.connection = http.client.HTTPConnection(self.place, timeout=120)

    def ask(self, service: str, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        scope = f"AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
        sent = {name: value for name, value in headers.items() if name not in ("host", "content-length", "authorization")}
        sent |= {"authorization": scope}
        for attempt in (1, 2):
            try:
                self.connection.request(method, target, body, sent)
                answer = self.connection.getresponse()
                return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                self.connection.close()  # the server had closed an idle connection, or closed after a refusal
                if attempt == 2:
                    raise
            except BaseException:
                self.connection.close()
                raise
        raise AssertionError("unreachable")

    def unexpected(self) -> list[str]:
        """The lines of /metrics that count exceptions that nobody had expected."""
        page = self.ask("batchyard", "GET", "/metrics", {}, b"")[2].decode()
        return [line for line in page.splitlines() if line.startswith("batchyard_unexpected_exceptions_total")]


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    yard = Yard(tmp_path_factory.mktemp("fuzz") / "data", "--auth", "off", "--vcpus", "1", "--memory-mib", "512", "--runtime", "process")
    yard.program = ("-m", "batchyard.main")  # what is drawn at random is no test of an operation and its members
    yard.start()
    yard.environment_of("known")
    yard.queue_of("known", "known")
    yard.definition_of("known", "true")
    yard.submit("known", "known")
    yard.client("s3").create_bucket(Bucket="known")
    yard.client("s3").put_object(Bucket="known", Key="known", Body=b"known")
    yard.client("logs").create_log_group(logGroupName="known")
    yard.client("logs").create_log_stream(logGroupName="known", logStreamName="known")
    trust = {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}
    yard.client("iam").create_role(RoleName="known", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}))
    yard.client("ssm").put_parameter(Name="known", Value="v", Type="String")
    yard.client("secretsmanager").create_secret(Name="known", SecretString="s")
    group = yard.client("logs").describe_log_groups(logGroupNamePrefix="known")["logGroups"][0]["arn"]
    yard.client("events").put_rule(Name="known", EventPattern='{"source": [{"anything-but": "aws"}]}')
    yard.client("events").put_targets(Rule="known", Targets=[{"Id": "known", "Arn": group}])
    yield Wire(yard)
    yard.down()


def judge(service: str, operation: str, answer: tuple[int, dict[str, str], bytes]) -> None:
    """No failure of ours, and an answer of the operation's shape."""
    status, headers, body = answer
    assert status < 500 or status == 501, (status, body[:2000])
    if status >= 300 or shapes.load(service).model.output_shape(operation) is None:
        return
    if service in ("batch", "logs", "ecs", "ssm"):
        wrong = shapes.check(shapes.load(service), operation, json.loads(body) if body else {})
        assert not wrong, wrong
    elif operation != "GetObject":
        as_botocore_reads(service, operation, HttpResponse(status, headers, body))


def request_of(service: str, operation: str, params: dict[str, Any]) -> tuple[str, str, dict[str, str], bytes]:
    request, body = as_botocore_sends(service, operation, params)
    target = request.raw_path + (f"?{request.raw_query}" if request.raw_query else "")
    headers = {name: value for name, value in request.headers.items() if "\n" not in value and "\r" not in value}
    return request.method, target, headers, body


def broken(draw: Any, body: bytes) -> bytes:
    """`body` with something in it that does not belong there."""
    tree = None
    with contextlib.suppress(ValueError):
        tree = json.loads(body)
    if not isinstance(tree, dict) or draw(st.integers(0, 9)) == 0:
        if not body:
            return b"{"
        at = draw(st.integers(0, len(body) - 1))
        put = draw(st.sampled_from([b"", b"\x00", b"&", b"<", b"\xff", b"=" * 3, b"%zz", b"1" * 5000]))
        return bytes(body[:at] + put + body[at + draw(st.integers(0, 9)) :])
    tree = copy.deepcopy(tree)
    here: Any = tree
    while True:
        keys: list[Any] = list(here) if isinstance(here, dict) else list(range(len(here)))
        if not keys:
            break
        key = draw(st.sampled_from(keys))
        if not isinstance(here[key], dict | list) or not here[key] or draw(st.booleans()):
            if draw(st.integers(0, 4)) == 0:
                del here[key]
            else:
                here[key] = draw(st.sampled_from(STRANGE))
            break
        here = here[key]
    return json.dumps(tree).encode()


def bent(draw: Any, service: str, operation: str, target: str, headers: dict[str, str]) -> tuple[str, dict[str, str]]:
    """The target and headers of a request with something in them that does not belong there."""
    shape = shapes.load(service).model.input_shape(operation)
    members = list(shape.members.values()) if shape is not None else []
    path, _, query = target.partition("?")
    put = draw(st.sampled_from(BENT))
    match draw(st.integers(0, 2)):
        case 0:
            named = [member.location_name for member in members if member.location == "querystring" and member.location_name]
            pairs = [pair for pair in query.split("&") if pair]
            name = draw(st.sampled_from([*named, *(pair.partition("=")[0] for pair in pairs), "x-id", "versionId", "X-Amz-Date", "%zz"]))
            kept = [pair for pair in pairs if pair.partition("=")[0] != name or draw(st.booleans())]
            query = "&".join([*kept, draw(st.sampled_from([f"{name}={put}", name, put]))])
        case 1:
            parts = path.split("/")
            at = draw(st.integers(0, len(parts) - 1))
            parts[at : at + draw(st.integers(0, 1))] = [put]
            path = "/" + "/".join(parts).lstrip("/") if draw(st.booleans()) else "/".join(["", *parts[1:]])
        case _:
            named = [member.location_name for member in members if member.location == "header" and member.location_name]
            name = draw(st.sampled_from([*named, *HEADERS])).lower()
            headers = {**headers, name: draw(st.sampled_from([put, "\u00e9", "\t", ",", "=;,"]))}
    return (f"{path}?{query}" if query else path), headers


@pytest.mark.parametrize(("service", "operation"), operations())
def test_nothing_that_is_asked_fails_unexpectedly(wire: Wire, service: str, operation: str) -> None:
    shape = shapes.load(service).model.input_shape(operation)
    made = values(service).structure(shape) if shape is not None else st.just({})

    @FUZZ
    @given(made, st.data())
    def holds(params: dict[str, Any], chosen: Any) -> None:
        params.pop("Expires", None)  # botocore takes a time for what is a text in the model
        for name, value in list(params.items()):  # botocore refuses to send these at all
            if isinstance(value, str) and shape.members[name].location == "header" and not (value.isascii() and value.isprintable()):
                del params[name]
        method, target, headers, body = request_of(service, operation, params)
        judge(service, operation, wire.ask(service, method, target, headers, body))
        status, _, said = wire.ask(service, method, target, headers, broken(chosen.draw, body))
        assert status < 500 or status == 501, (status, said[:2000])
        elsewhere, other_headers = bent(chosen.draw, service, operation, target, headers)
        status, _, said = wire.ask(service, method, elsewhere, other_headers, body)
        assert status < 500 or status == 501, (status, said[:2000], elsewhere, other_headers)

    holds()


def test_after_all_that_it_still_answers_and_nothing_was_unexpected(wire: Wire) -> None:
    assert wire.unexpected() == []
    wire.yard.environment_of("after")
    wire.yard.queue_of("after", "after")
    wire.yard.definition_of("after", "true")
    assert wire.yard.job(wire.yard.submit("after", "after"))["jobQueue"].endswith("job-queue/after")
