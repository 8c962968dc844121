"""CloudWatch Logs Insights, export tasks and what else the API keeps, on a real service through boto3 and the AWS CLI."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from batchyard.model.fault import Fault
from batchyard.services.logs.insights_language import read_query
from batchyard.services.logs.insights_rows import run
from yard import Yard, serving, until

GROUP = "/app/requests"
START_S = int(time.time()) - 3600


def refused(call: Callable[..., Any], **kwargs: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**kwargs)
    return str(caught.value.response["Error"]["Code"])


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with serving(tmp_path_factory.mktemp("queries") / "data") as made:
        logs = made.client("logs")
        logs.create_log_group(logGroupName=GROUP, tags={"team": "web"})
        logs.create_log_group(logGroupName="/app/other")
        for group, stream in ((GROUP, "a/1"), (GROUP, "b"), ("/app/other", "c")):
            logs.create_log_stream(logGroupName=group, logStreamName=stream)
        events = [
            {
                "timestamp": (START_S + number * 60) * 1000,
                "message": json.dumps({"status": 500 if number % 4 == 0 else 200, "ms": number * 10, "user": {"name": f"u{number % 2}"}}),
            }
            for number in range(12)
        ]
        logs.put_log_events(logGroupName=GROUP, logStreamName="a/1", logEvents=events)
        plain = [{"timestamp": START_S * 1000 + 30_000, "message": "plain ERROR text"}]
        logs.put_log_events(logGroupName=GROUP, logStreamName="b", logEvents=plain)
        logs.put_log_events(logGroupName="/app/other", logStreamName="c", logEvents=plain)
        yield made


@pytest.fixture(scope="module")
def logs(service: Yard) -> Any:
    return service.client("logs")


def ask(logs: Any, text: str, **options: Any) -> list[dict[str, str]]:
    """The rows of a query."""
    where = options or {"logGroupName": GROUP}
    query = logs.start_query(startTime=START_S - 10, endTime=START_S + 3600, queryString=text, **where)["queryId"]
    answer = until(lambda: a if (a := logs.get_query_results(queryId=query))["status"] == "Complete" else None, "the query")
    return [{cell["field"]: cell["value"] for cell in row} for row in answer["results"]]


def test_fields_filter_sort_limit(logs: Any) -> None:
    rows = ask(logs, "fields @timestamp, @message | sort @timestamp desc | limit 3")
    assert [json.loads(row["@message"])["ms"] for row in rows] == [110, 100, 90]
    assert set(rows[0]) == {"@timestamp", "@message", "@ptr"}
    assert rows[0]["@timestamp"] > rows[1]["@timestamp"]
    rows = ask(logs, "fields ms, user.name as who | filter status = 500 and ms > 0 | sort ms asc")
    assert [(row["ms"], row["who"]) for row in rows] == [("40", "u0"), ("80", "u0")]
    assert len(ask(logs, "filter @message like /(?i)error/")) == 1
    assert len(ask(logs, 'filter @message like "ERROR" or ms in [10, 20]')) == 3
    assert len(ask(logs, "filter not ispresent(status)")) == 1
    assert len(ask(logs, "filter status != 500 | filter user.name not like /0/")) == 6
    assert [row["ms"] for row in ask(logs, "fields ms | filter ispresent(ms) | sort user.name desc, ms desc | limit 2")] == ["110", "90"]
    assert {row["user.name"] for row in ask(logs, "fields user.name | filter ispresent(ms) | dedup user.name")} == {"u0", "u1"}


def test_stats(logs: Any) -> None:
    assert ask(logs, "stats count(*)") == [{"count(*)": "13"}]
    rows = ask(logs, "filter ispresent(status) | stats count(*) as n, avg(ms), max(ms) as top by status | sort n desc")
    assert rows == [
        {"status": "200", "n": "9", "avg(ms)": "60", "top": "110"},
        {"status": "500", "n": "3", "avg(ms)": "40", "top": "80"},
    ]
    rows = ask(logs, "filter ispresent(ms) | stats sum(ms) as total, count_distinct(user.name) as users by bin(1h)")
    assert sum(int(row["total"]) for row in rows) == 660
    assert all(row["bin(1h)"].endswith(":00:00.000") for row in rows)
    assert ask(logs, "stats count(*) as n by status | filter n > 5 | display status") == [{"status": "200"}]
    assert ask(logs, "filter status = 777 | stats count(*) as n, max(ms)") == [{"n": "0"}]


def test_several_groups_and_the_record_behind_a_row(logs: Any, service: Yard) -> None:
    rows = ask(logs, "fields @log | filter @message like /plain/", logGroupNames=[GROUP, "/app/other"])
    account = service.client("sts").get_caller_identity()["Account"]
    assert {row["@log"] for row in rows} == {f"{account}:{GROUP}", f"{account}:/app/other"}
    [row] = ask(logs, "fields ms | filter ms = 70")
    record = logs.get_log_record(logRecordPointer=row["@ptr"])["logRecord"]
    assert (record["ms"], record["@logStream"], record["user.name"]) == ("70", "a/1", "u1")
    assert refused(logs.get_log_record, logRecordPointer="nonsense") == "InvalidParameterException"


def test_queries_are_listed_and_paged_and_stopped(logs: Any) -> None:
    query = logs.start_query(logGroupName=GROUP, startTime=START_S, endTime=START_S + 3600, queryString="fields ms", limit=5)["queryId"]
    until(lambda: logs.get_query_results(queryId=query)["status"] == "Complete" or None, "the query")
    answer = logs.get_query_results(queryId=query)
    assert len(answer["results"]) == 5
    assert answer["statistics"]["logGroupsScanned"] == 1
    first = logs.get_query_results(queryId=query, maxItems=3)
    assert len(logs.get_query_results(queryId=query, maxItems=3, nextToken=first["nextToken"])["results"]) == 2
    [found] = [each for each in logs.describe_queries(logGroupName=GROUP)["queries"] if each["queryId"] == query]
    assert (found["status"], found["queryString"]) == ("Complete", "fields ms")
    assert refused(logs.stop_query, queryId=query) == "InvalidParameterException"
    assert refused(logs.get_query_results, queryId="not-a-query") == "ResourceNotFoundException"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("parse @message '*' as x", "'parse' is not served here"),
        ("shout", "'shout' is no command"),
        ("fields strlen(@message)", "left over"),
        ("stats pct(ms, 95)", "'pct' is not served"),
        ("filter ms >", "a value must stand"),
        ("limit 0", "limit must be"),
        ("filter (ms = 1", "')'"),
        ("limit ²", "limit must be"),
        ("filter " + "not " * 60 + "a = 1", "too many parentheses"),
        ("", "empty"),
    ],
)
def test_what_is_not_served_is_refused_by_name(logs: Any, text: str, words: str) -> None:
    with pytest.raises(ClientError) as caught:
        logs.start_query(logGroupName=GROUP, startTime=START_S, endTime=START_S + 10, queryString=text)
    assert caught.value.response["Error"]["Code"] == "MalformedQueryException"
    assert words in caught.value.response["Error"]["Message"]


def test_a_query_names_what_is_there(logs: Any) -> None:
    times = {"startTime": START_S, "endTime": START_S + 10, "queryString": "fields @message"}
    assert refused(logs.start_query, **times) == "InvalidParameterException"
    assert refused(logs.start_query, **times, logGroupName="/not/there") == "ResourceNotFoundException"
    assert refused(logs.start_query, **times, logGroupName=GROUP, queryLanguage="SQL") == "InvalidParameterException"
    for_ever = logs.start_query(logGroupName=GROUP, startTime=0, endTime=2**63 - 1, queryString="stats count(*) as n")["queryId"]
    answer = until(lambda: a if (a := logs.get_query_results(queryId=for_ever))["status"] == "Complete" else None, "the query")
    assert answer["results"] == [[{"field": "n", "value": "13"}]]
    logs.get_log_group_fields(logGroupName=GROUP, time=2**62)


def test_fields_of_a_group_and_patterns(logs: Any) -> None:
    fields = {each["name"]: each["percent"] for each in logs.get_log_group_fields(logGroupName=GROUP, time=START_S + 60)["logGroupFields"]}
    assert fields["@message"] == 100
    assert 50 < fields["status"] < 100
    found = logs.filter_log_events(logGroupName=GROUP, filterPattern='{ $.status = 500 && $.user.name = "u0" }')["events"]
    assert len(found) == 3
    [match] = logs.test_metric_filter(filterPattern="[level = ERROR, code]", logEventMessages=["ERROR 7", "WARN 8"])["matches"]
    assert (match["eventNumber"], match["extractedValues"]) == (1, {"$level": "ERROR", "$code": "7"})
    listed = logs.list_log_groups(logGroupNamePattern="^/app/r|nothing")["logGroups"]
    assert [each["logGroupName"] for each in listed] == [GROUP]
    tagged = logs.list_log_groups(logGroupTags=[{"key": "team", "values": ["web"]}])["logGroups"]
    assert [each["logGroupName"] for each in tagged] == [GROUP]


def let_logs_in(s3: Any, bucket: str) -> None:
    """The policy that AWS's guide has for the bucket of export tasks."""
    service = {"Service": "logs.us-east-1.amazonaws.com"}
    look = {"Effect": "Allow", "Principal": service, "Action": "s3:GetBucketAcl", "Resource": f"arn:aws:s3:::{bucket}"}
    put = {**look, "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    put["Condition"] = {"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}}  # type: ignore[assignment]
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [look, put]}))


