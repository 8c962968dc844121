"""A disk bomb under a real service: it meets its own limit and is told so; its neighbours on the same scratch space notice nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from served import BTRFS, KINDS, on, served

from batchyard.model.tags import SCRATCH
from yard import Yard

KINDS_AND_A_DIRECTORY = [*KINDS, pytest.param("directory")]
CAP_MIB = {"loop-btrfs": 640, "loop-xfs": 700, "directory": 400}
MORE = {
    False: f"tag the job definition with {SCRATCH.name} to ask for more",
    True: f"raise its tag {SCRATCH.name} to ask for more",
}

BOMB = """
import os, sys, time
block = os.urandom(4 << 20)
with open("bomb", "wb", buffering=0) as out:
    while True:
        out.write(block)
        time.sleep(float(sys.argv[1]))
"""
# Where limits are watched, somebody has to come and look: on these small spaces not as fast as it can, or it would be full before.
PAUSE_S = {"loop-btrfs": 0.004, "loop-xfs": 0.1, "directory": 0.1}

NEIGHBOUR = """
import os, sys, time
go_home = sys.argv[1]
block = os.urandom(1 << 20)
number = after = 0
while after < 40:
    name = f"part-{number % 20}"
    with open(name, "wb", buffering=0) as out:
        out.write(block)
        os.fsync(out.fileno())
    assert open(name, "rb").read() == block
    number += 1
    after += os.path.exists(go_home)
    time.sleep(0.01)
print("written", number)
"""


def options(kind: str) -> tuple[str, ...]:
    return ("--scratch", kind, "--scratch-gib", f"{CAP_MIB[kind] / 1024}") if kind == "directory" else on(kind, CAP_MIB[kind])


def exploded(yard: Yard, kind: str, *, is_promised: bool = False, **options: Any) -> dict[str, Any]:
    """A bomb that went off: its last attempt, and what the operator is told of it."""

    job = yard.until(yard.submit(yard.definition_of("bomb", "python3", "-c", BOMB, str(PAUSE_S[kind]), **options)), patience_s=300)
    assert job["status"] == "FAILED", yard.logs(job)
    container = job["attempts"][-1]["container"]
    assert container["reason"].startswith("OutOfScratchError: the job ")
    assert container["reason"].endswith(MORE[is_promised])
    shown = json.loads(yard.cli("job", job["jobId"], "--json", "--data", str(yard.data)).stdout)
    last = "\n".join(yard.logs(job)[-1:])
    return {**container, "last line": last, "peak MiB": shown["cost"]["attempts"][-1]["diskPeakMiB"]}


@pytest.mark.parametrize("kind", KINDS_AND_A_DIRECTORY)
def test_a_disk_bomb_meets_its_own_limit_and_its_neighbour_goes_on_writing(kind: str) -> None:
    with served(*options(kind)) as one:
        yard, go_home = one.start(), one.root / "go-home"
        neighbour = yard.submit(yard.definition_of("neighbour", "python3", "-c", NEIGHBOUR, str(go_home)))
        yard.until(neighbour, "RUNNING")
        bomb = exploded(yard, kind)
        share_mib = CAP_MIB[kind] / 2
        if kind == "loop-btrfs":
            assert bomb["exitCode"] == 1
            assert "Disk quota exceeded" in bomb["last line"]
            assert share_mib * 0.9 < bomb["peak MiB"] <= share_mib
        else:
            assert bomb["exitCode"] == 137
            assert bomb["peak MiB"] > share_mib * 0.9
        go_home.touch()
        job = yard.until(neighbour, patience_s=300)
        assert job["status"] == "SUCCEEDED", yard.logs(job)
        assert yard.logs(job)[-1].startswith("written")


@pytest.mark.parametrize("kind", [pytest.param("loop-btrfs", marks=BTRFS)])
def test_a_promise_is_its_limit_and_the_room_of_a_bomb_comes_back(kind: str) -> None:
    with served(*options(kind)) as one:
        yard = one.start()
        for _ in range(3):  # together they hold more than there is
            bomb = exploded(yard, kind, tags={SCRATCH.name: "0.375"}, is_promised=True)
            assert bomb["peak MiB"] == pytest.approx(384, rel=0.02)
            assert "384 MiB" in bomb["reason"]


def test_a_job_that_leaves_its_limit_alone_is_told_nothing_of_it() -> None:
    with served(*options("directory")) as one:
        yard = one.start()
        failed = yard.until(yard.submit(yard.definition_of("fails", "sh", "-c", "head -c 30000000 /dev/zero > file; exit 3")))
        container = failed["attempts"][-1]["container"]
        assert container["exitCode"] == 3
        assert "reason" not in container
