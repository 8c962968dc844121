"""exec: a command, or a shell, inside of a job that runs."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from batchyard.main.client import EXIT_FAILED, Client, Trouble
from batchyard.main.commands.place import find

_PIECE_BYTES = 64 * 1024


@click.command("exec", context_settings={"ignore_unknown_options": True})
@click.argument("job_id", metavar="JOB")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--container", default="", metavar="NAME", help="Of a job with several containers: which one  [the first essential one]")
@click.option("--terminal/--no-terminal", default=None, help="Whether it gets a terminal  [if this is one]")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="The folder of the service to talk to.")
def execute(job_id: str, command: tuple[str, ...], container: str, terminal: bool | None, data: Path | None) -> None:
    """Run COMMAND inside of JOB, while it runs: `batchyard exec JOB -- sh`.

    It has the job's user, directory, environment and limits, sees what the job sees, and ends with it. The exit code is the command's.
    """
    has_terminal = terminal if terminal is not None else sys.stdin.isatty() and sys.stdout.isatty()
    place = find(data)
    with Client(place) as client, Client(place) as writing:
        size = shutil.get_terminal_size()
        begun = client.own(
            "exec-begin",
            jobId=job_id,
            command=list(command),
            container=container,
            terminal=has_terminal,
            rows=size.lines,
            columns=size.columns,
            term=os.environ.get("TERM", "xterm"),
        )
        name = begun["session"]
        feeder = _Feeder(writing, name)
        with _raw(sys.stdin.fileno()) if has_terminal and sys.stdin.isatty() else contextlib.nullcontext():
            if has_terminal:
                _follow_size(place, name)
            feeder.start()
            try:
                ended = _shown(client, name)
            except BaseException:  # also Ctrl-C, without a terminal: the command ends with us
                with contextlib.suppress(Trouble):
                    Client(place).own("exec-write", session=name, close=True)
                raise
    if "exitCode" not in ended:
        raise Trouble(f"{command[0]} did not run: {ended.get('reason') or 'nobody knows why'}", exit_code=EXIT_FAILED)
    sys.stdout.flush()
    os._exit(ended["exitCode"])  # the feeder may wait for a key that nobody presses


def _shown(client: Client, name: str) -> dict[str, Any]:
    """Show what it writes until it is over: the last answer."""
    while True:
        answer = client.own("exec-read", session=name)
        for stream, content in answer["output"]:
            out = sys.stdout.buffer if stream == 1 else sys.stderr.buffer
            out.write(base64.b64decode(content))
            out.flush()
        if "exitCode" in answer or "reason" in answer:
            return answer


class _Feeder(threading.Thread):
    """Hands on what comes from our stdin."""

    def __init__(self, client: Client, name: str) -> None:
        super().__init__(daemon=True)
        self._client, self._name = client, name

    def run(self) -> None:
        with contextlib.suppress(Trouble, OSError, ValueError):  # it has ended meanwhile
            while content := os.read(sys.stdin.fileno(), _PIECE_BYTES):
                self._client.own("exec-write", session=self._name, content=base64.b64encode(content).decode())
            self._client.own("exec-write", session=self._name, end=True)


def _follow_size(place: Any, name: str) -> None:
    """Tell it when our terminal's size changes."""
    if not hasattr(signal, "SIGWINCH"):
        return

    def tell(*_: object) -> None:
        size = shutil.get_terminal_size()
        with contextlib.suppress(Trouble), Client(place) as client:
            client.own("exec-write", session=name, rows=size.lines, columns=size.columns)

    signal.signal(signal.SIGWINCH, tell)


@contextlib.contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    """Every key goes to the other side as it is pressed."""
    import termios
    import tty

    before = termios.tcgetattr(descriptor)
    tty.setraw(descriptor, termios.TCSADRAIN)  # what was typed ahead stays
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
