"""A Batchyard service for the time of the demo, by its own command line: up, reclaim, job, down."""

from __future__ import annotations

import fcntl
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

from variant_calling import patience

COMMAND_WITHIN_S = 90.0
NO_SERVICE = 3
"""The exit status by which `batchyard` says that nobody answers."""
EXAMPLE = pathlib.Path(__file__).resolve().parents[1]
CONFUSING = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_CONFIG_FILE")
"""Settings of the user's own AWS account, which has no part in this."""


class ServiceError(Exception):
    """The service did not start, or a command of it failed: the message is what it said."""


def command() -> list[str]:
    """The `batchyard` of the interpreter that runs this."""
    beside = pathlib.Path(sys.executable).with_name("batchyard")
    return [str(beside)] if beside.exists() else [sys.executable, "-m", "batchyard.main"]


def without_aws_settings() -> dict[str, str]:
    """The environment less what would lead AWS clients to the user's own account."""
    return {name: value for name, value in os.environ.items() if not (name in CONFUSING or name.startswith("AWS_ENDPOINT_URL"))}


class Service:
    """A service with the genomics environment on it, as `batchyard up` makes it, with its state in `folder`."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.pid = 0

    @property
    def is_running(self) -> bool:
        """Whether a server holds the folder."""
        try:
            with open(self.folder / "server.lock") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def start(self, *options: str) -> str:
        """Start it, with the environment, or take it up again as it is: its URL. ServiceError with its last words when that fails."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        most = str(os.cpu_count() or 1)
        limits = [word for kind in ("Spot", "OnDemand") for word in ("--parameter", f"{kind}MaxvCpus={most}")]
        exposed = ("--expose", str(EXAMPLE))  # jobs run the steps from there, also where it lies below /tmp
        found = json.loads(_run("up", "--data", str(self.folder), "--json", *limits, *exposed, *options))
        self.pid = found["pid"] or self.pid
        return str(found["endpoint"])

    def stop(self) -> None:
        """`batchyard down`: jobs, node and server end; what is stored stays."""
        if self.is_running:
            _run("down", "--data", str(self.folder))

    def kill(self) -> None:
        """Kill the server alone with SIGKILL, as a crash would; its jobs go on."""
        os.kill(self.pid, signal.SIGKILL)
        deadline = time.monotonic() + COMMAND_WITHIN_S
        while self.is_running and time.monotonic() < deadline:
            time.sleep(0.01)


def reclaim(folder: pathlib.Path, instance: str, notice_s: float) -> None:
    """Take a Spot instance away after a notice of so many seconds."""
    _run("reclaim", instance, "--notice", str(notice_s), "--data", str(folder))


def cost_usd(folder: pathlib.Path, job_id: str) -> float | None:
    """What the attempts of a job have cost at the service's prices; None when it tells no price."""
    found = json.loads(_run("job", job_id, "--json", "--data", str(folder)))
    told = (found.get("cost") or {}).get("usd")
    return None if told is None else float(told)


def _run(*arguments: str) -> str:
    """One command of the command line, repeated while nobody answers: what it printed. ServiceError when it fails."""
    deadline = time.monotonic() + patience.PATIENCE_S
    while True:
        done = subprocess.run(
            [*command(), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=without_aws_settings(),
            timeout=COMMAND_WITHIN_S,
            check=False,
        )
        if done.returncode == 0:
            return done.stdout
        if done.returncode != NO_SERVICE or time.monotonic() > deadline:
            raise ServiceError(f"batchyard {' '.join(arguments)} ended with status {done.returncode}: {done.stderr.strip()}")
        time.sleep(patience.LONGEST_PAUSE_S)
