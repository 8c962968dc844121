"""`batchyard stack ... --target aws`, with moto's CloudFormation as a stand-in for AWS."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batchyard.main.stacks import asking
from batchyard.main.stacks.account import Account
from yard import serving

pytestmark = pytest.mark.timeout(700)  # each command line needs seconds of a processor that others want too

STAND_IN = """
import sys, time
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
TEMPLATE = """\
Parameters:
  Days: {Type: Number, Default: 3}
Resources:
  Bucket: {Type: AWS::S3::Bucket}
  Note:
    Type: AWS::SSM::Parameter
    Properties: {Name: /note, Type: String, Value: !Ref Days}
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: '2012-10-17'
        Statement: [{Effect: Allow, Principal: {Service: ec2.amazonaws.com}, Action: sts:AssumeRole}]
Outputs:
  Name: {Value: !Ref Bucket}
"""
NESTING = """\
Resources:
  Inner:
    Type: AWS::CloudFormation::Stack
    Properties: {TemplateURL: inner.yaml}
"""


@pytest.fixture(scope="module")
def aws() -> Iterator[dict[str, str]]:
    """The surroundings of somebody whose AWS is the stand-in."""
    process = subprocess.Popen(
        [sys.executable, "-c", STAND_IN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], 90)
    port = process.stdout.readline().strip() if readable else ""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "BATCHYARD_"))}
    keys = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-central-1"}
    yield {**kept, **keys, "AWS_DEFAULT_REGION": "eu-central-1", "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "COLUMNS": "100"}
    process.communicate(timeout=90)


@pytest.fixture
def template(tmp_path: Path) -> str:
    path = tmp_path / "template.yaml"
    path.write_text(TEMPLATE)
    return str(path)


def stack(aws: dict[str, str], *words: str, target: str = "aws") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "batchyard.main", "stack", *words, "--target", target]
    return subprocess.run(command, env=aws, capture_output=True, text=True, timeout=200, stdin=subprocess.DEVNULL, check=False)


