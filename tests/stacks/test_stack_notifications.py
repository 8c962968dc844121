"""What became of a stack is told: to rules on the bus and to the URLs of NotificationARNs, also when the server is killed in between."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from yard import Yard, serving, until

TEMPLATE = json.dumps({"Resources": {"Note": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "v"}}}})


class Ear:
    """A webhook that keeps what it is sent."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        heard = self.heard

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                heard.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/told"

    def of(self, arn: str) -> list[tuple[str, str]]:
        """(logical id or "", status) of each event of a stack, once each, in the order of arrival."""
        found = {
            event["id"]: (event["detail"].get("logical-resource-id", ""), event["detail"]["status-details"]["status"])
            for event in self.heard
            if event["resources"] == [arn]
        }
        return list(found.values())


@pytest.fixture
def ear() -> Iterator[Ear]:
    one = Ear()
    yield one
    one.server.shutdown()
    one.server.server_close()


WHOLE = [
    ("", "CREATE_IN_PROGRESS"),
    ("Note", "CREATE_IN_PROGRESS"),
    ("Note", "CREATE_IN_PROGRESS"),
    ("Note", "CREATE_COMPLETE"),
    ("", "CREATE_COMPLETE"),
]


def test_rules_and_urls_hear_of_stacks_also_across_a_kill(tmp_path: Path, ear: Ear) -> None:
    other = Ear()
    yard = Yard(tmp_path / "yard").start()
    try:
        events, client = yard.client("events"), yard.client("cloudformation")
        pattern = {"source": ["aws.cloudformation"], "detail-type": ["CloudFormation Stack Status Change"]}
        events.put_rule(Name="stacks", EventPattern=json.dumps(pattern))
        events.put_targets(Rule="stacks", Targets=[{"Id": "ear", "Arn": other.url}])
        arn = client.create_stack(StackName="told", TemplateBody=TEMPLATE, NotificationARNs=[ear.url], ClientRequestToken="mine")["StackId"]
        until(lambda: ear.of(arn) == WHOLE or None, "all events at the URL")
        until(lambda: other.of(arn) == [WHOLE[0], WHOLE[-1]] or None, "the stack's own at the rule's target")
        (first, *_) = ear.heard
        assert first["detail-type"] == "CloudFormation Stack Status Change" and first["source"] == "aws.cloudformation"
        assert first["detail"] == {
            "stack-id": arn,
            "status-details": {"status": "CREATE_IN_PROGRESS", "status-reason": "User Initiated"},
            "client-request-token": "mine",
        }
        made = next(event for event in ear.heard if event["detail"]["status-details"]["status"] == "CREATE_COMPLETE")
        assert made["detail-type"] == "CloudFormation Resource Status Change"
        assert made["detail"]["resource-type"] == "AWS::SSM::Parameter" and made["detail"]["physical-resource-id"]

        (stack,) = client.describe_stacks(StackName="told")["Stacks"]
        assert stack["NotificationARNs"] == [ear.url]
        for n in range(3):
            name = f"killed-{n}"
            arn = yard.client("cloudformation").create_stack(StackName=name, TemplateBody=TEMPLATE, NotificationARNs=[ear.url])["StackId"]
            yard.kill()
            yard.start()
            until(lambda arn=arn: ear.of(arn) == WHOLE or None, "all events at the URL after a kill")
        yard.client("cloudformation").delete_stack(StackName="told")
        until(lambda: ("", "DELETE_COMPLETE") in ear.of(stack["StackId"]) or None, "the end of the stack")
    finally:
        yard.down()
        other.server.shutdown()
        other.server.server_close()


def test_topics_are_refused(tmp_path: Path) -> None:
    with serving(tmp_path / "yard") as yard, pytest.raises(ClientError, match="there is no SNS in Batchyard"):
        topic = "arn:aws:sns:us-east-1:123456789012:topic"
        yard.client("cloudformation").create_stack(StackName="topic", TemplateBody=TEMPLATE, NotificationARNs=[topic])
