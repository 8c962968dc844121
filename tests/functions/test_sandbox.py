"""Functions where the system allows no namespaces: in many containers root may not make any."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from function_code import archive

_CAP_SYS_ADMIN, _PR_CAPBSET_DROP = 21, 24

WITHOUT_NAMESPACES = f"""
import ctypes, os, sys
if ctypes.CDLL(None).prctl({_PR_CAPBSET_DROP}, {_CAP_SYS_ADMIN}, 0, 0, 0) != 0:
    sys.exit("the capability could not be dropped")
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""

RUN = """
import asyncio, json, sys
from pathlib import Path
from batchyard.services.lambda_functions.sandbox import Order, Sandbox

async def main():
    data, code, timeout_s = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes(), float(sys.argv[3])
    told = ("aws_request_id", "function_name", "function_version", "invoked_function_arn", "memory_limit_in_mb", "log_group_name")
    context = {name: name for name in (*told, "log_stream_name")}
    order = Order(code, "{}", "index.handler", {"PATH": "/usr/bin:/bin"}, context, timeout_s, 128, 512)
    sandbox = Sandbox(data)
    report, lines = await sandbox.run(order)
    sandbox.leave()
    print(json.dumps([report.outcome, report.payload, [line.text.decode() for line in lines]]))

asyncio.run(main())
"""


def run(tmp_path: Path, source: str, *, timeout_s: float = 60) -> tuple[str, str, list[str]]:
    """(outcome, payload, lines) of a function, run without the right to make namespaces."""
    (tmp_path / "code.zip").write_bytes(archive(source))
    (tmp_path / "data").mkdir(exist_ok=True)
    command = [sys.executable, "-c", WITHOUT_NAMESPACES, "-c", RUN, str(tmp_path / "data"), str(tmp_path / "code.zip"), str(timeout_s)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    outcome, payload, lines = json.loads(done.stdout)
    return outcome, payload, lines


pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not sys.platform.startswith("linux"), reason="only root can give up the right to make namespaces"
)


def test_it_runs_and_is_a_user_of_its_own(tmp_path: Path) -> None:
    outcome, payload, lines = run(tmp_path, "import os\ndef handler(e, c):\n    print('here')\n    return os.getuid()\n")
    assert outcome == "response" and int(payload) >= 60706 and lines == ["here"]


def test_whoever_leaves_the_session_is_ended_too(tmp_path: Path) -> None:
    source = """
        import subprocess

        def handler(e, c):
            return subprocess.Popen(["sleep", "86398"], start_new_session=True).pid
        """
    outcome, _, _ = run(tmp_path, source)
    assert outcome == "response"
    assert subprocess.run(["pgrep", "-f", "^sleep 86398$"], capture_output=True, timeout=30, check=False).stdout == b""


def test_a_fork_bomb_is_bounded_and_ends_with_its_time(tmp_path: Path) -> None:
    source = """
        import os

        def handler(e, c):
            while True:
                try:
                    os.fork()
                except OSError:
                    pass
        """
    outcome, _, _ = run(tmp_path, source, timeout_s=1)
    assert outcome in ("timeout", "memory")
    outcome, payload, _ = run(tmp_path, "def handler(e, c): return 'next'\n")
    assert (outcome, json.loads(payload)) == ("response", "next")


def test_too_much_memory_is_seen(tmp_path: Path) -> None:
    source = """
        import os, time

        def handler(e, c):
            for _ in range(4):
                if os.fork() == 0:
                    held = b"x" * (60 << 20)
                    time.sleep(60)
            time.sleep(60)
        """
    assert run(tmp_path, source, timeout_s=30)[0] == "memory"
