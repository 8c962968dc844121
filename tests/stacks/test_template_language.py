"""The language of templates as a whole: the original templates and ours are read, checked, and come to what they mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batchyard.services.cloudformation.template import conditions, functions, parameters, references, summary
from batchyard.services.cloudformation.template.checking import check
from batchyard.services.cloudformation.template.model import Template, TemplateFault
from batchyard.services.cloudformation.template.reading import read

OURS = Path(__file__).parents[2] / "templates"
PSEUDO = {
    "AWS::Region": "us-east-1",
    "AWS::AccountId": "012345678901",
    "AWS::StackName": "lab",
    "AWS::StackId": "arn:aws:cloudformation:us-east-1:012345678901:stack/lab/1",
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::NotificationARNs": [],
}


def scope(template: Template, given: dict[str, str] | None = None, **more: Any) -> functions.Scope:
    settled = parameters.settle(template, given or {})
    first = functions.Scope(template, settled, PSEUDO, **more)
    return functions.Scope(template, settled, PSEUDO, conditions.decide(first), **more)


def test_our_own_template_comes_to_what_it_says() -> None:
    template = read((OURS / "genomics.yaml").read_text())
    check(template)
    here = scope(template, {"VpcId": "vpc-1", "SubnetIds": "subnet-1, subnet-2"}, is_plan=True)
    needed = references.needs(template, here.conditions)
    assert "BaselineComputeEnvironment" not in needed
    assert needed["DefaultJobQueue"] == {"SpotComputeEnvironment", "OnDemandComputeEnvironment"}
    path = ("Resources", "SpotComputeEnvironment", "Properties")
    spot = functions.resolve(template.section("Resources")["SpotComputeEnvironment"]["Properties"], here, path)
    assert spot["ComputeResources"]["Subnets"] == ["subnet-1", "subnet-2"]
    assert spot["ComputeResources"]["BidPercentage"] == "100"
    assert spot["ComputeResources"]["Ec2Configuration"] == [{"ImageType": "ECS_AL2023"}], "NoValue leaves no trace"
    assert spot["ComputeResources"]["InstanceRole"] == functions.LATER
    assert summary.capabilities(template) == ["CAPABILITY_IAM"]


def test_a_dangling_reference_is_refused_with_its_line() -> None:
    template = read("Resources:\n  Queue:\n    Type: AWS::Batch::JobQueue\n    Properties:\n      Priority: !Ref Nowhere\n")
    with pytest.raises(TemplateFault) as refused:
        check(template)
    assert refused.value.message == (
        "Template format error: Unresolved resource dependencies [Nowhere] in the Resources block of the template (line 5)"
    )
