#!/usr/bin/env python3
"""Deploys genomics.yaml into your own AWS account, tries out every promise of it there, and takes it down again.

It prints PASS or FAIL for each promise, asks before it creates anything, and deletes only what it made itself. It needs
Python 3.11, botocore, and credentials that may create what the template holds. Exit code: 0 all passed, 1 something
failed, 2 not run.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import botocore.session
from botocore.exceptions import BotoCoreError, ClientError, WaiterError
from botocore.parsers import ResponseParserError

TEMPLATE = Path(__file__).with_name("genomics.yaml")
MARK = "genomics-environment-check"
AwsError = (BotoCoreError, ClientError, ResponseParserError)
OWN_BUCKET = ("ExistingResultsBucket", "ResultsPrefix")
Found = TypeVar("Found")
# Works in the starter image, which lacks the AWS CLI, and wherever the CLI is already there.
JOB_COMMAND = (
    f'set -e; echo "{MARK} in $AWS_BATCH_JQ_NAME"; '
    "command -v aws >/dev/null || dnf install --quiet --assumeyes awscli-2 >/dev/null; "
    f'echo "{MARK}" | aws s3 cp - "${{RESULTS}}check/$AWS_BATCH_JOB_ID.txt"'
)
SCRATCH_GIB = 4  # at first; with scratch space each job fills more than that, where its container writes
FILL = f"head -c {SCRATCH_GIB + 2}G /dev/zero >/tmp/fill; rm /tmp/fill; "
PLAN = """\
In account {account}, region {region}, this will
  1. create the stack {stack} in {vpc}: two buckets, {environments} compute environments, two queues, two roles ...
  2. run one small job in each queue (1 vCPU, 2 GiB; it installs the AWS CLI and writes one object)
  3. {end}
Cost: two instances for some ten minutes with a 30 GiB volume each: well under one US dollar in most regions{extra}.
It takes 10 to 30 minutes. Do not put data of your own into these buckets meanwhile.
"""


@dataclass
class Report:
    """What was found so far: one line per promise, printed as it is found."""

    passed: int = 0
    failed: int = 0

    def note(self, promise: str, kept: bool, found: object) -> None:
        """Prints PASS or FAIL with what was `found`, and counts it."""
        self.passed, self.failed = self.passed + kept, self.failed + (not kept)
        say(f"{'PASS' if kept else 'FAIL'}  {promise}: {found}")

    @contextmanager
    def about(self, promise: str) -> Iterator[None]:
        """Turns an error of AWS, or an answer that lacks what was looked for, into a FAIL of `promise`."""
        try:
            yield
        except AwsError as error:
            self.note(promise, False, error)
        except (KeyError, IndexError) as error:
            self.note(promise, False, f"AWS's answer holds no {error}")


@dataclass
class Account:
    """The caller's account as this script sees it: clients, the stack's name and, later, its outputs."""

    session: Any
    region: str
    stack: str
    endpoint_url: str | None
    pause_s: float
    timeout_s: float
    baseline: bool
    scratch: bool
    stack_id: str | None = None
    outputs: dict[str, str] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        """A client of `service` in the region."""
        return self.session.create_client(service, region_name=self.region, endpoint_url=self.endpoint_url)


def main(argv: list[str] | None = None, session: Any = None, ask: Callable[[str], str] = input) -> int:
    """Runs the whole check and returns the exit code."""
    options = parse_arguments(argv)
    session = session or botocore.session.Session(profile=options.profile)
    region = options.region or session.get_config_variable("region")
    if not region:
        say("No region: give --region, or set one in the AWS configuration.")
        return 2
    account = Account(
        session, region, options.stack_name, options.endpoint_url, options.pause_s, options.timeout_s,
        options.baseline_vcpus > 0, dict(pair.split("=", 1) for pair in options.parameter).get("Scratch", "off") != "off",
    )  # fmt: skip
    try:
        vpc, subnets = network(account.client("ec2"), options)
        if not agreed(account, vpc, options, ask):
            return 2
    except (*AwsError, LookupError) as error:
        say(f"Not run: {error}")
        return 2
    report = Report()
    try:
        if create(account, report, stack_parameters(options, vpc, subnets)):
            for check in (check_buckets, check_environments, check_queues, check_job_role, check_jobs, check_scratch):
                check(account, report)
    finally:
        if account.stack_id is None:
            say("Nothing was created.")
        elif options.keep:
            say(f"Kept: the stack {account.stack}. It costs money while instances run; delete it when you are done.")
        else:
            tear_down(account, report)
    say(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stack-name", default=f"batchyard-check-{secrets.token_hex(3)}", help="must not exist yet")
    parser.add_argument("--region", help="default: the one of the AWS configuration")
    parser.add_argument("--profile", help="named profile of the AWS configuration")
    parser.add_argument("--vpc-id", help="default: the default VPC")
    parser.add_argument("--subnet-ids", help="separated by commas; default: the default subnets of the VPC")
    parser.add_argument("--baseline-vcpus", type=int, default=0, help="also make a baseline environment of this size")
    parser.add_argument("--parameter", action="append", default=[], metavar="KEY=VALUE", help="of the template; repeatable")
    parser.add_argument("--yes", action="store_true", help="do not ask before creating")
    parser.add_argument("--keep", action="store_true", help="leave the stack and the buckets there at the end")
    parser.add_argument("--endpoint-url", help="another service that speaks AWS's API, instead of AWS")
    parser.add_argument("--timeout-s", type=float, default=2400, help="longest wait for a job, in seconds")
    parser.add_argument("--pause-s", type=float, default=15, help="between two looks at what is waited for")
    options = parser.parse_args(argv)
    for pair in options.parameter:
        if "=" not in pair:
            parser.error(f"--parameter {pair}: write KEY=VALUE")
        if pair.split("=", 1)[0] in OWN_BUCKET:
            parser.error(f"--parameter {pair}: this check works on a whole bucket of its own only")
    return options


def network(ec2: Any, options: argparse.Namespace) -> tuple[str, list[str]]:
    """The VPC and the subnets to start instances in: those asked for, else the account's default ones."""
    vpc = options.vpc_id
    if not vpc:
        vpcs = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
        if not vpcs:
            raise LookupError("the region has no default VPC: give --vpc-id and --subnet-ids")
        vpc = vpcs[0]["VpcId"]
    if options.subnet_ids:
        return vpc, options.subnet_ids.split(",")
    filters = [{"Name": "vpc-id", "Values": [vpc]}, {"Name": "default-for-az", "Values": ["true"]}]
    subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets(Filters=filters)["Subnets"]]
    if not subnets:
        raise LookupError(f"{vpc} has no default subnets: give --subnet-ids")
    return vpc, subnets


