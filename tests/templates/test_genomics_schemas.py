"""AWS would take the template: cfn-lint is content, and every property stands in the published resource schema.

The schemas are those of the CloudFormation registry, as cfn-lint ships them for each region.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from genomics_promises import BASELINE, PARAMETER_SETS
from genomics_stack import TEMPLATE, load_template, resolve
from jsonschema import Draft7Validator, ValidationError, validators  # type: ignore[import-untyped]

REGIONS = ("us-east-1", "eu-central-1", "ap-southeast-2", "us-gov-west-1", "cn-north-1")
# The patterns of the schemas are not Python's: these classes are the nearest that `re` knows.
PATTERN_CLASSES = {r"\p{L}": r"\w", r"\p{N}": r"\d", r"\p{Z}": r"\s"}
CFN_LINT = [sys.executable, "-c", "from cfnlint.runner import main; main()"]


def _schemas() -> Path:
    package = importlib.util.find_spec("cfnlint")  # found, not imported: importing it takes seconds
    assert package is not None and package.origin is not None
    return Path(package.origin).parent / "data" / "schemas"


@cache
def schema(kind: str, region: str) -> dict[str, Any]:
    """The published schema of a resource type in a region."""
    names = json.loads((_schemas() / "providers" / f"{region}.json").read_text(encoding="utf-8"))
    text = (_schemas() / "resources" / f"{names[kind]}.json").read_text(encoding="utf-8")
    for theirs, ours in PATTERN_CLASSES.items():
        text = text.replace(json.dumps(theirs)[1:-1], json.dumps(ours)[1:-1])
    found = json.loads(text)
    assert found["typeName"] == kind
    assert isinstance(found, dict)
    return found


def _any_case(_: Any, allowed: list[str], value: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(value, str) and value.lower() not in allowed:
        yield ValidationError(f"{value!r} is not one of {allowed}")


Validator = validators.extend(Draft7Validator, {"enumCaseInsensitive": _any_case})


def faults(kind: str, properties: dict[str, Any], region: str) -> list[str]:
    """What the published schema of `kind` has against `properties`, read-only ones included."""
    published = schema(kind, region)
    assert published["additionalProperties"] is False, f"the schema of {kind} would take any property"
    found = [f"{error.json_path}: {error.message}" for error in Validator(published).iter_errors(properties)]
    for pointer in published.get("readOnlyProperties", []):
        found += [f"{pointer} is read-only"] * holds(properties, pointer.split("/")[2:])
    return found


def holds(node: Any, path: list[str]) -> bool:
    """Whether something stands at `path`, in which `*` is any element of a list or value of a map."""
    if not path:
        return True
    head, rest = path[0], path[1:]
    if head == "*":
        children = node if isinstance(node, list) else node.values() if isinstance(node, dict) else []
        return any(holds(child, rest) for child in children)
    return isinstance(node, dict) and head in node and holds(node[head], rest)


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("given", PARAMETER_SETS.values(), ids=PARAMETER_SETS.keys())
def test_every_property_is_in_the_published_schema(given: dict[str, str], region: str) -> None:
    stack = resolve(load_template(), given | BASELINE)
    found = {
        logical_id: told
        for logical_id, resource in stack.resources.items()
        if (told := faults(resource["Type"], resource["Properties"], region))
    }
    assert not found


@pytest.mark.parametrize(
    ("logical_id", "path", "value", "told"),
    [
        ("SpotComputeEnvironment", ["ComputeResources", "SpotBid"], 100, "SpotBid"),
        ("SpotComputeEnvironment", ["ComputeResources", "AllocationStrategy"], "CHEAPEST", "CHEAPEST"),
        ("SpotComputeEnvironment", ["ComputeEnvironmentArn"], "arn:aws:batch:x", "read-only"),
        ("OnDemandComputeEnvironment", ["ComputeResources", "MaxvCpus"], None, "MaxvCpus"),
        ("DefaultJobQueue", ["Priority"], 5000, "5000"),
        ("ResultsBucket", ["Encryption"], True, "Encryption"),
        ("InstanceLaunchTemplate", ["LaunchTemplateData", "BlockDeviceMappings", 0, "Ebs", "VolumeType"], "gp9", "gp9"),
        ("JobLogGroup", ["RetentionInDays"], 42, "42"),
    ],
)
def test_a_property_that_aws_does_not_know_is_noticed(logical_id: str, path: list[Any], value: Any, told: str) -> None:
    resource = copy.deepcopy(resolve(load_template()).resources[logical_id])
    node = resource["Properties"]
    for part in path[:-1]:
        node = node[part]
    if value is None:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    assert any(told in fault for fault in faults(resource["Type"], resource["Properties"], "us-east-1"))


def test_read_only_properties_are_found_inside_lists() -> None:
    properties = {"ComputeResources": {"Ec2Configuration": [{"ImageType": "ECS_AL2023", "BatchImageStatus": "LATEST"}]}}
    assert holds(properties, ["ComputeResources", "Ec2Configuration", "*", "BatchImageStatus"])
    assert not holds({"ComputeResources": {}}, ["ComputeResources", "Ec2Configuration", "*", "BatchImageStatus"])


@pytest.mark.timeout(700)  # ten seconds of a processor that nobody else wants
def test_cfn_lint_is_content_and_would_tell_if_it_were_not(tmp_path: Path) -> None:
    """All rules, hints included, and none switched off; a broken copy beside it shows that the linter looked."""
    text = TEMPLATE.read_text(encoding="utf-8")
    assert "cfn-lint" not in text, "rules are switched off in the template"
    broken = tmp_path / "broken.yaml"
    broken.write_text(text.replace("BEST_FIT_PROGRESSIVE", "FIRST_COME"), encoding="utf-8")
    command = [*CFN_LINT, "--format", "json", "--include-checks", "I", "--regions", *REGIONS]
    told = subprocess.run(
        [*command, "--", str(TEMPLATE), str(broken)], capture_output=True, text=True, cwd=tmp_path, timeout=600, check=False
    )
    findings = json.loads(told.stdout)
    assert [finding for finding in findings if finding["Filename"] == str(TEMPLATE)] == []
    assert any("first_come" in finding["Message"] for finding in findings if finding["Filename"] == str(broken))
