"""Pages of events: each event once, the newest first, whatever happens while somebody turns them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stack_world import World, template

from batchyard.model.fault import Fault


def notes(count: int, value: str) -> str:
    note: dict[str, Any] = {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": value}}
    return template({f"Note{n}": note for n in range(count)})


async def test_events_that_arrive_between_pages_move_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert await world.do("CreateStack", StackName="s", TemplateBody=notes(70, "1"))
    first = await world.ask("DescribeStackEvents", StackName="s")
    assert len(first["StackEvents"]) == 100 and first["StackEvents"][0]["ResourceStatus"] == "CREATE_COMPLETE"
    assert await world.do("UpdateStack", StackName="s", TemplateBody=notes(70, "2"))
    seen, token = list(first["StackEvents"]), first["NextToken"]
    while token:
        page = await world.ask("DescribeStackEvents", StackName="s", NextToken=token)
        seen, token = seen + page["StackEvents"], page.get("NextToken", "")
    ids = [event["EventId"] for event in seen]
    assert len(ids) == len(set(ids)) == 3 * 70 + 2
    assert [event["Timestamp"] for event in seen] == sorted((event["Timestamp"] for event in seen), reverse=True)
    assert seen[-1]["ResourceStatusReason"] == "User Initiated"
    again = (await world.ask("DescribeStackEvents", StackName="s", NextToken=first["NextToken"]))["StackEvents"]
    assert [event["EventId"] for event in again] == ids[100 : 100 + len(again)]
    await world.leave()


@pytest.mark.parametrize("token", ["x", "!!", "c29tZS8x", "MTIzLzk5OTk5OTk5OQ=="])
async def test_a_token_of_another_list_is_refused(tmp_path: Path, token: str) -> None:
    world = World(tmp_path)
    assert await world.do("CreateStack", StackName="s", TemplateBody=notes(1, "1"))
    with pytest.raises(Fault) as raised:
        await world.ask("DescribeStackEvents", StackName="s", NextToken=token)
    assert (raised.value.code, raised.value.message) == ("ValidationError", "The NextToken is not one of this list")
    await world.leave()
