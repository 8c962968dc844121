"""Resolves the environment in parts into one stack, as if its templates were one."""

from __future__ import annotations

import copy
from typing import Any

from genomics_stack import NESTED, ROOT_OF_PARTS, STACK_NAME, Stack, filled, load_template, parameter_values, resolve

PARTS = ("network", "storage", "identity", "compute")
Templates = dict[str, dict[str, Any]]


def load_parts() -> Templates:
    """The root and its parts by the names of their files; the caller may change them."""
    return {name: load_template(ROOT_OF_PARTS.with_name(f"{name}.yaml")) for name in ("root", *PARTS)}


def file_of(resource: dict[str, Any]) -> str:
    """Which part a nested stack is."""
    url = resource["Properties"]["TemplateURL"]
    assert url.startswith("./") and url.endswith(".yaml")
    return str(url.removeprefix("./").removesuffix(".yaml"))


def resolve_parts(templates: Templates, given: dict[str, str]) -> Stack:
    """One stack with the resources of all parts, and the root's own resources and outputs. The parts have names of their own."""
    root = copy.deepcopy(templates["root"])
    nested = {name: root["Resources"].pop(name) for name, node in templates["root"]["Resources"].items() if node["Type"] == NESTED}
    stack = Stack(root, parameter_values(root, given))
    held: dict[str, dict[str, Any]] = {}
    for name, node in nested.items():  # in the order in which they need each other
        if "Condition" in node and not stack.holds(node["Condition"]):
            continue
        passed = stack.value(node["Properties"]["Parameters"])
        assert all(isinstance(value, str | int) for value in passed.values()), "a nested stack takes no lists"
        part = templates[file_of(node)]
        given_inside = {key: str(value) for key, value in passed.items()}
        stack.parts[name] = resolve(part, given_inside, name=f"{STACK_NAME}-{name}-1A2B3C")
        assert not held.keys() & stack.parts[name].resources.keys()
        held |= stack.parts[name].resources
    filled(stack)
    stack.resources |= held
    return stack
