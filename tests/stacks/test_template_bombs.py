"""Templates that are small and would make endless values: refused, with the line, before there is any memory for them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batchyard.services.cloudformation.template import functions
from batchyard.services.cloudformation.template.functions import Scope
from batchyard.services.cloudformation.template.model import TemplateFault
from batchyard.services.cloudformation.template.reading import read


def nested(wrap: Any, times: int, value: Any) -> Any:
    for _ in range(times):
        value = wrap(value)
    return value


@pytest.mark.parametrize(
    "value",
    [
        {"Fn::Join": ["y" * 100_000, {"Fn::Split": ["a", "a" * 100_000]}]},
        nested(lambda inner: {"Fn::Sub": ["${a}" * 4, {"a": inner}]}, 12, "x" * 1000),
        nested(lambda inner: {"Fn::ToJsonString": [inner]}, 30, "x"),
        nested(lambda inner: {"Fn::Join": ["", {"Fn::Split": ["-", {"Fn::Sub": ["${a}-${a}", {"a": inner}]}]}]}, 12, "x" * 4000),
    ],
)
def test_functions_within_functions_come_to_an_end(value: Any) -> None:
    template = read(json.dumps({"Resources": {"R": {"Type": "AWS::SSM::Parameter", "Properties": {"Value": value}}}}, indent=1))
    with pytest.raises(TemplateFault, match=r"functions may not make more than 4000000 characters of one value \(line \d+\)"):
        functions.resolve(template.section("Resources")["R"]["Properties"], Scope(template), ("Resources", "R", "Properties"))
