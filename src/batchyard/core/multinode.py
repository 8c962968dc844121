"""From nodeProperties and nodeOverrides to what each node of a multi-node parallel job runs (API reference, NodeProperties)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from batchyard.core import forms, tasks
from batchyard.core.node_ranges import first_nodes, merged, parse_range, properties_of
from batchyard.core.parameters import has_references, substitute
from batchyard.core.submission import consumable_arn, needs_of, override_container, with_empty_lists
from batchyard.model.consumable import Consumption
from batchyard.model.definition import Definition
from batchyard.model.fault import client_fault
from batchyard.model.job import NodeGroup, Specification

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode

_MEMBERS = {**forms.MEMBERS, "": "container"}  # of a range of nodes
MAX_NODES = 1000  # of an ECS cluster, by default


def is_multi_node(definition: Definition) -> bool:
    return definition.properties.get("type") == "multinode"


def expand(spec: Specification, definition: Definition, submission: Mapping[str, Any]) -> Specification:
    """The specification of a multi-node parallel job, with what each of its nodes runs. Raises a Fault for overrides that do not fit."""
    registered, overrides = definition.properties["nodeProperties"], submission.get("nodeOverrides") or {}
    num_nodes = overrides.get("numNodes") or registered["numNodes"]
    if overrides.get("numNodes"):
        _check_num_nodes(registered, num_nodes)
    property_overrides = overrides.get("nodePropertyOverrides") or ()
    for number, entry in enumerate(property_overrides):
        where = f"nodeOverrides.nodePropertyOverrides[{number}]"
        if parse_range(where, entry["targetNodes"]).end(num_nodes) >= num_nodes:
            raise client_fault(f"{where}.targetNodes {entry['targetNodes']} names nodes that the job does not have: it has {num_nodes}.")
    values = {**(definition.properties.get("parameters") or {}), **(submission.get("parameters") or {})}
    parts = _parts(registered["nodeRangeProperties"], property_overrides, num_nodes, values)
    types = {t for _, _, part in parts for t in _instance_types(part)}
    if len(types) > 1:
        raise client_fault(f"All nodes must use one instance type; instanceTypes name {', '.join(sorted(types))}.")
    scratch_mib = spec.needs.scratch_mib  # of each node
    groups = tuple(_group(first, last, part, next(iter(types), ""), scratch_mib) for first, last, part in parts)
    shown = {**registered, "numNodes": num_nodes, "nodeRangeProperties": _shown(registered, parts, bool(property_overrides), values)}
    whole = replace(spec, nodes=groups, main_node=registered["mainNode"])
    return replace(
        whole.running(whole.group_of(whole.main_node)),
        consumables=_wants(spec, parts),
        extras=Raw(_encode({**_decode(spec.extras), "nodeProperties": shown})),
    )


def shown_nodes(registered: Mapping[str, Any]) -> dict[str, Any]:
    """nodeProperties as AWS shows them: what was registered, and lists of containers that were not as empty ones."""
    return {**registered, "nodeRangeProperties": [_with_lists(entry) for entry in registered["nodeRangeProperties"]]}


def _check_num_nodes(registered: Mapping[str, Any], num_nodes: int) -> None:
    """As AWS says of nodeOverrides.numNodes; closed ranges end where they did."""
    if not 1 <= num_nodes <= MAX_NODES:
        raise client_fault(f"nodeOverrides.numNodes must be between 1 and {MAX_NODES}, not {num_nodes}.")
    ranges = [parse_range("nodeRangeProperties", entry["targetNodes"]) for entry in registered["nodeRangeProperties"]]
    lower = [r.first for r in ranges if r.last is None]
    if not lower:
        raise client_fault("nodeOverrides.numNodes needs a node range with an open upper boundary (such as n:) in the job definition.")
    if min(lower) >= num_nodes:
        raise client_fault(
            f"nodeOverrides.numNodes {num_nodes} must be more than the lower boundary {min(lower)} of the job definition's open node range."
        )
    if registered["mainNode"] >= num_nodes:
        raise client_fault(f"nodeOverrides.numNodes {num_nodes} must be more than the index of the main node, {registered['mainNode']}.")


def _parts(
    entries: Sequence[Mapping[str, Any]], overrides: Sequence[Mapping[str, Any]], num_nodes: int, values: Mapping[str, str]
) -> list[tuple[int, int, dict[str, Any]]]:
    """Neighbouring nodes with the same properties: (first, last, members), after overrides and with placeholders filled in."""
    firsts = first_nodes([*entries, *overrides], num_nodes)
    return [
        (
            first,
            behind - 1,
            _part(
                merged(entries, properties_of(entries, first, num_nodes)),
                [overrides[number] for number in properties_of(overrides, first, num_nodes)],
                values,
            ),
        )
        for first, behind in zip(firsts, [*firsts[1:], num_nodes], strict=True)
    ]


def _part(members: dict[str, Any], overrides: Sequence[Mapping[str, Any]], values: Mapping[str, str]) -> dict[str, Any]:
    form = forms.form_of(members)
    _check_overrides(form, overrides)
    if form:
        of_form = [override.get(forms.OVERRIDES[form]) or {} for override in overrides]
        members[_MEMBERS[form]] = forms.merged(form, members[_MEMBERS[form]], of_form, values)
        for override in overrides:
            _override_placement(members, override)
        return members
    container = with_empty_lists(members["container"])
    for override in overrides:
        changes = override.get("containerOverrides") or {}
        container = override_container(container, changes)
        if changes.get("instanceType"):
            container["instanceType"] = changes["instanceType"]
            if "instanceTypes" in members:  # the same said of the range: one takes the place of the other
                members["instanceTypes"] = []
        if override.get("instanceTypes"):
            container.pop("instanceType", None)
        _override_placement(members, override)
    members["container"] = _filled_in(container, values)
    return members


def _override_placement(members: dict[str, Any], override: Mapping[str, Any]) -> None:
    if override.get("instanceTypes"):
        members["instanceTypes"] = override["instanceTypes"]
    if override.get("consumableResourcePropertiesOverride"):
        members["consumableResourceProperties"] = override["consumableResourcePropertiesOverride"]


def _check_overrides(form: str, overrides: Sequence[Mapping[str, Any]]) -> None:
    """Only the override of a node's own form has a meaning: another one would change nothing."""
    for other, member in forms.OVERRIDES.items():
        if other != form and any(override.get(member) for override in overrides):
            raise client_fault(f"nodeOverrides.nodePropertyOverrides: {member} is not for nodes that have {_MEMBERS[form]}.")


