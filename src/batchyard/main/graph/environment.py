"""What of a stack makes an environment, and how its parts hang together: queues, environments, roles, buckets, logs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchyard.main.graph.elements import Element, marks, without_marks
from batchyard.model.tags import LOG_ARCHIVE, SPILL

STRONG, PLAIN, WRITES = "strong", "plain", "writes"  # which environment a queue takes; what something uses; who writes where
_S3 = re.compile(r"(?:arn:[a-z-]+:s3:::)?(⟦[^⟧]+⟧|[a-z0-9][a-z0-9.-]{2,62})(?:/(.*))?")
_ACCOUNT_OF_S3 = "arn:aws:s3:::"


@dataclass(frozen=True, slots=True)
class Node:
    """A box of the drawing. `layer` is the first column that it may stand in."""

    id: str
    kind: str
    title: str
    lines: tuple[str, ...] = ()
    layer: int = 0


@dataclass(frozen=True, slots=True)
class Edge:
    """An arrow of the drawing; `label` stands at its beginning."""

    source: str
    target: str
    label: str = ""
    tone: str = PLAIN


@dataclass(frozen=True, slots=True)
class Environment:
    """All boxes and all arrows, in the order of the template."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def environment(found: Sequence[Element]) -> Environment:
    """The environment in the resources of a stack; whatever is none of its parts (parameters of SSM, routes, ...) is left out."""
    by_id = {element.id: element for element in found}
    nodes: dict[str, Node] = {}
    edges: dict[tuple[str, str], Edge] = {}
    for element in found:
        told = _TOLD.get(element.type)
        if told is not None:
            kind, layer, lines = told
            nodes[element.id] = Node(element.id, kind, _title(element), tuple(line for line in lines(element, found) if line), layer)
    for element in found:
        for edge in _EDGES.get(element.type, _none)(element, by_id):
            if edge.target not in nodes and edge.target.startswith(_ACCOUNT_OF_S3):
                nodes[edge.target] = Node(edge.target, "Bucket", edge.target.removeprefix(_ACCOUNT_OF_S3), ("not of this stack",), 2)
            if edge.source in nodes and edge.target in nodes and edge.source != edge.target:
                edges.setdefault((edge.source, edge.target), edge)
    return Environment(tuple(nodes.values()), tuple(edges.values()))


def _title(element: Element) -> str:
    """Its name where it has one: the one that it got, or the one that it is given; else its logical id."""
    named = next((element.properties[name] for name in _NAMES if isinstance(element.properties.get(name), str)), "")
    got = element.physical_id.rpartition("/")[2] if element.physical_id else ""
    return without_marks(got or named or element.id.rpartition("/")[2])


_NAMES = ("JobQueueName", "ComputeEnvironmentName", "JobDefinitionName", "BucketName", "LogGroupName", "RoleName", "LaunchTemplateName")


def _tags(element: Element) -> dict[str, str]:
    tags = element.properties.get("Tags") or {}
    if isinstance(tags, Mapping):
        return {str(name): str(value) for name, value in tags.items()}
    return {str(tag.get("Key")): str(tag.get("Value")) for tag in tags if isinstance(tag, Mapping)}


# --- what stands in the boxes ---


def _of_queue(element: Element, _: Any) -> list[str]:
    return [f"priority {element.properties.get('Priority', '?')}"]


def _of_environment(element: Element, _: Any) -> list[str]:
    resources = element.properties.get("ComputeResources") or {}
    kind = str(resources.get("Type", element.properties.get("Type", "")))
    bid = resources.get("BidPercentage")
    named = {"SPOT": "Spot" + (f", at most {bid} % of the price" if bid else ""), "EC2": "on demand", "FARGATE_SPOT": "Fargate Spot"}
    least, most = resources.get("MinvCpus", 0), resources.get("MaxvCpus", "?")
    count = f"{most} vCPUs, always" if str(least) == str(most) else f"{least} to {most} vCPUs"
    types = resources.get("InstanceTypes") or []
    return [named.get(kind, kind.capitalize()), count, _listed(types)]


def _listed(values: Any) -> str:
    texts = [str(value) for value in values] if isinstance(values, list) else [str(values)]
    return ", ".join(texts[:3]) + (f" and {len(texts) - 3} more" if len(texts) > 3 else "")


def _of_template(element: Element, _: Any) -> list[str]:
    wanted = element.properties.get("LaunchTemplateData") or {}
    disks = [device.get("Ebs") or {} for device in wanted.get("BlockDeviceMappings") or []]
    return [
        f"{disk.get('VolumeSize', '?')} GiB {disk.get('VolumeType', '')}".rstrip()
        + (", encrypted" if _is_true(disk.get("Encrypted")) else "")
        for disk in disks
    ]