def agreed(account: Account, vpc: str, options: argparse.Namespace, ask: Callable[[str], str]) -> bool:
    """Says what will be done and what it costs, and whether the user wants it; never touches a stack that exists."""
    identity = account.client("sts").get_caller_identity()
    if stack_exists(account):
        raise LookupError(f"the stack {account.stack} exists already; this script only works on one of its own")
    say(
        PLAN.format(
            account=identity["Account"],
            region=account.region,
            stack=account.stack,
            vpc=vpc,
            environments=3 if account.baseline else 2,
            end="leave everything there (--keep)" if options.keep else "delete the stack and both buckets",
            extra=", and the baseline's instances as long as the stack lives" if account.baseline else "",
        )
    )
    if options.yes:
        return True
    if ask("Create it? [yes/no] ").strip().lower() in ("yes", "y"):
        return True
    say("Nothing was created.")
    return False


def stack_exists(account: Account) -> bool:
    try:
        account.client("cloudformation").describe_stacks(StackName=account.stack)
    except ClientError as error:
        if "does not exist" in str(error):
            return False
        raise
    return True


def stack_parameters(options: argparse.Namespace, vpc: str, subnets: list[str]) -> dict[str, str]:
    """The template's parameters for a small, cheap environment; --parameter has the last word."""
    chosen = {
        "VpcId": vpc,
        "SubnetIds": ",".join(subnets),
        "RootVolumeGiB": "30",
        "SpotMaxvCpus": "16",
        "OnDemandMaxvCpus": "16",
        "BaselinevCpus": str(options.baseline_vcpus),
        "BaselineInstanceTypes": "m6i.large",
        "ScratchInitialGiB": str(SCRATCH_GIB),
        "ScratchMaxGiB": str(SCRATCH_GIB * 5),
        "JobLogRetentionDays": "1",
    }
    return chosen | dict(pair.split("=", 1) for pair in options.parameter)


