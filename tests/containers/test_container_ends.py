"""How a container ended is told by the kernel where it tells it, and by the daemon in all cases of doubt."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from batchyard.compute.local import proc
from batchyard.compute.local.cage import Usage
from batchyard.compute.local.containers import meter, storage
from batchyard.compute.local.containers.following import Following
from batchyard.compute.local.loop import Loop, boot_s
from batchyard.compute.local.runner import Ending
from batchyard.compute.local.tasks import Promise, Task
from compute.compute_rig import LocalRig
from containers.test_container_lives import run

KEPT = tuple(map(int, os.uname().release.split("-")[0].split(".")[:2])) >= (6, 15)


async def test_all_that_it_wrote_before_its_end_is_there(local: LocalRig) -> None:
    for code in (0, 9, 200):
        ended, lines = await run(local, "sh", "-c", f"seq 20000; exit {code}")
        assert (ended.cause, ended.exit_code) == ("exited", code)
        assert len(lines) == 20000 and lines[-1] == "20000"


@pytest.mark.skipif(not KEPT, reason="this kernel does not tell how others' children ended")
@pytest.mark.parametrize("code", [0, 7, 255])
def test_the_kernel_tells_the_code_of_who_was_waited_for(code: int) -> None:
    child = os.fork()
    if not child:
        os._exit(code)
    descriptor = os.pidfd_open(child)
    try:
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert meter._wait_status(descriptor) is None
        os.waitpid(child, 0)
        status = meter._wait_status(descriptor)
        assert status is not None and os.waitstatus_to_exitcode(status) == code
    finally:
        os.close(descriptor)


def test_the_first_of_a_namespace_is_known_by_its_number_there() -> None:
    assert not proc.is_first_of_its_own(os.getpid())
    assert not proc.is_first_of_its_own(2**22 + 1)


def test_the_daemons_helper_may_end_while_its_threads_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    helper = subprocess.Popen(["sleep", "600"])
    counts = storage.Storage()
    counts._helper = helper.pid
    counts._helper_io = storage._opened(helper.pid)
    assert counts._waited_by_helper() is not None
    helper.kill()
    helper.wait(60)
    monkeypatch.setattr(Path, "is_dir", lambda _: True)  # as a moment ago
    assert counts._waited_by_helper() is None
    counts.end()
    assert counts.used is None


class Asked:
    """A daemon that answers inspections when it is told to."""

    is_podman = False

    def __init__(self) -> None:
        self.answers: list[Promise[dict[str, Any]]] = []

    async def inspect(self, name: str) -> dict[str, Any]:
        self.answers.append(Promise())
        return await self.answers[-1]


class Known:
    """Layers, of which all are known to us or none."""

    def __init__(self, is_known: bool) -> None:
        self.is_known = is_known
        self.ended: list[str] = []

    def knows(self, name: str) -> bool:
        return self.is_known

    def over(self, attempt: str, name: str) -> None:
        self.ended.append(name)

    async def see(self, attempt: str, name: str, found: dict[str, Any]) -> None:
        self.ended.append(f"{name} as the daemon says")


async def never_short() -> bool:
    return False


def followed(status: int, *, is_known: bool = True, is_whole: bool = True, log_after_s: float = 0.0) -> tuple[Task[Ending], Asked, Known]:
    """A container that has ended and whose log is read to its end, as the kernel says; the daemon has yet to answer."""
    counted, log = SimpleNamespace(ended=Promise(), status=Promise(), ended_s=boot_s(), is_whole=is_whole), Promise[None]()
    counted.usage, counted.find, counted.was_short = lambda: Usage(1.0, 0.1, False), lambda pid, id: True, never_short
    container = SimpleNamespace(
        meter=counted,
        output=SimpleNamespace(ended_s=counted.ended_s + log_after_s),
        name="c",
        id="1",
        asked=True,
        running=True,
        launch=SimpleNamespace(attempt="a"),
        note_addresses=lambda found: None,
    )
    engine, layers = Asked(), Known(is_known)
    ending = Task(Following(cast(Any, engine), cast(Any, layers), Loop(lambda: None)).followed(cast(Any, container), cast(Any, log)))
    for each in (counted.ended, log):
        each.keep(None)
    counted.status.keep(status)
    return ending, engine, layers


def test_the_end_is_told_though_the_daemon_is_at_it_still() -> None:
    ending, engine, layers = followed(7 << 8)
    assert ending.done and ending.result().exit_code == 7 and ending.result().usage == Usage(1.0, 0.1, False)
    assert len(engine.answers) == 1 and layers.ended == ["c"]


@pytest.mark.parametrize(
    ("status", "how"),
    [(9, {}), (15, {}), (137 << 8, {}), (0, {"is_known": False}), (0, {"is_whole": False}), (0, {"log_after_s": -1.0})],
    ids=["killed", "ended", "says-137", "layer-unknown", "not-counted", "daemon-was-away"],
)
def test_in_doubt_the_daemon_is_asked(status: int, how: dict[str, Any]) -> None:
    ending, engine, layers = followed(status, **how)
    assert not ending.done
    engine.answers[-1].keep({"Id": "1", "State": {"Status": "exited", "ExitCode": 5}})
    assert ending.done and ending.result().exit_code == 5 and layers.ended == ["c as the daemon says"]
