"""The promises of the genomics environment, each as a function that fails when a template breaks it."""

from __future__ import annotations

import base64
import email
from collections.abc import Callable
from typing import Any

from genomics_stack import ACCOUNT, STACK_NAME, Stack, resolve

Template = dict[str, Any]
BASELINE = {"BaselinevCpus": "64"}
OWN_BUCKET = {
    "ExistingResultsBucket": "our-results",
    "ResultsPrefix": "project-a/",
    "InputBucketArns": "arn:aws:s3:::reads,arn:aws:s3:::references",
}
KEEP_LESS = {"ResultsRetentionDays": "90", "ResultsVersioning": "Enabled", "ImageId": "ami-0123456789abcdef0"}
WITHOUT_TLS = {"RequireTls": "false"}
SCRATCH = {"Scratch": "auto", "ScratchPackage": "s3://our-packages/batchyard/batchyard-0.1.0.tar.gz"}
PARAMETER_SETS = {
    "defaults": {},
    "baseline": BASELINE,
    "own bucket": OWN_BUCKET,
    "keep less": KEEP_LESS,
    "without TLS": WITHOUT_TLS,
    "own bucket without TLS": OWN_BUCKET | WITHOUT_TLS,
    "scratch": SCRATCH,
    "scratch from the image": SCRATCH | KEEP_LESS | {"ScratchPackage": ""},
}
ENVIRONMENTS = ("SpotComputeEnvironment", "OnDemandComputeEnvironment", "BaselineComputeEnvironment")

PROMISES: dict[str, Callable[[Template], None]] = {}


def promise(check: Callable[[Template], None]) -> Callable[[Template], None]:
    """Enters a check into the list of promises under its own name."""
    PROMISES[check.__name__] = check
    return check


