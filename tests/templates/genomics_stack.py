"""Reads genomics.yaml and resolves it as CloudFormation would, so that tests can look at what a user would get."""

from __future__ import annotations

import base64
import copy
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

TEMPLATES = Path(__file__).parents[2] / "templates"
TEMPLATE = TEMPLATES / "genomics.yaml"
ROOT_OF_PARTS = TEMPLATES / "genomics" / "root.yaml"
NESTED = "AWS::CloudFormation::Stack"
STACK_NAME = "genomics"
ACCOUNT, REGION = "111122223333", "eu-central-1"
_BUILDER = f"arn:aws:imagebuilder:{REGION}:{ACCOUNT}"
NO_VALUE = object()
PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Region": REGION,
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::NoValue": NO_VALUE,
}
REQUIRED = {"VpcId": "vpc-0a1b2c3d", "SubnetIds": "subnet-0a1b2c3d,subnet-1b2c3d4e"}


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML with CloudFormation's short function tags."""


def _function(loader: Any, suffix: str, node: Any) -> Any:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        if suffix == "GetAtt":
            value = value.split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _function)


def load_template(path: Path = TEMPLATE) -> dict[str, Any]:
    """The template with its functions in their long form; the caller may change it."""
    return copy.deepcopy(_parsed(path))


@cache
def _parsed(path: Path) -> dict[str, Any]:
    loaded = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    assert isinstance(loaded, dict)
    return loaded


def physical_id(logical_id: str, kind: str, properties: dict[str, Any]) -> str:
    """A physical id of the right form, as Ref gives it for a resource of type `kind`."""
    here = f"{REGION}:{ACCOUNT}"
    if kind == "AWS::Batch::ComputeEnvironment":
        return f"arn:aws:batch:{here}:compute-environment/{logical_id}"
    if kind == "AWS::Batch::JobQueue":
        return f"arn:aws:batch:{here}:job-queue/{properties['JobQueueName']}"
    if kind == "AWS::Batch::JobDefinition":
        return f"arn:aws:batch:{here}:job-definition/{logical_id}:1"
    named = {"AWS::EC2::LaunchTemplate": "lt-0123456789abcdef0", "AWS::EC2::SecurityGroup": "sg-0123456789abcdef0"}
    if kind == "AWS::Logs::LogGroup":
        return str(properties["LogGroupName"])
    return named.get(kind, f"{STACK_NAME}-{logical_id}".lower())


def attribute(name: str, reference: str, kind: str) -> str:
    """What GetAtt gives for the few attributes that the template reads."""
    attributes = {
        ("AWS::S3::Bucket", "Arn"): f"arn:aws:s3:::{reference}",
        ("AWS::IAM::Role", "Arn"): f"arn:aws:iam::{ACCOUNT}:role/{reference}",
        ("AWS::IAM::InstanceProfile", "Arn"): f"arn:aws:iam::{ACCOUNT}:instance-profile/{reference}",
        ("AWS::EC2::SecurityGroup", "GroupId"): reference,
        ("AWS::EC2::LaunchTemplate", "LatestVersionNumber"): "1",
        ("AWS::ImageBuilder::Component", "Arn"): f"{_BUILDER}:component/{reference}/1.0.0/1",
        ("AWS::ImageBuilder::ImageRecipe", "Arn"): f"{_BUILDER}:image-recipe/{reference}/1.0.0",
        ("AWS::ImageBuilder::InfrastructureConfiguration", "Arn"): f"{_BUILDER}:infrastructure-configuration/{reference}",
        ("AWS::ImageBuilder::DistributionConfiguration", "Arn"): f"{_BUILDER}:distribution-configuration/{reference}",
        ("AWS::ImageBuilder::Image", "ImageId"): "ami-0123456789abcdef0",
    }
    return attributes[kind, name]


