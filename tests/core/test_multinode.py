"""Ranges of nodes, what lies over what, and what a submission changes of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from batchyard.core.multinode import expand, shown_nodes
from batchyard.core.node_ranges import NodeRange, parse_range, properties_of
from batchyard.core.submission import prepare, specify
from batchyard.model.capacity import Resources
from batchyard.model.definition import Definition
from batchyard.model.fault import Fault
from batchyard.model.job import Specification


def container(vcpus: int = 1, *command: str, **more: Any) -> dict[str, Any]:
    needs = [{"type": "VCPU", "value": str(vcpus)}, {"type": "MEMORY", "value": "64"}]
    return {"image": "busybox", "command": list(command), "resourceRequirements": needs, **more}


def entry(target: str, vcpus: int = 1, *command: str, **more: Any) -> dict[str, Any]:
    return {"targetNodes": target, "container": container(vcpus, *command), **more}


def submit(
    entries: list[dict[str, Any]], num_nodes: int = 6, main: int = 0, parameters: dict[str, str] | None = None, **over: Any
) -> Specification:
    nodes = {"numNodes": num_nodes, "mainNode": main, "nodeRangeProperties": entries}
    properties: dict[str, Any] = {"type": "multinode", "nodeProperties": nodes, "parameters": parameters or {}}
    definition = Definition(arn="arn:d:1", name="d", revision=1, account="1", region="r", properties=properties)
    submission = {"jobName": "j", **over}
    return expand(specify(prepare(definition), submission, job_id="x", queue="q", now_ms=1), definition, submission)


def sizes(spec: Specification) -> list[float]:
    return [spec.group_of(n).needs.vcpus for n in range(spec.num_nodes)]


@pytest.mark.parametrize(("text", "found"), [("0:3", (0, 3)), (":5", (0, 5)), ("2:", (2, None)), (":", (0, None)), ("7:7", (7, 7))])
def test_ranges(text: str, found: tuple[int, int | None]) -> None:
    assert parse_range("x", text) == NodeRange(*found)


@pytest.mark.parametrize("text", ["", "3", "a:b", "3:1", "-1:2", "1:2:3", "1.0:2"])
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(Fault, match=r"x\.targetNodes"):
        parse_range("x", text)


def test_the_narrower_range_wins_wherever_it_stands() -> None:
    for entries in ([entry("0:"), entry("2:4", 2), entry("3:3", 3)], [entry("3:3", 3), entry("2:4", 2), entry("0:")]):
        spec = submit(entries)
        assert sizes(spec) == [1, 1, 2, 3, 2, 1]
        assert [(g.first, g.last) for g in spec.nodes] == [(0, 1), (2, 2), (3, 3), (4, 4), (5, 5)]
    assert properties_of([entry("0:9"), entry("4:5")], 4, 10) == [0, 1]


def test_an_inner_range_keeps_what_it_does_not_say() -> None:
    spec = submit([entry("0:", 2, instanceTypes=["m5.large"]), {"targetNodes": "1:1", "container": container(1)}], num_nodes=2)
    assert sizes(spec) == [2, 1] and {g.instance_type for g in spec.nodes} == {"m5.large"}


def test_the_main_nodes_container_is_the_jobs() -> None:
    logs = {"logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-stream-prefix": "pre", "awslogs-group": "g"}}}
    spec = submit([entry("0:"), {"targetNodes": "1:1", "container": container(3, "main", **logs)}], main=1)
    assert (spec.needs, spec.main_node, spec.log_prefix, spec.log_group) == (Resources(3, 64), 1, "pre", "g")
    assert msgspec.json.decode(spec.effective)["command"] == ["main"]


def test_num_nodes_of_a_submission() -> None:
    entries = [entry("0:0", 3), entry("1:")]
    assert sizes(submit(entries, num_nodes=2, nodeOverrides={"numNodes": 4})) == [3, 1, 1, 1]
    for over, part in (
        ({"numNodes": 1}, "must be more than the lower boundary 1"),
        ({"numNodes": 1001}, "between 1 and 1000"),
        ({"numNodes": -1}, "between 1 and 1000"),
    ):
        with pytest.raises(Fault, match=part):
            submit(entries, num_nodes=2, nodeOverrides=over)
    with pytest.raises(Fault, match="open upper boundary"):
        submit([entry("0:1")], num_nodes=2, nodeOverrides={"numNodes": 3})
    with pytest.raises(Fault, match="index of the main node, 3"):
        submit([entry("0:")], num_nodes=4, main=3, nodeOverrides={"numNodes": 3})


def test_what_a_submission_changes_of_some_nodes() -> None:
    over = [
        {"targetNodes": "1:1", "containerOverrides": {"command": ["b"]}},
        {"targetNodes": "1:", "containerOverrides": {"command": ["a"], "environment": [{"name": "A", "value": "1"}], "vcpus": 5}},
        {"targetNodes": "2:", "containerOverrides": {"resourceRequirements": [{"type": "VCPU", "value": "4"}]}},
    ]
    spec = submit(
        [entry("0:", 1, "run", "Ref::what")], num_nodes=3, parameters={"what": "it"}, nodeOverrides={"nodePropertyOverrides": over}
    )
    commands = [msgspec.json.decode(spec.group_of(n).effective)["command"] for n in range(3)]
    assert commands == [["run", "it"], ["b"], ["a"]]
    assert sizes(spec) == [1, 1, 4]
    shown = msgspec.json.decode(spec.extras)["nodeProperties"]
    assert [r["targetNodes"] for r in shown["nodeRangeProperties"]] == ["0:0", "1:1", "2:2"]
    assert shown["nodeRangeProperties"][0]["container"]["command"] == ["run", "it"]
    with pytest.raises(Fault, match="names nodes that the job does not have"):
        submit([entry("0:")], nodeOverrides={"nodePropertyOverrides": [{"targetNodes": "2:6"}]})
    with pytest.raises(Fault, match="one instance type"):
        types = [{"targetNodes": f"{n}:{n}", "instanceTypes": [t]} for n, t in ((0, "m5.large"), (1, "c5.large"))]
        submit([entry("0:")], nodeOverrides={"nodePropertyOverrides": types})


def test_an_instance_type_takes_the_place_of_the_one_before_wherever_each_was_said() -> None:
    of_range = {"targetNodes": "0:", "instanceTypes": ["c5.large"]}
    of_container = {"targetNodes": "0:", "containerOverrides": {"instanceType": "c5.large"}}
    entries = [entry("0:", instanceTypes=["m5.large"]), {**entry("0:"), "container": {**container(1), "instanceType": "m5.large"}}]
    for registered in entries:
        for over in ([of_range], [of_container], [{**of_range, **of_container}], [of_range, of_container], [of_container, of_range]):
            spec = submit([registered], num_nodes=2, nodeOverrides={"nodePropertyOverrides": over})
            assert {group.instance_type for group in spec.nodes} == {"c5.large"}, (registered, over)
            (shown,) = msgspec.json.decode(spec.extras)["nodeProperties"]["nodeRangeProperties"]
            said = [
                *shown.get("instanceTypes", []),
                *([shown["container"]["instanceType"]] if "instanceType" in shown["container"] else []),
            ]
            assert said == ["c5.large"]


def test_the_registered_ranges_are_shown_as_they_were() -> None:
    nodes = {
        "numNodes": 2,
        "mainNode": 0,
        "nodeRangeProperties": [{"targetNodes": "0:", "container": {"image": "i", "vcpus": 1, "memory": 64}}],
    }
    (shown,) = shown_nodes(nodes)["nodeRangeProperties"]
    assert (shown["targetNodes"], shown["container"]["image"], shown["container"]["ulimits"]) == ("0:", "i", [])
    spec = submit([entry("0:")], num_nodes=2, nodeOverrides={"numNodes": 3})
    told = msgspec.json.decode(spec.extras)["nodeProperties"]
    assert (told["numNodes"], told["nodeRangeProperties"][0]["targetNodes"]) == (3, "0:")


def test_consumable_resources_of_all_nodes_are_one_sum() -> None:
    licence = {"consumableResourceList": [{"consumableResource": "licence", "quantity": 2}]}
    spec = submit([entry("0:"), entry("1:", consumableResourceProperties=licence)], num_nodes=3)
    assert [(w.resource.rpartition("/")[2], w.quantity) for w in spec.consumables] == [("licence", 4)]
