"""The environment as nested templates is the same environment: what the promises of the one template are worth, these are worth too."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from genomics_promises import BASELINE, PARAMETER_SETS
from genomics_stack import NESTED, REQUIRED, ROOT_OF_PARTS, Stack, load_template, parameter_values, resolve
from nested_parts import PARTS, Templates, file_of, load_parts, resolve_parts
from test_genomics_schemas import CFN_LINT, REGIONS, faults
from test_genomics_template import GONE, changed

OF_THE_NETWORK = ("AvailabilityZones", "NumberOfAZs", "VPCCIDR", "SubnetBits", "NatGateways", "InterfaceEndpoints")


# Another value for every parameter, so that one that is not handed on shows.
OTHERS = {
    "ResultsVersioning": "Enabled", "ResultsRetentionDays": "90", "NoncurrentVersionDays": "7", "InputBucketArns": "arn:aws:s3:::reads",
    "LogBucketRetentionDays": "30", "JobLogRetentionDays": "14", "RequireTls": "false", "ResultsPrefix": "a/",
    "SpotInstanceTypes": "c7i,c6i", "SpotAllocationStrategy": "SPOT_CAPACITY_OPTIMIZED",
    "SpotBidPercentage": "70", "SpotMinvCpus": "2", "SpotMaxvCpus": "8",
    "OnDemandInstanceTypes": "m7i", "OnDemandMinvCpus": "4", "OnDemandMaxvCpus": "16", "BaselinevCpus": "32",
    "BaselineInstanceTypes": "m7i.xlarge",
    "ImageId": "ami-0123456789abcdef0", "RootVolumeGiB": "500",
    "Scratch": "ebs-btrfs", "ScratchPackage": "batchyard==0.1.0", "ScratchInitialGiB": "50", "ScratchMaxGiB": "700",
    "ScratchVolumeType": "io2", "ScratchIops": "4000", "ScratchThroughputMiB": "300", "ScratchForContainers": "false",
    "UpdateDrainMinutes": "5", "ProjectTag": "reads",
}  # fmt: skip
SETS = {**PARAMETER_SETS, "others": OTHERS}


def same(templates: Templates, given: dict[str, str]) -> None:
    """Fails unless the parts make, resource by resource, what the one template makes."""
    whole, parts = resolve(load_template(), given), resolve_parts(templates, given)
    assert parts.resources == whole.resources
    assert {name: node for name, node in parts.outputs.items() if name in whole.outputs} == whole.outputs
    assert parts.outputs.keys() - whole.outputs.keys() == {"GenomicsEnvVpcId", "GenomicsEnvSubnetIds"}
    assert parts.outputs["GenomicsEnvSubnetIds"]["Value"] == REQUIRED["SubnetIds"]
    for name, resource in load_template()["Resources"].items():
        if resource["Type"] == "AWS::Batch::ComputeEnvironment":  # the number of the launch template, which is always 1 above
            told = templates["compute"]["Resources"][name]["Properties"]["ComputeResources"]["LaunchTemplate"]
            assert told == resource["Properties"]["ComputeResources"]["LaunchTemplate"]


@pytest.mark.parametrize("given", SETS.values(), ids=SETS.keys())
def test_the_parts_make_what_the_one_template_makes(given: dict[str, str]) -> None:
    same(load_parts(), given)
    same(load_parts(), given | BASELINE)


_COMPUTE = "Resources.ComputeStack.Properties.Parameters"


@pytest.mark.parametrize(
    ("part", "path", "value"),
    [
        ("root", f"{_COMPUTE}.SpotBidPercentage", GONE),
        ("root", f"{_COMPUTE}.OnDemandMaxvCpus", {"Ref": "SpotMaxvCpus"}),
        ("root", f"{_COMPUTE}.EnvironmentName", "other"),
        ("root", "Resources.StorageStack.Properties.Parameters.ExistingResultsBucket", GONE),
        ("root", "Resources.JobRoleParameter", GONE),
        ("root", "Outputs.GenomicsEnvLogBucket.Export", GONE),
        ("root", "Parameters.RequireTls.Default", "false"),
        ("storage", "Resources.LogBucket.DeletionPolicy", "Retain"),
        ("storage", "Resources.JobLogGroup.Properties.Tags.1", GONE),
        ("storage", "Resources.JobLogGroup.Properties.LogGroupName", {"Fn::Sub": "/aws/batch/${AWS::StackName}"}),
        ("storage", "Resources.ResultsBucket.Properties.LoggingConfiguration", GONE),
        ("identity", "Resources.JobRole.Properties.Policies.0.PolicyDocument.Statement.2.Action", "s3:*"),
        ("identity", "Resources.JobRole.Properties.Policies.0.PolicyDocument.Statement.3.Resource", "*"),
        ("identity", "Resources.InstanceRole.Properties.Policies", GONE),
        ("root", f"{_COMPUTE}.ScratchMaxGiB", {"Ref": "ScratchInitialGiB"}),
        ("root", "Resources.IdentityStack.Properties.Parameters.ScratchPackage", GONE),
        ("compute", "Resources.InstanceLaunchTemplate.Properties.LaunchTemplateData.UserData", GONE),
        ("compute", "Resources.DefaultJobQueue.Properties.Tags.batchyard:spill", "scale"),
        ("compute", "Resources.SpotComputeEnvironment.Properties.ComputeResources.LaunchTemplate.Version", "$Latest"),
        ("compute", "Resources.SpotComputeEnvironment.Properties.ComputeResources.BidPercentage", GONE),
    ],
)
def test_a_part_that_differs_is_noticed(part: str, path: str, value: Any) -> None:
    templates = load_parts()
    templates[part] = changed(templates[part], path, value)
    with pytest.raises((AssertionError, KeyError)):
        for given in SETS.values():
            same(templates, given)


def test_the_other_values_are_of_all_parameters() -> None:
    assert OTHERS.keys() | REQUIRED.keys() | {"ExistingResultsBucket"} == load_template()["Parameters"].keys()


def test_parameters_are_declared_alike_everywhere() -> None:
    whole, templates = load_template()["Parameters"], load_parts()
    root = templates["root"]["Parameters"]
    assert root.keys() == whole.keys() | set(OF_THE_NETWORK)
    for name in whole.keys() - {"VpcId", "SubnetIds"}:  # which may stay empty here
        assert root[name] == whole[name]
    for part in PARTS:
        for name, declared in templates[part]["Parameters"].items():
            if name in root and name not in ("VpcId", "SubnetIds"):
                assert declared == root[name], (part, name)
    assert templates["compute"]["Rules"] == load_template()["Rules"]
    assert templates["root"]["Rules"].items() <= load_template()["Rules"].items()


@pytest.mark.parametrize("part", ["root", *PARTS])
def test_every_parameter_is_used_and_described(part: str) -> None:
    template = load_parts()[part]
    text = json.dumps({name: node for name, node in template.items() if name not in ("Parameters", "Metadata")})
    for name, declared in template["Parameters"].items():
        assert declared["Description"].strip()
        assert f'{{"Ref": "{name}"}}' in text or "${" + name + "}" in text, f"nothing uses {name}"


def test_the_root_shows_every_parameter_in_a_group() -> None:
    root = load_parts()["root"]
    groups = root["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert sorted(name for group in groups for name in group["Parameters"]) == sorted(root["Parameters"])


def test_each_part_is_nested_once_and_told_all_that_has_no_default() -> None:
    templates = load_parts()
    nested = {file_of(node): node for node in templates["root"]["Resources"].values() if node["Type"] == NESTED}
    assert sorted(nested) == sorted(PARTS)
    for part, node in nested.items():
        declared, passed = templates[part]["Parameters"], node["Properties"]["Parameters"]
        assert passed.keys() <= declared.keys()
        assert {name for name, one in declared.items() if "Default" not in one} <= passed.keys()


@pytest.mark.parametrize("region", REGIONS)
def test_the_network_is_in_the_published_schemas(region: str) -> None:
    """Of what needs no zones: the linter looks at all of it."""
    template = load_parts()["network"]
    for name in ("VPC", "InternetGateway", "PublicRouteTable", "PublicRoute", "NAT1Address", "NAT1", "S3Endpoint", "LogsEndpoint"):
        resource = template["Resources"][name]
        properties = json.loads(json.dumps(resource["Properties"]), object_hook=_text_for_functions)
        assert faults(resource["Type"], properties, region) == []


@pytest.mark.parametrize(("scratch", "endpoints", "is_there"), [("auto", "true", True), ("off", "true", False), ("auto", "false", False)])
def test_without_a_way_out_the_daemon_of_scratch_space_still_reaches_ec2(scratch: str, endpoints: str, is_there: bool) -> None:
    templates = load_parts()
    assert templates["root"]["Resources"]["NetworkStack"]["Properties"]["Parameters"]["Scratch"] == {"Ref": "Scratch"}
    given = {"Scratch": scratch, "InterfaceEndpoints": endpoints, "NatGateways": "0", "AvailabilityZones": "eu-central-1a,eu-central-1b"}
    stack = Stack(templates["network"], parameter_values(templates["network"], given))
    endpoint = templates["network"]["Resources"]["Ec2Endpoint"]
    assert stack.holds(endpoint["Condition"]) is is_there
    assert stack.value(endpoint["Properties"]["ServiceName"]) == "com.amazonaws.eu-central-1.ec2"


def _text_for_functions(node: dict[str, Any]) -> Any:
    (name,) = node if len(node) == 1 else ("",)
    return "".join(c for c in json.dumps(node) if c.isalnum()) if name == "Ref" or name.startswith("Fn::") else node


@pytest.mark.timeout(700)  # ten seconds of a processor that nobody else wants
def test_cfn_lint_is_content_with_the_parts(tmp_path: Path) -> None:
    """All rules but one: a relative TemplateURL is for `package` and `batchyard stack deploy`, and that is what the warning says."""
    files = [str(ROOT_OF_PARTS.with_name(f"{name}.yaml")) for name in ("root", *PARTS)]
    assert not any("cfn-lint" in Path(file).read_text() for file in files), "rules are switched off in a template"
    command = [*CFN_LINT, "--format", "json", "--include-checks", "I", "--regions", *REGIONS, "--", *files]
    told = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=600, check=False)
    findings = [finding for finding in json.loads(told.stdout) if finding["Rule"]["Id"] != "W3002"]
    assert findings == []