@dataclass
class Stack:
    """The template resolved for one set of parameters: only what its conditions let through."""

    template: dict[str, Any]
    parameters: dict[str, Any]
    resources: dict[str, dict[str, Any]] = field(default_factory=dict)
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    name: str = STACK_NAME
    parts: dict[str, Stack] = field(default_factory=dict)  # nested stacks that have been resolved, by logical id

    def properties(self, logical_id: str) -> dict[str, Any]:
        """Resolved properties of a resource."""
        found = self.resources[logical_id]["Properties"]
        assert isinstance(found, dict)
        return found

    def reference(self, logical_id: str) -> str:
        """What Ref gives for a resource of this stack, or the value of a parameter."""
        resource = self.template["Resources"][logical_id]
        if "Condition" in resource and not self.holds(resource["Condition"]):
            raise AssertionError(f"{logical_id} is referred to, but its condition keeps it out of the stack")
        return physical_id(logical_id, resource["Type"], self.value(resource.get("Properties", {})))

    def holds(self, condition: str) -> bool:
        """Whether the named condition is true."""
        return bool(self.value(self.template["Conditions"][condition]))

    def value(self, node: Any) -> Any:
        """`node` with every function in it carried out; entries that come out as NoValue are left away."""
        if isinstance(node, list):
            return [found for found in map(self.value, node) if found is not NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((name, argument),) = node.items()
            if name in _FUNCTIONS:
                return _FUNCTIONS[name](self, argument)
            if name == "Condition" and isinstance(argument, str):
                return self.holds(argument)
        resolved = {key: self.value(value) for key, value in node.items()}
        return {key: value for key, value in resolved.items() if value is not NO_VALUE}


def _ref(stack: Stack, name: str) -> Any:
    if name == "AWS::StackName":
        return stack.name
    if name in PSEUDO:
        return PSEUDO[name]
    return stack.parameters[name] if name in stack.parameters else stack.reference(name)


def _get_att(stack: Stack, argument: list[str]) -> str:
    logical_id, name = argument
    if logical_id in stack.parts:
        return str(stack.parts[logical_id].outputs[name.removeprefix("Outputs.")]["Value"])
    return attribute(name, stack.reference(logical_id), stack.template["Resources"][logical_id]["Type"])


def _sub(stack: Stack, argument: Any) -> str:
    text, names = argument if isinstance(argument, list) else (argument, {})

    def replaced(match: re.Match[str]) -> str:
        name = match.group(1)
        if name in names:
            return str(stack.value(names[name]))
        return str(_get_att(stack, name.split(".", 1)) if "." in name else _ref(stack, name))

    return re.sub(r"\$\{!([^}]*)\}", r"${\1}", re.sub(r"\$\{([^!}][^}]*)\}", replaced, text))


def _if(stack: Stack, argument: list[Any]) -> Any:
    condition, then, otherwise = argument
    return stack.value(then if stack.holds(condition) else otherwise)


_FUNCTIONS: dict[str, Any] = {
    "Ref": _ref,
    "Fn::GetAtt": _get_att,
    "Fn::Sub": _sub,
    "Fn::If": _if,
    "Fn::Join": lambda stack, argument: argument[0].join(map(str, stack.value(argument[1]))),
    "Fn::Base64": lambda stack, argument: base64.b64encode(str(stack.value(argument)).encode()).decode(),
    "Fn::Select": lambda stack, argument: stack.value(argument[1])[int(argument[0])],
    "Fn::Split": lambda stack, argument: stack.value(argument[1]).split(argument[0]),
    "Fn::Equals": lambda stack, argument: str(stack.value(argument[0])) == str(stack.value(argument[1])),
    "Fn::Not": lambda stack, argument: not stack.value(argument[0]),
    "Fn::Or": lambda stack, argument: any(map(stack.value, argument)),
    "Fn::And": lambda stack, argument: all(map(stack.value, argument)),
}


def parameter_values(template: dict[str, Any], given: dict[str, str]) -> dict[str, Any]:
    """Values of all parameters: those given, else the defaults; numbers and lists in their own types."""
    values: dict[str, Any] = {}
    for name, declared in template["Parameters"].items():
        value = {**REQUIRED, **given}.get(name, declared.get("Default"))
        assert value is not None, f"{name} has no default and was not given"
        if declared["Type"] == "Number":
            value = int(value)
            assert declared.get("MinValue", value) <= value <= declared.get("MaxValue", value), name
        elif declared["Type"].startswith(("List<", "CommaDelimitedList")):
            value = [part.strip() for part in str(value).split(",")]
        elif "AllowedPattern" in declared:
            assert re.search(declared["AllowedPattern"], value), f"{name}: {declared['ConstraintDescription']}"
        assert value in declared.get("AllowedValues", [value]), name
        values[name] = value
    unknown = given.keys() - values.keys()
    assert not unknown, f"the template has no parameter {unknown}"
    return values


def resolve(template: dict[str, Any], given: dict[str, str] | None = None, name: str = STACK_NAME) -> Stack:
    """The stack that `template` would become with the parameters `given` beside the defaults."""
    return filled(Stack(template, parameter_values(template, given or {}), name=name))


def filled(stack: Stack) -> Stack:
    """`stack` with its resources and outputs resolved."""
    template = stack.template
    for section, found in (("Resources", stack.resources), ("Outputs", stack.outputs)):
        for name, node in copy.deepcopy(template[section]).items():
            condition = node.pop("Condition", None)
            if condition is None or stack.holds(condition):
                found[name] = {"Properties": {}} | stack.value(node)
    return stack
