"""bubblewrap gives up when something is unmounted while it looks: it is run again, and what it says in the end is told."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path
from typing import Any, cast

import pytest
from apart import played

from batchyard.compute.local import bubble, bubble_trial
from batchyard.compute.local.allotments import Allotments
from batchyard.compute.local.bubble import program
from batchyard.compute.local.bubbles import Bubbles
from batchyard.compute.local.place import Place
from batchyard.compute.local.process_run import ProcessRun
from batchyard.compute.local.quarters import Quarters
from batchyard.compute.local.slots import Slot
from batchyard.compute.local.spawn import CannotStart, Order
from batchyard.model.capacity import Resources
from batchyard.model.messages import Launch
from yard import until

pytestmark = [pytest.mark.system, pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap (bwrap) is not installed")]


def failing_bwrap(tmp_path: Path, failures: int) -> str:
    """A bubblewrap that fails so many times."""
    failing = tmp_path / "bwrap"
    lines = [
        "#!/bin/sh",
        f"echo >> {tmp_path}/tries",
        f'if [ $(wc -l < {tmp_path}/tries) -gt {failures} ]; then exec {program()} "$@"; fi',
        "echo 'bwrap: something has gone' >&2; exit 1",
    ]
    failing.write_text("\n".join(lines))
    failing.chmod(0o755)
    return str(failing)


def test_it_is_run_again(tmp_path: Path) -> None:
    played(it_is_run_again, tmp_path)


def it_is_run_again(place: Path) -> None:
    bwrap = failing_bwrap(place, 2)
    bubble.program = lambda: bwrap
    assert bubble_trial.why_not(str(place)) == ""
    assert len((place / "tries").read_text()) == 3


def test_it_is_not_run_for_ever_and_leaves_nothing_open(tmp_path: Path) -> None:
    played(it_is_not_run_for_ever_and_leaves_nothing_open, tmp_path)


def it_is_not_run_for_ever_and_leaves_nothing_open(place: Path) -> None:
    for part in ("home", "tmp"):
        (place / "data/work/trial" / part).mkdir(parents=True)
    broken = Bubbles(failing_bwrap(place, 1000), str(place / "data"), str(place / "data/work"), (), {}, kept=False)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(CannotStart, match="bubblewrap: something has gone"):
        broken.trial("trial")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="without root nothing is made ahead of need")
def test_nothing_is_left_of_one_that_is_given_up_while_it_is_made(tmp_path: Path) -> None:
    """bubblewrap tells of its first process before it lets that go on: it must not die of having nobody left to tell."""
    played(nothing_is_left_of_one_that_is_given_up_while_it_is_made, tmp_path)


def nothing_is_left_of_one_that_is_given_up_while_it_is_made(place: Path) -> None:
    for part in ("home", "tmp"):
        (place / "data/work/.slot-0" / part).mkdir(parents=True)
    mark = f"{os.getpid()}-{place}"
    made = Bubbles(program(), str(place / "data"), str(place / "data/work"), (), {"BATCHYARD_TEST": mark}, kept=True)
    for pause_s in (0.0, 0.0005, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.006, 0.008) * 3:
        unused = made.spare(".slot-0")
        assert unused is not None
        time.sleep(pause_s)
        unused.end()
    made.let_go([])

    def left() -> list[str]:
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdecimal() and mark.encode() in (entry / "environ").read_bytes():
                    found.append(entry.name)
        return found

    until(lambda: True if not left() else None, "all of them end", 60)


@pytest.mark.skipif(os.geteuid() != 0, reason="without root nothing is made ahead of need")
def test_one_that_was_made_ahead_of_need_and_failed_is_made_again(tmp_path: Path) -> None:
    played(one_that_was_made_ahead_of_need_and_failed_is_made_again, tmp_path)


def one_that_was_made_ahead_of_need_and_failed_is_made_again(place: Path) -> None:
    for name in (".slot-0", "next"):
        for part in ("home", "tmp"):
            (place / "data/work" / name / part).mkdir(parents=True)
    made = Bubbles(failing_bwrap(place, 5), str(place / "data"), str(place / "data/work"), (), {}, kept=True)
    before = len(list(Path("/proc/self/fd").iterdir()))
    failing = made.spare(".slot-0")
    assert failing is not None
    job = made.fitting(failing, launch("a"), "next")
    assert job is not failing and job.stands and not failing.stands
    unused = made.spare(".slot-0")
    assert unused is not None
    made.let_go([job, unused])
    assert not job.stands and not unused.stands
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="without root nothing is made ahead of need")
def test_one_that_is_not_quite_ready_is_waited_for_before_its_directories_are_renamed(tmp_path: Path) -> None:
    played(one_that_is_not_quite_ready_is_waited_for_before_its_directories_are_renamed, tmp_path)


def one_that_is_not_quite_ready_is_waited_for_before_its_directories_are_renamed(place: Path) -> None:
    slow = place / "bwrap"
    slow.write_text(f'#!/bin/sh\nsleep 0.3; exec {program()} "$@"')
    slow.chmod(0o755)
    work = place / "data/work"
    for path in (work, place / "logs"):
        path.mkdir(parents=True)
    made = Bubbles(str(slow), str(place / "data"), str(work), (), {}, kept=True)
    slot = Slot(0, None, cast(Any, Started()), Quarters(str(work), 0, Allotments()))
    spare = slot.bubble = made.spare(slot.quarters.make_ready(None))
    assert spare is not None and not spare.stands
    run = ProcessRun(launch("a"), cast(Any, None), "")
    try:
        run.start(slot, Place("node", str(work), place / "logs", range(0), True, bubbles=made), 1, None)
        assert slot.bubble is spare and spare.stands
    finally:
        run.close_pipe()
        run.finish_output(2)
        made.let_go([spare])


class Started:
    """A cage that starts nothing."""

    def start(self, order: Order, needs: Resources) -> int:
        return 1


def launch(attempt: str) -> Launch:
    return Launch(attempt, attempt, 1, "i", ("true",), {}, Resources(1, 64), "g", "s", "1", "r")
