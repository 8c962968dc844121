"""Each example's page, run as it stands, with the real client, on a service that was just started."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import client_tools
import pages
import reader

NAMES = sorted(page.parent.name for page in client_tools.EXAMPLES.glob("*/README.md") if "\n## Run it\n" in page.read_text())
NODE = {name for name in NAMES if (client_tools.EXAMPLES / name / "package-lock.json").exists()}
PUBLIC = next(place for place in ("/var/lib", "/var/tmp") if os.access(place, os.W_OK))
BEGIN = [sys.executable, str(client_tools.EXAMPLES / "begin.py")]


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a shell that has done what all examples begin from."""
    shell = reader.environment()
    with reader.started(tmp_path, shell, "--vcpus", "8", "--memory-mib", "8192") as yard:
        yard.cli("up", "--data", str(yard.data))
        shell |= json.loads(yard.cli("env", "--data", str(yard.data), "--json").stdout)
        told = subprocess.run(BEGIN, env=shell, capture_output=True, text=True, timeout=120, check=True).stdout
        for line in told.splitlines():
            name, _, value = line.removeprefix("export ").partition("=")
            shell[name] = shlex.split(value)[0]
        yield shell


@pytest.fixture
def place() -> Iterator[Path]:
    """The reader's folder; jobs may look into it, as they may into most people's (and not into pytest's own, nor into any in /tmp)."""
    with tempfile.TemporaryDirectory(prefix="example-", dir=PUBLIC, ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.timeout(client_tools.INSTALL_S + pages.COMMAND_LIMIT_S + 100)
@pytest.mark.parametrize("name", NAMES)
def test_the_example_does_what_its_page_says(name: str, begun: dict[str, str], place: Path, tmp_path: Path) -> None:
    if name in NODE:
        if not shutil.which("npm"):
            pytest.skip("needs node and npm")
        tools = client_tools.node_tools(name)
        shutil.copytree(tools, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules"))
        (place / "node_modules").symlink_to(tools / "node_modules")
    elif (client_tools.EXAMPLES / name / "requirements.txt").exists():
        begun["PATH"] = f"{client_tools.python_tools(name)}{os.pathsep}{begun['PATH']}"
    elif name == "terraform":
        found = client_tools.terraform(tmp_path)
        if isinstance(found, str):
            pytest.skip(found)
        begun |= found
    page = (client_tools.EXAMPLES / name / "README.md").read_text()
    try:
        for said in pages.run(pages.steps(pages.section(page, "## Run it")), place, begun):
            pages.check(said)
    except AssertionError:
        log = place / "run.log"
        print(log.read_text()[-20_000:] if log.exists() else "no run.log")  # noqa: T201 - shown with the failure
        asked = "aws logs filter-log-events --log-group-name /aws/batch/job --query events[].message --output text"
        told = subprocess.run(["bash", "-c", asked], env=begun, capture_output=True, text=True, timeout=120, check=False)
        print(f"What jobs said:\n{told.stdout[-5_000:]}{told.stderr[-1_000:]}")  # noqa: T201
        raise