def _of_group(element: Element, found: Sequence[Element]) -> list[str]:
    further = [one for one in found if one.type == "AWS::EC2::SecurityGroupIngress" and element.id in marks(one.properties.get("GroupId"))]
    rules = len(element.properties.get("SecurityGroupIngress") or []) + len(further)
    return ["lets nobody in" if not rules else f"{rules} rule{'s' * (rules > 1)} for who comes in"]


def _of_role(element: Element, found: Sequence[Element]) -> list[str]:
    trusted = (element.properties.get("AssumeRolePolicyDocument") or {}).get("Statement") or []
    services = []
    for statement in trusted if isinstance(trusted, list) else [trusted]:
        principal = statement.get("Principal") or {}
        named = principal.get("Service", []) if isinstance(principal, Mapping) else []
        services += [str(name).split(".")[0] for name in (named if isinstance(named, list) else [named])]
    profiles = [one for one in found if one.type == "AWS::IAM::InstanceProfile" and element.id in marks(one.properties.get("Roles"))]
    whose = {"ec2": "of instances", "ecs-tasks": "of jobs", "batch": "of AWS Batch", "spotfleet": "of Spot fleets"}
    told = [whose.get(name, f"of {name}") for name in services]
    return [_listed(told) if told else "", "with an instance profile" if profiles else ""]


def _of_bucket(element: Element, _: Any) -> list[str]:
    properties = element.properties
    closed = properties.get("PublicAccessBlockConfiguration") or {}
    care = ["encrypted"] if properties.get("BucketEncryption") else []
    care += ["closed to the public"] if closed and all(_is_true(value) for value in closed.values()) else []
    rules = (properties.get("LifecycleConfiguration") or {}).get("Rules") or []
    days = [rule["ExpirationInDays"] for rule in rules if isinstance(rule, Mapping) and rule.get("ExpirationInDays")]
    return [", ".join(care), f"kept for {days[0]} days" if days else "kept for ever"]


def _of_logs(element: Element, _: Any) -> list[str]:
    days = element.properties.get("RetentionInDays")
    return [f"kept for {days} days" if days else "kept for ever"]


def _of_definition(element: Element, _: Any) -> list[str]:
    container = element.properties.get("ContainerProperties") or {}
    needs = {str(one.get("Type")): str(one.get("Value")) for one in container.get("ResourceRequirements") or [] if isinstance(one, Mapping)}
    return [f"{needs['VCPU']} vCPU, {needs['MEMORY']} MiB"] if {"VCPU", "MEMORY"} <= needs.keys() else []


def _of_network(element: Element, found: Sequence[Element]) -> list[str]:
    inside = [one for one in found if one.type == "AWS::EC2::Subnet" and element.id in marks(one.properties.get("VpcId"))]
    public = sum(1 for one in inside if _is_true(one.properties.get("MapPublicIpOnLaunch")))
    gateways = sum(1 for one in found if one.type == "AWS::EC2::NatGateway")
    shown = f"{public} public, {len(inside) - public} private subnets" if inside else ""
    return [shown, f"{gateways} NAT gateway{'s' * (gateways != 1)}"]


def _is_true(value: Any) -> bool:
    return str(value).lower() == "true"


_Lines = Callable[[Element, Sequence[Element]], list[str]]
_TOLD: dict[str, tuple[str, int, _Lines]] = {
    "AWS::Batch::JobQueue": ("Job queue", 0, _of_queue),
    "AWS::Batch::JobDefinition": ("Job definition", 0, _of_definition),
    "AWS::Batch::ComputeEnvironment": ("Compute environment", 1, _of_environment),
    "AWS::Batch::SchedulingPolicy": ("Scheduling policy", 1, lambda element, _: []),
    "AWS::IAM::Role": ("Role", 1, _of_role),
    "AWS::EC2::LaunchTemplate": ("Launch template", 2, _of_template),
    "AWS::EC2::SecurityGroup": ("Security group", 2, _of_group),
    "AWS::EC2::VPC": ("Network", 2, _of_network),
    "AWS::Logs::LogGroup": ("Log group", 2, _of_logs),
    "AWS::S3::Bucket": ("Bucket", 2, _of_bucket),
}


# --- the arrows ---


def _none(_: Element, __: Mapping[str, Element]) -> list[Edge]:
    return []


