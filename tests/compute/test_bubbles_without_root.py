"""Without root bubblewrap needs a user namespace; with it a job of the operator's own user does not see the server's folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchyard.compute.local.watched import MARKER

USER = 1000
SOURCES = Path(__file__).parents[2] / "src"
PACKAGES = Path(str(sys.modules["msgspec"].__file__)).parents[1]
# A node with one job on it, and what became of the job; run as somebody who is not root.
CODE = """
import asyncio, sys
sys.path[:0] = [{tests!r}]
from pathlib import Path
from compute_rig import LocalRig
from batchyard.compute.local.link import LocalProvider
from batchyard.model.messages import StopAttempt

async def main():
    folder = Path({folder!r})
    rig = LocalRig(LocalProvider(folder, node_options=["--bubblewrap", "require"]), folder)
    await rig.connect()
    assert rig.provider.facts["bubblewrap"]
    await rig.up()
    other = rig.launch("sleep", "600")
    rig.provider.carry_out([other])
    await rig.started(other.attempt)
    script = f"id -u; cat {folder}/node.id; ls {folder}; ls -d /proc/[0-9]* | wc -l; echo mine > /tmp/mine; cat $TMPDIR/mine; pwd; exit 7"
    ended, lines = await rig.run("sh", "-c", script)
    print(ended.exit_code, *lines, sep="\\n")
    trapping = rig.launch("sh", "-c", "trap 'exit 9' TERM; echo go; while :; do sleep 0.1; done")
    rig.provider.carry_out([trapping])
    await rig.says(trapping.attempt)
    rig.provider.carry_out([StopAttempt(trapping.attempt, 30.0)])
    print((await rig.ended(trapping.attempt)).exit_code)
    ended, _ = await rig.run("/no/such/program")
    print(ended.cause, ended.reason)
    ended, _ = await rig.run("sh", "-c", "setsid sleep 4321 & exit 3")
    print(ended.exit_code)
    await rig.provider.shut_down(0.0)

asyncio.run(main())
"""


def python_for_others() -> str | None:
    """This Python, or one of its version, that every user may start."""
    major_minor = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for path in (sys.executable, f"/usr/bin/{major_minor}", f"/usr/local/bin/{major_minor}"):
        as_user = {"user": USER, "group": USER, "extra_groups": []} if os.geteuid() == 0 else {}
        try:
            asked = subprocess.run([path, "-c", "import msgspec"], env=variables(), check=False, capture_output=True, timeout=60, **as_user)  # type: ignore[call-overload]
        except OSError:
            continue
        if asked.returncode == 0:
            return path
    return None


def variables() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{SOURCES}:{PACKAGES}", "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture
def folder() -> Iterator[Path]:
    # What the node leaves to be removed may be on its way out still.
    with tempfile.TemporaryDirectory(prefix="yard-", ignore_cleanup_errors=True) as place:
        if os.geteuid() == 0:
            os.chown(place, USER, USER)
        yield Path(place)


@pytest.mark.system
@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap (bwrap) is not installed")
def test_the_servers_folder_and_other_processes_are_hidden(folder: Path) -> None:
    python = python_for_others()
    if python is None:
        pytest.skip("there is no Python here that a user who is not root may start with our packages")
    trial = ["bwrap", "--unshare-user", "--unshare-pid", "--ro-bind", "/", "/", "--proc", "/proc", "true"]
    as_user = {"user": USER, "group": USER, "extra_groups": []} if os.geteuid() == 0 else {}
    if subprocess.run(trial, check=False, capture_output=True, timeout=60, **as_user).returncode:  # type: ignore[call-overload]
        pytest.skip("this system gives users no namespaces")
    code = CODE.format(tests=str(Path(__file__).parent), folder=str(folder))
    ran = subprocess.run([python, "-c", code], env=variables(), capture_output=True, text=True, timeout=120, check=False, **as_user)  # type: ignore[call-overload]
    assert ran.returncode == 0, ran.stderr
    code_of_it, uid, no_file, only_work, processes, mine, home, trapped, reason, left = ran.stdout.splitlines()
    assert (code_of_it, trapped, left) == ("7", "9", "3")
    assert uid == str(USER if os.geteuid() == 0 else os.getuid())
    assert "No such file" in no_file
    assert (only_work, mine) == ("work", "mine")
    assert int(processes) < 8
    assert home.startswith(f"{folder}/work/")
    assert "no such file or directory" in reason
    assert not _runs(b"4321"), "who left the job's session is ended with its namespaces"


def _runs(argument: bytes) -> bool:
    """Whether a process of a job has this argument."""
    for place in Path("/proc").iterdir():
        try:
            if (
                place.name.isdecimal()
                and argument in (place / "cmdline").read_bytes().split(b"\0")
                and MARKER.encode() in (place / "environ").read_bytes()
            ):
                return True
        except OSError:
            continue
    return False
