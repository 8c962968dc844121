"""A stack that was deleted is shown for 90 days, and then forgotten whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from stack_world import World, template

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.running import forgetting
from batchyard.services.cloudformation.running.book import SERVICE

DAY_MS = 86_400_000


async def test_a_deleted_stack_is_forgotten_after_ninety_days(tmp_path: Path) -> None:
    world = World(tmp_path)
    body = template({"P": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "1"}}})
    for name in ("gone", "kept"):
        assert await world.do("CreateStack", StackName=name, TemplateBody=body)
    arn = (await world.stack("gone"))["StackId"]  # type: ignore[index]
    assert await world.do("DeleteStack", StackName="gone")
    now_ms = world.desk.now_ms()
    await forgetting.run_once(world.desk, now_ms + 89 * DAY_MS)
    assert (await world.ask("DescribeStacks", StackName=arn))["Stacks"][0]["StackStatus"] == "DELETE_COMPLETE"
    await forgetting.run_once(world.desk, now_ms + 91 * DAY_MS)
    with pytest.raises(Fault, match="does not exist"):
        await world.ask("DescribeStacks", StackName=arn)
    assert (await world.stack("kept"))["StackStatus"] == "CREATE_COMPLETE"  # type: ignore[index]
    (place,) = world.shelf.places(SERVICE)
    id = arn.rpartition("/")[2]
    for kind in ("event", "resource", "template", "stack"):
        assert not [name for name in world.shelf.look(place, lambda drawer, kind=kind: drawer.names(kind)) if name.startswith(id)]
    await world.leave()
