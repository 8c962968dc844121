"""What a change set says: what changes, what is replaced, why, and what is not shown."""

from __future__ import annotations

import copy
import json
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.planning.comparing import LATER, Change, Standing, Wanted, compare
from batchyard.services.cloudformation.planning.rendering import shown

ENVIRONMENT, QUEUE, ROLE = "AWS::Batch::ComputeEnvironment", "AWS::Batch::JobQueue", "AWS::IAM::Role"
MODEL = botocore.session.get_session().get_service_model("cloudformation")


def stands(type_name: str, properties: dict[str, Any], **more: Any) -> Standing:
    return Standing(type_name, "physical-id", properties, **more)


def by_name(changes: list[Change]) -> dict[str, Change]:
    return {change.logical_id: change for change in changes}


def queue(priority: Any = 1, **more: Any) -> dict[str, Any]:
    return {"Priority": priority, "ComputeEnvironmentOrder": [{"Order": 1, "ComputeEnvironment": "arn:spot"}], **more}


def fits(value: Any, shape: Any) -> None:
    """Whether a value is one of AWS's model, enums and all."""
    if shape.type_name == "structure":
        assert set(value) <= set(shape.members)
        for key, inner in value.items():
            fits(inner, shape.members[key])
    elif shape.type_name == "list":
        for inner in value:
            fits(inner, shape.member)
    else:
        assert isinstance(value, str)
        assert not getattr(shape, "enum", None) or value in shape.enum


def test_what_came_went_and_stayed() -> None:
    before = {
        "Old": stands(QUEUE, queue()),
        "Same": stands(QUEUE, queue()),
        "Kept": stands("AWS::S3::Bucket", {}, deletion_policy="Retain"),
    }
    after = {"New": Wanted(QUEUE, queue()), "Same": Wanted(QUEUE, queue(priority="1"))}
    found = compare(before, after)
    assert [(change.logical_id, change.action, change.policy_action) for change in found] == [
        ("Kept", "Remove", "Retain"),
        ("New", "Add", ""),
        ("Old", "Remove", "Delete"),
    ]
    assert by_name(found)["Old"].physical_id == "physical-id"


def test_a_change_in_place() -> None:
    (change,) = compare({"Q": stands(QUEUE, queue())}, {"Q": Wanted(QUEUE, queue(priority=7))})
    assert (change.action, change.replacement, change.scope, change.policy_action) == ("Modify", "False", ("Properties",), "")
    (detail,) = change.details
    assert (detail.place, detail.before, detail.after, detail.requires_recreation) == (("Priority",), 1, 7, "Never")
    assert (detail.evaluation, detail.source) == ("Static", "DirectModification")


def test_a_replacement_and_what_becomes_of_the_old_one() -> None:
    before = {"Q": stands(QUEUE, queue(JobQueueName="a"))}
    (change,) = compare(before, {"Q": Wanted(QUEUE, queue(JobQueueName="b"))})
    assert (change.replacement, change.policy_action) == ("True", "ReplaceAndDelete")
    (change,) = compare(before, {"Q": Wanted(QUEUE, queue(JobQueueName="b"), update_replace_policy="Retain")})
    assert change.policy_action == "ReplaceAndRetain"
    assert change.scope == ("Properties", "UpdateReplacePolicy")


def test_the_handler_may_say_that_a_change_replaces() -> None:
    (change,) = compare(
        {"Q": stands(QUEUE, queue())}, {"Q": Wanted(QUEUE, queue(priority=2))}, replaces=lambda name, old, new: frozenset({"Priority"})
    )
    assert change.replacement == "True"


def test_tags_and_what_stands_beside_the_properties() -> None:
    before = {"B": stands("AWS::S3::Bucket", {"Tags": [{"Key": "a", "Value": "1"}]}, tags={"team": "x"})}
    after = {
        "B": Wanted(
            "AWS::S3::Bucket", {"Tags": [{"Key": "a", "Value": "2"}]}, tags={"team": "y"}, metadata={"a": 1}, deletion_policy="Retain"
        )
    }
    (change,) = compare(before, after)
    assert change.scope == ("Tags", "Metadata", "DeletionPolicy")
    assert change.replacement == "False"


