"""bubblewrap gives up when something is unmounted while it looks: it is run again, and what it says in the end is told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from batchyard.compute.local.bubble import program
from batchyard.compute.local.bubbles import Bubbles
from batchyard.compute.local.spawn import CannotStart

pytestmark = [pytest.mark.system, pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap (bwrap) is not installed")]


def bubbles(tmp_path: Path, failures: int) -> Bubbles:
    """Of a bubblewrap that fails so many times."""
    failing = tmp_path / "bwrap"
    lines = [
        "#!/bin/sh",
        f"echo >> {tmp_path}/tries",
        f'if [ $(wc -l < {tmp_path}/tries) -gt {failures} ]; then exec {program()} "$@"; fi',
        "echo 'bwrap: something has gone' >&2; exit 1",
    ]
    failing.write_text("\n".join(lines))
    failing.chmod(0o755)
    for part in ("home", "tmp"):
        (tmp_path / "data/work/trial" / part).mkdir(parents=True)
    return Bubbles(str(failing), str(tmp_path / "data"), str(tmp_path / "data/work"), (), {}, kept=False)


def test_it_is_run_again(tmp_path: Path) -> None:
    made = bubbles(tmp_path, 2).trial("trial")
    assert made.stands
    made.end()


def test_it_is_not_run_for_ever_and_leaves_nothing_open(tmp_path: Path) -> None:
    broken = bubbles(tmp_path, 1000)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(CannotStart, match="bubblewrap: something has gone"):
        broken.trial("trial")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
