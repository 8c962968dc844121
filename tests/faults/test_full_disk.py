"""The disk is full: each store refuses clearly and for now, reads go on, nothing half-done stays, and with room again all is well."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from batchyard.services.announcing.deliveries import HERE, Deliveries, Wanted
from batchyard.services.announcing.listeners import Listener, Notice
from batchyard.services.s3 import deliveries as deliveries_of_s3
from batchyard.services.s3.deliveries import ACCESS_LOGS, Sender, put_for
from batchyard.store import objects_keys as keys
from batchyard.store.logs import frame, open_segment
from batchyard.store.logs_store import LogStore
from batchyard.store.objects import ObjectStore
from batchyard.store.objects_records import Traits
from batchyard.store.shelf import Shelf
from batchyard.store.spool import Spool
from small_disk import fill, refusal, small_disk_at
from yard import Yard, until

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
)

OPEN_TO_SERVICES = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "logging.s3.amazonaws.com"},
                "Action": "s3:PutObject",
                "Resource": "arn:aws:s3:::bucket/*",
            }
        ],
    }
)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk_at(tmp_path / "disk") as disk:
        yield disk


@pytest.fixture
def yard(disk: Path, tmp_path: Path) -> Iterator[Yard]:
    yard = Yard(disk / "data", "--vcpus", "1", "--memory-mib", "512")
    yard.data.with_suffix(".log").symlink_to(tmp_path / "server.log")
    yard.start()
    yield yard
    yard.down()


def all_refused(*calls: Callable[[], Any]) -> None:
    for call in calls:
        code, message = refusal(call)
        assert code in ("ServiceUnavailableException", "ServiceUnavailable", "Unavailable"), (code, message)
        assert "is full: free some space and try again" in message, message


def bodies(yard: Yard) -> int:
    return sum(path.is_file() for path in (yard.data / "objects" / "bodies").rglob("*"))


def test_the_records_of_the_small_services(yard: Yard, disk: Path) -> None:
    iam, ssm, secrets, events, ec2, logs = (yard.client(name) for name in ("iam", "ssm", "secretsmanager", "events", "ec2", "logs"))
    iam.create_role(RoleName="before", AssumeRolePolicyDocument=TRUST)
    ssm.put_parameter(Name="before", Value="v", Type="SecureString")
    secrets.create_secret(Name="before", SecretString="s")
    events.put_rule(Name="before", EventPattern='{"source": ["mine"]}')
    logs.create_log_group(logGroupName="group")
    logs.create_log_stream(logGroupName="group", logStreamName="stream")
    groups = len(ec2.describe_security_groups()["SecurityGroups"])
    filling = fill(disk)
    policy = json.dumps({"Version": "2012-10-17", "Statement": []})
    changes: list[Callable[[], Any]] = [
        lambda: iam.create_role(RoleName="after", AssumeRolePolicyDocument=TRUST),
        lambda: ssm.put_parameter(Name="after", Value="v" * 4000, Type="String"),
        lambda: secrets.create_secret(Name="after", SecretString="s"),
        lambda: events.put_rule(Name="after", EventPattern='{"source": ["mine"]}'),
        lambda: ec2.create_security_group(GroupName="after", Description="d", VpcId=ec2.describe_vpcs()["Vpcs"][0]["VpcId"]),
        lambda: logs.put_resource_policy(policyName="after", policyDocument=policy),
        lambda: logs.put_query_definition(name="after", queryString="fields @message"),
        lambda: logs.put_log_events(
            logGroupName="group",
            logStreamName="stream",
            logEvents=[{"timestamp": int(time.time() * 1000) + n, "message": "x" * 5000} for n in (1, 2)],
        ),
        lambda: logs.create_log_group(logGroupName="after"),
    ]
    all_refused(
        *changes, lambda: ssm.delete_parameter(Name="before"), lambda: secrets.put_secret_value(SecretId="before", SecretString="t")
    )

    def seen() -> tuple[Any, ...]:
        return (
            [role["RoleName"] for role in iam.list_roles()["Roles"] if role["RoleName"] in ("before", "after")],
            [parameter["Name"] for parameter in ssm.describe_parameters()["Parameters"]],
            [secret["Name"] for secret in secrets.list_secrets()["SecretList"]],
            [rule["Name"] for rule in events.list_rules()["Rules"]],
            len(ec2.describe_security_groups()["SecurityGroups"]) - groups,
            [policy["policyName"] for policy in logs.describe_resource_policies()["resourcePolicies"]],
            [query["name"] for query in logs.describe_query_definitions()["queryDefinitions"]],
            logs.get_log_events(logGroupName="group", logStreamName="stream")["events"],
            [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]][1:],
        )

    assert seen() == (["before"], ["before"], ["before"], ["before"], 0, [], [], [], ["group"])
    assert ssm.get_parameter(Name="before", WithDecryption=True)["Parameter"]["Value"] == "v"
    assert secrets.get_secret_value(SecretId="before")["SecretString"] == "s"
    filling.unlink()
    for change in changes:
        change()
    both = ["before", "after"]
    assert [sorted(names, reverse=True) for names in seen()[:4]] == [both, both, both, both]
    assert (seen()[4], seen()[5], seen()[6], len(seen()[7]), sorted(seen()[8])) == (1, ["after"], ["after"], 2, ["after", "group"])


@pytest.mark.parametrize("is_first", [True, False], ids=["before any object was written", "later"])
def test_objects_their_versions_and_uploads(yard: Yard, disk: Path, is_first: bool) -> None:
    s3 = yard.client("s3")
    s3.create_bucket(Bucket="bucket")
    s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    where = {"Bucket": "bucket", "Key": "key"}
    if not is_first:
        first = s3.put_object(**where, Body=b"1" * 9000)["VersionId"]
        second = s3.put_object(**where, Body=b"2" * 9000)["VersionId"]
    upload = s3.create_multipart_upload(**where)["UploadId"]
    part = "" if is_first else s3.upload_part(**where, UploadId=upload, PartNumber=1, Body=b"p" * 9000)["ETag"]
    bodies_before = bodies(yard)
    filling = fill(disk)
    changes: list[Callable[[], Any]] = [
        lambda: s3.put_object(**where, Body=b"3" * 9000),
        lambda: s3.put_object(**where, Body=b""),
        lambda: s3.upload_part(**where, UploadId=upload, PartNumber=2, Body=b"q" * 9000),
        lambda: s3.delete_object(**where),
        lambda: s3.delete_objects(Bucket="bucket", Delete={"Objects": [{"Key": "key"}]}),
        lambda: s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Suspended"}),
        lambda: s3.create_multipart_upload(**where),
        lambda: s3.create_bucket(Bucket="another"),
    ]
    if not is_first:
        parts = {"Parts": [{"PartNumber": 1, "ETag": part}]}
        changes += [
            lambda: s3.copy_object(**where, CopySource={**where, "VersionId": first}),
            lambda: s3.delete_object(**where, VersionId=first),
            lambda: s3.upload_part_copy(**where, UploadId=upload, PartNumber=3, CopySource=where),
            lambda: s3.complete_multipart_upload(**where, UploadId=upload, MultipartUpload=parts),
        ]
    all_refused(*changes, lambda: s3.abort_multipart_upload(**where, UploadId=upload))
    versions = s3.list_object_versions(Bucket="bucket")
    assert "DeleteMarkers" not in versions
    if not is_first:
        assert [version["VersionId"] for version in versions["Versions"]] == [second, first]
        assert s3.get_object(**where, VersionId=first)["Body"].read() == b"1" * 9000
    assert len(s3.list_parts(**where, UploadId=upload).get("Parts", [])) == (0 if is_first else 1)
    until(lambda: True if bodies(yard) == bodies_before else None, "what was refused to leave the disk")
    filling.unlink()
    for change in changes[:4]:
        change()
    if not is_first:
        changes[-1]()
        assert s3.get_object(**where)["Body"].read() == b"p" * 9000
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["bucket"]


def test_exports_of_logs(yard: Yard, disk: Path) -> None:
    logs, s3 = yard.client("logs"), yard.client("s3")
    s3.create_bucket(Bucket="bucket")
    allow: dict[str, Any] = {"Effect": "Allow", "Principal": {"Service": "logs.us-east-1.amazonaws.com"}, "Action": "s3:*"}
    allow["Resource"] = ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"]
    s3.put_bucket_policy(Bucket="bucket", Policy=json.dumps({"Version": "2012-10-17", "Statement": [allow]}))
    logs.create_log_group(logGroupName="group")
    logs.create_log_stream(logGroupName="group", logStreamName="stream")
    for number in range(4):
        events = [{"timestamp": int(time.time() * 1000) + number, "message": os.urandom(100_000).hex()} for _ in range(4)]
        logs.put_log_events(logGroupName="group", logStreamName="stream", logEvents=events)
    asked = {"logGroupName": "group", "from": 0, "to": 4_000_000_000_000, "destination": "bucket"}
    assert export_of(logs, asked)["code"] == "COMPLETED"
    objects, bodies_before = len(s3.list_objects_v2(Bucket="bucket")["Contents"]), bodies(yard)

    filling = fill(disk)
    all_refused(lambda: logs.create_export_task(**asked))
    filling.unlink()
    filling = fill(disk, leaving_bytes=600_000)  # for the records, but not for what is exported
    status = export_of(logs, asked)
    assert (status["code"], "is full: free some space" in status["message"]) == ("FAILED", True), status
    until(lambda: True if bodies(yard) <= bodies_before + 1 else None, "what was not exported to leave the disk")
    filling.unlink()
    assert export_of(logs, asked)["code"] == "COMPLETED"
    assert len(s3.list_objects_v2(Bucket="bucket")["Contents"]) == objects + 1
    assert len(logs.describe_export_tasks()["exportTasks"]) == 3


def export_of(logs: Any, asked: dict[str, Any]) -> dict[str, Any]:
    """How an export ended."""
    id = logs.create_export_task(**asked)["taskId"]

    def ended() -> Any:
        status = logs.describe_export_tasks(taskId=id)["exportTasks"][0]["status"]
        return status if status["code"] not in ("PENDING", "RUNNING") else None

    return until(ended, "the export")  # type: ignore[no-any-return]


def test_events_put_by_clients(yard: Yard, disk: Path) -> None:
    events, logs = yard.client("events"), yard.client("logs")
    logs.create_log_group(logGroupName="events")
    events.put_rule(Name="rule", EventPattern='{"source": ["mine"]}')
    arn = logs.describe_log_groups(logGroupNamePrefix="events")["logGroups"][0]["arn"]
    events.put_targets(Rule="rule", Targets=[{"Id": "1", "Arn": arn}])
    entry = {"Source": "mine", "DetailType": "t", "Detail": json.dumps({"long": "x" * 20_000})}
    filling = fill(disk)
    all_refused(lambda: events.put_events(Entries=[entry]))
    filling.unlink()
    assert events.put_events(Entries=[{**entry, "Detail": '{"n": 2}'}])["FailedEntryCount"] == 0
    found = until(lambda: logs.filter_log_events(logGroupName="events")["events"] or None, "the event")
    assert [json.loads(event["message"])["detail"] for event in found] == [{"n": 2}]


def test_log_segments(tmp_path: Path) -> None:
    where = ("000000000000", "us-east-1", "group")
    with small_disk_at(tmp_path / "disk", 1) as disk:
        os.close(open_segment(disk / "logs", *where, "before", 1))
        filling = fill(disk)
        for group, stream in (("group", "x" * 5000), ("another", "stream")):
            with pytest.raises(OSError, match="No space left"):
                open_segment(disk / "logs", *where[:2], group, stream, 2)
        assert not list((disk / "logs").rglob(".new-*")), "no draft of a group stays"
        filling.unlink()
        for group, stream in (("group", "x" * 5000), ("another", "stream")):
            descriptor = open_segment(disk / "logs", *where[:2], group, stream, 3)
            os.write(descriptor, frame(3, b"said"))
            os.close(descriptor)
        logs = LogStore(disk / "logs")
        assert [group.name for group in logs.groups(where[:2])][1:] == ["another", "group"]
        for group, stream in (("group", "x" * 5000), ("another", "stream")):
            (found,) = logs.streams(where[:2], group, stream)
            assert [event.message for event in found.after(found.gap_at(0), None, 10, 1000)] == [b"said"]
        logs.close()


def open_below(disk: Path) -> int:
    """How many files of it this process has open."""
    found = 0
    for place in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += str(place.readlink()).startswith(f"{disk}/")
    return found


def test_lines_on_their_way_into_objects(tmp_path: Path) -> None:
    with small_disk_at(tmp_path / "disk", 1) as disk:
        spool = Spool(disk / "spool", lambda: 7)
        spool.append(b"one", [b"first\n"])
        handles = open_below(disk)
        filling = fill(disk)
        for label in (b"one", b"two", b"two"):
            with pytest.raises(OSError, match="No space left"):
                spool.append(label, [b"lost " * 3000 + b"\n"])
        assert open_below(disk) == handles
        filling.unlink()
        spool.append(b"one", [b"second\n"])
        spool.append(b"two", [b"third\n"])
        spool.seal()
        assert sorted(sealed.read() for sealed in spool.sealed()) == [(b"one", b"first\nsecond\n"), (b"two", b"third\n")]


def test_what_a_service_puts_into_a_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ObjectStore(tmp_path / "objects")
    bucket = store.change(lambda index: keys.add_bucket(index, "bucket", "000000000000", "us-east-1", 1)).result(60)
    store.change(lambda index: keys.put_setting(index, bucket.id, "policy", OPEN_TO_SERVICES)).result(60)
    sender = Sender(ACCESS_LOGS, "000000000000", "arn:aws:s3:::source")

    def full(*_: object) -> None:
        raise apsw.FullError

    monkeypatch.setattr(deliveries_of_s3, "put_object", full)
    with pytest.raises(apsw.FullError):
        put_for(store, sender, "bucket", "key", [b"x" * 100_000], Traits())
    assert not [path for path in (tmp_path / "objects" / "bodies").rglob("*") if path.is_file()], "each new try would take more room"
    monkeypatch.undo()
    put_for(store, sender, "bucket", "key", [b"x" * 100_000], Traits())
    assert store.read_bytes("bucket", "key") == b"x" * 100_000
    store.close()


async def test_what_listeners_were_not_told_for_want_of_room_they_are_told_later(tmp_path: Path) -> None:
    with small_disk_at(tmp_path / "disk", 1) as disk:
        sent: list[str] = []

        def send(notices: Any) -> int:
            sent.extend(notice.text for notice in notices)
            return len(notices)

        listener = Listener("one", lambda event: "", send)
        shelf = Shelf(disk / "deliveries.db")
        deliveries = Deliveries(shelf, lambda: {"one": listener}, lambda: 1)
        await deliveries.keep([Wanted("one", Notice("1", 1, "first"))], told=1)
        filling = fill(disk)
        with pytest.raises(apsw.FullError):
            await deliveries.keep([Wanted("one", Notice("2", 1, "x" * 20_000))], told=2)
        assert deliveries.told == 1, "the move is to be told again"
        filling.unlink()
        await deliveries.keep([Wanted("one", Notice("3", 1, "put by a client"))])
        await deliveries.keep([Wanted("one", Notice("2", 1, "second"))], told=2)
        await deliveries.close()
        assert shelf.look(HERE, lambda drawer: drawer.get("state", "state")) == {"told": 2, "next": 4}
        shelf.close()