def test_what_refers_to_a_replaced_one_may_change() -> None:
    order = [{"Order": 1, "ComputeEnvironment": {"Ref": "Spot"}}]
    resolved, unresolved = queue(), {"Priority": 1, "ComputeEnvironmentOrder": order}
    wanted = {"Type": "MANAGED", "ComputeResources": {"Type": "SPOT", "MaxvCpus": 4, "InstanceTypes": ["c5"]}}
    other = copy.deepcopy(wanted)
    other["ComputeResources"]["InstanceTypes"] = ["c6i"]
    found = by_name(
        compare(
            {"Spot": stands(ENVIRONMENT, wanted), "Q": stands(QUEUE, resolved, unresolved=unresolved)},
            {"Spot": Wanted(ENVIRONMENT, other), "Q": Wanted(QUEUE, resolved, needs=frozenset({"Spot"}), unresolved=unresolved)},
        )
    )
    assert found["Spot"].replacement == "True"
    (detail,) = found["Q"].details
    assert (detail.evaluation, detail.source, detail.causing_entity) == ("Dynamic", "ResourceReference", "Spot")
    assert detail.place == ("ComputeEnvironmentOrder", 0, "ComputeEnvironment")
    assert found["Q"].before == {"Properties": resolved}
    assert found["Q"].after == {"Properties": {**resolved, "ComputeEnvironmentOrder": [{"Order": 1, "ComputeEnvironment": LATER}]}}
    assert found["Q"].replacement == "False"


def test_a_dynamic_change_of_what_cannot_change_may_replace_and_so_on() -> None:
    user = {"UserName": {"Ref": "User"}}
    shared = {"Type": "String", "Value": "AKIA"}
    refers = {"Type": "String", "Value": {"Ref": "Key"}}
    found = by_name(
        compare(
            {
                "User": stands("AWS::IAM::User", {"UserName": "a"}),
                "Key": stands("AWS::IAM::AccessKey", {"UserName": "a"}, unresolved=user),
                "Secret": stands("AWS::SSM::Parameter", shared, unresolved=refers),
            },
            {
                "Secret": Wanted("AWS::SSM::Parameter", shared, frozenset({"Key"}), unresolved=refers),
                "Key": Wanted("AWS::IAM::AccessKey", {"UserName": "a"}, frozenset({"User"}), unresolved=user),
                "User": Wanted("AWS::IAM::User", {"UserName": "b"}),
            },
        )
    )
    assert {name: change.replacement for name, change in found.items()} == {"User": "True", "Key": "Conditional", "Secret": "False"}


def test_a_reference_that_was_not_chosen_does_not_count() -> None:
    either = {"Type": "String", "Value": {"Fn::If": ["C", {"Ref": "User"}, "x"]}}
    before = {
        "User": stands("AWS::IAM::User", {"UserName": "a"}),
        "P": stands("AWS::SSM::Parameter", {"Type": "String", "Value": "x"}, unresolved=either),
    }
    after = {
        "User": Wanted("AWS::IAM::User", {"UserName": "b"}),
        "P": Wanted("AWS::SSM::Parameter", {"Type": "String", "Value": "x"}, frozenset(), unresolved=either),
    }
    assert set(by_name(compare(before, after, conditions={"C": False}))) == {"User"}
    assert set(by_name(compare(before, after, conditions={"C": True}))) == {"User", "P"}
    assert set(by_name(compare(before, after))) == {"User", "P"}


def test_an_attribute_of_a_modified_one_may_change_but_not_its_arn() -> None:
    template = "AWS::EC2::LaunchTemplate"
    unresolved = {"Name": "x", "Type": "String", "Value": {"Fn::GetAtt": ["T", "LatestVersionNumber"]}}
    arn = {"Type": "String", "Value": {"Fn::Sub": "${R.Arn}"}}
    found = by_name(
        compare(
            {
                "T": stands(template, {"LaunchTemplateData": {"ImageId": "ami-1"}}),
                "P": stands("AWS::SSM::Parameter", {"Name": "x", "Type": "String", "Value": "1"}, unresolved=unresolved),
                "R": stands(ROLE, {"AssumeRolePolicyDocument": {}}),
                "A": stands("AWS::SSM::Parameter", {"Type": "String", "Value": "arn"}, unresolved=arn),
            },
            {
                "T": Wanted(template, {"LaunchTemplateData": {"ImageId": "ami-2"}}),
                "P": Wanted("AWS::SSM::Parameter", {"Name": "x", "Type": "String", "Value": "1"}, frozenset({"T"}), unresolved=unresolved),
                "R": Wanted(ROLE, {"AssumeRolePolicyDocument": {"Version": "2012-10-17"}}),
                "A": Wanted("AWS::SSM::Parameter", {"Type": "String", "Value": "arn"}, frozenset({"R"}), unresolved=arn),
            },
        )
    )
    assert set(found) == {"T", "P", "R"}
    assert found["P"].details[0].causing_entity == "T.LatestVersionNumber"


