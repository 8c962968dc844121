"""Rules whose target is a job queue: an event submits a job, once; schedules fire, once for all that was missed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from batchyard.services.announcing.deliveries import HERE
from batchyard.store.shelf import Shelf
from yard import Yard, until

ROLE = "arn:aws:iam::000000000000:role/events"
QUEUE = "arn:aws:batch:us-east-1:000000000000:job-queue/queue"
ANALYSED = {"source": ["sequencer"]}


def start(folder: Path, *options: str) -> Yard:
    made = Yard(folder / "data", "--vcpus", "2", "--memory-mib", "1024", *options).start()
    made.with_queue()
    return made


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    made = start(tmp_path_factory.mktemp("targets"))
    yield made
    made.down()


@pytest.fixture
def events(yard: Yard) -> Any:
    return yard.client("events")


def jobs_called(yard: Yard, name: str) -> list[str]:
    found = yard.batch.list_jobs(jobQueue="queue", filters=[{"name": "JOB_NAME", "values": [name]}])["jobSummaryList"]
    return [job["jobId"] for job in found]


def target(definition: str, name: str, **more: Any) -> dict[str, Any]:
    return {"Id": "job", "Arn": QUEUE, "RoleArn": ROLE, "BatchParameters": {"JobDefinition": definition, "JobName": name}, **more}


def send(events: Any, **detail: Any) -> None:
    entry = {"Source": "sequencer", "DetailType": "Run finished", "Detail": json.dumps(detail)}
    assert events.put_events(Entries=[entry])["FailedEntryCount"] == 0


def message_of(call: Any, **params: Any) -> str:
    with pytest.raises(ClientError) as refused:
        call(**params)
    return str(refused.value.response["Error"]["Message"])


def test_an_event_submits_a_job_with_what_the_transformer_made_of_it(yard: Yard, events: Any) -> None:
    definition = yard.definition_of("align", "echo", "Ref::sample", parameters={"sample": "none"})
    transformer = {
        "InputPathsMap": {"sample": "$.detail.sample", "lane": "$.detail.lane"},
        "InputTemplate": '{"Parameters": {"sample": <sample>}, '
        '"ContainerOverrides": {"Environment": [{"Name": "LANE", "Value": "<lane>"}]}}',
    }
    wanted = target(definition, "align", InputTransformer=transformer)
    wanted["BatchParameters"]["RetryStrategy"] = {"Attempts": 3}
    events.put_rule(Name="align", EventPattern=json.dumps(ANALYSED))
    assert events.put_targets(Rule="align", Targets=[wanted])["FailedEntryCount"] == 0
    assert events.list_targets_by_rule(Rule="align")["Targets"] == [wanted]
    send(events, sample="NA12878", lane=4)
    (job_id,) = until(lambda: jobs_called(yard, "align") or None, "the job")
    job = yard.until(job_id)
    assert job["status"] == "SUCCEEDED"
    assert yard.logs(job) == ["NA12878"]
    assert job["parameters"] == {"sample": "NA12878"}
    assert {"name": "LANE", "value": "4"} in job["container"]["environment"]
    assert job["retryStrategy"]["attempts"] == 3
    events.remove_targets(Rule="align", Ids=["job"])


def test_an_array_and_a_fixed_input_in_the_spelling_of_batch(yard: Yard, events: Any) -> None:
    definition = yard.definition_of("count", "true")
    wanted = target(definition, "count", Input='{"containerOverrides": {"command": ["echo", "fixed"]}, "tags": {"from": "rule"}}')
    wanted["BatchParameters"]["ArrayProperties"] = {"Size": 2}
    events.put_rule(Name="count", EventPattern=json.dumps(ANALYSED))
    events.put_targets(Rule="count", Targets=[wanted])
    send(events, n=1)
    (job_id,) = until(lambda: jobs_called(yard, "count") or None, "the array")
    job = yard.until(job_id)
    assert (job["status"], job["arrayProperties"]["size"], job["tags"]["from"]) == ("SUCCEEDED", 2, "rule")
    assert yard.logs(yard.job(f"{job_id}:0")) == ["fixed"]
    events.remove_targets(Rule="count", Ids=["job"])


def test_targets_that_cannot_be_are_refused(yard: Yard, events: Any) -> None:
    events.put_rule(Name="wrong", EventPattern=json.dumps(ANALYSED))

    def said(**changes: Any) -> str:
        return message_of(events.put_targets, Rule="wrong", Targets=[{**target("d", "n"), **changes}])

    assert message_of(events.put_targets, Rule="wrong", Targets=[{"Id": "T", "Arn": QUEUE}]) == f"RoleArn is required for target {QUEUE}."
    without = {"Id": "T", "Arn": QUEUE, "RoleArn": ROLE}
    assert (
        message_of(events.put_targets, Rule="wrong", Targets=[without]) == "Parameter(s) BatchParameters must be specified for target: T."
    )
    assert "Size must be between 2 and 10000" in said(
        BatchParameters={"JobDefinition": "d", "JobName": "n", "ArrayProperties": {"Size": 1}}
    )
    assert "no name of a job" in said(BatchParameters={"JobDefinition": "d", "JobName": "a b"})
    assert "Attempts must be between" in said(BatchParameters={"JobDefinition": "d", "JobName": "n", "RetryStrategy": {"Attempts": 11}})
    assert "no JSON object" in said(Input='"text"')
    assert "parameters" in said(Input='{"Parameters": "all"}')
    assert "JSON syntax error" in said(Input="{")
    assert "SqsParameters is not available" in said(SqsParameters={"MessageGroupId": "g"})
    assert "must be of region us-east-1" in said(Arn=QUEUE.replace("us-east-1", "eu-west-1"))
    assert "RoleArn must be a role" in said(RoleArn="arn:aws:iam::111111111111:role/events")


def test_a_delivery_that_comes_again_after_a_crash_submits_no_second_job(tmp_path: Path) -> None:
    yard = start(tmp_path)
    try:
        events = yard.client("events")
        events.put_rule(Name="once", EventPattern=json.dumps(ANALYSED))
        events.put_targets(Rule="once", Targets=[target(yard.definition_of("once", "true"), "once")])
        entry = {"Source": "sequencer", "DetailType": "Run finished", "Detail": "{}"}
        event_id = events.put_events(Entries=[entry])["Entries"][0]["EventId"]
        until(lambda: jobs_called(yard, "once") or None, "the job")
        yard.kill()
        with_shelf(yard, lambda drawer: leave_again(drawer, event_id))
        yard.start()
        events = yard.client("events")
        other = events.put_events(Entries=[entry])["Entries"][0]["EventId"]
        assert other != event_id
        until(lambda: jobs if len(jobs := jobs_called(yard, "once")) > 1 else None, "the job of the other event")
        until(lambda: True if with_shelf_copy(yard) == [] else None, "all deliveries")
        assert len(jobs_called(yard, "once")) == 2
    finally:
        yard.down()


KEY = "rule/000000000000/us-east-1/once/job"


def leave_again(drawer: Any, event_id: str) -> None:
    """What a crash between the submission and the end of its delivery leaves behind."""
    drawer.put("listener", KEY, {})
    drawer.put(f"to/{KEY}", f"{0:020d}", {"id": event_id, "at_ms": time.time_ns() // 1_000_000, "text": "{}"})


def with_shelf(yard: Yard, act: Any) -> Any:
    shelf = Shelf(yard.data / "deliveries.db")
    try:
        return shelf.change(HERE, act).result(60)
    finally:
        shelf.close()


def with_shelf_copy(yard: Yard) -> list[str]:
    shelf = Shelf(yard.data / "deliveries.db")
    try:
        return list(shelf.look(HERE, lambda drawer: drawer.names(f"to/{KEY}")))
    finally:
        shelf.close()


def test_a_schedule_fires_once_for_all_that_was_missed(tmp_path: Path) -> None:
    yard = start(tmp_path)
    try:
        events = yard.client("events")
        arn = events.put_rule(Name="nightly", ScheduleExpression="rate(1 hour)")["RuleArn"]
        assert events.describe_rule(Name="nightly")["ScheduleExpression"] == "rate(1 hour)"
        transformer = {"InputPathsMap": {"at": "$.time"}, "InputTemplate": '{"Parameters": {"at": <at>}}'}
        definition = yard.definition_of("night", "echo", "Ref::at")
        events.put_targets(Rule="nightly", Targets=[target(definition, "night", InputTransformer=transformer)])
        logs = yard.client("logs")
        logs.create_log_group(logGroupName="/night")
        events.put_targets(Rule="nightly", Targets=[{"Id": "log", "Arn": "arn:aws:logs:us-east-1:000000000000:log-group:/night"}])
        key = arn.replace("arn:aws:events:us-east-1:000000000000:rule/", "rule/000000000000/us-east-1/")
        until(lambda: True if with_due(yard, key) else None, "the first firing to be planned")
        yard.kill()
        due = {"expression": "rate(1 hour)", "at_ms": 1_700_000_000_000}  # long ago: very many firings were missed
        with_shelf(yard, lambda drawer: drawer.put("due", key, due))
        yard.start()
        (job_id,) = until(lambda: jobs_called(yard, "night") or None, "the job")
        assert yard.logs(yard.until(job_id)) == ["2023-11-14T22:13:20Z"]
        (text,) = until(lambda: yard.client("logs").filter_log_events(logGroupName="/night")["events"] or None, "the log event")
        event = json.loads(text["message"])
        assert {name: event[name] for name in ("source", "detail-type", "resources", "detail")} == {
            "source": "aws.events",
            "detail-type": "Scheduled Event",
            "resources": [arn],
            "detail": {},
        }
        assert with_due(yard, key)["at_ms"] > time.time_ns() // 1_000_000
        yard.client("events").disable_rule(Name="nightly")
        until(lambda: True if with_due(yard, key) is None else None, "the schedule to be off")
        assert len(jobs_called(yard, "night")) == 1
    finally:
        yard.down()


def with_due(yard: Yard, key: str) -> Any:
    shelf = Shelf(yard.data / "deliveries.db")
    try:
        return shelf.look(HERE, lambda drawer: drawer.get("due", key))
    finally:
        shelf.close()


def test_a_role_that_may_not_submit_submits_nothing(tmp_path: Path) -> None:
    yard = start(tmp_path, "--enforce-iam")
    try:
        iam, events = yard.client("iam"), yard.client("events")
        trust = json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sts:AssumeRole"}],
            }
        )
        allowed = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "batch:SubmitJob", "Resource": "*"}]}
        for name in ("may", "may-not"):
            iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
        iam.put_role_policy(RoleName="may", PolicyName="p", PolicyDocument=json.dumps(allowed))
        definition = yard.definition_of("d", "true")
        events.put_rule(Name="rule", EventPattern=json.dumps(ANALYSED))
        for name in ("may-not", "may"):
            wanted = {**target(definition, name, RoleArn=f"arn:aws:iam::000000000000:role/{name}"), "Id": name}
            events.put_targets(Rule="rule", Targets=[wanted])
        send(events)
        until(lambda: jobs_called(yard, "may") or None, "the job that is allowed")
        until(lambda: True if "is not authorized to perform: batch:SubmitJob" in yard.log() else None, "the refusal")
        assert jobs_called(yard, "may-not") == []
    finally:
        yard.down()
