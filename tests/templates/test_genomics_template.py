"""The genomics template keeps its promises; and each promise is one that a test would miss."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from genomics_promises import BASELINE, PARAMETER_SETS, PROMISES
from genomics_stack import TEMPLATE, load_template, parameter_values, resolve

GONE = object()
LARGEST_INLINE_BODY = 51_200  # bytes; CreateStack takes no more without a bucket

_JOB_STATEMENT = "Resources.JobRole.Properties.Policies.0.PolicyDocument.Statement"
_LOG_STATEMENT = "Resources.LogBucketPolicy.Properties.PolicyDocument.Statement"
_SPOT = "Resources.SpotComputeEnvironment.Properties"
_ON_DEMAND = "Resources.OnDemandComputeEnvironment.Properties"
_BASELINE = "Resources.BaselineComputeEnvironment.Properties"
_LAUNCH = "Resources.InstanceLaunchTemplate.Properties.LaunchTemplateData"
_SCRATCH = "Resources.InstanceRole.Properties.Policies.Fn::If.1.0.PolicyDocument.Statement"
_HIGH_ORDER = "Resources.HighPriorityJobQueue.Properties.ComputeEnvironmentOrder.Fn::If"
_SPOT_REF = {"Ref": "SpotComputeEnvironment"}
_ON_DEMAND_REF = {"Ref": "OnDemandComputeEnvironment"}

# (promise that must be missed, where the template is changed, what stands there then)
BREAKS: list[tuple[str, str, Any]] = [
    ("results_bucket", "Resources.ResultsBucket.Properties.BucketEncryption", GONE),
    ("results_bucket", "Resources.ResultsBucket.Properties.PublicAccessBlockConfiguration.BlockPublicPolicy", False),
    ("results_bucket", "Resources.ResultsBucket.Properties.OwnershipControls.Rules.0.ObjectOwnership", "ObjectWriter"),
    ("results_bucket", "Resources.ResultsBucket.DeletionPolicy", "Delete"),
    ("results_bucket", "Resources.ResultsBucket.DeletionPolicy", "Retain"),
    ("results_bucket", "Resources.ResultsBucket.UpdateReplacePolicy", GONE),
    ("results_bucket", "Resources.ResultsBucket.Properties.LifecycleConfiguration.Rules.2", GONE),
    ("results_bucket", "Parameters.ResultsRetentionDays.Default", 30),
    ("results_bucket", "Resources.ResultsBucket.Properties.VersioningConfiguration.Status", "Suspended"),
    ("existing_results_bucket", "Resources.ResultsBucket.Condition", GONE),
    ("others_find_it", "Resources.ResultsBucketParameter.Properties.Value", {"Ref": "ExistingResultsBucket"}),
    ("existing_results_bucket", "Resources.ResultsBucketParameter.Properties.Value", {"Ref": "LogBucket"}),
    ("existing_results_bucket", "Outputs.GenomicsEnvS3Bucket.Value", {"Ref": "LogBucket"}),
    ("log_bucket", "Resources.LogBucket.DeletionPolicy", GONE),
    ("log_bucket", "Resources.LogBucketPolicy.DeletionPolicy", "Delete"),
    ("log_bucket", "Resources.LogBucket.Properties.BucketEncryption", GONE),
    ("log_bucket", "Resources.LogBucket.Properties.PublicAccessBlockConfiguration", GONE),
    ("log_bucket", "Resources.LogBucket.Properties.LifecycleConfiguration.Rules.0.ExpirationInDays", 1),
    ("access_log_delivery", "Resources.ResultsBucket.Properties.LoggingConfiguration", GONE),
    ("access_log_delivery", "Resources.ResultsBucket.Properties.LoggingConfiguration.LogFilePrefix", "elsewhere/"),
    ("access_log_delivery", f"{_LOG_STATEMENT}.0.Condition", {}),
    ("access_log_delivery", f"{_LOG_STATEMENT}.0.Principal", "*"),
    ("access_log_delivery", "Resources.ResultsBucket.DependsOn", "InstanceRole"),
    ("job_log_export", f"{_LOG_STATEMENT}.2.Condition.ArnLike", {"aws:SourceArn": "*"}),
    ("job_log_export", f"{_LOG_STATEMENT}.1.Action", "s3:*"),
    ("only_over_tls", f"{_LOG_STATEMENT}.3", GONE),
    ("only_over_tls", f"{_LOG_STATEMENT}.0.Principal", "*"),
    ("only_over_tls", "Resources.ResultsBucketPolicy.Properties.PolicyDocument.Statement.0.Effect", "Allow"),
    ("spot_environment", f"{_SPOT}.ComputeResources.Type", "EC2"),
    ("spot_environment", f"{_SPOT}.ComputeResources.BidPercentage", GONE),
    ("spot_environment", f"{_SPOT}.State", "DISABLED"),
    ("spot_environment", "Parameters.SpotAllocationStrategy.Default", "SPOT_CAPACITY_OPTIMIZED"),
    ("on_demand_environment", f"{_ON_DEMAND}.ComputeResources.Type", "SPOT"),
    ("on_demand_environment", f"{_ON_DEMAND}.ComputeResources.AllocationStrategy", "BEST_FIT"),
    ("on_demand_environment", f"{_ON_DEMAND}.ComputeResources.BidPercentage", 100),
    ("on_demand_environment", f"{_BASELINE}.ComputeResources.BidPercentage", 100),
    ("default_queue", "Resources.DefaultJobQueue.Properties.ComputeEnvironmentOrder.1", GONE),
    ("default_queue", "Resources.DefaultJobQueue.Properties.ComputeEnvironmentOrder.0.Order", 3),
    ("default_queue", "Resources.DefaultJobQueue.Properties.ComputeEnvironmentOrder.0.ComputeEnvironment", _ON_DEMAND_REF),
    ("default_queue", "Resources.DefaultJobQueue.Properties.Tags.batchyard:spill", "scale"),
    ("high_priority_queue", f"{_HIGH_ORDER}.2.0.ComputeEnvironment", _SPOT_REF),
    ("high_priority_queue", f"{_HIGH_ORDER}.2.1", GONE),
    ("high_priority_queue", "Resources.HighPriorityJobQueue.Properties.Priority", 1),
    ("high_priority_queue", "Resources.HighPriorityJobQueue.Properties.Tags.batchyard:spill", GONE),
    ("baseline_option", f"{_BASELINE}.ComputeResources.MinvCpus", 0),
    ("baseline_option", "Resources.BaselineComputeEnvironment.Condition", GONE),
    ("baseline_option", "Parameters.BaselinevCpus.Default", 64),
    ("baseline_option", "Resources.DefaultJobQueue.Properties.ComputeEnvironmentOrder.1.ComputeEnvironment", _ON_DEMAND_REF),
    ("baseline_option", f"{_HIGH_ORDER}.1.0.ComputeEnvironment", _SPOT_REF),
    ("updates_in_place", f"{_SPOT}.ServiceRole", {"Fn::GetAtt": ["InstanceRole", "Arn"]}),
    ("updates_in_place", f"{_ON_DEMAND}.ComputeEnvironmentName", "on-demand"),
    ("updates_in_place", f"{_BASELINE}.ReplaceComputeEnvironment", True),
    ("updates_in_place", f"{_SPOT}.UpdatePolicy.TerminateJobsOnUpdate", True),
    ("updates_in_place", f"{_SPOT}.ComputeResources.LaunchTemplate.Version", "$Latest"),
    ("updates_in_place", f"{_ON_DEMAND}.ComputeResources.DesiredvCpus", 4),
    ("job_role_least_privilege", f"{_JOB_STATEMENT}.2.Action", "s3:*"),
    ("job_role_least_privilege", f"{_JOB_STATEMENT}.2.Resource", "*"),
    ("job_role_least_privilege", f"{_JOB_STATEMENT}.0.Action", ["s3:GetBucketLocation", "s3:DeleteBucket"]),
    ("job_role_least_privilege", f"{_JOB_STATEMENT}.1.Condition", GONE),
    ("job_role_least_privilege", f"{_JOB_STATEMENT}.3.Resource", {"Fn::Sub": "${LogBucket.Arn}/*"}),
    ("job_role_least_privilege", "Resources.JobRole.Properties.ManagedPolicyArns", ["arn:aws:iam::aws:policy/AdministratorAccess"]),
    ("job_role_least_privilege", "Resources.JobRole.Properties.AssumeRolePolicyDocument.Statement.0.Principal", {"AWS": "*"}),
    ("instance_role", "Resources.InstanceRole.Properties.RoleName", "instances"),
    ("instance_role", "Resources.InstanceRole.Properties.ManagedPolicyArns.0", "arn:aws:iam::aws:policy/PowerUserAccess"),
    ("instances", f"{_LAUNCH}.BlockDeviceMappings.0.Ebs.Encrypted", False),
    ("instances", f"{_LAUNCH}.BlockDeviceMappings.0.Ebs.VolumeSize", 30),
    ("instances", f"{_LAUNCH}.MetadataOptions.HttpTokens", "optional"),
    ("instances", "Resources.InstanceSecurityGroup.Properties.SecurityGroupIngress", [{"IpProtocol": "-1", "CidrIp": "0.0.0.0/0"}]),
    ("instances", f"{_ON_DEMAND}.ComputeResources.LaunchTemplate.LaunchTemplateId", "lt-1"),
    ("instances", "Parameters.Scratch.Default", "auto"),
    ("scratch_space", f"{_LAUNCH}.UserData", GONE),
    ("scratch_space", f"{_LAUNCH}.UserData.Fn::If.1", {"Fn::Base64": "#!/bin/sh\n"}),
    ("scratch_space", f"{_SCRATCH}.1.Action", "ec2:*"),
    ("scratch_space", f"{_SCRATCH}.1.Condition", GONE),
    ("scratch_space", f"{_SCRATCH}.3.Condition", {}),
    ("scratch_space", f"{_SCRATCH}.4.Condition", GONE),
    ("scratch_space", f"{_SCRATCH}.5", GONE),
    ("job_logs", "Resources.JobLogGroup.Properties.RetentionInDays", GONE),
    ("job_logs", "Resources.JobLogGroup.Properties.Tags.1", GONE),
    ("job_logs", "Resources.JobLogGroup.Properties.Tags.1.Value", {"Fn::Sub": "s3://${LogBucket}"}),
    ("job_logs", "Resources.StarterJobDefinition.Properties.ContainerProperties.LogConfiguration", {"LogDriver": "awslogs", "Options": {}}),
    ("job_logs", "Resources.StarterJobDefinition.Properties.RetryStrategy.EvaluateOnExit.0", GONE),
    ("others_find_it", "Outputs.GenomicsEnvDefaultJobQueueArn.Value", {"Ref": "HighPriorityJobQueue"}),
    ("others_find_it", "Outputs.GenomicsEnvBatchJobRoleArn.Export", GONE),
    ("others_find_it", "Resources.LogGroupParameter", GONE),
]  # fmt: skip


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return load_template()


@pytest.mark.parametrize("name", PROMISES)
def test_the_template_keeps_its_promises(name: str, template: dict[str, Any]) -> None:
    PROMISES[name](copy.deepcopy(template))


@pytest.mark.parametrize(("name", "path", "value"), BREAKS, ids=[f"{name}-{path}" for name, path, _ in BREAKS])
def test_a_template_that_breaks_a_promise_is_noticed(name: str, path: str, value: Any, template: dict[str, Any]) -> None:
    with pytest.raises((AssertionError, KeyError, IndexError, TypeError, ValueError)):
        PROMISES[name](changed(template, path, value))


def test_every_promise_has_something_that_breaks_it() -> None:
    assert {name for name, _, _ in BREAKS} == set(PROMISES)


@pytest.mark.parametrize("given", PARAMETER_SETS.values(), ids=PARAMETER_SETS.keys())
def test_no_combination_of_options_leaves_a_dangling_reference(given: dict[str, str], template: dict[str, Any]) -> None:
    stack = resolve(template, given)
    both = resolve(template, given | BASELINE)
    assert stack.outputs and set(both.resources) - set(stack.resources) <= {"BaselineComputeEnvironment"}


def test_the_six_things_are_there(template: dict[str, Any]) -> None:
    kinds = [resource["Type"] for resource in resolve(template).resources.values()]
    assert kinds.count("AWS::S3::Bucket") == 2
    assert kinds.count("AWS::Batch::ComputeEnvironment") == 2
    assert kinds.count("AWS::Batch::JobQueue") == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ResultsPrefix", "no-slash"),
        ("ResultsPrefix", "/absolute/"),
        ("ExistingResultsBucket", "Not_A_Bucket"),
        ("ImageId", "ami-latest"),
        ("SpotBidPercentage", "0"),
        ("SpotAllocationStrategy", "BEST_FIT"),
        ("JobLogRetentionDays", "42"),
        ("UpdateDrainMinutes", "1000"),
    ],
)
def test_parameters_refuse_what_aws_would_refuse_later(name: str, value: str, template: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        parameter_values(template, {name: value})


def test_every_parameter_is_used_described_and_shown_in_a_group(template: dict[str, Any]) -> None:
    """The 2018 templates had parameters that no resource used."""
    body = TEMPLATE.read_text(encoding="utf-8").split("\nConditions:", 1)[1]
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    shown = [name for group in groups for name in group["Parameters"]]
    assert sorted(shown) == sorted(template["Parameters"])
    for name, declared in template["Parameters"].items():
        assert declared["Description"].strip()
        assert f"!Ref {name}" in body or "${" + name + "}" in body, f"nothing uses {name}"


def test_the_subnets_must_belong_to_the_vpc(template: dict[str, Any]) -> None:
    (assertion,) = template["Rules"]["SubnetsBelongToTheVpc"]["Assertions"]
    subnets, vpcs = assertion["Assert"]["Fn::EachMemberIn"]
    assert subnets == {"Fn::ValueOfAll": ["AWS::EC2::Subnet::Id", "VpcId"]}
    assert vpcs == {"Fn::RefAll": "AWS::EC2::VPC::Id"}


def test_one_call_without_a_bucket_deploys_it() -> None:
    body = TEMPLATE.read_bytes()
    assert len(body) < LARGEST_INLINE_BODY
    assert b"TemplateURL" not in body and b"Transform" not in body


def changed(template: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of the template with another value (or none) at `path`, whose parts are keys or list positions."""
    copied = copy.deepcopy(template)
    *parents, last = path.split(".")
    node: Any = copied
    for part in parents:
        node = node[int(part)] if isinstance(node, list) else node[part]
    key: Any = int(last) if isinstance(node, list) else last
    if value is GONE:
        del node[key]
    else:
        node[key] = value
    return copied