def _filled_in(container: dict[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    if not has_references(container["command"]):
        return container
    return {**container, "command": substitute(container["command"], values)}


def _group(first: int, last: int, part: Mapping[str, Any], instance_type: str, scratch_mib: int) -> NodeGroup:
    form = forms.form_of(part)
    if form:
        properties = part[_MEMBERS[form]]
        needs = forms.needs_of(form, properties)._replace(scratch_mib=scratch_mib)
        return NodeGroup(first=first, last=last, needs=needs, form=form, effective=Raw(_encode(properties)), instance_type=instance_type)
    container = part["container"]
    log_options = (container.get("logConfiguration") or {}).get("options") or {}
    return NodeGroup(
        first=first,
        last=last,
        needs=needs_of(container)._replace(scratch_mib=scratch_mib),
        effective=Raw(_encode(container)),
        instance_type=instance_type,
        log_group=log_options.get("awslogs-group", ""),
        log_prefix=log_options.get("awslogs-stream-prefix", ""),
    )


def _instance_types(part: Mapping[str, Any]) -> list[str]:
    own = (part.get("container") or {}).get("instanceType")
    return [*(part.get("instanceTypes") or ()), *([own] if own else [])]


def _wants(spec: Specification, parts: Sequence[tuple[int, int, Mapping[str, Any]]]) -> tuple[Consumption, ...]:
    """What the job wants, and each of its nodes, together: all of it is taken at once."""
    together = Counter({want.resource: want.quantity for want in spec.consumables})
    for first, last, part in parts:
        for entry in (part.get("consumableResourceProperties") or {}).get("consumableResourceList") or ():
            together[consumable_arn(spec.account, spec.region, entry["consumableResource"])] += int(entry["quantity"]) * (last - first + 1)
    return tuple(Consumption(resource, quantity) for resource, quantity in together.items())


def _shown(
    registered: Mapping[str, Any], parts: Sequence[tuple[int, int, Mapping[str, Any]]], is_overridden: bool, values: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The ranges as they were registered; after overrides, which may cut them, as they came out."""
    if is_overridden:
        return [{**part, "targetNodes": f"{first}:{last}"} for first, last, part in parts]
    entries = [_with_lists(entry) for entry in registered["nodeRangeProperties"]]
    return [_with_values(entry, values) for entry in entries]


def _with_values(entry: dict[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    form = forms.form_of(entry)
    if form:
        return {**entry, _MEMBERS[form]: forms.merged(form, entry[_MEMBERS[form]], (), values)}
    return {**entry, "container": _filled_in(entry["container"], values)} if "container" in entry else entry


def _with_lists(entry: Mapping[str, Any]) -> dict[str, Any]:
    container, several = entry.get("container"), entry.get("ecsProperties")
    if several:
        return {**entry, "ecsProperties": {"taskProperties": [tasks.shown_task(task) for task in several["taskProperties"]]}}
    return {**entry, "container": with_empty_lists(container)} if container else dict(entry)
