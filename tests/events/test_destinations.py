"""API destinations and connections: what a receiver is sent, what stays secret, and what is refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from receiver import Receiver

from yard import Yard, serving, until

ROLE = "arn:aws:iam::000000000000:role/events"
KEY = {"ApiKeyAuthParameters": {"ApiKeyName": "X-Api-Key", "ApiKeyValue": "sesame-of-the-lab"}}


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with serving(tmp_path_factory.mktemp("destinations") / "data", "--vcpus", "1", "--memory-mib", "256") as made:
        yield made


@pytest.fixture
def events(yard: Yard) -> Any:
    return yard.client("events")


def refused(call: Any, **params: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as said:
        call(**params)
    return said.value.response["Error"]["Code"], said.value.response["Error"]["Message"]


def destination(events: Any, name: str, url: str, auth: dict[str, Any], kind: str = "API_KEY", **more: Any) -> str:
    connection = events.create_connection(Name=name, AuthorizationType=kind, AuthParameters=auth)
    assert connection["ConnectionState"] == "AUTHORIZED"
    wanted = {"Name": name, "ConnectionArn": connection["ConnectionArn"], "InvocationEndpoint": url, "HttpMethod": "POST", **more}
    answer = events.create_api_destination(**wanted)
    assert answer["ApiDestinationState"] == "ACTIVE"
    return str(answer["ApiDestinationArn"])


def rule(events: Any, name: str, arn: str, **more: Any) -> None:
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
    events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": arn, "RoleArn": ROLE, **more}])


def send(events: Any, source: str, **detail: Any) -> str:
    entry = {"Source": source, "DetailType": "t", "Detail": json.dumps(detail)}
    return str(events.put_events(Entries=[entry])["Entries"][0]["EventId"])


def test_a_receiver_gets_what_connection_and_target_add(events: Any, receiver: Receiver) -> None:
    more = {
        "HeaderParameters": [{"Key": "X-Lab", "Value": "seven"}, {"Key": "X-Hidden", "Value": "shadow", "IsValueSecret": True}],
        "QueryStringParameters": [{"Key": "who", "Value": "the lab"}],
        "BodyParameters": [{"Key": "from", "Value": "batchyard"}],
    }
    url = f"http://127.0.0.1:{receiver.port}/runs/*/lanes/*?v=1"
    arn = destination(events, "all", url, {**KEY, "InvocationHttpParameters": more}, HttpMethod="PUT")
    http = {
        "PathParameterValues": ["$.detail.run", "a/b"],
        "HeaderParameters": {"X-Lab": "overruled", "X-Sample": "$.detail.sample"},
        "QueryStringParameters": {"n": "$.detail.n", "who": "overruled"},
    }
    template = {"InputPathsMap": {"s": "$.detail.sample"}, "InputTemplate": '{"sample": <s>}'}
    rule(events, "all", arn, HttpParameters=http, InputTransformer=template)
    event_id = send(events, "all", run="r 7", sample="NA12878", n=3)
    until(lambda: receiver.requests or None, "the request")
    headers, body = receiver.requests[0]
    assert receiver.lines == ["PUT /runs/r%207/lanes/a%2Fb?v=1&n=3&who=the+lab"]
    assert json.loads(body) == {"sample": "NA12878", "from": "batchyard"}
    wanted = {
        "x-api-key": "sesame-of-the-lab",
        "x-lab": "seven",
        "x-hidden": "shadow",
        "x-sample": "NA12878",
        "content-type": "application/json; charset=utf-8",
        "user-agent": "Amazon/EventBridge/ApiDestinations",
        "x-batchyard-event-id": event_id,
    }
    assert {name: headers.get(name) for name in wanted} == wanted
    assert "x-batchyard-signature" not in headers


def test_basic_authorization_is_sent_and_changed(events: Any, receiver: Receiver) -> None:
    auth = {"BasicAuthParameters": {"Username": "ann", "Password": "first"}}
    rule(events, "basic", destination(events, "basic", receiver.url, auth, "BASIC"))
    send(events, "basic")
    until(lambda: receiver.requests or None, "the first request")
    assert receiver.requests[0][0]["authorization"] == "Basic " + base64.b64encode(b"ann:first").decode()
    assert receiver.events[0]["source"] == "basic"
    events.update_connection(Name="basic", AuthParameters={"BasicAuthParameters": {"Password": "second"}}, Description="new")
    shown = events.describe_connection(Name="basic")
    assert shown["AuthParameters"] == {"BasicAuthParameters": {"Username": "ann"}}
    assert shown["Description"] == "new"
    send(events, "basic")
    until(lambda: len(receiver.requests) > 1 or None, "the second request")
    assert receiver.requests[1][0]["authorization"] == "Basic " + base64.b64encode(b"ann:second").decode()


def test_what_waits_goes_out_once_the_connection_is_authorized_again(events: Any, receiver: Receiver) -> None:
    arn = destination(events, "waits", receiver.url, KEY)
    rule(events, "waits", arn)
    assert events.deauthorize_connection(Name="waits")["ConnectionState"] == "DEAUTHORIZING"
    assert events.describe_connection(Name="waits")["ConnectionState"] == "DEAUTHORIZED"
    assert events.describe_api_destination(Name="waits")["ApiDestinationState"] == "INACTIVE"
    send(events, "waits", n=1)
    assert refused(events.update_connection, Name="waits")[0] == "ValidationException"
    assert not receiver.requests
    assert events.update_connection(Name="waits", AuthParameters=KEY)["ConnectionState"] == "AUTHORIZED"
    until(lambda: receiver.requests or None, "the request")
    assert receiver.requests[0][0]["x-api-key"] == "sesame-of-the-lab"


def test_they_are_described_listed_changed_and_deleted(events: Any) -> None:
    hidden = {"HeaderParameters": [{"Key": "X-Hidden", "Value": "shadow", "IsValueSecret": True}]}
    arn = destination(
        events,
        "listed",
        "https://example.org/x",
        {**KEY, "InvocationHttpParameters": hidden},
        Description="d",
        InvocationRateLimitPerSecond=7,
    )
    connection = events.describe_connection(Name="listed")
    assert connection["AuthParameters"] == {
        "ApiKeyAuthParameters": {"ApiKeyName": "X-Api-Key"},
        "InvocationHttpParameters": {"HeaderParameters": [{"Key": "X-Hidden", "IsValueSecret": True}]},
    }
    assert [c["Name"] for c in events.list_connections(NamePrefix="lis", ConnectionState="AUTHORIZED")["Connections"]] == ["listed"]
    assert events.list_connections(NamePrefix="lis", ConnectionState="DEAUTHORIZED")["Connections"] == []
    events.update_api_destination(Name="listed", InvocationEndpoint="https://example.org/y", HttpMethod="PATCH")
    shown = events.describe_api_destination(Name="listed")
    assert (shown["ApiDestinationArn"], shown["InvocationEndpoint"], shown["HttpMethod"]) == (arn, "https://example.org/y", "PATCH")
    assert (shown["Description"], shown["InvocationRateLimitPerSecond"]) == ("d", 7)
    listed = events.list_api_destinations(ConnectionArn=connection["ConnectionArn"])["ApiDestinations"]
    assert [d["Name"] for d in listed] == ["listed"]
    assert events.delete_connection(Name="listed")["ConnectionState"] == "DELETING"
    assert events.describe_api_destination(Name="listed")["ApiDestinationState"] == "INACTIVE"
    events.delete_api_destination(Name="listed")
    for call in (events.describe_connection, events.describe_api_destination, events.delete_api_destination, events.delete_connection):
        code, words = refused(call, Name="listed")
        assert (code, "'listed' does not exist." in words) == ("ResourceNotFoundException", True)


def test_what_is_not_there_is_refused(events: Any) -> None:
    oauth = {
        "ClientParameters": {"ClientID": "i", "ClientSecret": "s"},
        "AuthorizationEndpoint": "https://example.org/token",
        "HttpMethod": "POST",
    }

    def said(auth: dict[str, Any], kind: str = "API_KEY", **more: Any) -> str:
        code, words = refused(events.create_connection, Name="no", AuthorizationType=kind, AuthParameters=auth, **more)
        assert code == "ValidationException"
        return words

    assert "OAUTH_CLIENT_CREDENTIALS is not available" in said({"OAuthParameters": oauth}, "OAUTH_CLIENT_CREDENTIALS")
    assert "OAuthParameters is not available" in said({**KEY, "OAuthParameters": oauth})
    assert "KmsKeyIdentifier is not available" in said(KEY, KmsKeyIdentifier="alias/k")
    assert "ApiKeyAuthParameters is not for AuthorizationType BASIC" in said(KEY, "BASIC")
    assert "BasicAuthParameters.Username must be specified" in said({}, "BASIC")
    assert "the header Host cannot be set" in said(
        {**KEY, "InvocationHttpParameters": {"HeaderParameters": [{"Key": "Host", "Value": "h"}]}}
    )
    made = events.create_connection(Name="there", AuthorizationType="API_KEY", AuthParameters=KEY)["ConnectionArn"]
    again = refused(events.create_connection, Name="there", AuthorizationType="API_KEY", AuthParameters=KEY)
    assert again == ("ResourceAlreadyExistsException", "Connection there already exists.")
    wanted = {"Name": "no", "ConnectionArn": made, "InvocationEndpoint": "https://example.org/", "HttpMethod": "POST"}
    gone = made[:-1] + ("0" if made[-1] != "0" else "1")
    assert refused(events.create_api_destination, **{**wanted, "ConnectionArn": gone})[0] == "ResourceNotFoundException"
    assert refused(events.create_api_destination, **{**wanted, "InvocationEndpoint": "ftp://example.org/"})[0] == "ValidationException"
    assert refused(events.create_api_destination, **{**wanted, "HttpMethod": "TRACE"})[0] == "ValidationException"
    events.put_rule(Name="no", EventPattern='{"source": ["no"]}')
    arn = events.create_api_destination(**wanted)["ApiDestinationArn"]
    assert refused(events.put_targets, Rule="no", Targets=[{"Id": "1", "Arn": arn}])[1] == f"RoleArn is required for target {arn}."
    http = {"HeaderParameters": {"Content-Length": "1"}}
    assert (
        "Content-Length cannot be set"
        in refused(events.put_targets, Rule="no", Targets=[{"Id": "1", "Arn": arn, "RoleArn": ROLE, "HttpParameters": http}])[1]
    )
    events.delete_api_destination(Name="no")
    target = {"Id": "1", "Arn": arn, "RoleArn": ROLE}
    assert refused(events.put_targets, Rule="no", Targets=[target])[0] == "ResourceNotFoundException"


def test_no_secret_is_stored_as_it_is(yard: Yard, events: Any) -> None:
    destination(events, "sealed", "https://example.org/", {**KEY, "InvocationHttpParameters": {
        "HeaderParameters": [{"Key": "X-Hidden", "Value": "a-shadow-in-a-header", "IsValueSecret": True}]
    }})  # fmt: skip
    kept = b"".join(path.read_bytes() for path in Path(yard.data).glob("*.db*"))
    assert b"X-Hidden" in kept
    assert b"sesame-of-the-lab" not in kept
    assert b"a-shadow-in-a-header" not in kept
