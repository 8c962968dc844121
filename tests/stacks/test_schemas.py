"""The published schemas: what is shipped is what AWS publishes, and properties are settled, refused and replaced by it."""

from __future__ import annotations

import copy
import importlib
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from batchyard.services.cloudformation.schemas.attributes import attributes, has_attribute
from batchyard.services.cloudformation.schemas.checking import problems, told
from batchyard.services.cloudformation.schemas.reading import known, published, schema, source
from batchyard.services.cloudformation.schemas.replacing import replacement
from batchyard.services.cloudformation.schemas.typing import typed

ROOT = Path(__file__).parents[2]
QUEUE = "AWS::Batch::JobQueue"
ENVIRONMENT = "AWS::Batch::ComputeEnvironment"


names = "ComputeResources Ec2Configuration ImageType MaxvCpus Subnets Tags TerminateJobsOnUpdate Type UpdatePolicy other"
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(names.split()), inner, max_size=4),
    max_leaves=20,
)


def whole(text: str) -> Any:
    """A YAML template with its short functions in their long form."""

    class Loader(yaml.SafeLoader):
        pass

    def function(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:
        name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
        if isinstance(node, yaml.ScalarNode):
            value: Any = loader.construct_scalar(node)
            return {name: value.split(".", 1) if suffix == "GetAtt" else value}
        if isinstance(node, yaml.SequenceNode):
            return {name: loader.construct_sequence(node, deep=True)}
        return {name: loader.construct_mapping(node, deep=True)}

    Loader.add_multi_constructor("!", function)
    return yaml.load(text, Loader)


def environment(**more: Any) -> dict[str, Any]:
    """A compute environment on EC2, with `more` in its ComputeResources."""
    return {
        "Type": "MANAGED",
        "ComputeResources": {"Type": "EC2", "MinvCpus": 0, "MaxvCpus": 8, "InstanceTypes": ["c5"], "Subnets": ["subnet-1"], **more},
    }


def messages(type_name: str, properties: dict[str, Any], *, is_resolved: bool = True) -> list[str]:
    return [problem.message for problem in problems(type_name, properties, is_resolved=is_resolved)]


class TestTheFile:
    def test_it_is_what_the_locked_cfn_lint_gives(self) -> None:
        with mock.patch.object(sys, "path", [str(ROOT / "scripts"), *sys.path]):
            extract = importlib.import_module("extract_schemas")
        assert extract.TARGET.read_text() == extract.extracted(), "run scripts/extract_schemas.py"

    def test_it_is_small_and_says_where_it_is_from(self) -> None:
        assert (ROOT / "src/batchyard/services/cloudformation/schemas/published.json").stat().st_size < 400_000
        assert source().startswith("cfn-lint ")

    def test_the_types_of_the_field_are_there(self) -> None:
        assert {ENVIRONMENT, QUEUE, "AWS::S3::Bucket", "AWS::IAM::Role", "AWS::CloudFormation::WaitCondition"} <= known()
        assert known() < published()
        assert "AWS::RDS::DBInstance" in published() - known()
        assert schema("AWS::RDS::DBInstance") is None
        assert schema("AWS::No::Thing") is None

    @pytest.mark.parametrize("type_name", sorted(known()))
    def test_what_it_points_to_is_there(self, type_name: str) -> None:
        held = schema(type_name)
        assert held
        for pointer in held.create_only | held.conditional | held.read_only | held.write_only | set(held.identifier):
            part = held.content
            for step in pointer:
                part = held.part(part)
                part = part["items"] if step == "*" else part["properties"][step]


class TestGenomics:
    template = whole((ROOT / "templates/genomics.yaml").read_text())
    resources = sorted(template["Resources"])

    @pytest.mark.parametrize("name", resources)
    def test_every_property_is_right(self, name: str) -> None:
        resource = self.template["Resources"][name]
        assert problems(resource["Type"], resource.get("Properties", {}), is_resolved=False) == []

    @pytest.mark.parametrize("name", resources)
    def test_a_property_too_many_is_found(self, name: str) -> None:
        resource = self.template["Resources"][name]
        wrong = {**resource.get("Properties", {}), "Colour": "green"}
        (problem,) = problems(resource["Type"], wrong, is_resolved=False)
        assert problem.path == ("Colour",)
        assert problem.message == "#: extraneous key [Colour] is not permitted"

    @pytest.mark.parametrize("name", resources)
    def test_a_required_one_that_is_gone_is_found(self, name: str) -> None:
        resource = self.template["Resources"][name]
        held = schema(resource["Type"])
        assert held
        for required in held.content.get("required", ()):
            rest = {key: value for key, value in resource["Properties"].items() if key != required}
            assert f"#: required key [{required}] not found" in messages(resource["Type"], rest, is_resolved=False)


class TestProblems:
    def test_the_words_are_cloudformations(self) -> None:
        found = problems(
            ENVIRONMENT,
            {"Type": "managed", "ComputeResources": {"Type": "EC2", "MaxvCpus": "many", "Subnets": "subnet-1"}},
            is_resolved=True,
        )
        assert told("Spot", found) == (
            "Properties validation failed for resource Spot with message:\n"
            "#/ComputeResources/MaxvCpus: expected type: Integer, found: String\n"
            "#/ComputeResources/Subnets: expected type: JSONArray, found: String"
        )
        assert [problem.path for problem in found] == [("ComputeResources", "MaxvCpus"), ("ComputeResources", "Subnets")]

    def test_a_required_member_inside(self) -> None:
        assert messages(ENVIRONMENT, {"Type": "MANAGED", "ComputeResources": {"Type": "EC2"}}) == [
            "#/ComputeResources: required key [MaxvCpus] not found"
        ]

    @pytest.mark.parametrize("kind", ["MANAGED", "managed", "Managed"])
    def test_batch_takes_its_words_in_any_case(self, kind: str) -> None:
        assert messages(ENVIRONMENT, {**environment(Type="spot"), "Type": kind}) == []

    def test_a_word_that_is_none(self) -> None:
        assert messages(ENVIRONMENT, environment(AllocationStrategy="CHEAPEST")) == [
            "#/ComputeResources/AllocationStrategy: failed validation constraint for keyword [enum]"
        ]

    def test_a_value_is_not_shown_when_a_pattern_refuses_it(self) -> None:
        (message,) = messages("AWS::Logs::LogGroup", {"LogGroupName": "with spaces"})
        assert message == "#/LogGroupName: failed validation constraint for keyword [pattern]"

    def test_lengths(self) -> None:
        assert "#/LogGroupName: expected maxLength: 512, actual: 513" in messages("AWS::Logs::LogGroup", {"LogGroupName": "x" * 513})

    def test_what_the_service_sets_cannot_be_set(self) -> None:
        assert messages(QUEUE, {"Priority": 1, "ComputeEnvironmentOrder": [], "JobQueueArn": "arn:x"}) == [
            "#: extraneous key [JobQueueArn] is not permitted"
        ]
        assert messages(ENVIRONMENT, environment(Ec2Configuration=[{"ImageType": "ECS_AL2", "BatchImageStatus": "LATEST"}])) == [
            "#/ComputeResources/Ec2Configuration/0: extraneous key [BatchImageStatus] is not permitted"
        ]

    def test_one_of_several_is_needed(self) -> None:
        assert "#: required key [ComputeEnvironmentOrder] not found" in messages(QUEUE, {"Priority": 1})
        rule = {"GroupId": "sg-1", "IpProtocol": "tcp"}
        assert messages("AWS::EC2::SecurityGroupIngress", {**rule, "CidrIp": "10.0.0.0/8"}) == []
        (message,) = messages("AWS::EC2::SecurityGroupIngress", rule)
        assert message.startswith("#: required key [CidrIp] or ")
        (message,) = messages("AWS::EC2::SecurityGroupIngress", {**rule, "CidrIp": "10.0.0.0/8", "CidrIpv6": "::/0"})
        assert message == "#: keys [CidrIp] and [CidrIpv6] are not permitted together"

    def test_functions_are_left_and_both_values_of_an_if_are_not(self) -> None:
        assert messages(QUEUE, {"Priority": {"Ref": "P"}, "ComputeEnvironmentOrder": {"Fn::If": ["A", [], []]}}, is_resolved=False) == []
        found = messages(
            QUEUE,
            {"Priority": {"Fn::If": ["A", 1, "high"]}, "ComputeEnvironmentOrder": {"Ref": "Order"}},
            is_resolved=False,
        )
        assert found == ["#/Priority: expected type: Integer, found: String"]
        assert (
            messages(QUEUE, {"Priority": {"Fn::If": ["A", 1, {"Ref": "AWS::NoValue"}]}, "ComputeEnvironmentOrder": []}, is_resolved=False)
            == []
        )

    def test_what_is_known_later_is_taken_to_be_right(self) -> None:
        later = {"Priority": "{{resolve:ssm:/priority}}", "ComputeEnvironmentOrder": [], "JobQueueName": "{{changeSet:KNOWN_AFTER_APPLY}}"}
        assert messages(QUEUE, later) == []

    def test_a_custom_resource_takes_anything(self) -> None:
        assert messages("Custom::Thing", {"ServiceToken": "arn:x", "Anything": {"at": ["all"]}}) == []
        assert messages("Custom::Thing", {"Anything": 1}) == ["#: required key [ServiceToken] not found"]

    def test_a_policy_may_be_a_mapping_or_text(self) -> None:
        for policy in ({"Version": "2012-10-17", "Statement": {"Effect": "Allow"}}, "{}"):
            assert messages("AWS::IAM::Role", {"AssumeRolePolicyDocument": policy}) == []
        assert messages("AWS::IAM::Role", {"AssumeRolePolicyDocument": ["x"]}) == [
            "#/AssumeRolePolicyDocument: #: no subschema matched out of the total 2 subschemas"
        ]


class TestTyped:
    def test_text_becomes_what_is_wanted_and_the_other_way(self) -> None:
        given_ = {"Priority": "10", "JobQueueName": 7, "ComputeEnvironmentOrder": [{"Order": "1", "ComputeEnvironment": "spot"}]}
        assert typed(QUEUE, given_) == {
            "Priority": 10,
            "JobQueueName": "7",
            "ComputeEnvironmentOrder": [{"Order": 1, "ComputeEnvironment": "spot"}],
        }
        assert typed(ENVIRONMENT, {"ReplaceComputeEnvironment": "True"}) == {"ReplaceComputeEnvironment": True}
        assert typed("AWS::Batch::JobDefinition", {"Parameters": {"debug": True, "n": 3, "x": 0.5}})["Parameters"] == {
            "debug": "true",
            "n": "3",
            "x": "0.5",
        }

    def test_json_is_not_touched(self) -> None:
        document = {"Version": "2012-10-17", "Statement": {"Condition": {"NumericLessThan": {"s3:max-keys": 10}, "Bool": {"x": True}}}}
        assert typed("AWS::IAM::Role", {"AssumeRolePolicyDocument": document}) == {"AssumeRolePolicyDocument": document}

    def test_what_cannot_be_settled_stays(self) -> None:
        assert typed(QUEUE, {"Priority": "high"}) == {"Priority": "high"}
        assert typed("AWS::No::Thing", {"a": "1"}) == {"a": "1"}

    @given(anything)
    def test_twice_is_once(self, value: Any) -> None:
        properties = value if isinstance(value, dict) else {"ComputeResources": value}
        once = typed(ENVIRONMENT, properties)
        assert typed(ENVIRONMENT, once) == once
        assert replacement(ENVIRONMENT, properties, once) == {}
        problems(ENVIRONMENT, properties, is_resolved=True)


class TestReplacement:
    def test_nothing_changed(self) -> None:
        assert replacement(ENVIRONMENT, environment(), environment(MaxvCpus="8")) == {}

    def test_create_only_is_always(self) -> None:
        assert replacement(QUEUE, {"JobQueueName": "a", "Priority": 1}, {"JobQueueName": "b", "Priority": 2}) == {
            "JobQueueName": "Always",
            "Priority": "Never",
        }
        assert replacement(ENVIRONMENT, environment(), {**environment(), "Tags": {"a": "b"}}) == {"Tags": "Always"}

    def test_scaling_never_replaces(self) -> None:
        assert replacement(ENVIRONMENT, environment(), environment(MaxvCpus=9)) == {"ComputeResources.MaxvCpus": "Never"}

    def test_instances_replace_unless_said_otherwise(self) -> None:
        after = environment(InstanceTypes=["c6i"])
        assert replacement(ENVIRONMENT, environment(), after) == {"ComputeResources.InstanceTypes": "Always"}
        after["ReplaceComputeEnvironment"] = "false"
        assert replacement(ENVIRONMENT, environment(), after)["ComputeResources.InstanceTypes"] == "Never"

    def test_fargates_network_is_changed_in_place(self) -> None:
        before, after = environment(Type="FARGATE"), environment(Type="FARGATE", Subnets=["subnet-2"])
        assert replacement(ENVIRONMENT, before, after) == {"ComputeResources.Subnets": "Never"}
        assert replacement(ENVIRONMENT, environment(), environment(Type="FARGATE"))["ComputeResources.Type"] == "Always"

    def test_another_order_of_what_has_none(self) -> None:
        before, after = environment(Subnets=["a", "b"]), environment(Subnets=["b", "a"])
        assert replacement(ENVIRONMENT, before, after) == {"ComputeResources.Subnets": "Never"}

    def test_the_service_decides_elsewhere(self) -> None:
        assert replacement("AWS::EC2::Instance", {"InstanceType": "c5.large"}, {"InstanceType": "c5.xlarge"}) == {
            "InstanceType": "Conditionally"
        }
        assert replacement("AWS::No::Thing", {"a": 1, "b": 2}, {"a": 1, "b": 3}) == {"b": "Conditionally"}

    def test_what_is_around_a_fixed_one_replaces_only_with_it(self) -> None:
        before = {**environment(), "EksConfiguration": {"EksClusterArn": "arn:a", "KubernetesNamespace": "n"}}
        assert set(replacement(ENVIRONMENT, before, environment()).values()) == {"Always"}
        access = copy.deepcopy(before)
        access["EksConfiguration"]["AccessEntry"] = {"DesiredState": "ENABLED"}
        assert replacement(ENVIRONMENT, before, access) == {"EksConfiguration.AccessEntry.DesiredState": "Never"}

    @pytest.mark.parametrize("type_name", sorted(known()))
    def test_every_create_only_property_replaces(self, type_name: str) -> None:
        held = schema(type_name)
        assert held
        for pointer in held.create_only:
            if len(pointer) == 1:
                assert replacement(type_name, {pointer[0]: "one"}, {pointer[0]: "other"}) == {pointer[0]: "Always"}
                assert replacement(type_name, {}, {pointer[0]: "other"}) == {pointer[0]: "Always"}


def test_attributes_are_what_the_service_sets() -> None:
    assert attributes(QUEUE) == {"JobQueueArn"}
    assert {"Arn", "DomainName", "RegionalDomainName"} <= attributes("AWS::S3::Bucket")
    assert "BucketName" not in attributes("AWS::S3::Bucket")
    assert {"GroupId", "VpcId"} <= attributes("AWS::EC2::SecurityGroup")
    assert attributes("AWS::No::Thing") == frozenset()
    assert has_attribute("AWS::CloudFormation::Stack", "Outputs.QueueArn")
    assert not has_attribute("AWS::CloudFormation::Stack", "QueueArn")
    assert has_attribute("Custom::Thing", "Whatever")