def test_an_export_task_writes_into_a_bucket(logs: Any, service: Yard) -> None:
    s3 = service.client("s3")
    s3.create_bucket(Bucket="exports")
    let_logs_in(s3, "exports")
    wanted = {"logGroupName": GROUP, "from": 0, "to": (START_S + 5 * 60) * 1000, "destination": "exports", "destinationPrefix": "out"}
    task = logs.create_export_task(taskName="t", **wanted)["taskId"]

    def ended() -> dict[str, Any] | None:
        [found] = logs.describe_export_tasks(taskId=task)["exportTasks"]
        return found if found["status"]["code"] == "COMPLETED" else None

    found = until(ended, "the export")
    assert (found["taskName"], found["logGroupName"], found["destinationPrefix"]) == ("t", GROUP, "out")
    assert found["executionInfo"]["completionTime"] >= found["executionInfo"]["creationTime"]
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket="exports")["Contents"]]
    assert set(keys) == {f"out/{task}/a-1/000000.gz", f"out/{task}/b/000000.gz", "out/aws-logs-write-test"}
    lines = gzip.decompress(s3.get_object(Bucket="exports", Key=f"out/{task}/a-1/000000.gz")["Body"].read()).decode().splitlines()
    assert len(lines) == 6
    stamp, _, message = lines[0].partition(" ")
    assert stamp == time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(START_S))
    assert json.loads(message)["ms"] == 0
    assert refused(logs.cancel_export_task, taskId=task) == "InvalidOperationException"
    assert refused(logs.cancel_export_task, taskId="none") == "ResourceNotFoundException"
    assert refused(logs.create_export_task, **wanted | {"destination": "no-such-bucket-here"}) == "InvalidParameterException"
    assert refused(logs.create_export_task, **wanted | {"logGroupName": "/none"}) == "ResourceNotFoundException"
    s3.delete_bucket_policy(Bucket="exports")
    with pytest.raises(ClientError, match="GetBucketAcl call on the given bucket failed"):
        logs.create_export_task(**wanted)


