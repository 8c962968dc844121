"""A plan names job definitions that ask for more scratch space than the machine can promise."""

from __future__ import annotations

from typing import Any

import pytest

from batchyard.main.stacks.fitting import misfits
from batchyard.model.capacity import Environment, Resources

CE = Environment(
    arn="ce", name="ce", account="1", region="r", uuid="u", kind="MANAGED", max_vcpus=8, instance_types=("optimal",), provider="local"
)
CONTAINER = {"image": "x", "command": [], "vcpus": 1, "memory": 64}
NODES = {"numNodes": 3, "mainNode": 0, "nodeRangeProperties": [{"targetNodes": "0:2", "container": CONTAINER}]}


def described(gib: str, **more: Any) -> dict[str, Any]:
    properties = more or {"type": "container", "containerProperties": CONTAINER}
    tags = {"batchyard:scratch-gib": gib} if gib else {}
    return {"jobDefinitionName": "align", "revision": 1, "jobDefinitionArn": "d:1", "tags": tags, **properties}


def test_one_that_asks_for_more_than_there_can_be_is_named_with_the_figures() -> None:
    machine = Resources(8, 8192, 0, 100 * 1024)
    (found,) = misfits([described("100"), described(""), described("101")], [CE], machine)
    assert found.definition == "align:1"
    (reason,) = found.reasons
    assert "asks for 101 GiB" in reason.shortfall and "can promise 100 GiB in all" in reason.shortfall


@pytest.mark.parametrize(("gib", "fits"), [("33", True), ("34", False)])
def test_nodes_ask_together(gib: str, fits: bool) -> None:
    found = misfits([described(gib, type="multinode", nodeProperties=NODES)], [CE], Resources(8, 8192, 0, 100 * 1024))
    assert (found == []) is fits


def test_where_nobody_says_how_much_there_is_none_is_named() -> None:
    assert misfits([described("100000")], [CE], Resources(8, 8192)) == []
    assert misfits([described("100000")], [CE], None) == []
