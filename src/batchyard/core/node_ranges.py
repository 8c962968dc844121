"""Ranges of nodes (`0:3`, `:5`, `2:`) and what stands in them: which properties hold for which node of a multi-node parallel job."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from batchyard.model.fault import client_fault

_RANGE = re.compile(r"([0-9]{0,6}):([0-9]{0,6})")


class NodeRange(NamedTuple):
    """Indexes of nodes, both included; `last` is None for a range that is open to the highest one."""

    first: int
    last: int | None

    def end(self, num_nodes: int) -> int:
        """The last index in a job of so many nodes."""
        return num_nodes - 1 if self.last is None else self.last

    def holds(self, node: int) -> bool:
        return self.first <= node and (self.last is None or node <= self.last)


def parse_range(where: str, text: str) -> NodeRange:
    """A range as callers write it. Raises a Fault that names `where` for anything else."""
    parts = _RANGE.fullmatch(text)
    if parts is None:
        raise client_fault(f"{where}.targetNodes {text[:40]!r} is not valid: write a range of node indexes, such as 0:3, :5 or 2:")
    found = NodeRange(int(parts[1] or 0), int(parts[2]) if parts[2] else None)
    if found.last is not None and found.last < found.first:
        raise client_fault(f"{where}.targetNodes {text} is not valid: it ends before it begins.")
    return found


def properties_of(entries: Sequence[Mapping[str, Any]], node: int, num_nodes: int) -> list[int]:
    """The numbers of those entries whose range holds a node, widest range first: what comes later overrides what comes before."""
    ranges = [(parse_range("nodeRangeProperties", entry["targetNodes"]), number) for number, entry in enumerate(entries)]
    holding = [(found.first - found.end(num_nodes), number) for found, number in ranges if found.holds(node)]
    return [number for _width, number in sorted(holding)]


def first_nodes(entries: Sequence[Mapping[str, Any]], num_nodes: int) -> list[int]:
    """The nodes at which other ranges hold than for the node before: between them all nodes are alike."""
    ranges = [parse_range("nodeRangeProperties", entry["targetNodes"]) for entry in entries]
    edges = {0, *(r.first for r in ranges), *(r.end(num_nodes) + 1 for r in ranges)}
    return sorted(edge for edge in edges if edge < num_nodes)


def merged(entries: Sequence[Mapping[str, Any]], numbers: Sequence[int]) -> dict[str, Any]:
    """The members that hold where these entries lie over each other."""
    together: dict[str, Any] = {}
    for number in numbers:
        together.update({name: value for name, value in entries[number].items() if value is not None})
    return together


def main_members(node_properties: Mapping[str, Any]) -> dict[str, Any]:
    """What holds for the main node, as it was registered."""
    entries: Sequence[Mapping[str, Any]] = node_properties["nodeRangeProperties"]
    return merged(entries, properties_of(entries, node_properties["mainNode"], node_properties["numNodes"]))


def main_container(node_properties: Mapping[str, Any]) -> Mapping[str, Any]:
    """The container of the main node, as it was registered."""
    container: Mapping[str, Any] = main_members(node_properties)["container"]
    return container