def test_resource_policies_and_saved_queries(logs: Any) -> None:
    document = json.dumps({"Version": "2012-10-17", "Statement": []})
    made = logs.put_resource_policy(policyName="p", policyDocument=document)["resourcePolicy"]
    assert (made["policyName"], made["policyScope"]) == ("p", "ACCOUNT")
    assert [each["policyName"] for each in logs.describe_resource_policies()["resourcePolicies"]] == ["p"]
    stale = {"policyName": "p", "policyDocument": document, "expectedRevisionId": "other"}
    assert refused(logs.put_resource_policy, **stale) == "OperationAbortedException"
    assert refused(logs.put_resource_policy, policyName="q", policyDocument="no policy") == "InvalidParameterException"
    logs.delete_resource_policy(policyName="p")
    assert refused(logs.delete_resource_policy, policyName="p") == "ResourceNotFoundException"
    saved = logs.put_query_definition(name="errors", queryString="filter status = 500", logGroupNames=[GROUP])["queryDefinitionId"]
    logs.put_query_definition(name="errors 2", queryString="filter status = 500", queryDefinitionId=saved)
    [found] = logs.describe_query_definitions(queryDefinitionNamePrefix="err")["queryDefinitions"]
    assert (found["name"], found["queryDefinitionId"]) == ("errors 2", saved)
    assert refused(logs.put_query_definition, name="bad", queryString="parse x") == "MalformedQueryException"
    assert logs.delete_query_definition(queryDefinitionId=saved)["success"] is True
    assert refused(logs.delete_query_definition, queryDefinitionId=saved) == "ResourceNotFoundException"