def test_a_parameter_is_named_as_the_cause() -> None:
    unresolved = queue({"Ref": "Priority"}, State={"Ref": "State"})
    (change,) = compare(
        {"Q": stands(QUEUE, queue(1, State="ENABLED"), unresolved=unresolved)},
        {"Q": Wanted(QUEUE, queue(2, State="ENABLED"), unresolved=unresolved)},
        changed_parameters={"Priority"},
    )
    (detail,) = change.details
    assert (detail.source, detail.causing_entity) == ("ParameterReference", "Priority")


def test_a_value_that_is_not_known_yet() -> None:
    after = {"Q": Wanted(QUEUE, queue(JobQueueName=LATER))}
    assert after["Q"].has_later
    (change,) = compare({"Q": stands(QUEUE, queue(JobQueueName="a"))}, after)
    assert (change.details[0].evaluation, change.replacement) == ("Dynamic", "Conditional")


def test_a_nested_stack_is_always_looked_at() -> None:
    properties = {"TemplateURL": "https://s3.amazonaws.com/b/t.yaml", "Parameters": {"A": 1}}
    (change,) = compare({"N": stands("AWS::CloudFormation::Stack", properties)}, {"N": Wanted("AWS::CloudFormation::Stack", properties)})
    assert (change.action, change.replacement) == ("Modify", "False")
    assert (change.details[0].source, change.details[0].evaluation) == ("Automatic", "Dynamic")


def test_properties_that_are_no_objects_are_compared_too() -> None:
    (change,) = compare(
        {"A": stands(ENVIRONMENT, {"ComputeResources": True})}, {"A": Wanted(ENVIRONMENT, {"ComputeResources": {"Type": []}})}
    )
    assert change.replacement == "True"


def test_another_type_is_refused() -> None:
    with pytest.raises(Fault, match=r"modifies resource type of the following resources: \[A\]") as caught:
        compare({"A": stands(QUEUE, {})}, {"A": Wanted(ROLE, {})})
    assert caught.value.code == "ValidationError"


def test_an_import() -> None:
    (change,) = compare({}, {"B": Wanted("AWS::S3::Bucket", {"BucketName": "b"}, imported="b")})
    assert (change.action, change.physical_id) == ("Import", "b")