def _from_queue(element: Element, _: Mapping[str, Element]) -> Iterable[Edge]:
    """To its environments, with their order; what comes after the first says whether it may be scaled up for this queue."""
    spill = _tags(element).get(SPILL.name, SPILL.default)
    entries = [entry for entry in element.properties.get("ComputeEnvironmentOrder") or [] if isinstance(entry, Mapping)]
    for place, entry in enumerate(sorted(entries, key=lambda one: str(one.get("Order")).zfill(6)), 1):
        label = str(place) if place == 1 else f"{place}, {'if idle' if spill == 'idle' else 'scales'}"
        yield from (Edge(element.id, target, label, STRONG) for target in marks(entry.get("ComputeEnvironment")))
    yield from (Edge(element.id, target) for target in marks(element.properties.get("SchedulingPolicyArn")))


def _from_environment(element: Element, by_id: Mapping[str, Element]) -> Iterable[Edge]:
    for target in marks(element.properties):
        for id in _without_detours(target, by_id):
            yield Edge(element.id, id)


def _without_detours(id: str, by_id: Mapping[str, Element]) -> list[str]:
    """A role in the place of its instance profile, a network in that of its subnet."""
    element = by_id.get(id)
    through = {"AWS::IAM::InstanceProfile": "Roles", "AWS::EC2::Subnet": "VpcId"}.get(element.type if element else "")
    return marks(element.properties.get(through)) if element is not None and through else [id]


def _from_definition(element: Element, _: Mapping[str, Element]) -> Iterable[Edge]:
    container = element.properties.get("ContainerProperties") or {}
    yield from (Edge(element.id, target, "runs as") for target in marks([container.get("JobRoleArn"), container.get("ExecutionRoleArn")]))
    yield from (Edge(element.id, target, "output", WRITES) for target in marks(container.get("LogConfiguration")))


def _from_role(element: Element, _: Mapping[str, Element]) -> Iterable[Edge]:
    """To the buckets that its own policies let it read or write."""
    told: dict[str, dict[str, str]] = {}  # bucket -> what may be done -> under which prefix
    for policy in element.properties.get("Policies") or []:
        statements = (policy.get("PolicyDocument") or {}).get("Statement") or []
        for statement in statements if isinstance(statements, list) else [statements]:
            if statement.get("Effect") != "Allow":
                continue
            for resource in _as_list(statement.get("Resource")):
                for verb, (bucket, prefix) in _rights(_as_list(statement.get("Action")), resource):
                    told.setdefault(bucket, {})[verb] = prefix
    for bucket, rights in told.items():
        prefix = next(iter(rights.values()))
        yield Edge(element.id, bucket, f"{' and '.join(rights)} {prefix}".rstrip(), WRITES if "writes" in rights else PLAIN)


def _rights(actions: Sequence[str], resource: str) -> Iterable[tuple[str, tuple[str, str]]]:
    """("reads" or "writes", (bucket, prefix)) of what some actions of S3 on the objects of a bucket are."""
    match = _S3.fullmatch(resource)
    if match is None or match[2] is None:
        return
    bucket = marks(match[1])[0] if marks(match[1]) else _ACCOUNT_OF_S3 + match[1]
    where = (bucket, (match[2] or "").rstrip("*"))
    for verb, wanted in (("reads", "s3:GetObject"), ("writes", "s3:PutObject")):
        if any(action in (wanted, "s3:*", "*") for action in actions):
            yield verb, where


def _from_bucket(element: Element, _: Mapping[str, Element]) -> Iterable[Edge]:
    logging = element.properties.get("LoggingConfiguration") or {}
    prefix = without_marks(str(logging.get("LogFilePrefix", "")))
    for target in marks(logging.get("DestinationBucketName")):
        yield Edge(element.id, target, f"access log {prefix}".rstrip(), WRITES)


def _from_logs(element: Element, _: Mapping[str, Element]) -> Iterable[Edge]:
    place = _tags(element).get(LOG_ARCHIVE.name, "")
    for target in marks(place):
        prefix = place.partition("⟧")[2].strip("/")
        yield Edge(element.id, target, f"files {prefix}/" if prefix else "files", WRITES)


def _as_list(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else [str(value)] if value else []


_EDGES: dict[str, Callable[[Element, Mapping[str, Element]], Iterable[Edge]]] = {
    "AWS::Batch::JobQueue": _from_queue,
    "AWS::Batch::ComputeEnvironment": _from_environment,
    "AWS::Batch::JobDefinition": _from_definition,
    "AWS::IAM::Role": _from_role,
    "AWS::S3::Bucket": _from_bucket,
    "AWS::Logs::LogGroup": _from_logs,
}
