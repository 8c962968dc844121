"""A service that is started by another command: in the background until `batchyard down`, or beside it in the foreground."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from batchyard.main.client import Trouble
from batchyard.store.folders import make_folder

LOG = "server.log"
READY_WITHIN_S = 90.0
LAST_WORDS = 2000


def start(folder: Path, options: Sequence[str]) -> subprocess.Popen[bytes]:
    """`batchyard serve` on `folder`, ready, in a session of its own, with what it says in server.log there. Raises `Trouble`."""
    make_folder(folder)
    path = folder / LOG
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
        began_at = os.fstat(log.fileno()).st_size
        process = subprocess.Popen(
            [sys.executable, "-m", "batchyard.main", "serve", "--data", str(folder), *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + READY_WITHIN_S
    while True:
        said = path.read_bytes()[began_at:].decode("utf-8", "replace")
        if any(line.startswith("ready ") for line in said.splitlines()):
            return process
        if process.poll() is not None:
            raise Trouble(said[-LAST_WORDS:].strip() or f"batchyard serve ended with {process.returncode}")
        if time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise Trouble(f"The service was not ready in {READY_WITHIN_S:.0f} s.", f"Look into {path}.")
        time.sleep(0.02)


def tie(process: subprocess.Popen[bytes], say: Callable[[str], None]) -> None:
    """From now on, what would end this command ends the service, in good order."""

    def end(_: int, __: object) -> None:
        process.terminate()
        say("The server ends; jobs go on.")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
