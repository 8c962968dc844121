"""A Batchyard service for the time of the demo, by its own command line: serve, reclaim, job, down."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import time

from variant_calling import patience

READY_WITHIN_S = 90.0
COMMAND_WITHIN_S = 90.0
NO_SERVICE = 3
"""The exit status by which `batchyard` says that nobody answers."""
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
    """A running `batchyard serve` with its state in `folder` and its output in `folder/../serve.log`."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.log = folder.parent / "serve.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> str:
        """Start it and wait until it is ready: its URL. ServiceError with its last words when it does not get ready."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            began_at = output.tell()
            # a session of its own: Ctrl-C stops the demo, which then takes the service down in good order
            self.process = subprocess.Popen(
                [*command(), "serve", "--data", str(self.folder), *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=without_aws_settings() | {"PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            said = self.log.read_bytes()[began_at:].decode("utf-8", "replace")
            for line in said.splitlines():
                if line.startswith("ready "):
                    return line.split()[1]
            if self.process.poll() is not None:
                raise ServiceError(f"batchyard serve ended with status {self.process.returncode}:\n{said[-2_000:]}")
            time.sleep(0.02)
        self.process.kill()
        raise ServiceError(f"batchyard serve was not ready within {READY_WITHIN_S:.0f} s; see {self.log}")

    def stop(self) -> None:
        """`batchyard down`: jobs, node and server end; what is stored stays."""
        if self.process is not None and self.process.poll() is None:
            _run("down", "--data", str(self.folder))
            self.process.wait(timeout=COMMAND_WITHIN_S)

    def kill(self) -> None:
        """Kill the server alone with SIGKILL, as a crash would; its jobs go on."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


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
