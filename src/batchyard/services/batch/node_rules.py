"""What a job definition and a submission may say of multi-node parallel jobs (API reference, NodeProperties and NodeOverrides)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from batchyard.core import forms
from batchyard.core.multinode import MAX_NODES
from batchyard.core.node_ranges import NodeRange, first_nodes, merged, parse_range, properties_of
from batchyard.model.capacity import Platform
from batchyard.model.fault import Fault, client_fault
from batchyard.services import Caller
from batchyard.services.batch.consumable_rules import check_consumables
from batchyard.services.batch.container_rules import check_container, check_resources
from batchyard.services.batch.fargate_rules import platform_of_definition
from batchyard.services.batch.fields_not_yet import is_empty
from batchyard.services.batch.log_rules import check_log_configuration
from batchyard.services.batch.pod_rules import check_eks_override, check_eks_properties
from batchyard.services.batch.task_rules import check_ecs_override, check_ecs_properties, renamed
from batchyard.services.batch.validation import check_command, check_environment_variables

MAX_RANGES = 5
_RUNS = ("container", "ecsProperties", "eksProperties")  # what a node may run, one of them


def check_multi_node(params: Mapping[str, Any], caller: Caller, runtime: str) -> None:
    """Refuse a job definition of type multinode that AWS refuses."""
    for member in forms.MEMBERS.values():
        if not is_empty(params.get(member)):
            raise client_fault(f"{member} is not for job definitions of type multinode: use nodeProperties.nodeRangeProperties.")
    if platform_of_definition(params.get("platformCapabilities")) is not Platform.EC2:
        raise client_fault("Multi-node parallel jobs cannot run on Fargate nor on managed instances: platformCapabilities must be EC2.")
    properties = params.get("nodeProperties")
    if not properties:
        raise client_fault("Node properties should not be empty")
    num_nodes, main, entries = properties["numNodes"], properties["mainNode"], properties["nodeRangeProperties"]
    if not 1 <= num_nodes <= MAX_NODES:
        raise client_fault(f"nodeProperties.numNodes must be between 1 and {MAX_NODES}, not {num_nodes}.")
    if not 0 <= main < num_nodes:
        raise client_fault(f"nodeProperties.mainNode must be an index of a node, 0 to {num_nodes - 1}, not {main}.")
    if not 1 <= len(entries) <= MAX_RANGES:
        raise client_fault(f"nodeProperties.nodeRangeProperties must hold between 1 and {MAX_RANGES} node ranges, not {len(entries)}.")
    _check_ranges(entries, num_nodes)
    for number, entry in enumerate(entries):
        _check_entry(f"nodeProperties.nodeRangeProperties[{number}]", entry, caller, runtime)
    _check_instance_types(entries)


def _check_ranges(entries: Sequence[Mapping[str, Any]], num_nodes: int) -> None:
    """Every node must be in a range and have a container; ranges lie apart or in one another."""
    ranges: list[NodeRange] = []
    for number, entry in enumerate(entries):
        where = f"nodeProperties.nodeRangeProperties[{number}]"
        found = parse_range(where, entry["targetNodes"])
        if max(found.first, found.end(num_nodes)) >= num_nodes:
            raise client_fault(f"{where}.targetNodes {entry['targetNodes']} names nodes beyond numNodes, {num_nodes}.")
        for other in ranges:
            if other == found:
                raise client_fault(f"{where}.targetNodes {entry['targetNodes']} stands there twice.")
            first, second = sorted((other, found), key=lambda r: (r.first, -r.end(num_nodes)))
            if first.first < second.first <= first.end(num_nodes) < second.end(num_nodes):
                raise client_fault(f"{where}.targetNodes {entry['targetNodes']} overlaps another range: ranges may only be nested.")
        ranges.append(found)
    for node in first_nodes(entries, num_nodes):
        holding = properties_of(entries, node, num_nodes)
        if not holding:
            raise client_fault(f"nodeProperties.nodeRangeProperties must cover all nodes: no targetNodes holds node {node}.")
        given = [member for member in _RUNS if merged(entries, holding).get(member)]
        if not given:
            raise client_fault(f"nodeProperties.nodeRangeProperties: node {node} has no container.")
        if len(given) > 1:
            raise client_fault(f"nodeProperties.nodeRangeProperties: node {node} has {' and '.join(given)}; it may have one of them.")
    if len({member == "eksProperties" for entry in entries for member in _RUNS if entry.get(member)}) > 1:
        raise client_fault("nodeProperties.nodeRangeProperties cannot mix eksProperties with containers of ECS: a queue runs one kind.")


def _check_entry(where: str, entry: Mapping[str, Any], caller: Caller, runtime: str) -> None:
    _check_one_type(where, entry.get("instanceTypes"))
    check_consumables(f"{where}.consumableResourceProperties", entry.get("consumableResourceProperties"))
    if entry.get("ecsProperties"):
        with renamed("ecsProperties", f"{where}.ecsProperties"):
            check_ecs_properties(entry["ecsProperties"], caller, runtime)
    if entry.get("eksProperties"):
        with renamed("eksProperties", f"{where}.eksProperties"):
            check_eks_properties(entry["eksProperties"], runtime)
    container = entry.get("container")
    if not container:
        return
    try:
        check_container({name: value for name, value in container.items() if name != "instanceType"}, caller.request_id)
        check_log_configuration("containerProperties", container.get("logConfiguration"), caller.region)
    except Fault as fault:
        raise Fault(fault.code, fault.message.replace("containerProperties", f"{where}.container")) from None


def _check_one_type(where: str, instance_types: Sequence[str] | None) -> None:
    if instance_types and len(instance_types) > 1:
        raise client_fault(f"{where}.instanceTypes may hold one instance type only, not {len(instance_types)}.")


def _check_instance_types(entries: Sequence[Mapping[str, Any]]) -> None:
    named = [t for e in entries for t in (*(e.get("instanceTypes") or ()), (e.get("container") or {}).get("instanceType")) if t]
    if len(set(named)) > 1:
        raise client_fault(f"All node ranges must use one instance type; instanceTypes name {', '.join(sorted(set(named)))}.")


def check_node_overrides(params: Mapping[str, Any], is_multi_node: bool) -> None:
    """Refuse overrides of the wrong kind, and those of nodes that make no sense by themselves."""
    if not is_multi_node:
        if not is_empty(params.get("nodeOverrides")):
            raise client_fault("nodeOverrides is only for multi-node parallel jobs: the job definition is not of type multinode.")
        return
    for member in forms.OVERRIDES.values():
        if not is_empty(params.get(member)):
            raise client_fault(f"{member} is not for multi-node parallel jobs: use nodeOverrides.nodePropertyOverrides.")
    if (params.get("arrayProperties") or {}).get("size") is not None:
        raise client_fault("A multi-node parallel job cannot be an array job: leave arrayProperties out.")
    for number, entry in enumerate((params.get("nodeOverrides") or {}).get("nodePropertyOverrides") or ()):
        where = f"nodeOverrides.nodePropertyOverrides[{number}]"
        _check_one_type(where, entry.get("instanceTypes"))
        check_consumables(f"{where}.consumableResourcePropertiesOverride", entry.get("consumableResourcePropertiesOverride"))
        overrides = entry.get("containerOverrides") or {}
        check_command(f"{where}.containerOverrides", overrides.get("command"))
        check_environment_variables(f"{where}.containerOverrides", overrides.get("environment"))
        check_resources(f"{where}.containerOverrides", overrides.get("resourceRequirements") or ())
        with renamed("ecsPropertiesOverride", f"{where}.ecsPropertiesOverride"):
            check_ecs_override(entry.get("ecsPropertiesOverride") or {})
        with renamed("eksPropertiesOverride", f"{where}.eksPropertiesOverride"):
            check_eks_override(entry.get("eksPropertiesOverride") or {})