def create(account: Account, report: Report, parameters: dict[str, str]) -> bool:
    """Creates the stack and waits for it; false, with the stack's own words, when that failed."""
    cloudformation = account.client("cloudformation")
    promise = "the template creates everything as one stack"
    try:
        account.stack_id = cloudformation.create_stack(
            StackName=account.stack,
            TemplateBody=TEMPLATE.read_text(encoding="utf-8"),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            Capabilities=["CAPABILITY_IAM"],
            Tags=[{"Key": "Purpose", "Value": MARK}],
        )["StackId"]
        cloudformation.get_waiter("stack_create_complete").wait(
            StackName=account.stack, WaiterConfig={"Delay": max(account.pause_s, 0.01), "MaxAttempts": 240}
        )
    except WaiterError as error:
        events = cloudformation.describe_stack_events(StackName=account.stack)["StackEvents"]
        reasons = [
            f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}"
            for event in events
            if event.get("ResourceStatus") == "CREATE_FAILED"
        ]
        report.note(promise, False, "; ".join(reasons) or error)
        return False
    except AwsError as error:
        report.note(promise, False, error)
        return False
    stack = cloudformation.describe_stacks(StackName=account.stack)["Stacks"][0]
    account.outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    report.note(promise, stack["StackStatus"] == "CREATE_COMPLETE", stack["StackStatus"])
    return True


def check_buckets(account: Account, report: Report) -> None:
    """Both buckets are encrypted and closed, and the results bucket's access logs go to the log bucket."""
    s3 = account.client("s3")
    results, logs = account.outputs["GenomicsEnvS3Bucket"], account.outputs["GenomicsEnvLogBucket"]
    for promise, bucket in (("1 results bucket", results), ("2 log bucket", logs)):
        with report.about(f"{promise} is encrypted"):
            rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
            algorithm = rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"]
            report.note(f"{promise} is encrypted", algorithm in ("AES256", "aws:kms"), algorithm)
        with report.about(f"{promise} is closed to the public"):
            block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
            report.note(f"{promise} is closed to the public", len(block) == 4 and all(block.values()), block)
        with report.about(f"{promise} knows no ACLs"):
            owner = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"][0]["ObjectOwnership"]
            report.note(f"{promise} knows no ACLs", owner == "BucketOwnerEnforced", owner)
        with report.about(f"{promise} has a life cycle"):
            rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
            report.note(f"{promise} has a life cycle", bool(rules), [rule["ID"] for rule in rules])
    with report.about("2 log bucket takes the access logs of the results bucket"):
        target = s3.get_bucket_logging(Bucket=results)["LoggingEnabled"]
        policy = json.loads(s3.get_bucket_policy(Bucket=logs)["Policy"])
        services = [s["Principal"].get("Service") for s in policy["Statement"] if isinstance(s["Principal"], dict)]
        kept = target["TargetBucket"] == logs and "logging.s3.amazonaws.com" in services
        found = f"to {target['TargetBucket']}/{target['TargetPrefix']} (the first delivery takes hours; not waited for)"
        report.note("2 log bucket takes the access logs of the results bucket", kept, found)


def check_environments(account: Account, report: Report) -> None:
    """Spot, on-demand and, when asked for, the baseline environment are healthy and of the promised kind."""
    wanted = {"3 Spot compute environment": ("Spot", "SPOT"), "4 on-demand compute environment": ("OnDemand", "EC2")}
    if account.baseline:
        wanted["4 baseline compute environment"] = ("Baseline", "EC2")
    batch = account.client("batch")
    for promise, (name, kind) in wanted.items():
        with report.about(promise):
            arn = account.outputs[f"GenomicsEnv{name}ComputeEnvironmentArn"]
            found = batch.describe_compute_environments(computeEnvironments=[arn])["computeEnvironments"][0]
            resources = found["computeResources"]
            facts = (found["status"], found["state"], resources["type"], resources.get("allocationStrategy"))
            kept = facts[:3] == ("VALID", "ENABLED", kind) and facts[3] != "BEST_FIT"
            report.note(promise, kept, " ".join(map(str, facts)))
            if name == "Baseline":
                size = (resources["minvCpus"], resources["maxvCpus"])
                report.note(f"{promise} never scales", size[0] == size[1] > 0, f"minvCpus {size[0]}, maxvCpus {size[1]}")


def expected_order(account: Account, queue: str) -> list[str]:
    """Names of the environments that `queue` (Default or HighPriority) should use, in order."""
    if queue == "Default":
        return ["Spot", "Baseline" if account.baseline else "OnDemand"]
    return ["Baseline", "OnDemand", "Spot"] if account.baseline else ["OnDemand", "Spot"]


