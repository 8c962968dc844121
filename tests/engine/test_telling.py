"""What listeners are told of jobs: never more than who asks is shown at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

from driver_rig import Rig, begin, run_one

from batchyard.engine.reader import EngineReader
from batchyard.model.messages import AttemptEnded, AttemptStarted
from batchyard.services.announcing.announcer import Announcer
from batchyard.services.announcing.happening import Happening
from batchyard.services.announcing.listeners import Listener, Notice
from batchyard.store.shelf import Shelf


async def test_who_is_told_of_a_jobs_end_can_read_how_it_ended(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "jobs.db")
    read = EngineReader(rig.engine)
    seen: list[tuple[str, str, float | None]] = []

    def text_of(event: Happening) -> str:
        found = read.job(event["detail"]["jobId"])
        assert found is not None
        job = found[0]
        seen.append((event["detail"]["status"], job.status.value, job.attempts[-1].cpu_s if job.attempts else None))
        return "{}"

    def send(notices: Sequence[Notice]) -> int:
        return len(notices)

    shelf = Shelf(tmp_path / "deliveries.db")
    announcer = Announcer(rig.engine, shelf, lambda: {"all": Listener("all", text_of, send)}, dict)
    await begin(rig)
    rig.driver.watchers.append(announcer.note)
    announcer.start(SimpleNamespace(read=read, encoded={}, now_ms=rig.world.now_ms, settings=SimpleNamespace(runtime="process")))
    _, launch = await run_one(rig)
    rig.provider.deliver([AttemptStarted(launch.attempt, 1)])
    await rig.settle()
    rig.committed.clear()
    rig.afterwards.clear()
    rig.provider.deliver([AttemptEnded(launch.attempt, 2, "exited", exit_code=0, cpu_s=0.25)])
    assert await asyncio.to_thread(rig.committed.wait, 60), "it is written, and not yet to be seen"
    announcer.refresh()
    for _ in range(20):
        await asyncio.sleep(0.005)
    rig.afterwards.set()
    async with asyncio.timeout(60):
        while "SUCCEEDED" not in [status for status, _, _ in seen]:
            await asyncio.sleep(0.005)
    assert seen[-1] == ("SUCCEEDED", "SUCCEEDED", 0.25)
    await rig.driver.close()
    await announcer.close()
    shelf.close()
    rig.store.close()