class TestShown:
    def changes(self) -> list[Change]:
        unresolved = {"Type": "String", "Value": {"Fn::Sub": "pw=${Password}"}, "Description": "d"}
        return compare(
            {
                "Gone": stands("AWS::S3::Bucket", {"BucketName": "b"}, deletion_policy="Delete", metadata={"n": 1}),
                "P": stands("AWS::SSM::Parameter", {"Type": "String", "Value": "pw=old", "Description": "d"}, unresolved=unresolved),
                "Q": stands(QUEUE, queue(1, Tags={"a": "b"}, State="ENABLED")),
            },
            {
                "P": Wanted("AWS::SSM::Parameter", {"Type": "String", "Value": "pw=new", "Description": "e"}, unresolved=unresolved),
                "Q": Wanted(QUEUE, queue(2, Tags={"a": "c"})),
                "S": Wanted("AWS::SecretsManager::Secret", {"SecretString": "hunter2", "GenerateSecretString": {"PasswordLength": 20}}),
                "J": Wanted(
                    "AWS::Batch::JobDefinition", {"ContainerProperties": {"Environment": [{"Name": "DB_PASSWORD", "Value": "hunter3"}]}}
                ),
            },
            no_echo={"Password"},
        )

    @pytest.mark.parametrize("with_values", [False, True])
    def test_it_has_awss_shape(self, with_values: bool) -> None:
        for change in shown(self.changes(), with_values=with_values):
            report = ParamValidator().validate(change, MODEL.shape_for("Change"))
            assert not report.has_errors(), report.generate_report()
            fits(change, MODEL.shape_for("Change"))

    def test_paths_and_values(self) -> None:
        found = {
            change["ResourceChange"]["LogicalResourceId"]: change["ResourceChange"] for change in shown(self.changes(), with_values=True)
        }
        assert [detail["Target"] for detail in found["Q"]["Details"]] == [
            {
                "Attribute": "Properties",
                "RequiresRecreation": "Never",
                "Name": "Priority",
                "Path": "/Properties/Priority",
                "BeforeValue": "1",
                "AfterValue": "2",
                "AttributeChangeType": "Modify",
            },
            {
                "Attribute": "Tags",
                "RequiresRecreation": "Never",
                "Path": "/Properties/Tags/a",
                "BeforeValue": "b",
                "AfterValue": "c",
                "AttributeChangeType": "Modify",
            },
            {
                "Attribute": "Properties",
                "RequiresRecreation": "Never",
                "Name": "State",
                "Path": "/Properties/State",
                "BeforeValue": "ENABLED",
                "AttributeChangeType": "Remove",
            },
        ]
        assert json.loads(found["Q"]["AfterContext"])["Properties"]["Priority"] == "2"
        assert json.loads(found["Gone"]["BeforeContext"]) == {
            "Properties": {"BucketName": "b"},
            "Metadata": {"n": "1"},
            "DeletionPolicy": "Delete",
        }
        assert "AfterContext" not in found["Gone"]
        assert "BeforeContext" not in found["S"]

    def test_secrets_are_not_shown(self) -> None:
        text = json.dumps(shown(self.changes(), with_values=True))
        for secret in ("pw=old", "pw=new", "hunter2", "hunter3"):
            assert secret not in text
        assert "****" in text
        assert '\\"PasswordLength\\":\\"20\\"' in text

    def test_without_values_there_are_none(self) -> None:
        found = shown(self.changes(), with_values=False)
        assert not {"BeforeContext", "AfterContext"} & {key for change in found for key in change["ResourceChange"]}
        details = [detail for change in found for detail in change["ResourceChange"]["Details"]]
        assert {key for detail in details for key in detail["Target"]} == {"Attribute", "RequiresRecreation", "Name"}


values = st.recursive(
    st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "Type", "Tags", "MaxvCpus", "Subnets"]), inner, max_size=3)
    ),
    max_leaves=8,
)
names = ["Type", "State", "ComputeResources", "Tags", "ServiceRole", "Context", "UpdatePolicy", "ComputeEnvironmentName"]
properties = st.dictionaries(st.sampled_from(names), values, max_size=5)
resources = st.dictionaries(st.sampled_from("ABCD"), properties, max_size=4)


@given(resources)
def test_nothing_changes_nothing(given_: dict[str, Any]) -> None:
    same = copy.deepcopy(given_)
    assert compare({k: stands(ENVIRONMENT, v) for k, v in given_.items()}, {k: Wanted(ENVIRONMENT, v) for k, v in same.items()}) == []


@given(resources, resources)
def test_every_difference_is_found_and_only_those(left: dict[str, Any], right: dict[str, Any]) -> None:
    before, after = {k: stands(ENVIRONMENT, v) for k, v in left.items()}, {k: Wanted(ENVIRONMENT, v) for k, v in right.items()}
    found = by_name(compare(before, after))
    assert {name for name, change in found.items() if change.action == "Add"} == right.keys() - left.keys()
    assert {name for name, change in found.items() if change.action == "Remove"} == left.keys() - right.keys()
    back = by_name(compare({k: stands(ENVIRONMENT, v) for k, v in right.items()}, {k: Wanted(ENVIRONMENT, v) for k, v in left.items()}))
    for name in left.keys() & right.keys():
        assert (name in found) == (name in back)
        if name in found:
            fixed = [d for d in found[name].details if d.name in ("Type", "ComputeEnvironmentName") or d.attribute == "Tags"]
            assert all(detail.requires_recreation == "Always" for detail in fixed)
            assert not fixed or found[name].replacement == "True"
    for change in shown(list(found.values()), with_values=True):
        fits(change, MODEL.shape_for("Change"))


@given(properties, st.sampled_from(names), values)
def test_one_more_property_is_seen(given_: dict[str, Any], name: str, value: Any) -> None:
    rest = {key: inner for key, inner in given_.items() if key != name}
    (change,) = compare({"A": stands(ENVIRONMENT, rest)}, {"A": Wanted(ENVIRONMENT, {**rest, name: value})})
    assert [detail.place[0] for detail in change.details] == [name]