def check_queues(account: Account, report: Report) -> None:
    """Both queues use the environments in the promised order, and the high-priority one comes first."""
    batch, priorities = account.client("batch"), {}
    names = {
        arn: key.removeprefix("GenomicsEnv").removesuffix("ComputeEnvironmentArn")
        for key, arn in account.outputs.items()
        if key.endswith("ComputeEnvironmentArn")
    }
    for promise, queue, spill in (("5 default queue", "Default", "idle"), ("6 high-priority queue", "HighPriority", "scale")):
        with report.about(promise):
            arn = account.outputs[f"GenomicsEnv{queue}JobQueueArn"]
            found = batch.describe_job_queues(jobQueues=[arn])["jobQueues"][0]
            entries = sorted(found["computeEnvironmentOrder"], key=lambda entry: entry["order"])
            order = [names.get(entry["computeEnvironment"], entry["computeEnvironment"]) for entry in entries]
            report.note(f"{promise} uses its environments in order", order == expected_order(account, queue), order)
            report.note(f"{promise} works", (found["status"], found["state"]) == ("VALID", "ENABLED"), found["status"])
            report.note(f"{promise} is tagged batchyard:spill={spill}", found["tags"]["batchyard:spill"] == spill, found["tags"])
            priorities[queue] = found["priority"]
    with report.about("6 high-priority queue comes first"):
        report.note("6 high-priority queue comes first", priorities["HighPriority"] > priorities["Default"], priorities)


def check_job_role(account: Account, report: Report) -> None:
    """IAM's own simulator says that jobs may write results, and nothing else."""
    iam, role = account.client("iam"), account.outputs["GenomicsEnvBatchJobRoleArn"]
    partition = role.split(":")[1]
    bucket = f"arn:{partition}:s3:::{account.outputs['GenomicsEnvS3Bucket']}"
    for promise, action, resource, allowed in (
        ("jobs may write results", "s3:PutObject", f"{bucket}/x", True),
        ("jobs may not write to other buckets", "s3:PutObject", f"arn:{partition}:s3:::{MARK}-elsewhere/x", False),
        ("jobs may not delete the results bucket", "s3:DeleteBucket", bucket, False),
    ):
        with report.about(promise):
            answer = iam.simulate_principal_policy(PolicySourceArn=role, ActionNames=[action], ResourceArns=[resource])
            decision = answer["EvaluationResults"][0]["EvalDecision"]
            report.note(promise, (decision == "allowed") == allowed, f"{action} on {resource}: {decision}")


def check_jobs(account: Account, report: Report) -> None:
    """A job in each queue runs where it should, succeeds, logs, and writes its result."""
    batch, jobs = account.client("batch"), {}
    for queue in ("Default", "HighPriority"):
        with report.about(f"a job in the {queue} queue"):
            jobs[queue] = batch.submit_job(
                jobName=f"{account.stack}-{queue}",
                jobQueue=account.outputs[f"GenomicsEnv{queue}JobQueueArn"],
                jobDefinition=account.outputs["GenomicsEnvStarterJobDefinitionArn"],
                containerOverrides={
                    "command": ["sh", "-c", (FILL if account.scratch else "") + JOB_COMMAND],
                    "resourceRequirements": [{"type": "MEMORY", "value": "2048"}],
                },
            )["jobId"]
            say(f"      submitted {jobs[queue]} to the {queue} queue; instances take some minutes to start")
    for queue, job_id in jobs.items():
        with report.about(f"a job in the {queue} queue"):
            check_job(account, report, queue, job_id)


def check_job(account: Account, report: Report, queue: str, job_id: str) -> None:
    batch = account.client("batch")

    def ended() -> dict[str, Any] | None:
        job: dict[str, Any] = batch.describe_jobs(jobs=[job_id])["jobs"][0]
        return job if job["status"] in ("SUCCEEDED", "FAILED") else None

    job = wait_for(account, ended, account.timeout_s)
    if job is None:
        report.note(f"a job in the {queue} queue succeeds", False, f"{job_id} had not ended after {account.timeout_s:.0f} s")
        batch.terminate_job(jobId=job_id, reason=f"{MARK}: took too long")
        return
    found = f"{job_id} {job['status']} {job.get('statusReason', '')}"
    report.note(f"a job in the {queue} queue succeeds", job["status"] == "SUCCEEDED", found)
    check_place(account, report, queue, job)
    logs, group, stream = account.client("logs"), account.outputs["GenomicsEnvLogGroup"], job["container"]["logStreamName"]

    def logged() -> bool | None:
        events = logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)["events"]
        return any(MARK in event["message"] for event in events) or None

    with report.about(f"a job in the {queue} queue has its log stream"):
        kept = wait_for(account, logged, min(account.timeout_s, 120)) is not None
        report.note(f"a job in the {queue} queue has its log stream", kept, f"{group} {stream}")
    key = f"check/{job_id}.txt"
    with report.about(f"a job in the {queue} queue writes its result"):
        account.client("s3").head_object(Bucket=account.outputs["GenomicsEnvS3Bucket"], Key=key)
        report.note(f"a job in the {queue} queue writes its result", True, key)


