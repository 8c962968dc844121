"""Several who want something of one stack at the same moment: one of them gets it, the others are told so, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from stack_world import World, template

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.running import stacks
from batchyard.services.cloudformation.running.book import StackBook
from batchyard.store.shelf import Place

PATIENCE_S = 90.0


def notes(**values: str) -> str:
    return template({name: {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": v}} for name, v in values.items()})


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    await made.leave()


class Gate:
    """Holds the first look into SSM back: a request that has read its stack, and is not done with preparing. Or another operation."""

    def __init__(self, world: World, operation: str = "GetParameter") -> None:
        self._operation = operation
        self.reached, self.opened = asyncio.Event(), asyncio.Event()
        self._calls, self._is_passed = world.desk.calls, False
        world.desk.calls = self

    async def __call__(self, caller: Any, service: str, operation: str, params: Any) -> Any:
        if operation == self._operation and not self._is_passed:
            self._is_passed = True
            self.reached.set()
            await asyncio.wait_for(self.opened.wait(), PATIENCE_S)
        return await self._calls(caller, service, operation, params)


class LateShelf:
    """A shelf on which "s" is CREATE_COMPLETE for all to see a while before the service itself hears of that commit."""

    def __init__(self, world: World) -> None:
        self._shelf, self._sealer, self._loop = world.shelf, world.sealer, asyncio.get_running_loop()
        self.reached, self.release, self._is_held = asyncio.Event(), lambda: None, False
        world.cut._shelf = self  # type: ignore[assignment]

    def change(self, place: Place, act: Any) -> Future[Any]:
        heard: Future[Any] = Future()

        def hear(done: Future[Any]) -> None:
            found = self._shelf.look(place, lambda drawer: StackBook(drawer, self._sealer).find("s"))
            if not self._is_held and found is not None and found.status == "CREATE_COMPLETE":
                self._is_held = True
                self.release = lambda: heard.set_result(done.result())
                self._loop.call_soon_threadsafe(self.reached.set)
            else:
                heard.set_result(done.result())

        self._shelf.change(place, act).add_done_callback(hear)
        return heard

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shelf, name)


HELD = {"Held": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "held"}}


def held(**values: str) -> str:
    resources = {n: {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": v}} for n, v in values.items()}
    return template(resources, Parameters=HELD)


async def status(world: World, name: str) -> str:
    """How a stack ended."""
    await world.rest()
    found = await world.stack(name)
    assert found is not None
    return str(found["StackStatus"])


async def of_many(*asked: Any) -> list[Any]:
    return await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), PATIENCE_S)


async def test_a_name_is_given_once(world: World) -> None:
    answers = await of_many(*(world.ask("CreateStack", StackName="s", TemplateBody=notes(A=str(n))) for n in range(4)))
    assert sum(isinstance(answer, dict) for answer in answers) == 1
    assert {answer.code for answer in answers if isinstance(answer, Fault)} == {"AlreadyExistsException"}
    assert await status(world, "s") == "CREATE_COMPLETE"


async def slow_update(world: World, template_text: str, operation: str = "UpdateStack") -> tuple[Gate, asyncio.Task[Any]]:
    await world.hands.call("ssm", "PutParameter", {"Name": "held", "Value": "v", "Type": "String"})
    gate = Gate(world)
    more = {"ChangeSetName": "slow"} if operation == "CreateChangeSet" else {}
    slow = asyncio.create_task(world.ask(operation, StackName="s", TemplateBody=template_text, **more))
    await asyncio.wait_for(gate.reached.wait(), PATIENCE_S)
    return gate, slow


async def test_an_update_that_another_one_overtook_is_not_written_over_it(world: World) -> None:
    assert await world.do("CreateStack", StackName="s", TemplateBody=notes(A="0"))
    assert await world.do("UpdateStack", StackName="s", TemplateBody=notes(A="1"))
    gate, slow = await slow_update(world, held(A="3"))
    assert await world.do("UpdateStack", StackName="s", TemplateBody=notes(A="2", B="2"))
    gate.opened.set()
    (fault,) = await of_many(slow)
    assert isinstance(fault, Fault) and fault.code == "ValidationError"
    assert await status(world, "s") == "UPDATE_COMPLETE"
    listed = (await world.ask("ListStackResources", StackName="s"))["StackResourceSummaries"]
    assert sorted(entry["LogicalResourceId"] for entry in listed) == ["A", "B"]
    assert await world.do("DeleteStack", StackName="s")
    assert (await world.residue())["parameters"] == ["String"]  # the one that was held


async def test_nothing_comes_back_of_a_stack_that_was_deleted_meanwhile(world: World) -> None:
    assert await world.do("CreateStack", StackName="s", TemplateBody=notes(A="1"))
    for operation in ("UpdateStack", "CreateChangeSet"):
        gate, slow = await slow_update(world, held(A="3"), operation)
        assert await world.do("DeleteStack", StackName="s")
        gate.opened.set()
        (fault,) = await of_many(slow)
        assert isinstance(fault, Fault) and fault.code == "ValidationError"
        assert (await world.ask("DescribeStacks"))["Stacks"] == []
        world.desk.calls = gate._calls
        assert await world.do("CreateStack", StackName="s", TemplateBody=notes(A="1"))
        await world.hands.call("ssm", "DeleteParameter", {"Name": "held"})


async def test_protection_that_came_in_between_holds(world: World) -> None:
    assert await world.do("CreateStack", StackName="s", TemplateBody=notes(A="1"))
    gate, slow = await slow_update(world, held(A="3"))
    await world.ask("UpdateTerminationProtection", StackName="s", EnableTerminationProtection=True)
    gate.opened.set()
    await of_many(slow)
    found = await world.stack("s")
    assert found is not None and found["EnableTerminationProtection"]


async def test_first_change_sets_of_one_name_belong_to_one_stack(world: World) -> None:
    asked = {"StackName": "s", "ChangeSetType": "CREATE", "TemplateBody": notes(A="1")}
    answers = await of_many(*(world.ask("CreateChangeSet", ChangeSetName=f"c{n}", **asked) for n in range(3)))
    for answer in answers:
        if isinstance(answer, dict):
            shown = await world.ask("DescribeChangeSet", ChangeSetName=answer["Id"])
            assert shown["StackId"] == (await world.ask("DescribeStacks", StackName="s"))["Stacks"][0]["StackId"]
        else:
            assert isinstance(answer, Fault) and answer.code == "ValidationError"
    made = [answer["Id"] for answer in answers if isinstance(answer, dict)]
    again = await of_many(*(world.ask("ExecuteChangeSet", ChangeSetName=made[0]) for _ in range(3)))
    assert sum(isinstance(answer, dict) for answer in again) == 1
    assert await status(world, "s") == "CREATE_COMPLETE"


async def test_a_stack_that_is_over_for_all_to_see_can_be_deleted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacks, "GRACE_S", 0.0)
    shelf = LateShelf(world)
    await world.ask("CreateStack", StackName="s", TemplateBody=notes(A="1"))
    await asyncio.wait_for(shelf.reached.wait(), PATIENCE_S)
    assert (await world.ask("DescribeStacks", StackName="s"))["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE"
    deleting = asyncio.create_task(world.ask("DeleteStack", StackName="s"))
    await asyncio.wait([deleting], timeout=0.3)
    shelf.release()
    assert await of_many(deleting) == [{}]
    assert await status(world, "s") == "DELETE_COMPLETE"


async def test_a_change_set_is_executed_once(world: World) -> None:
    assert await world.do("CreateStack", StackName="s", TemplateBody=notes(A="1"))
    made = await world.ask("CreateChangeSet", StackName="s", ChangeSetName="c", TemplateBody=notes(A="2"))
    answers = await of_many(*(world.ask("ExecuteChangeSet", ChangeSetName=made["Id"]) for _ in range(3)))
    assert sum(isinstance(answer, dict) for answer in answers) == 1
    await world.rest()
    updates = [
        e for e in (await world.ask("DescribeStackEvents", StackName="s"))["StackEvents"] if e["ResourceStatus"] == "UPDATE_COMPLETE"
    ]
    assert len([e for e in updates if e["LogicalResourceId"] == "s"]) == 1


async def test_change_sets_go_when_the_update_begins_and_not_after_it(world: World) -> None:
    """One that somebody makes right after the update must stay."""
    assert await world.do("CreateStack", StackName="s", TemplateBody=notes(A="1"))
    made = [await world.ask("CreateChangeSet", StackName="s", ChangeSetName=f"c{n}", TemplateBody=notes(A="2", B="3")) for n in range(2)]
    gate = Gate(world, "PutParameter")
    executing = asyncio.create_task(world.ask("ExecuteChangeSet", ChangeSetName=made[0]["Id"]))
    await asyncio.wait_for(gate.reached.wait(), PATIENCE_S)
    assert (await world.ask("ListChangeSets", StackName="s"))["Summaries"] == []
    gate.opened.set()
    await of_many(executing)
    assert await status(world, "s") == "UPDATE_COMPLETE"


async def test_who_asked_may_go_away(world: World) -> None:
    asking = asyncio.create_task(world.ask("CreateStack", StackName="s", TemplateBody=notes(A="1")))
    async with asyncio.timeout(PATIENCE_S):
        while world.cut.commits == 0:
            await asyncio.sleep(0)
    asking.cancel()
    await of_many(asking)
    async with asyncio.timeout(PATIENCE_S):
        while (found := await world.stack("s")) is None or found["StackStatus"] != "CREATE_COMPLETE":
            await asyncio.sleep(0.01)


async def test_an_export_that_goes_while_somebody_builds_with_it(world: World) -> None:
    note = {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "x"}}
    exporting = template({"Note": note}, Outputs={"Word": {"Value": "reads", "Export": {"Name": "word"}}})
    assert await world.do("CreateStack", StackName="giver", TemplateBody=exporting)
    gate = Gate(world, "PutParameter")
    taking = {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": {"Fn::ImportValue": "word"}}}
    slow = asyncio.create_task(world.ask("CreateStack", StackName="s", TemplateBody=template({"Note": taking})))
    await asyncio.wait_for(gate.reached.wait(), PATIENCE_S)
    giver = await world.stack("giver")
    assert giver is not None
    await asyncio.wait_for(world.ask("DeleteStack", StackName="giver"), PATIENCE_S)
    await world.desk.stacks.ended(giver["StackId"].rpartition("/")[2], PATIENCE_S)
    gate.opened.set()
    await of_many(slow)
    assert await status(world, "s") == "ROLLBACK_COMPLETE"
    reasons = [event.get("ResourceStatusReason") for event in (await world.ask("DescribeStackEvents", StackName="s"))["StackEvents"]]
    assert "No export named word found" in reasons
