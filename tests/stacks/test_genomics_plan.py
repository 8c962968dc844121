"""Plans of the genomics environment: what a change of one parameter does to it, from the template to the words of a plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batchyard.compute.catalogue import GROUPS, SPOT_PART, Catalogue
from batchyard.services.cloudformation.planning.comparing import Change, Standing, Wanted, compare
from batchyard.services.cloudformation.planning.cost import estimate, priced
from batchyard.services.cloudformation.planning.iam import permissions
from batchyard.services.cloudformation.running.records import Physical, Resource
from batchyard.services.cloudformation.running.target import Target
from batchyard.services.cloudformation.schemas.attributes import attributes
from batchyard.services.cloudformation.schemas.checking import problems
from batchyard.services.cloudformation.template import parameters, reading

TEMPLATE = reading.read((Path(__file__).parents[2] / "templates/genomics.yaml").read_text())
NETWORK = {"VpcId": "vpc-0a1b2c3d", "SubnetIds": "subnet-0a1b2c3d,subnet-1a2b3c4d"}
PSEUDO = {
    "AWS::Region": "us-east-1",
    "AWS::AccountId": "123456789012",
    "AWS::StackName": "genomics",
    "AWS::StackId": "arn:aws:cloudformation:us-east-1:123456789012:stack/genomics/1",
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::NotificationARNs": [],
}


def target(**given: str) -> Target:
    settled = parameters.settle(TEMPLATE, {**NETWORK, **given})
    return Target.of(TEMPLATE, settled, PSEUDO, tags={}, exports={}, zones={"us-east-1": ["us-east-1a"]})


def made(wanted: Target) -> dict[str, Resource]:
    """The resources as if they had been made: ids and attributes that say what they are."""
    there: dict[str, Resource] = {}
    for logical_id in wanted.needs:
        type_name = str(wanted.fragment(logical_id)["Type"])
        given = {
            name: f"arn:aws:iam::123456789012:role/{logical_id}" if name == "Arn" else f"{logical_id}.{name}"
            for name in attributes(type_name)
        }
        there[logical_id] = Resource(
            logical_id=logical_id, type=type_name, current=Physical(type=type_name, physical_id=logical_id, attributes=given)
        )
    return there


def planned(before: dict[str, str], after: dict[str, str]) -> list[Change]:
    """The changes from the environment with some parameters to the one with others."""
    old, new = target(**before), target(**after)
    there = made(old)
    standing = {}
    for logical_id in old.needs:
        physical = old.wanted(logical_id, old.scope(there))
        standing[logical_id] = Standing(
            physical.type,
            logical_id,
            physical.properties,
            deletion_policy=physical.deletion_policy,
            update_replace_policy=physical.update_replace_policy,
            unresolved=old.fragment(logical_id).get("Properties"),
        )
    wanted = {}
    for logical_id, needs in new.needs.items():
        physical = new.wanted(logical_id, new.scope(there, is_plan=True))
        wanted[logical_id] = Wanted(
            physical.type,
            physical.properties,
            needs,
            deletion_policy=physical.deletion_policy,
            update_replace_policy=physical.update_replace_policy,
            unresolved=new.fragment(logical_id).get("Properties"),
        )
    changed = {name for name, value in new.parameters.items() if old.parameters[name] != value}
    return compare(standing, wanted, changed_parameters=changed, conditions=new.conditions)


def names(changes: list[Change]) -> dict[str, str]:
    return {change.logical_id: change.replacement or change.action for change in changes}


def test_nothing_changes_nothing() -> None:
    assert planned({}, {}) == []


def test_resolved_properties_have_no_problems() -> None:
    whole = target(BaselinevCpus="4", BaselineInstanceTypes="c6i.large", ImageId="ami-0a1b2c3d", RequireTls="true")
    there = made(whole)
    for logical_id in whole.needs:
        physical = whole.wanted(logical_id, whole.scope(there))
        assert problems(physical.type, physical.properties, is_resolved=True) == [], logical_id


@pytest.mark.parametrize(
    ("parameter", "value", "expected"),
    [
        ("SpotBidPercentage", "70", {"SpotComputeEnvironment": "False"}),
        ("OnDemandMaxvCpus", "16", {"OnDemandComputeEnvironment": "False"}),
        ("JobLogRetentionDays", "30", {"JobLogGroup": "False"}),
    ],
)
def test_one_parameter_changes_one_resource_and_is_named(parameter: str, value: str, expected: dict[str, str]) -> None:
    found = planned({}, {parameter: value})
    assert names(found) == expected
    assert {(detail.source, detail.causing_entity) for change in found for detail in change.details} == {("ParameterReference", parameter)}


def test_an_option_adds_a_resource_to_the_queues_that_use_it() -> None:
    found = planned({}, {"BaselinevCpus": "4"})
    assert names(found)["BaselineComputeEnvironment"] == "Add"
    assert {name for name, what in names(found).items() if what == "False"} <= {"DefaultJobQueue", "HighPriorityJobQueue"}
    back = planned({"BaselinevCpus": "4"}, {})
    assert names(back)["BaselineComputeEnvironment"] == "Remove"


def test_another_launch_template_version_may_reach_the_environments() -> None:
    found = planned({}, {"RootVolumeGiB": "300"})
    assert names(found) == {"InstanceLaunchTemplate": "False", "SpotComputeEnvironment": "False", "OnDemandComputeEnvironment": "False"}
    (spot,) = [change for change in found if change.logical_id == "SpotComputeEnvironment"]
    assert [(d.evaluation, d.causing_entity) for d in spot.details] == [("Dynamic", "InstanceLaunchTemplate.LatestVersionNumber")]


def test_what_jobs_may_read_is_told() -> None:
    found = permissions(planned({}, {"InputBucketArns": "arn:aws:s3:::reads"}))
    assert found
    assert all(one.is_wider and "arn:aws:s3:::reads" in one.text for one in found)
    back = permissions(planned({"InputBucketArns": "arn:aws:s3:::reads"}, {}))
    assert not any(one.is_wider for one in back)


def test_the_environment_costs_nothing_when_nothing_is_to_be_done() -> None:
    whole = target()
    there = made(whole)
    resources = {}
    for logical_id in whole.needs:
        physical = whole.wanted(logical_id, whole.scope(there))
        resources[logical_id] = (physical.type, physical.properties)
    catalogue = Catalogue()
    prices: Any = priced(catalogue.types.values(), catalogue.prices_from)
    found = estimate(resources, prices, groups=GROUPS, spot_part=SPOT_PART)
    assert found.low_usd_per_hour == 0
    assert {line.logical_id for line in found.lines} == {"SpotComputeEnvironment", "OnDemandComputeEnvironment"}
    assert found.high_usd_per_hour > 0