def check_place(account: Account, report: Report, queue: str, job: dict[str, Any]) -> None:
    """The job ran in the first environment of its queue, told by the ECS cluster of its instance."""
    first = expected_order(account, queue)[0]
    arn = account.outputs[f"GenomicsEnv{first}ComputeEnvironmentArn"]
    with report.about(f"a job in the {queue} queue runs on {first} first"):
        answer = account.client("batch").describe_compute_environments(computeEnvironments=[arn])
        cluster = answer["computeEnvironments"][0]["ecsClusterArn"].rsplit("/", 1)[1]
        instance = job["container"]["containerInstanceArn"]
        report.note(f"a job in the {queue} queue runs on {first} first", f"/{cluster}/" in instance, instance)


def check_scratch(account: Account, report: Report) -> None:
    """If it is wanted (--parameter Scratch=auto): the volumes of an instance have become more than it began with, and go with it."""
    if not account.scratch:
        return
    with report.about("scratch space grows under the jobs"):
        ec2, held = account.client("ec2"), {}
        named = ec2.describe_instances(Filters=[{"Name": "tag:Name", "Values": [account.stack]}])["Reservations"]
        for instance in [one["InstanceId"] for reservation in named for one in reservation["Instances"]]:
            wanted = [{"Name": "tag:batchyard:scratch-instance", "Values": [instance]}]
            held[instance] = ec2.describe_volumes(Filters=wanted)["Volumes"]
        sizes = {instance: sum(volume["Size"] for volume in volumes) for instance, volumes in held.items()}
        report.note("scratch space grows under the jobs", max(sizes.values(), default=0) > SCRATCH_GIB, f"GiB by instance: {sizes}")
        attached = [one for volumes in held.values() for volume in volumes for one in volume["Attachments"]]
        staying = [one["VolumeId"] for one in attached if not one["DeleteOnTermination"]]
        report.note("volumes of scratch space go with their instance", bool(attached) and not staying, staying or f"{len(attached)} do")


def wait_for(account: Account, look: Callable[[], Found | None], timeout_s: float) -> Found | None:
    """What `look` finds, looked for again and again until it is there or the time is up (then None)."""
    deadline = time.monotonic() + timeout_s
    while (found := look()) is None and time.monotonic() < deadline:
        time.sleep(account.pause_s)
    return found


def tear_down(account: Account, report: Report) -> None:
    """Deletes the stack, then the two buckets that it left behind on purpose."""
    promise = "deleting the stack leaves only the buckets, which can be deleted too"
    say(f"      deleting the stack {account.stack}; this takes some minutes")
    with report.about(promise):
        cloudformation, s3 = account.client("cloudformation"), account.client("s3")
        pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=account.stack_id)
        resources = [resource for page in pages for resource in page["StackResourceSummaries"]]
        buckets = {
            resource["LogicalResourceId"]: resource["PhysicalResourceId"]
            for resource in resources
            if resource["ResourceType"] == "AWS::S3::Bucket" and resource.get("PhysicalResourceId")
        }
        cloudformation.delete_stack(StackName=account.stack_id)
        cloudformation.get_waiter("stack_delete_complete").wait(
            StackName=account.stack_id, WaiterConfig={"Delay": max(account.pause_s, 0.01), "MaxAttempts": 240}
        )
        for logical_id in sorted(buckets, reverse=True):  # ResultsBucket before LogBucket, which still gets its logs
            delete_bucket(s3, buckets[logical_id])
        report.note(promise, True, f"gone: {account.stack} {' '.join(buckets.values())}")


def delete_bucket(s3: Any, bucket: str, tries: int = 3) -> None:
    """Deletes a bucket with every object and version in it; one that is already gone is fine."""
    try:
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            entries = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            if entries:
                objects = [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in entries]
                s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
        s3.delete_bucket(Bucket=bucket)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "BucketNotEmpty" and tries > 1:  # an access log was delivered meanwhile
            delete_bucket(s3, bucket, tries - 1)
        elif code != "NoSuchBucket":
            raise


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
