"""Operations on stacks that something inside the service interrupts: they go on, or end as failed; none hangs in progress."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import apsw
import pytest
import pytest_asyncio
from stack_world import World, template

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.running import stacks
from batchyard.services.cloudformation.running.run import Run
from batchyard.store.shelf import Place, Shelf


@pytest_asyncio.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(stacks, "RETRY_FIRST_S", 0.001)
    monkeypatch.setattr(stacks, "RETRY_LAST_S", 0.01)
    made = World(tmp_path)
    yield made
    await made.leave()


def notes(*names: str) -> str:
    return template({name: {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": name}} for name in names})


class FullShelf:
    """A shelf whose disk is full at some of its commits."""

    def __init__(self, shelf: Shelf, full_at: range) -> None:
        self._shelf, self._full_at, self._commits = shelf, full_at, 0

    def change(self, place: Place, act: Any) -> Future[Any]:
        self._commits += 1
        if self._commits in self._full_at:
            refused: Future[Any] = Future()
            refused.set_exception(apsw.FullError("database or disk is full"))
            return refused
        return self._shelf.change(place, act)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shelf, name)


async def status(world: World) -> str:
    found = await world.stack("s")
    assert found is not None and world.desk.stacks.runs == {}
    return str(found["StackStatus"])


@pytest.mark.parametrize("first", range(2, 12))
async def test_a_full_disk_is_waited_for(world: World, first: int) -> None:
    world.cut._shelf = FullShelf(world.shelf, range(first, first + 6))  # type: ignore[assignment]
    assert await world.do("CreateStack", StackName="s", TemplateBody=notes("A", "B"))
    ended = await status(world)
    assert ended in ("CREATE_COMPLETE", "ROLLBACK_COMPLETE")  # a service that has no room answers so, and that fails a resource
    left = await world.residue()
    assert left["parameters"] == (["String", "String"] if ended == "CREATE_COMPLETE" else [])
    assert left["answers"] == 0


async def test_what_cannot_be_read_any_more_turns_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(self: Run, number: int) -> Any:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(Run, "target", broken)
    assert await world.do("CreateStack", StackName="s", TemplateBody=notes("A"))
    assert await status(world) == "CREATE_FAILED"
    monkeypatch.undo()
    assert await world.do("DeleteStack", StackName="s")
    assert await status(world) == "DELETE_COMPLETE"


async def test_an_update_whose_template_refers_to_what_is_gone_is_taken_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await world.do("CreateStack", StackName="s", TemplateBody=notes("A"))
    real = Run.target

    async def gone(self: Run, number: int) -> Any:
        if number == 2:
            raise Fault("ValidationError", "No export named Away found")
        return await real(self, number)

    monkeypatch.setattr(Run, "target", gone)
    assert await world.do("UpdateStack", StackName="s", TemplateBody=notes("A", "B"))
    assert await status(world) == "UPDATE_ROLLBACK_COMPLETE"
    reasons = [e.get("ResourceStatusReason") for e in (await world.ask("DescribeStackEvents", StackName="s"))["StackEvents"]]
    assert "No export named Away found" in reasons
