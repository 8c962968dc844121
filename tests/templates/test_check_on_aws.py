"""The check script asks first, finds what is wrong, and takes away what it made: run as it is, against a stand-in."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from genomics_on_moto import CONFIG, DressedAccount, answered, session
from genomics_stack import TEMPLATES
from moto import mock_aws

specification = importlib.util.spec_from_file_location("check_on_aws", TEMPLATES / "check_on_aws.py")
assert specification is not None and specification.loader is not None
check_on_aws = importlib.util.module_from_spec(specification)
sys.modules["check_on_aws"] = check_on_aws  # dataclasses look their module up there
specification.loader.exec_module(check_on_aws)

QUICK = ["--pause-s", "0", "--timeout-s", "0"]
CREATING = {"CreateStack", "SubmitJob", "DeleteStack", "CreateBucket", "DeleteBucket"}


@pytest.fixture(scope="module")
def moto() -> Iterator[None]:
    """One stand-in for all tests, since starting it takes longer than a test: each has a stack of its own in it."""
    with mock_aws(config=CONFIG):
        yield


@pytest.fixture
def account(moto: None, request: pytest.FixtureRequest) -> DressedAccount:
    position = request.session.items.index(request.node)
    return DressedAccount(f"checked{position}", check_on_aws.MARK)


def run(account: DressedAccount, *options: str, answer: str | None = None) -> int:
    """Runs the script; `answer` is what the user says, None that the user must not be asked."""

    def ask(_: str) -> str:
        assert answer is not None, "asked, although --yes was given"
        return answer

    arguments = ["--stack-name", account.stack_name, *QUICK, *options, *([] if answer is not None else ["--yes"])]
    code = check_on_aws.main(arguments, session=account.session, ask=ask)
    assert isinstance(code, int)
    return code


def failures(text: str) -> list[str]:
    return [line.removeprefix("FAIL  ").split(": ")[0] for line in text.splitlines() if line.startswith("FAIL")]


def left_over(account: DressedAccount) -> tuple[list[str], list[str]]:
    """Buckets and stacks of this test that are still there."""
    s3, cloudformation = account.plain.create_client("s3"), account.plain.create_client("cloudformation")
    stacks = [stack["StackName"] for stack in cloudformation.describe_stacks()["Stacks"]]
    buckets = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    mine = f"{account.stack_name}-"
    return [name for name in buckets if name.startswith(mine)], [name for name in stacks if f"{name}-" == mine]


@pytest.mark.parametrize("options", [[], ["--baseline-vcpus", "2"]], ids=["plain", "baseline"])
def test_a_healthy_environment_passes_and_nothing_is_left(
    account: DressedAccount, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(account, *options) == 0
    said = capsys.readouterr().out
    assert not failures(said)
    for promise in ("1 results", "2 log", "3 Spot", "4 on-demand", "5 default", "6 high-priority", "a job in the"):
        assert f"PASS  {promise}" in said
    assert ("never scales" in said) == bool(options)
    assert "Cost:" in said and "passed, 0 failed" in said
    assert left_over(account) == ([], [])


@pytest.mark.parametrize("has_grown", [True, False])
def test_scratch_space_is_looked_at_where_it_is_wanted(
    account: DressedAccount, has_grown: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    ec2 = account.plain.create_client("ec2")
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    named = [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": account.stack_name}]}]
    (made,) = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, TagSpecifications=named)["Instances"]
    zone, tags = made["Placement"]["AvailabilityZone"], [{"Key": "batchyard:scratch-instance", "Value": made["InstanceId"]}]
    for device in ("/dev/xvdba", "/dev/xvdbb")[: 1 + has_grown]:
        marked = [{"ResourceType": "volume", "Tags": tags}]
        volume = ec2.create_volume(AvailabilityZone=zone, Size=4, VolumeType="gp3", TagSpecifications=marked)["VolumeId"]
        ec2.attach_volume(VolumeId=volume, InstanceId=made["InstanceId"], Device=device)

    def described(parsed: dict[str, Any], **_: Any) -> None:
        """moto forgets what goes with an instance."""
        for attachment in [one for volume in parsed["Volumes"] for one in volume["Attachments"]]:
            attachment["DeleteOnTermination"] = has_grown

    account.session.register("after-call.ec2.DescribeVolumes", described)
    options = ["--parameter", "Scratch=auto", "--parameter", "ScratchPackage=batchyard==0.1.0"]
    assert run(account, *options) == (0 if has_grown else 1)
    said = capsys.readouterr().out
    wrong = [] if has_grown else ["scratch space grows under the jobs", "volumes of scratch space go with their instance"]
    assert failures(said) == wrong
    assert "head -c 6G /dev/zero >/tmp/fill" in account.submitted["containerOverrides"]["command"][2]
    assert left_over(account) == ([], [])


@pytest.mark.parametrize("answer", ["no", ""])
def test_without_a_clear_yes_nothing_is_created(account: DressedAccount, answer: str) -> None:
    assert run(account, answer=answer) == 2
    assert CREATING.isdisjoint(account.calls)


def test_a_yes_creates(account: DressedAccount) -> None:
    assert run(account, answer="yes") == 0
    assert "CreateStack" in account.calls


def test_a_stack_of_that_name_is_never_touched(account: DressedAccount, capsys: pytest.CaptureFixture[str]) -> None:
    body = json.dumps({"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}})
    account.plain.create_client("cloudformation").create_stack(StackName=account.stack_name, TemplateBody=body)
    assert run(account) == 2
    assert "exists already" in capsys.readouterr().out
    assert CREATING.isdisjoint(account.calls)


def test_keep_leaves_everything_and_says_so(account: DressedAccount, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(account, "--keep") == 0
    buckets, stacks = left_over(account)
    assert (len(buckets), stacks) == (2, [account.stack_name])
    assert "costs money" in capsys.readouterr().out


def without_encryption(aws: Any, outputs: dict[str, str]) -> None:
    aws.create_client("s3").delete_bucket_encryption(Bucket=outputs["GenomicsEnvS3Bucket"])


def open_to_the_public(aws: Any, outputs: dict[str, str]) -> None:
    aws.create_client("s3").delete_public_access_block(Bucket=outputs["GenomicsEnvLogBucket"])


def half_closed(aws: Any, outputs: dict[str, str]) -> None:
    block = {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": False, "RestrictPublicBuckets": True}
    s3 = aws.create_client("s3")
    s3.put_public_access_block(Bucket=outputs["GenomicsEnvS3Bucket"], PublicAccessBlockConfiguration=block)


def with_acls(aws: Any, outputs: dict[str, str]) -> None:
    controls = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    s3 = aws.create_client("s3")
    s3.put_bucket_ownership_controls(Bucket=outputs["GenomicsEnvS3Bucket"], OwnershipControls=controls)


def without_life_cycle(aws: Any, outputs: dict[str, str]) -> None:
    aws.create_client("s3").delete_bucket_lifecycle(Bucket=outputs["GenomicsEnvLogBucket"])


def without_access_logs(aws: Any, outputs: dict[str, str]) -> None:
    aws.create_client("s3").put_bucket_logging(Bucket=outputs["GenomicsEnvS3Bucket"], BucketLoggingStatus={})


def without_log_delivery(aws: Any, outputs: dict[str, str]) -> None:
    aws.create_client("s3").delete_bucket_policy(Bucket=outputs["GenomicsEnvLogBucket"])


def disabled_spot(aws: Any, outputs: dict[str, str]) -> None:
    arn = outputs["GenomicsEnvSpotComputeEnvironmentArn"]
    aws.create_client("batch").update_compute_environment(computeEnvironment=arn, state="DISABLED")


def swapped_order(aws: Any, outputs: dict[str, str]) -> None:
    order = [
        {"order": 1, "computeEnvironment": outputs["GenomicsEnvOnDemandComputeEnvironmentArn"]},
        {"order": 2, "computeEnvironment": outputs["GenomicsEnvSpotComputeEnvironmentArn"]},
    ]
    queue = outputs["GenomicsEnvDefaultJobQueueArn"]
    aws.create_client("batch").update_job_queue(jobQueue=queue, computeEnvironmentOrder=order)


def equal_priorities(aws: Any, outputs: dict[str, str]) -> None:
    aws.create_client("batch").update_job_queue(jobQueue=outputs["GenomicsEnvHighPriorityJobQueueArn"], priority=1)


def disabled_queue(aws: Any, outputs: dict[str, str]) -> None:
    aws.create_client("batch").update_job_queue(jobQueue=outputs["GenomicsEnvDefaultJobQueueArn"], state="DISABLED")


def scaling_spill(aws: Any, outputs: dict[str, str]) -> None:
    queue = outputs["GenomicsEnvDefaultJobQueueArn"]
    aws.create_client("batch").tag_resource(resourceArn=queue, tags={"batchyard:spill": "scale"})


def generous_job_role(aws: Any, outputs: dict[str, str]) -> None:
    statement = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    aws.create_client("iam").put_role_policy(
        RoleName=outputs["GenomicsEnvBatchJobRoleArn"].rsplit("/", 1)[1],
        PolicyName="results-and-logs",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )


def wrong_place(_: Any, __: dict[str, str]) -> None:
    """Nothing to change in the account: the jobs run elsewhere (see `elsewhere`)."""


def elsewhere(parsed: dict[str, Any], **_: Any) -> None:
    for job in parsed["jobs"]:
        job["container"]["containerInstanceArn"] = "arn:aws:ecs:eu-central-1:1:container-instance/other/0123"


Breaks = dict[Callable[[Any, dict[str, str]], None], list[str]]
FIRST: Breaks = {
    without_encryption: ["1 results bucket is encrypted"],
    open_to_the_public: ["2 log bucket is closed to the public"],
    without_access_logs: ["2 log bucket takes the access logs of the results bucket"],
    disabled_spot: ["3 Spot compute environment"],
    equal_priorities: ["6 high-priority queue comes first"],
    generous_job_role: ["jobs may not write to other buckets", "jobs may not delete the results bucket"],
}
SECOND: Breaks = {
    half_closed: ["1 results bucket is closed to the public"],
    with_acls: ["1 results bucket knows no ACLs"],
    without_life_cycle: ["2 log bucket has a life cycle"],
    without_log_delivery: ["2 log bucket takes the access logs of the results bucket"],
    swapped_order: ["5 default queue uses its environments in order"],
    scaling_spill: ["5 default queue is tagged batchyard:spill=idle"],
    wrong_place: ["a job in the Default queue runs on Spot first", "a job in the HighPriority queue runs on OnDemand first"],
}
THIRD: Breaks = {disabled_queue: ["5 default queue works"]}


@pytest.mark.parametrize("breaks", [FIRST, SECOND, THIRD], ids=["first", "second", "third"])
def test_each_broken_promise_fails_by_name_and_everything_is_still_taken_down(
    account: DressedAccount, breaks: Breaks, capsys: pytest.CaptureFixture[str]
) -> None:
    account.after_create += breaks
    if wrong_place in breaks:
        account.session.register("after-call.batch.DescribeJobs", elsewhere)
    assert run(account) == 1
    assert sorted(failures(capsys.readouterr().out)) == sorted(name for missed in breaks.values() for name in missed)
    assert left_over(account) == ([], [])


@pytest.mark.parametrize(
    ("leaves", "missed"),
    [({"result"}, "has its log stream"), ({"log"}, "writes its result")],
    ids=["no log", "no result"],
)
def test_a_job_that_leaves_no_trace_fails(
    account: DressedAccount, leaves: set[str], missed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    account.job_leaves = leaves
    assert run(account) == 1
    assert failures(capsys.readouterr().out) == [f"a job in the {queue} queue {missed}" for queue in ("Default", "HighPriority")]


def test_a_failed_job_fails(account: DressedAccount, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MOTO_SIMPLE_BATCH_FAIL_AFTER", "0")
    assert run(account) == 1
    assert failures(capsys.readouterr().out) == [f"a job in the {queue} queue succeeds" for queue in ("Default", "HighPriority")]


def test_a_job_that_never_ends_is_given_up_and_terminated(account: DressedAccount, capsys: pytest.CaptureFixture[str]) -> None:
    def waiting(parsed: dict[str, Any], **_: Any) -> None:
        for job in parsed["jobs"]:
            job["status"] = "RUNNABLE"

    account.session.register("after-call.batch.DescribeJobs", waiting)
    assert run(account) == 1
    assert failures(capsys.readouterr().out) == [f"a job in the {queue} queue succeeds" for queue in ("Default", "HighPriority")]
    assert "TerminateJob" in account.calls
    assert left_over(account) == ([], [])


def test_a_refused_stack_is_reported_and_nothing_is_deleted(account: DressedAccount, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(**_: Any) -> Any:
        error = {"Code": "InsufficientCapabilitiesException", "Message": "Requires capabilities : [CAPABILITY_IAM]"}
        return answered({"Error": error}, status=400)

    account.session.register("before-call.cloudformation.CreateStack", refuse)
    assert run(account) == 1
    said = capsys.readouterr().out
    assert failures(said) == ["the template creates everything as one stack"]
    assert "Nothing was created." in said
    assert "DeleteStack" not in account.calls


def test_a_stack_that_rolls_back_is_reported_with_its_reason_and_deleted(
    account: DressedAccount, capsys: pytest.CaptureFixture[str]
) -> None:
    def rolled_back(params: dict[str, Any], **_: Any) -> Any:
        if params["body"].get("StackName") in account.deleted or "CreateStack" not in account.calls:
            return None
        return answered({"Stacks": [{"StackName": account.stack_name, "StackStatus": "ROLLBACK_COMPLETE"}]})

    def events(**_: Any) -> Any:
        event = {
            "LogicalResourceId": "SpotComputeEnvironment",
            "ResourceStatus": "CREATE_FAILED",
            "ResourceStatusReason": "the subnet is not there",
        }
        return answered({"StackEvents": [event]})

    account.session.register("before-call.cloudformation.DescribeStacks", rolled_back)
    account.session.register("before-call.cloudformation.DescribeStackEvents", events)
    assert run(account) == 1
    said = capsys.readouterr().out
    assert "SpotComputeEnvironment: the subnet is not there" in said
    assert "SubmitJob" not in account.calls
    assert left_over(account) == ([], [])


def test_all_versions_go_with_a_bucket(account: DressedAccount) -> None:
    def versions(aws: Any, outputs: dict[str, str]) -> None:
        s3, bucket = aws.create_client("s3"), outputs["GenomicsEnvS3Bucket"]
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        for body in (b"one", b"two"):
            s3.put_object(Bucket=bucket, Key="sample.vcf", Body=body)
        s3.delete_object(Bucket=bucket, Key="sample.vcf")

    account.after_create.append(versions)
    assert run(account) == 0
    assert left_over(account) == ([], [])


@pytest.mark.parametrize("parameter", ["ExistingResultsBucket=ours", "ResultsPrefix=a/", "nonsense"])
def test_parameters_that_would_endanger_data_or_make_no_sense_are_refused(account: DressedAccount, parameter: str) -> None:
    with pytest.raises(SystemExit):
        run(account, "--parameter", parameter)
    assert not account.calls


def test_without_a_region_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    nowhere = session()
    nowhere.set_config_variable("region", None)
    assert check_on_aws.main(["--yes"], session=nowhere) == 2
    assert "--region" in capsys.readouterr().out
