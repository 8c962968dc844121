"""The logs at the wire: real boto3 and the AWS CLI through the door, as clients use them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import uvicorn
from botocore.config import Config
from botocore.exceptions import ClientError
from logs_yard import Desk

from batchyard.server.app import App, DoorSettings
from batchyard.server.identity import root_credential
from batchyard.server.listener import listener_config
from batchyard.services import logs, sts
from batchyard.store.logs import frame, open_segment
from batchyard.store.logs_store import LogStore, wall_ms

ACCOUNT, REGION, GROUP = "123456789012", "eu-west-1", "/aws/batch/job"
ROOT = root_credential("AKIALOGS", "secret-of-logs", ACCOUNT)


@dataclass
class Door:
    url: str
    store: LogStore

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=ROOT.access_key_id,
            aws_secret_access_key=ROOT.secret_access_key,
            config=Config(retries={"total_max_attempts": 1}),
        )

    def write(self, stream: str, *messages: bytes, group: str = GROUP) -> None:
        """What a node does for a job that says `messages`."""
        descriptor = open_segment(self.store.root, ACCOUNT, REGION, group, stream, wall_ms())
        try:
            for message in messages:
                os.write(descriptor, frame(wall_ms(), message))
        finally:
            os.close(descriptor)

    def cli(self, *words: str) -> str:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.store.root),
            "AWS_ENDPOINT_URL": self.url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": ROOT.access_key_id,
            "AWS_SECRET_ACCESS_KEY": ROOT.secret_access_key,
        }
        done = subprocess.run(
            [str(Path(sys.executable).with_name("aws")), *words], env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    store = LogStore(tmp_path_factory.mktemp("logs"))
    app = App(
        Desk(store),
        {"logs": logs, "sts": sts},
        None,
        lambda access_key_id, token: ROOT if access_key_id == ROOT.access_key_id else None,
        DoorSettings(ACCOUNT, REGION),
    )
    server = uvicorn.Server(listener_config(app, host="127.0.0.1", port=0))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    give_up_at = time.monotonic() + 60
    while not server.started and time.monotonic() < give_up_at:
        time.sleep(0.01)
    yield Door(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", store)
    server.should_exit = True
    thread.join(60)
    store.close()


@contextlib.contextmanager
def refused(code: str, message: str) -> Iterator[None]:
    with pytest.raises(ClientError) as error:
        yield
    assert (error.value.response["Error"]["Code"], error.value.response["Error"]["Message"]) == (code, message)
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_who_am_i(door: Door) -> None:
    answer = door.client("sts").get_caller_identity()
    assert (answer["Account"], answer["Arn"], answer["UserId"]) == (ACCOUNT, ROOT.arn, ROOT.user_id)
    assert json.loads(door.cli("sts", "get-caller-identity"))["Account"] == ACCOUNT


def test_a_client_waits_for_a_job_and_reads_its_log(door: Door) -> None:
    client = door.client("logs")
    asked = {"logGroupName": GROUP, "logStreamName": "job/default/1", "startFromHead": True}
    with refused("ResourceNotFoundException", "The specified log stream does not exist."):
        client.get_log_events(**asked)
    with refused("ResourceNotFoundException", "The specified log group does not exist."):
        client.get_log_events(**{**asked, "logGroupName": "own"})
    door.write("job/default/1", b"one", "zwei äöü".encode())
    first = client.get_log_events(**asked)
    assert [event["message"] for event in first["events"]] == ["one", "zwei äöü"]
    idle = client.get_log_events(**asked, nextToken=first["nextForwardToken"])
    assert idle["events"] == [] and idle["nextForwardToken"] == first["nextForwardToken"]
    door.write("job/default/1", b"three")
    assert [event["message"] for event in client.get_log_events(**asked, nextToken=first["nextForwardToken"])["events"]] == ["three"]
    assert [event["message"] for event in client.get_log_events(**{**asked, "startFromHead": False}, limit=1)["events"]] == ["three"]
    door.write("s", b"hello", group="own")
    assert client.get_log_events(logGroupName="own", logStreamName="s")["events"][0]["message"] == "hello"


def test_a_client_keeps_its_own_log(door: Door) -> None:
    client = door.client("logs")
    client.create_log_group(logGroupName="mine", tags={"a": "b"})
    client.put_retention_policy(logGroupName="mine", retentionInDays=7)
    client.create_log_stream(logGroupName="mine", logStreamName="s")
    now = wall_ms()
    for number in range(3):
        client.put_log_events(
            logGroupName="mine", logStreamName="s", logEvents=[{"timestamp": now - number, "message": f"{number}"}], sequenceToken="any"
        )
    pages = client.get_paginator("filter_log_events").paginate(logGroupName="mine", PaginationConfig={"PageSize": 2})
    assert [event["message"] for page in pages for event in page["events"]] == ["2", "1", "0"]
    group = client.describe_log_groups(logGroupNamePrefix="mine")["logGroups"][0]
    assert group["retentionInDays"] == 7 and group["storedBytes"] == 3
    assert client.list_tags_for_resource(resourceArn=group["logGroupArn"])["tags"] == {"a": "b"}
    streams = client.get_paginator("describe_log_streams").paginate(logGroupName="mine", PaginationConfig={"PageSize": 1})
    assert [stream["lastEventTimestamp"] for page in streams for stream in page["logStreams"]] == [now]
    with refused("InvalidParameterException", "Log events in a single PutLogEvents request must be in chronological order."):
        events = [{"timestamp": now, "message": "a"}, {"timestamp": now - 1, "message": "b"}]
        client.put_log_events(logGroupName="mine", logStreamName="s", logEvents=events)
    client.delete_log_group(logGroupName="mine")
    with refused("ResourceNotFoundException", "The specified log group does not exist."):
        client.describe_log_streams(logGroupName="mine")


def test_a_batch_of_full_size_fits_through_the_door(door: Door) -> None:
    client = door.client("logs")
    client.create_log_group(logGroupName="full")
    client.create_log_stream(logGroupName="full", logStreamName="s")
    now = wall_ms()
    # On the wire, boto3 writes each of these two bytes as six.
    half = "ä" * ((1_048_576 - 52) // 4)
    client.put_log_events(logGroupName="full", logStreamName="s", logEvents=[{"timestamp": now, "message": half}] * 2)
    small = "x" * ((1_048_576 - 260_000) // 10_000)
    client.put_log_events(logGroupName="full", logStreamName="s", logEvents=[{"timestamp": now, "message": small}] * 10_000)
    asked = {"logGroupName": "full", "logStreamName": "s", "startFromHead": True}
    page = client.get_log_events(**asked)
    assert [event["message"] for event in page["events"]] == [half, half]
    assert len(client.get_log_events(**asked, nextToken=page["nextForwardToken"])["events"]) == 10_000


def test_a_group_is_followed_as_the_tail_command_of_the_cli_does_it(door: Door) -> None:
    # `aws logs tail --follow` is in version 2 of the CLI only: it searches again from the last time it saw, and knows events by id.
    client = door.client("logs")
    seen: dict[str, str] = {}
    start = wall_ms()
    for number in range(5):
        door.write(f"tail/default/{number % 2}", b"%d" % number)
        pages = client.get_paginator("filter_log_events").paginate(
            logGroupName=GROUP, logStreamNamePrefix="tail/", interleaved=True, startTime=start
        )
        for event in (event for page in pages for event in page["events"]):
            seen.setdefault(event["eventId"], event["message"])
            start = event["timestamp"]
    assert list(seen.values()) == ["0", "1", "2", "3", "4"]


def test_what_is_not_served_says_so(door: Door) -> None:
    with pytest.raises(ClientError) as error:
        door.client("logs").put_subscription_filter(logGroupName=GROUP, filterName="f", filterPattern="", destinationArn="arn:aws:lambda:x")
    assert "subscriptions are not available" in error.value.response["Error"]["Message"]


def test_the_aws_cli_reads_logs(door: Door) -> None:
    door.write("cli/default/1", b"first line", b"ERROR second line")
    door.write("cli/default/2", b"other stream")
    found = door.cli("logs", "filter-log-events", "--log-group-name", GROUP, "--filter-pattern", '"ERROR second"', "--page-size", "1")
    assert [event["message"] for event in json.loads(found)["events"]] == ["ERROR second line"]
    read = door.cli(
        "logs", "get-log-events", "--log-group-name", GROUP, "--log-stream-name", "cli/default/1", "--query", "events[].message"
    )
    assert json.loads(read) == ["first line", "ERROR second line"]
    streams = door.cli("logs", "describe-log-streams", "--log-group-name", GROUP, "--order-by", "LastEventTime", "--descending")
    assert json.loads(streams)["logStreams"][0]["logStreamName"] == "cli/default/2"