def test_an_entity_is_said_not_to_be_kept(logs: Any) -> None:
    logs.create_log_stream(logGroupName="/app/other", logStreamName="entity")
    where = {"logGroupName": "/app/other", "logStreamName": "entity"}
    events = [{"timestamp": int(time.time() * 1000), "message": "taken"}]
    answer = logs.put_log_events(**where, logEvents=events, entity={"keyAttributes": {"Type": "Service", "Name": "n", "Environment": "e"}})
    assert answer["rejectedEntityInfo"] == {"errorType": "UnsupportedLogGroupType"}
    assert [event["message"] for event in logs.get_log_events(**where)["events"]] == ["taken"]


def test_the_command_line(service: Yard) -> None:
    def aws(*arguments: str) -> Any:
        command = [str(Path(sys.executable).parent / "aws"), "logs", *arguments, "--output", "json"]
        done = subprocess.run(command, env=service.environment, capture_output=True, text=True, timeout=120, check=True)
        return json.loads(done.stdout)

    times = ["--start-time", str(START_S), "--end-time", str(START_S + 3600)]
    query = aws("start-query", "--log-group-name", GROUP, *times, "--query-string", "stats count(*) as n by status | sort n")["queryId"]
    answer = until(lambda: a if (a := aws("get-query-results", "--query-id", query))["status"] == "Complete" else None, "the query")
    assert [row[-1]["value"] for row in answer["results"]] == ["1", "3", "9"]
    found = aws("filter-log-events", "--log-group-name", GROUP, "--filter-pattern", "{ $.ms > 90 }")["events"]
    assert len(found) == 2


WORDS = (
    'fields filter stats sort limit dedup display by as and or not like in count(*) bin(5m) | ( ) [ ] , = != < /x/ "q" @message `a` 5 desc'
    " * ispresent(a) max(b)"
)
TEXT = st.text(max_size=40) | st.lists(st.sampled_from(WORDS.split()), max_size=12).map(" ".join)


@given(TEXT)
def test_any_text_is_a_query_or_refused(text: str) -> None:
    try:
        plan = read_query(text)
    except Fault as fault:
        assert fault.code == "MalformedQueryException"
    else:
        rows = [{"@timestamp": "2026-01-01 00:00:00.000", "@message": "x", "@ptr": "p", "a": "1"}, {"@ptr": "q", "b": "-2.5", "a": "text"}]
        assert len(run(plan, rows)) <= 2
