"""Properties that were spoiled one at a time: our verdicts beside those of cfn-lint, which reads the same schemas with code of its own."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from test_genomics_plan import made, target

from batchyard.services.cloudformation.schemas.checking import problems

EVERY = 12  # of all spoiled ones: cfn-lint takes its time
SPOILERS: dict[str, Any] = {"object": {"x": "1"}, "list": ["zzz"], "text": "zzz zzz", "number": 7, "truth": True, "empty": ""}
# What cfn-lint checks beyond the schemas, so that it is no matter of the schemas: ids that are given twice, rules of EC2 for ports, the
# grammar of policies and resources that refer to each other
BEYOND = {"E3019", "E3024", "E3510", "E3512", "E3513", "E3530", "E3687", "E3688"}


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """All values within, but for what is in policies."""
    yield place, value
    if place and "PolicyDocument" in str(place[-1]):
        return
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*place, key))


def changed(properties: dict[str, Any], place: tuple[Any, ...], *value: Any) -> dict[str, Any]:
    """The properties with another value at a place, or without it."""
    result = copy.deepcopy(properties)
    around: Any = result
    for step in place[:-1]:
        around = around[step]
    if value:
        around[place[-1]] = value[0]
    else:
        del around[place[-1]]
    return result


def spoiled(properties: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each place with each wrong value, without each member, with one member too many."""
    for place, value in places(properties):
        name = "/".join(map(str, place))
        if isinstance(value, dict):
            yield f"{name} with one more", changed(properties, (*place, "Zzz"), "1")
        if place:
            for kind, wrong in SPOILERS.items():
                yield f"{name} as {kind}", changed(properties, place, wrong)
            if isinstance(place[-1], str):
                yield f"{name} gone", changed(properties, place)


def test_both_say_the_same(tmp_path: Path) -> None:
    whole = target(BaselinevCpus="4")
    there = made(whole)
    types: dict[str, dict[str, Any]] = {}
    for logical_id in whole.needs:
        physical = whole.wanted(logical_id, whole.scope(there))
        types.setdefault(physical.type, physical.properties)
    every = [(f"{name}: {what}", name, wrong) for name, properties in sorted(types.items()) for what, wrong in spoiled(properties)]
    sample = every[::EVERY]
    assert len(sample) > 100
    template = tmp_path / "spoiled.json"
    resources = {f"R{n}": {"Type": name, "Properties": wrong} for n, (_, name, wrong) in enumerate(sample)}
    template.write_text(json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}))
    command = [sys.executable, "-c", "from cfnlint.runner import main; main()", "--format", "json", "--", str(template)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    refused: dict[str, str] = {}
    for found in json.loads(answer.stdout):
        path, rule = found["Location"]["Path"], found["Rule"]["Id"]
        is_of_addresses = "-network'" in found["Message"]  # CIDR blocks are EC2's to refuse
        if rule.startswith("E3") and rule not in BEYOND and path and path[0] == "Resources" and len(path) > 1 and not is_of_addresses:
            refused[path[1]] = f"{rule} {found['Message']}"
    differing = {}
    for n, (what, name, wrong) in enumerate(sample):
        ours = [problem.message for problem in problems(name, wrong, is_resolved=True)]
        is_enum_of_text = what.endswith(("as number", "as truth")) and all(one.endswith("[enum]") for one in ours)
        if bool(ours) != (f"R{n}" in refused) and not is_enum_of_text:  # cfn-lint holds only texts against an enum of texts
            differing[what] = (ours, refused.get(f"R{n}"))
    assert differing == {}