def cared_for(stack: Stack, bucket: str) -> None:
    """The bucket is encrypted, closed to the public, without ACLs, and outlives the stack, but not a creation that fails."""
    properties, resource = stack.properties(bucket), stack.resources[bucket]
    (rule,) = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    settings = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
    assert properties["PublicAccessBlockConfiguration"] == dict.fromkeys(settings, True)
    assert properties["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    assert "AccessControl" not in properties
    assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")
    rules = properties["LifecycleConfiguration"]["Rules"]
    assert any(rule.get("AbortIncompleteMultipartUpload") and rule["Status"] == "Enabled" for rule in rules)


def statements(stack: Stack, policy: str) -> dict[str, dict[str, Any]]:
    """Statements of a bucket policy by Sid."""
    return {entry["Sid"]: entry for entry in stack.properties(policy)["PolicyDocument"]["Statement"]}


def order(stack: Stack, queue: str) -> list[str]:
    """Logical ids of a queue's environments, in the order in which it uses them."""
    entries = sorted(stack.properties(queue)["ComputeEnvironmentOrder"], key=lambda entry: int(entry["Order"]))
    assert [entry["Order"] for entry in entries] == list(range(1, len(entries) + 1))
    return [str(entry["ComputeEnvironment"]).rsplit("/", 1)[1] for entry in entries]


@promise
def results_bucket(template: Template) -> None:
    """1: a bucket for results, with retention and versioning as the user says."""
    stack = resolve(template)
    cared_for(stack, "ResultsBucket")
    assert stack.properties("ResultsBucket")["VersioningConfiguration"] == {"Status": "Suspended"}
    rules = stack.properties("ResultsBucket")["LifecycleConfiguration"]["Rules"]
    assert not any("ExpirationInDays" in rule for rule in rules), "by default results are kept for ever"
    less = resolve(template, KEEP_LESS).properties("ResultsBucket")
    assert less["VersioningConfiguration"] == {"Status": "Enabled"}
    assert [rule["ExpirationInDays"] for rule in less["LifecycleConfiguration"]["Rules"] if "ExpirationInDays" in rule] == [90]
    assert stack.outputs["GenomicsEnvS3Bucket"]["Value"] == stack.reference("ResultsBucket")


@promise
def existing_results_bucket(template: Template) -> None:
    """1: a bucket that the user has already is used, not made, and left alone."""
    stack = resolve(template, OWN_BUCKET)
    assert "ResultsBucket" not in stack.resources and "ResultsBucketPolicy" not in stack.resources
    assert stack.outputs["GenomicsEnvS3Bucket"]["Value"] == "our-results"
    assert stack.properties("ResultsBucketParameter")["Value"] == "our-results"
    environment = stack.properties("StarterJobDefinition")["ContainerProperties"]["Environment"]
    assert {"Name": "RESULTS", "Value": "s3://our-results/project-a/"} in environment


@promise
def log_bucket(template: Template) -> None:
    """2: a bucket for log data, with as much care, that forgets after a while."""
    for parameters in ({}, OWN_BUCKET):
        stack = resolve(template, {**parameters, "LogBucketRetentionDays": "30"})
        cared_for(stack, "LogBucket")
        rules = stack.properties("LogBucket")["LifecycleConfiguration"]["Rules"]
        assert [rule["ExpirationInDays"] for rule in rules] == [30]
        assert stack.resources["LogBucketPolicy"]["DeletionPolicy"] == "RetainExceptOnCreate"
        assert stack.outputs["GenomicsEnvLogBucket"]["Value"] == stack.reference("LogBucket")


@promise
def access_log_delivery(template: Template) -> None:
    """2: S3, and only for this account, may deliver the access logs of the results bucket into the log bucket."""
    stack = resolve(template)
    logging = stack.properties("ResultsBucket")["LoggingConfiguration"]
    assert logging == {"DestinationBucketName": stack.reference("LogBucket"), "LogFilePrefix": "s3-access/"}
    assert stack.properties("LogBucketPolicy")["Bucket"] == stack.reference("LogBucket")
    entry = statements(stack, "LogBucketPolicy")["S3DeliversAccessLogs"]
    assert (entry["Effect"], entry["Principal"]) == ("Allow", {"Service": "logging.s3.amazonaws.com"})
    assert entry["Action"] == "s3:PutObject"
    assert entry["Resource"] == f"arn:aws:s3:::{stack.reference('LogBucket')}/{logging['LogFilePrefix']}*"
    assert entry["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    assert stack.resources["ResultsBucket"]["DependsOn"] == "LogBucketPolicy"
    assert "LoggingConfiguration" not in stack.properties("LogBucket"), "a bucket that logs into itself never rests"


@promise
def job_log_export(template: Template) -> None:
    """2: CloudWatch Logs, and only for this account, may export job logs into the log bucket."""
    found = statements(resolve(template), "LogBucketPolicy")
    for sid, action in (("CloudWatchLogsLooksAtTheBucket", "s3:GetBucketAcl"), ("CloudWatchLogsExportsJobLogs", "s3:PutObject")):
        entry = found[sid]
        assert (entry["Effect"], entry["Action"]) == ("Allow", action)
        assert entry["Principal"] == {"Service": "logs.eu-central-1.amazonaws.com"}
        assert entry["Condition"]["StringEquals"]["aws:SourceAccount"] == ACCOUNT
        assert entry["Condition"]["ArnLike"]["aws:SourceArn"] == f"arn:aws:logs:eu-central-1:{ACCOUNT}:log-group:*"
    assert found["CloudWatchLogsExportsJobLogs"]["Resource"].endswith("/job-logs/*")


@promise
def only_over_tls(template: Template) -> None:
    """Both buckets refuse plain HTTP, and nobody outside gets anything by bucket policy."""
    for bucket in ("ResultsBucket", "LogBucket"):
        stack = resolve(template)
        entry = statements(stack, f"{bucket}Policy")["OnlyOverTls"]
        arn = f"arn:aws:s3:::{stack.reference(bucket)}"
        assert (entry["Effect"], entry["Principal"], entry["Action"]) == ("Deny", "*", "s3:*")
        assert entry["Resource"] == [arn, f"{arn}/*"]
        assert entry["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        allowed = [entry for entry in statements(stack, f"{bucket}Policy").values() if entry["Effect"] == "Allow"]
        assert all(set(entry["Principal"]) == {"Service"} for entry in allowed)
    plain = resolve(template, WITHOUT_TLS)
    assert "ResultsBucketPolicy" not in plain.resources
    assert "OnlyOverTls" not in statements(plain, "LogBucketPolicy")


@promise
def spot_environment(template: Template) -> None:
    """3: a Spot environment that picks the pools by capacity and price, and pays no more than the user says."""
    stack = resolve(template, {"SpotBidPercentage": "70", "SpotMinvCpus": "4", "SpotMaxvCpus": "512"})
    found = stack.properties("SpotComputeEnvironment")
    resources = found["ComputeResources"]
    assert (found["Type"], found["State"], resources["Type"]) == ("MANAGED", "ENABLED", "SPOT")
    assert resources["AllocationStrategy"] == "SPOT_PRICE_CAPACITY_OPTIMIZED"
    assert (resources["BidPercentage"], resources["MinvCpus"], resources["MaxvCpus"]) == (70, 4, 512)
    assert resources["Subnets"] == stack.parameters["SubnetIds"]


@promise
def on_demand_environment(template: Template) -> None:
    """4: an on-demand environment that takes further instance types when one is short."""
    stack = resolve(template, {"OnDemandMinvCpus": "2", "OnDemandMaxvCpus": "32", "OnDemandInstanceTypes": "c7i,r7i"})
    found = stack.properties("OnDemandComputeEnvironment")
    resources = found["ComputeResources"]
    assert (found["Type"], found["State"], resources["Type"]) == ("MANAGED", "ENABLED", "EC2")
    assert resources["AllocationStrategy"] == "BEST_FIT_PROGRESSIVE"
    assert (resources["MinvCpus"], resources["MaxvCpus"], resources["InstanceTypes"]) == (2, 32, ["c7i", "r7i"])
    for name in ENVIRONMENTS[1:]:
        assert "BidPercentage" not in resolve(template, BASELINE).properties(name)["ComputeResources"]


@promise
def default_queue(template: Template) -> None:
    """5: Spot first, then on-demand capacity that is there already."""
    stack = resolve(template)
    assert order(stack, "DefaultJobQueue") == ["SpotComputeEnvironment", "OnDemandComputeEnvironment"]
    assert stack.properties("DefaultJobQueue")["Tags"]["batchyard:spill"] == "idle"
    assert stack.properties("DefaultJobQueue")["State"] == "ENABLED"


@promise
def high_priority_queue(template: Template) -> None:
    """6: on-demand first, then Spot, ahead of the default queue."""
    stack = resolve(template)
    assert order(stack, "HighPriorityJobQueue") == ["OnDemandComputeEnvironment", "SpotComputeEnvironment"]
    found = stack.properties("HighPriorityJobQueue")
    assert (found["Tags"]["batchyard:spill"], found["State"]) == ("scale", "ENABLED")
    assert found["Priority"] > stack.properties("DefaultJobQueue")["Priority"]


@promise
def baseline_option(template: Template) -> None:
    """The option: on-demand capacity that always runs, the only one that the default queue falls back to."""
    assert "BaselineComputeEnvironment" not in resolve(template).resources
    assert "GenomicsEnvBaselineComputeEnvironmentArn" not in resolve(template).outputs
    stack = resolve(template, BASELINE)
    resources = stack.properties("BaselineComputeEnvironment")["ComputeResources"]
    assert (resources["Type"], resources["MinvCpus"], resources["MaxvCpus"]) == ("EC2", 64, 64)
    assert order(stack, "DefaultJobQueue") == ["SpotComputeEnvironment", "BaselineComputeEnvironment"]
    spot, on_demand, baseline = ENVIRONMENTS
    assert order(stack, "HighPriorityJobQueue") == [baseline, on_demand, spot]


@promise
def updates_in_place(template: Template) -> None:
    """Environments can be updated in place, and replaced under a live queue when they cannot."""
    for name in ENVIRONMENTS:
        found = resolve(template, BASELINE).properties(name)
        assert "ServiceRole" not in found, "in-place updates need the service-linked role"
        assert "ComputeEnvironmentName" not in found, "a name of its own would stand in the way of a replacement"
        assert found["ReplaceComputeEnvironment"] is False
        assert found["UpdatePolicy"]["TerminateJobsOnUpdate"] is False
        resources = found["ComputeResources"]
        assert resources["AllocationStrategy"] != "BEST_FIT"
        assert resources.keys().isdisjoint({"DesiredvCpus", "SpotIamFleetRole", "Ec2KeyPair"})
        version = template["Resources"][name]["Properties"]["ComputeResources"]["LaunchTemplate"]["Version"]
        assert version == {"Fn::GetAtt": ["InstanceLaunchTemplate", "LatestVersionNumber"]}
        assert resources["UpdateToLatestImageVersion"] is True
        pinned = resolve(template, BASELINE | KEEP_LESS).properties(name)["ComputeResources"]
        assert pinned["Ec2Configuration"][0]["ImageIdOverride"] == KEEP_LESS["ImageId"]
        assert pinned["UpdateToLatestImageVersion"] is False
    launch = resolve(template, KEEP_LESS).properties("InstanceLaunchTemplate")["LaunchTemplateData"]
    assert launch["ImageId"] == KEEP_LESS["ImageId"], "the launch template pins it, too"
    assert "ImageId" not in resolve(template).properties("InstanceLaunchTemplate")["LaunchTemplateData"]
    assert "BEST_FIT" not in template["Parameters"]["SpotAllocationStrategy"]["AllowedValues"]


@promise
def job_role_least_privilege(template: Template) -> None:
    """Jobs reach the results under their prefix, their corner of the log bucket and the inputs: nothing else."""
    for parameters, results, inputs in (
        ({}, ("genomics-resultsbucket", ""), []),
        (OWN_BUCKET, ("our-results", "project-a/"), ["arn:aws:s3:::reads", "arn:aws:s3:::references"]),
    ):
        stack = resolve(template, parameters)
        role = stack.properties("JobRole")
        assert role.keys().isdisjoint({"ManagedPolicyArns", "RoleName"})
        (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}
        assert trust["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}
        (policy,) = role["Policies"]
        granted: dict[str, list[str]] = {}
        for entry in policy["PolicyDocument"]["Statement"]:
            assert entry["Effect"] == "Allow" and "NotAction" not in entry and "NotResource" not in entry
            for action in [entry["Action"]] if isinstance(entry["Action"], str) else entry["Action"]:
                assert action.startswith("s3:") and "*" not in action and "?" not in action, action
                resources = [entry["Resource"]] if isinstance(entry["Resource"], str) else entry["Resource"]
                granted.setdefault(action.removeprefix("s3:"), []).extend(resources)
        bucket, prefix = f"arn:aws:s3:::{results[0]}", results[1]
        logs = f"arn:aws:s3:::{stack.reference('LogBucket')}/jobs/*"
        assert granted.pop("PutObject") == [f"{bucket}/{prefix}*", logs]
        for action in ("GetObject", "GetObjectTagging"):
            assert granted.pop(action) == [f"{bucket}/{prefix}*", *(f"{arn}/*" for arn in inputs)]
        for action in ("DeleteObject", "PutObjectTagging", "AbortMultipartUpload", "ListMultipartUploadParts"):
            assert granted.pop(action) == [f"{bucket}/{prefix}*"]
        for action in ("ListBucket", "GetBucketLocation"):
            assert granted.pop(action) == [bucket, *inputs]
        assert not granted, f"more than was promised: {granted}"
    listing = next(e for e in policy["PolicyDocument"]["Statement"] if e["Sid"] == "ListResults")
    assert listing["Condition"] == {"StringLike": {"s3:prefix": "project-a/*"}}


@promise
def instance_role(template: Template) -> None:
    """Instances may do what the ECS agent needs, and the role needs no named-IAM capability."""
    stack = resolve(template)
    role = stack.properties("InstanceRole")
    (managed,) = role["ManagedPolicyArns"]
    assert managed == "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
    assert role.keys().isdisjoint({"Policies", "RoleName"})
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Service": "ec2.amazonaws.com"}
    profile = stack.properties("InstanceProfile")
    assert profile == {"Roles": [stack.reference("InstanceRole")]}
    arn = f"arn:aws:iam::{ACCOUNT}:instance-profile/{stack.reference('InstanceProfile')}"
    for name in ENVIRONMENTS:
        assert resolve(template, BASELINE).properties(name)["ComputeResources"]["InstanceRole"] == arn


@promise
def instances(template: Template) -> None:
    """Instances have an encrypted disk of the size asked for, IMDSv2 only, and let nobody in."""
    stack = resolve(template, BASELINE | {"RootVolumeGiB": "500"})
    launch = stack.properties("InstanceLaunchTemplate")["LaunchTemplateData"]
    (device,) = launch["BlockDeviceMappings"]
    assert device["Ebs"] == {"VolumeType": "gp3", "VolumeSize": 500, "Encrypted": True, "DeleteOnTermination": True}
    assert launch["MetadataOptions"]["HttpTokens"] == "required"
    assert "UserData" not in launch and "KeyName" not in launch
    group = stack.properties("InstanceSecurityGroup")
    assert "SecurityGroupIngress" not in group and group["VpcId"] == stack.parameters["VpcId"]
    assert not [r for r in stack.resources.values() if r["Type"] == "AWS::EC2::SecurityGroupIngress"]
    for name in ENVIRONMENTS:
        resources = stack.properties(name)["ComputeResources"]
        assert resources["SecurityGroupIds"] == [stack.reference("InstanceSecurityGroup")]
        assert resources["LaunchTemplate"]["LaunchTemplateId"] == stack.reference("InstanceLaunchTemplate")


@promise
def scratch_space(template: Template) -> None:
    """If wanted, instances have scratch space that grows: their user data sets it up, and their role may make volumes of its own."""
    stack = resolve(template, SCRATCH | {"ScratchInitialGiB": "250", "ScratchMaxGiB": "9000"})
    told = base64.b64decode(stack.properties("InstanceLaunchTemplate")["LaunchTemplateData"]["UserData"]).decode()
    message = email.message_from_string(told)
    assert message.get_content_type() == "multipart/mixed", "Batch adds a part of its own"
    (part,) = message.get_payload()
    assert part.get_content_type() == "text/x-shellscript"
    script = part.get_payload()
    for line in (
        "package='s3://our-packages/batchyard/batchyard-0.1.0.tar.gz'", "backend='auto'", "initial_gib='250'", "max_gib='9000'",
        "volume_type='gp3'", "iops='0'", "throughput_mib='0'", "containers='true'", "Restart=always",
        "export AWS_DEFAULT_REGION='eu-central-1'",
        "ExecStartPre=/usr/bin/test -e /run/batchyard-scratch/ready",
    ):  # fmt: skip
        assert f"\n{line}\n" in script, line
    assert script.count("\nStandardOutput=journal+console\n") == 2, "`aws ec2 get-console-output` tells why an instance takes no job"
    assert "--no-block" in script and script.rstrip().endswith("exit 0"), "nothing is waited for at boot"
    (policy,) = stack.properties("InstanceRole")["Policies"]
    granted = [action for entry in policy["PolicyDocument"]["Statement"] for action in _as_list(entry["Action"])]
    assert not [action for action in granted if "*" in action]
    for entry in policy["PolicyDocument"]["Statement"]:
        changes = not all(action.startswith(("ec2:Describe", "s3:Get")) for action in _as_list(entry["Action"]))
        assert not changes or entry["Condition"], entry["Sid"]
    fetch = policy["PolicyDocument"]["Statement"][-1]
    assert (fetch["Action"], fetch["Resource"]) == ("s3:GetObject", "arn:aws:s3:::our-packages/batchyard/batchyard-0.1.0.tar.gz")
    pinned = resolve(template, SCRATCH | {"ScratchPackage": "batchyard==0.1.0"}).properties("InstanceRole")["Policies"]
    assert pinned[0]["PolicyDocument"]["Statement"] == policy["PolicyDocument"]["Statement"][:-1]


def _as_list(told: Any) -> list[str]:
    return [told] if isinstance(told, str) else list(told)


@promise
def job_logs(template: Template) -> None:
    """Job output lands in a log group of the stack's own, for as long as the user says, and from there in the log bucket."""
    stack = resolve(template, {"JobLogRetentionDays": "14"})
    group = stack.properties("JobLogGroup")
    assert (group["LogGroupName"], group["RetentionInDays"]) == (f"/aws/batch/{STACK_NAME}", 14)
    archive = {"Key": "batchyard:log-archive", "Value": f"s3://{stack.reference('LogBucket')}/job-logs"}
    assert archive in group["Tags"], "where files of the output of jobs arrive, under the prefix that the bucket's policy lets in"
    starter = stack.properties("StarterJobDefinition")
    container = starter["ContainerProperties"]
    assert container["LogConfiguration"]["LogDriver"] == "awslogs"
    assert container["LogConfiguration"]["Options"]["awslogs-group"] == group["LogGroupName"]
    assert container["JobRoleArn"] == f"arn:aws:iam::{ACCOUNT}:role/{stack.reference('JobRole')}"
    assert {"OnStatusReason": "Host EC2*", "Action": "RETRY"} in starter["RetryStrategy"]["EvaluateOnExit"]


@promise
def others_find_it(template: Template) -> None:
    """Outputs, exports (under the names of the 2018 templates) and SSM parameters lead to everything."""
    stack = resolve(template, BASELINE)
    values = {name: output["Value"] for name, output in stack.outputs.items()}
    for name, logical_id in (
        ("GenomicsEnvDefaultJobQueueArn", "DefaultJobQueue"),
        ("GenomicsEnvHighPriorityJobQueueArn", "HighPriorityJobQueue"),
        ("GenomicsEnvSpotComputeEnvironmentArn", "SpotComputeEnvironment"),
        ("GenomicsEnvOnDemandComputeEnvironmentArn", "OnDemandComputeEnvironment"),
        ("GenomicsEnvBaselineComputeEnvironmentArn", "BaselineComputeEnvironment"),
        ("GenomicsEnvStarterJobDefinitionArn", "StarterJobDefinition"),
        ("GenomicsEnvLogGroup", "JobLogGroup"),
    ):
        assert values[name] == stack.reference(logical_id)
    exported = {o["Export"]["Name"]: name for name, o in stack.outputs.items() if "Export" in o}
    for short in ("S3Bucket", "LogBucket", "LogGroup", "BatchJobRoleArn", "DefaultJobQueueArn", "HighPriorityJobQueueArn"):
        assert exported[f"{STACK_NAME}-Genomics-{short}"] == f"GenomicsEnv{short}"
    parameters = {r["Properties"]["Name"]: r["Properties"]["Value"] for r in stack.resources.values() if "SSM" in r["Type"]}
    assert parameters == {
        f"/batchyard/{STACK_NAME}/results-bucket": values["GenomicsEnvS3Bucket"],
        f"/batchyard/{STACK_NAME}/log-bucket": values["GenomicsEnvLogBucket"],
        f"/batchyard/{STACK_NAME}/log-group": values["GenomicsEnvLogGroup"],
        f"/batchyard/{STACK_NAME}/job-role-arn": values["GenomicsEnvBatchJobRoleArn"],
        f"/batchyard/{STACK_NAME}/default-job-queue-arn": values["GenomicsEnvDefaultJobQueueArn"],
        f"/batchyard/{STACK_NAME}/high-priority-job-queue-arn": values["GenomicsEnvHighPriorityJobQueueArn"],
    }
