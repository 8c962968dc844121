"""Writes src/batchyard/services/cloudformation/schemas/published.json from the resource schemas that cfn-lint ships.

    python scripts/extract_schemas.py

AWS publishes the schema of every resource type (aws-cloudformation/resource-provider-enhanced-schemas); cfn-lint ships them as plain
data, which is read here without importing it (that takes seconds). Kept are the types of `TYPES`, as us-east-1 has them, and of each
only what validation, replacement and drift need; descriptions, handlers and permissions stay away. Of all other types only the names
are kept, so that a type which AWS has and Batchyard has not can be told from one that nobody has. The same input gives the same bytes.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent.parent / "src/batchyard/services/cloudformation/schemas/published.json"
REGION = "us-east-1"

# The types that templates of genomics environments use, with their near relations, by service
TYPES = {
    "Batch": "ComputeEnvironment ConsumableResource JobDefinition JobQueue QuotaShare SchedulingPolicy ServiceEnvironment",
    "CloudFormation": "CustomResource Macro Stack WaitCondition WaitConditionHandle",
    "CloudWatch": "Alarm CompositeAlarm Dashboard",
    "CodeBuild": "Project",
    "CodeCommit": "Repository",
    "CodePipeline": "Pipeline",
    "EC2": "DHCPOptions EIP EIPAssociation EgressOnlyInternetGateway FlowLog Instance InternetGateway KeyPair LaunchTemplate NatGateway "
    "NetworkAcl NetworkAclEntry NetworkInterface NetworkInterfaceAttachment PlacementGroup PrefixList Route RouteTable SecurityGroup "
    "SecurityGroupEgress SecurityGroupIngress Subnet SubnetCidrBlock SubnetNetworkAclAssociation SubnetRouteTableAssociation VPC "
    "VPCCidrBlock VPCDHCPOptionsAssociation VPCEndpoint VPCGatewayAttachment VPCPeeringConnection Volume VolumeAttachment",
    "ECR": "PublicRepository Repository",
    "ECS": "Cluster TaskDefinition",
    "EFS": "AccessPoint FileSystem MountTarget",
    "Events": "ApiDestination Archive Connection EventBus EventBusPolicy Rule",
    "FSx": "FileSystem",
    "IAM": "AccessKey Group GroupPolicy InstanceProfile ManagedPolicy OIDCProvider Policy Role RolePolicy ServiceLinkedRole User "
    "UserPolicy UserToGroupAddition",
    "ImageBuilder": "Component ContainerRecipe DistributionConfiguration Image ImagePipeline ImageRecipe InfrastructureConfiguration",
    "KMS": "Alias Key",
    "Lambda": "Alias EventInvokeConfig EventSourceMapping Function LayerVersion LayerVersionPermission Permission Url Version",
    "Logs": "LogGroup LogStream MetricFilter QueryDefinition ResourcePolicy SubscriptionFilter",
    "S3": "AccessPoint Bucket BucketPolicy",
    "SNS": "Subscription Topic TopicInlinePolicy TopicPolicy",
    "SQS": "Queue QueueInlinePolicy QueuePolicy",
    "SSM": "Document Parameter",
    "Scheduler": "Schedule ScheduleGroup",
    "SecretsManager": "ResourcePolicy RotationSchedule Secret SecretTargetAttachment",
    "StepFunctions": "Activity StateMachine",
}

# What is kept of a schema, and of each value in it
WHOLE = {
    "additionalIdentifiers",
    "additionalProperties",
    "allOf",
    "anyOf",
    "conditionalCreateOnlyProperties",
    "createOnlyProperties",
    "dependentExcluded",
    "dependentRequired",
    "oneOf",
    "primaryIdentifier",
    "properties",
    "readOnlyProperties",
    "replacementStrategy",
    "required",
    "requiredOr",
    "requiredXor",
    "writeOnlyProperties",
}
PART = {
    "$ref",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "default",
    "dependentExcluded",
    "dependentRequired",
    "enum",
    "enumCaseInsensitive",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "insertionOrder",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "not",
    "oneOf",
    "pattern",
    "patternProperties",
    "properties",
    "required",
    "requiredOr",
    "requiredXor",
    "type",
    "uniqueItems",
}
TAGGING = ("tagOnCreate", "tagProperty", "tagUpdatable", "taggable")


def value(part: Any) -> Any:
    """A part of a schema without what nobody here reads."""
    if not isinstance(part, dict):
        return part
    kept: dict[str, Any] = {}
    for key in PART:
        if key not in part:
            continue
        found = part[key]
        if key in ("properties", "patternProperties"):
            kept[key] = {name: value(inner) for name, inner in found.items()}
        elif key in ("allOf", "anyOf", "oneOf"):
            inners = [value(inner) for inner in found]
            if any(inners):  # those that only name formats of identifiers say nothing here
                kept[key] = inners
        elif key in ("const", "default", "dependentExcluded", "dependentRequired", "enum"):
            kept[key] = found
        elif key == "insertionOrder" or key == "uniqueItems":
            if found is (key == "uniqueItems"):  # the other one is what goes without saying
                kept[key] = found
        else:
            kept[key] = value(found)
    return kept


def referred(part: Any) -> set[str]:
    """The names of the definitions that a part refers to itself."""
    if isinstance(part, list):
        return set().union(*map(referred, part))
    if not isinstance(part, dict):
        return set()
    own = part.get("$ref")
    names = {own.removeprefix("#/definitions/")} if isinstance(own, str) and own.startswith("#/definitions/") else set()
    return names.union(*(referred(inner) for inner in part.values()))


def compact(schema: dict[str, Any]) -> dict[str, Any]:
    """A published schema, made small: the definitions that are used, and of everything only what is read."""
    small = {key: schema[key] for key in WHOLE if schema.get(key) not in (None, [], {})}
    for key in ("properties", "allOf", "anyOf", "oneOf"):
        if key in small:
            small[key] = value({key: small[key]})[key]
    definitions = {name: value(part) for name, part in schema.get("definitions", {}).items()}
    used: set[str] = set()
    wanted = referred(small)
    while wanted - used:
        name = min(wanted - used)
        used.add(name)
        wanted |= referred(definitions[name])
    if used:
        small["definitions"] = {name: definitions[name] for name in used}
    tagging = {key: schema["tagging"][key] for key in TAGGING if key in schema.get("tagging", {})}
    if tagging:
        small["tagging"] = tagging
    return small


def extracted() -> str:
    """The text of the data file: one line for each type, so that a reader need only parse the line that it wants."""
    package = importlib.util.find_spec("cfnlint")
    assert package and package.origin, "cfn-lint is a development dependency: make setup"
    root = Path(package.origin).parent / "data/schemas"
    held = json.loads((root / f"providers/{REGION}.json").read_text())
    date = json.loads((root / "version.json").read_text())["schema_date"]
    wanted = [f"AWS::{service}::{name}" for service, names in sorted(TYPES.items()) for name in names.split()]
    others: dict[str, list[str]] = {}
    for name in sorted(set(held) - set(wanted)):
        prefix, _, last = name.rpartition("::")
        if name.startswith("AWS::") and not name.startswith("AWS::Serverless::"):
            others.setdefault(prefix, []).append(last)
    head = {
        "about": "resource schemas that AWS publishes (aws-cloudformation/resource-provider-enhanced-schemas, Apache-2.0)",
        "from": f"cfn-lint {importlib.metadata.version('cfn-lint')} (MIT-0), {REGION}, {date}",
    }
    lines = [f"{json.dumps(key)}: {json.dumps(text)}" for key, text in head.items()]
    lines.append(f'"others": {plain({prefix: " ".join(names) for prefix, names in others.items()})}')
    for name in sorted(wanted):
        schema = json.loads((root / f"resources/{held[name]}.json").read_text())
        lines.append(f"{json.dumps(name)}: {plain(compact(schema))}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def plain(found: Any) -> str:
    return json.dumps(found, sort_keys=True, separators=(",", ":"))


if __name__ == "__main__":
    TARGET.write_text(extracted())