def at_a_terminal(aws: dict[str, str], answer: str, *words: str) -> tuple[int, str]:
    """The same at a terminal, where the question is answered: the exit code, and all that was to be seen."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "batchyard.main", "stack", *words, "--target", "aws"]
    process = subprocess.Popen(command, env={**aws, "TERM": "xterm"}, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen, deadline, is_answered = b"", time.monotonic() + 120, False
    while time.monotonic() < deadline:
        if not select.select([ours], [], [], 1)[0]:
            continue
        try:
            seen += os.read(ours, 65536)
        except OSError:  # nobody holds the other end any more
            break
        if not is_answered and b"[y/N]" in seen:
            os.write(ours, answer.encode() + b"\n")
            is_answered = True
    os.close(ours)
    process.kill() if time.monotonic() >= deadline else None
    return process.wait(90), seen.decode()


def stacks(aws: dict[str, str]) -> list[Any]:
    return json.loads(stack(aws, "list", "--json").stdout)["StackSummaries"]  # type: ignore[no-any-return]


def test_from_a_plan_to_the_tear_down(aws: dict[str, str], template: str) -> None:
    planned = stack(aws, "plan", template, "--stack-name", "whole")
    assert planned.returncode == 0, planned.stderr
    assert "whole: 3 to add" in planned.stdout
    assert "+ Role: role is added" in planned.stdout
    assert "The change set does not tell properties" in planned.stdout, "moto does not, and then nothing is made up"
    assert stacks(aws) == [], "a plan leaves nothing"
    made = stack(aws, "deploy", template, "--stack-name", "whole", "--capabilities", "CAPABILITY_IAM", "--yes")
    assert made.returncode == 0, made.stderr
    assert "account 123456789012" in made.stderr
    assert made.stderr.index("whole: 3 to add") < made.stderr.index("CREATE_IN_PROGRESS"), "shown first"
    assert "whole  CREATE_COMPLETE after" in made.stderr
    again = stack(aws, "deploy", template, "--stack-name", "whole", "--capabilities", "CAPABILITY_IAM", "--yes")
    assert "(nothing to change)" in again.stderr
    changed = stack(aws, "deploy", template, "--stack-name", "whole", "--capabilities", "CAPABILITY_IAM", "--yes", "--parameter", "Days=5")
    assert "whole  UPDATE_COMPLETE after" in changed.stderr, changed.stderr
    shown = json.loads(stack(aws, "show", "whole", "--json").stdout)
    assert shown["Parameters"][0]["ParameterValue"] == "5"
    assert {each["LogicalResourceId"] for each in shown["Resources"]} == {"Bucket", "Note", "Role"}
    assert "UPDATE_COMPLETE" in stack(aws, "events", "whole").stdout
    gone = stack(aws, "delete", "whole", "--yes")
    assert "whole  DELETE_COMPLETE after" in gone.stderr, gone.stderr
    assert stacks(aws) == []


def test_it_asks_first_and_a_no_leaves_nothing(aws: dict[str, str], template: str) -> None:
    words = ("deploy", template, "--stack-name", "asked", "--capabilities", "CAPABILITY_IAM")
    unasked = stack(aws, *words)
    assert (unasked.returncode, stacks(aws)) == (2, [])
    assert "Say it beforehand: --yes" in unasked.stderr
    code, seen = at_a_terminal(aws, "n", *words)
    assert (code, "Nothing was done." in seen, stacks(aws)) == (0, True, [])
    code, seen = at_a_terminal(aws, "y", *words)
    assert code == 0, seen
    assert "✓" in seen, "a tree of resources"
    assert "CREATE_COMPLETE" in seen
    code, seen = at_a_terminal(aws, "y", "delete", "asked")
    assert (code, stacks(aws)) == (0, []), seen
    assert "with its 3 resources on AWS in eu-central-1" in seen.replace("\r\n", "")


def test_nested_templates_go_into_a_closed_bucket_of_the_account(aws: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "outer.yaml").write_text(NESTING)
    (tmp_path / "inner.yaml").write_text("Resources:\n  Bucket: {Type: AWS::S3::Bucket}\n")
    made = stack(aws, "deploy", str(tmp_path / "outer.yaml"), "--stack-name", "outer", "--yes")
    assert made.returncode == 0, made.stderr
    assert [each["StackName"] for each in stacks(aws) if each["StackName"].startswith("outer-Inner-")]
    with_keys = Account("", "eu-central-1", is_aws=True, url=aws["AWS_ENDPOINT_URL"], make=lambda service: _client(aws, service))
    bucket = "batchyard-templates-123456789012-eu-central-1"
    block = with_keys.ask("s3", "get_public_access_block", Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert all(block.values())
    assert stack(aws, "delete", "outer", "--yes").returncode == 0


def _client(aws: dict[str, str], service: str) -> Any:
    import boto3

    return boto3.client(
        service,
        endpoint_url=aws["AWS_ENDPOINT_URL"],
        region_name="eu-central-1",
        aws_access_key_id=aws["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=aws["AWS_SECRET_ACCESS_KEY"],
    )


def test_a_service_of_ours_is_not_taken_for_aws(tmp_path: Path) -> None:
    with serving(tmp_path / "yard") as yard:
        refused = stack(yard.environment, "list")
        assert refused.returncode == 2
        assert f"this shell leads to a Batchyard service at {yard.url}" in refused.stderr
        assert stack(yard.environment, "list", target="local").returncode == 0


def test_without_a_region_or_keys_it_says_so(tmp_path: Path) -> None:
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "BATCHYARD_"))}
    bare |= {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    nowhere = stack(bare, "list")
    assert (nowhere.returncode, "No AWS region is configured." in nowhere.stderr) == (4, True)
    keyless = stack({**bare, "AWS_REGION": "eu-central-1"}, "list")
    assert keyless.returncode == 4, keyless.stderr


def test_changes_of_nested_stacks_stand_below_the_stack_that_holds_them() -> None:
    """As AWS has it with IncludeNestedStacks: a nested stack's change names a change set of its own."""
    inner = {"Changes": [{"ResourceChange": {"LogicalResourceId": "Bucket", "Action": "Add"}}]}

    class Client:
        class meta:
            method_to_api_mapping = {"describe_change_set": "DescribeChangeSet"}

        def describe_change_set(self, **asked: Any) -> Any:
            assert asked == {"ChangeSetName": "arn:inner", "IncludePropertyValues": True}
            return inner

    account = Account("", "", is_aws=True, url="", make=lambda service: Client())
    outer = {"Changes": [{"ResourceChange": {"LogicalResourceId": "Inner", "Action": "Modify", "ChangeSetId": "arn:inner"}}]}
    assert [each["LogicalResourceId"] for each in asking.changes_of(account, outer)] == ["Inner", "Inner/Bucket"]
