"""Cages on this machine: every case of `cage_cases` with the cgroups that there are, of whichever version (see `test_cgroup2_guest`)."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cage_cases import AFTER_THE_NODE, CASES, PYTHON, Case, the_node_is_killed
from cage_user import USERS_CASES
from compute_rig import LocalRig, kill_node

from batchyard.compute.local import bubble, cgroups

pytestmark = [
    pytest.mark.system("cgroups"),
    pytest.mark.skipif(not cgroups.usable_groups().version, reason="no cgroup with a memory controller may be made here"),
]


@pytest.mark.parametrize(("case", "local"), [pytest.param(case, case.options or None, id=case.name) for case in CASES], indirect=["local"])
async def test_a_cage_holds(case: Case, local: LocalRig) -> None:
    case.check(await case.play(local))


@pytest.mark.system("bubblewrap")
@pytest.mark.skipif(not bubble.program(), reason="bubblewrap is not installed (make test-systems)")
@pytest.mark.parametrize(
    ("case", "local"),
    [pytest.param(case, [*case.options, "--bubblewrap", "require"], id=case.name) for case in CASES],
    indirect=["local"],
)
async def test_a_cage_holds_whose_jobs_have_namespaces_of_their_own(case: Case, local: LocalRig) -> None:
    case.check(await case.play(local))


@pytest.mark.parametrize("local", [[]], indirect=True)
async def test_who_is_left_of_a_killed_node_is_ended(local: LocalRig) -> None:
    assert await the_node_is_killed(local) == AFTER_THE_NODE


# --- somebody who is not root ---

UID = 61300  # nobody's


def _program() -> tuple[dict[str, str], list[str]] | None:
    """The environment and the command of an interpreter of our version that anybody may use; None if there is none."""
    named = (importlib.util.find_spec(name) for name in ("batchyard", "msgspec"))
    paths = [str(Path(spec.origin).parents[1]) for spec in named if spec and spec.origin]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": ":".join([*paths, str(Path(__file__).parent)]), "PYTHONDONTWRITEBYTECODE": "1"}
    for python in (sys.executable, PYTHON):
        check = f"import sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
        tried = "import os, sys; os.setuid(int(sys.argv[1])); os.execv(sys.argv[2], [sys.argv[2], '-c', sys.argv[3]])"
        command = [sys.executable, "-c", tried, str(UID), python, f"{check}; import msgspec, batchyard, cage_cases"]
        if not subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False).returncode:
            return environment, [python, str(Path(__file__).with_name("cage_user.py"))]
    return None


@pytest.fixture(scope="module")
def users() -> Iterator[dict[str, Any]]:
    """What a user with a cgroup delegated was told, by name: he plays all his cases at once."""
    program = _program() if os.geteuid() == 0 else None
    if program is None:
        pytest.skip("needs root, and an interpreter, a virtual environment and tests that other users may read")
    with tempfile.TemporaryDirectory(prefix="yard-", ignore_cleanup_errors=True) as named:
        folder = Path(named)
        folder.chmod(0o711)
        environment, command = program
        done = subprocess.run(
            [*command, str(folder / "data"), str(UID)], env=environment, capture_output=True, text=True, timeout=200, check=False, cwd="/"
        )
        kill_node(folder / "data")
        said = {line["name"]: line for line in map(json.loads, done.stdout.splitlines())}
        assert "left" in said, done.stderr
        yield said


def test_a_user_has_a_delegated_cgroup(users: dict[str, Any]) -> None:
    here = f"cgroup v{cgroups.usable_groups().version}"
    assert (users["facts"]["root"], users["facts"]["isolation"], users["facts"]["uid_isolation"]) == (False, here, False)
    assert users["the node is killed"]["said"] == AFTER_THE_NODE
    assert users["left"]["groups"] == []


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in USERS_CASES])
def test_a_users_cage_holds(case: Case, users: dict[str, Any]) -> None:
    assert "failed" not in users[case.name], users[case.name]["failed"]
    case.check(users[case.name]["said"])
