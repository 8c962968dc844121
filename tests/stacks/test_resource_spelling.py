"""Every member of Batch's model goes from CloudFormation's spelling to the API's and back, and every property of the published schemas."""

from __future__ import annotations

from typing import Any

import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources.spelling import essence, sent, shown, without_fillers
from batchyard.wire.servicemodel import Shape, read_model

# What CloudFormation alone knows: answers of the service, and what says how an update is to be made.
ONLY_THERE = {
    "AWS::Batch::ComputeEnvironment": {"ComputeEnvironmentArn", "ReplaceComputeEnvironment", "UpdatePolicy"},
    "AWS::Batch::JobQueue": {"JobQueueArn"},
    "AWS::Batch::JobDefinition": {"JobDefinitionArn", "ResourceRetentionPolicy"},
    "AWS::Batch::SchedulingPolicy": {"Arn"},
    "AWS::Batch::ConsumableResource": {"AvailableQuantity", "ConsumableResourceArn", "CreatedAt", "InUseQuantity"},
}
CREATES = {
    "AWS::Batch::ComputeEnvironment": "CreateComputeEnvironment",
    "AWS::Batch::JobQueue": "CreateJobQueue",
    "AWS::Batch::JobDefinition": "RegisterJobDefinition",
    "AWS::Batch::SchedulingPolicy": "CreateSchedulingPolicy",
    "AWS::Batch::ConsumableResource": "CreateConsumableResource",
}
DESCRIBES = {
    "CreateComputeEnvironment": ("DescribeComputeEnvironments", "computeEnvironments", "[]"),
    "CreateJobQueue": ("DescribeJobQueues", "jobQueues", "[]"),
    "RegisterJobDefinition": ("DescribeJobDefinitions", "jobDefinitions", "[]"),
    "CreateSchedulingPolicy": ("DescribeSchedulingPolicies", "schedulingPolicies", "[]"),
    "CreateConsumableResource": ("DescribeConsumableResource",),
}


def full(service: str, shape: Shape) -> Any:
    """A value with every member of a shape; maps have keys that are not spelt as members are."""
    model = read_model(service)
    if shape.type == "structure":
        return {name: full(service, model.shapes[member.shape]) for name, member in shape.members.items()}
    if shape.type == "list":
        assert shape.member is not None
        return [full(service, model.shapes[shape.member.shape])]
    if shape.type == "map":
        assert shape.value is not None
        return {key: full(service, model.shapes[shape.value.shape]) for key in ("a-key", "Key", "key", "awslogs-group")}
    return {"string": "text", "boolean": True}.get(shape.type, 3)


def sample(schema: dict[str, Any], node: dict[str, Any]) -> Any:
    """A value with every property of a published schema."""
    if "$ref" in node:
        node = schema["definitions"][node["$ref"].rpartition("/")[2]]
    if "properties" in node:
        return {name: sample(schema, inner) for name, inner in node["properties"].items()}
    if node.get("type") == "array":
        return [sample(schema, node["items"])]
    if "patternProperties" in node or node.get("type") == "object":
        return {"a-key": "1", "Key": "2", "key": "3"}
    return {"integer": 1, "number": 2.0, "boolean": True}.get(node.get("type", "string"), "text")


@pytest.mark.parametrize("operation", sorted(DESCRIBES))
def test_every_member_of_the_model_there_and_back(operation: str) -> None:
    described, *path = DESCRIBES[operation]
    model = read_model("batch")
    shape = model.output_shape(described)
    for name in path:
        member = shape.member if name == "[]" else shape.members[name]
        assert member is not None
        shape = model.shapes[member.shape]
    value = full("batch", shape)
    spelt = shown("batch", described, value, *path)
    known = model.input_shape(operation).members
    taken = {name: inner for name, inner in spelt.items() if name[:1].lower() + name[1:] in known}
    assert set(taken) and sent("batch", operation, taken) == {name: value[name] for name in value if name in known}


@pytest.mark.parametrize("type_name", sorted(CREATES))
def test_every_property_of_the_published_schema_is_a_member(type_name: str) -> None:
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", type_name).schema
    properties = {name: sample(schema, node) for name, node in schema["properties"].items() if name not in ONLY_THERE[type_name]}
    if type_name == "AWS::Batch::ComputeEnvironment":
        properties["ComputeResources"].pop("UpdateToLatestImageVersion")  # of updates alone
    params = sent("batch", CREATES[type_name], properties)
    assert {name.lower() for name in params} == {name.lower() for name in properties}


def test_keys_of_maps_stay_as_they_are() -> None:
    log = {"LogDriver": "awslogs", "Options": {"awslogs-group": "/g", "Mode": "x"}}
    volumes = [{"Name": "v", "S3FilesVolumeConfiguration": {"FileSystemArn": "arn"}}]
    properties = {
        "Tags": {"Project": "p"},
        "Parameters": {"Input": "s3://"},
        "ContainerProperties": {"LogConfiguration": log, "Volumes": volumes},
    }
    params = sent("batch", "RegisterJobDefinition", properties)
    assert params == {
        "tags": {"Project": "p"},
        "parameters": {"Input": "s3://"},
        "containerProperties": {
            "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "/g", "Mode": "x"}},
            "volumes": [{"name": "v", "s3filesVolumeConfiguration": {"fileSystemArn": "arn"}}],
        },
    }


def test_a_property_that_the_api_does_not_have_is_refused_by_name() -> None:
    with pytest.raises(Fault, match=r"Encountered unsupported property ContainerProperties\.Colour"):
        sent("batch", "RegisterJobDefinition", {"ContainerProperties": {"Colour": "red"}})


def test_a_number_of_a_schema_is_an_integer_of_the_api() -> None:
    policy = sent(
        "batch", "CreateSchedulingPolicy", {"FairsharePolicy": {"ShareDecaySeconds": 600.0, "ShareDistribution": [{"WeightFactor": 2.0}]}}
    )
    assert policy["fairsharePolicy"] == {"shareDecaySeconds": 600, "shareDistribution": [{"weightFactor": 2.0}]}
    assert isinstance(policy["fairsharePolicy"]["shareDecaySeconds"], int)


def test_fillers_of_a_service_are_told_from_what_a_template_says() -> None:
    found = {"Image": "a", "Ulimits": [], "Environment": [], "Nested": {"Empty": {}, "Kept": 1}}
    assert without_fillers(found, {"Ulimits": []}) == {"Image": "a", "Ulimits": [], "Nested": {"Kept": 1}}
    assert essence({"a": {"b": []}, "c": [{"d": {}}], "e": False}) == {"c": [{}], "e": False}
