"""Which attributes of a resource Fn::GetAtt may ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from batchyard.services.cloudformation.schemas.reading import Schema, schema

# Types of which GetAtt gives the properties too, not only what the service sets (AWS's "Return values" of each)
_WHOLE = frozenset(
    {
        "AWS::EC2::Instance", "AWS::EC2::SecurityGroup", "AWS::EC2::Subnet", "AWS::EC2::VPC", "AWS::EFS::MountTarget",
        "AWS::Events::EventBus", "AWS::ImageBuilder::Component", "AWS::ImageBuilder::ContainerRecipe",
        "AWS::ImageBuilder::DistributionConfiguration", "AWS::ImageBuilder::ImagePipeline", "AWS::ImageBuilder::ImageRecipe",
        "AWS::ImageBuilder::InfrastructureConfiguration", "AWS::S3::AccessPoint", "AWS::SNS::Topic", "AWS::SQS::Queue",
        "AWS::SSM::Parameter", "AWS::StepFunctions::Activity",
    }
)  # fmt: skip


@lru_cache(maxsize=256)
def attributes(type_name: str) -> frozenset[str]:
    """The names that GetAtt may ask of a type, dots between the steps ("Endpoint.Address"); empty when the type has no schema.

    What the service sets, and for some types every property (the physical id is Ref's). Of a nested stack `Outputs.NAME` may be
    asked, of a custom resource whatever its function answers: `has_attribute` knows.
    """
    held = schema(type_name)
    if held is None:
        return frozenset()
    names = {".".join(pointer) for pointer in held.read_only if "*" not in pointer}
    if type_name in _WHOLE:
        for name, part in held.properties.items():
            names.update(_leaves(held, part, name))
    return frozenset(names)


def has_attribute(type_name: str, name: str) -> bool:
    """Whether GetAtt may ask `name` of a type. A type without a schema has any."""
    if type_name.startswith("Custom::") or type_name == "AWS::CloudFormation::CustomResource":
        return True
    if type_name == "AWS::CloudFormation::Stack":
        return name.startswith("Outputs.") and len(name) > len("Outputs.")
    return name in attributes(type_name) or schema(type_name) is None


def _leaves(held: Schema, part: Mapping[str, Any], path: str, depth: int = 0) -> Iterator[str]:
    part = held.part(part)
    if part.get("type") == "object" and depth < 8:
        for name, inner in part.get("properties", {}).items():
            yield from _leaves(held, inner, f"{path}.{name}", depth + 1)
    elif part.get("type") == "array":
        if held.part(part.get("items", {})).get("type") not in ("object", "array"):
            yield path
    else:
        yield path
