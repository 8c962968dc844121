"""Makes the pictures of the documentation from what the programs really print: each command runs in a terminal of its own.

    python scripts/make_pictures.py            all of docs/images
    python scripts/make_pictures.py waiting    one of them: demo (with the demo's own plot), waiting

Nothing in them is typed by hand but the commands.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import select
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME
from rich.text import Text

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
DEMO_SEED = 8
LINES = 200  # of the terminal: enough for nothing to scroll away
WAIT_S = 300
# Each command has a shell of its own; what it calls JOB is known to the next.
REMEMBER = "[ ! -e job ] || JOB=$(cat job);"
KEEP = 'echo "$JOB" > job'

# As rich's own, less the fonts that it would fetch from elsewhere.
FRAME = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: {char_height}px;
  line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


class Screen:
    """What a terminal shows after the output that it was fed: lines of (character, style), style as the numbers of an SGR sequence."""

    _SEQUENCE = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|\x1b\][^\x07]*\x07|([\r\n\b])|([^\x1b\r\n\b]+)")

    def __init__(self) -> None:
        self.lines: list[list[tuple[str, str]]] = [[]]
        self.row = self.column = 0
        self.style = ""

    def feed(self, output: str) -> None:
        for numbers, kind, control, text in self._SEQUENCE.findall(output):
            if text:
                self._write(text)
            elif control:
                self._move(control)
            elif kind:
                self._obey(numbers, kind)

    def _write(self, text: str) -> None:
        line = self.lines[self.row]
        line.extend([(" ", "")] * (self.column - len(line)))
        line[self.column : self.column + len(text)] = [(character, self.style) for character in text]
        self.column += len(text)

    def _move(self, control: str) -> None:
        if control == "\n":
            self.row += 1
            self.lines.extend([] for _ in range(self.row + 1 - len(self.lines)))
        else:
            self.column = 0 if control == "\r" else max(0, self.column - 1)

    def _obey(self, numbers: str, kind: str) -> None:
        if kind == "m":
            self.style = "" if numbers in ("", "0") else f"{self.style};{numbers}".lstrip(";")
        elif kind == "A":
            self.row = max(0, self.row - int(numbers or 1))
        elif kind == "K":
            self.lines[self.row] = [] if numbers == "2" else self.lines[self.row][: self.column]
        elif not numbers.startswith("?"):
            raise ValueError(f"the terminal was sent a sequence that this one does not know: {numbers}{kind}")

    def ansi(self) -> str:
        """The screen as plain lines with styles."""
        drawn = ("".join(f"\x1b[0;{style}m{c}\x1b[0m" if style else c for c, style in line).rstrip() for line in self.lines)
        return "\n".join(drawn).rstrip()


def typed(command: Sequence[str], columns: int, environment: Mapping[str, str], folder: Path) -> str:
    """Run a command in a terminal `columns` wide: what it shows at the end. Raises RuntimeError when it takes too long."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=dict(environment), cwd=folder, start_new_session=True
    )
    os.close(theirs)
    output = bytearray()
    while select.select([ours], [], [], WAIT_S)[0]:
        try:
            read = os.read(ours, 65536)
        except OSError:  # so Linux says that nobody has the other end any more
            break
        if not read:
            break
        output += read
    else:
        process.kill()
        raise RuntimeError(f"{shlex.join(command)} said nothing for {WAIT_S} s")
    os.close(ours)
    process.wait()
    screen = Screen()
    screen.feed(output.decode())
    return screen.ansi()


def save(name: str, title: str, columns: int, acts: Sequence[tuple[str, str]]) -> None:
    """The picture of a terminal in which each act's command was typed and its output came."""
    console = Console(record=True, width=columns, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for number, (command, output) in enumerate(acts):
        console.print(Text.assemble("\n" if number else "", ("$ ", "bold green"), (command, "bold")))
        console.print(Text.from_ansi(output))
    IMAGES.mkdir(exist_ok=True)
    svg = console.export_svg(title=title, theme=SVG_EXPORT_THEME, code_format=FRAME, unique_id=name)
    (IMAGES / f"{name}.svg").write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n")


@contextmanager
def service(folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """A service of its own on as if on a machine of 16 vCPUs, with the compute environments and queues of the tour."""
    command = [sys.executable, "-m", "batchyard.main", "serve", "--port", "0", "--vcpus", "16", "--memory-mib", "16384"]
    process = subprocess.Popen(command, cwd=folder, env=dict(environment), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        if not process.stdout.readline().startswith("ready"):
            raise RuntimeError("the service did not start")
        make_queues(folder)
        yield
    finally:
        subprocess.run([sys.executable, "-m", "batchyard.main", "down"], cwd=folder, env=dict(environment), check=True, capture_output=True)
        process.wait(60)


def make_queues(folder: Path) -> None:
    from batchyard.main.client import Client
    from batchyard.main.commands.place import from_folder

    with Client(from_folder(folder / ".batchyard")) as client:
        for name, kind in (("spot", "SPOT"), ("on-demand", "EC2")):
            resources = {
                "type": kind,
                "instanceTypes": ["optimal"],
                "minvCpus": 0,
                "maxvCpus": 8 if kind == "SPOT" else 4,
                "subnets": ["subnet-1"],
                "securityGroupIds": ["sg-1"],
                "instanceRole": "ecsInstanceRole",
                "allocationStrategy": "SPOT_PRICE_CAPACITY_OPTIMIZED" if kind == "SPOT" else "BEST_FIT_PROGRESSIVE",
            }
            client.batch("CreateComputeEnvironment", computeEnvironmentName=name, type="MANAGED", computeResources=resources)
        order = [{"order": 1, "computeEnvironment": "spot"}, {"order": 2, "computeEnvironment": "on-demand"}]
        tags = {"batchyard:spill": "idle"}
        client.batch("CreateJobQueue", jobQueueName="default", priority=1, computeEnvironmentOrder=order, tags=tags)


def waiting() -> None:
    """An array seen through, and a job that waits, explained."""
    columns = 118
    steps = [
        "batchyard submit --queue default --wait --array 8 -- sh -c 'sleep 1; echo shard $AWS_BATCH_JOB_ARRAY_INDEX'",
        "batchyard submit --queue default --vcpus 6 --memory 4096 -- sleep 60",
        "JOB=$(batchyard submit --queue default --vcpus 4 --memory 3000 -- sleep 60)",
        "batchyard explain $JOB",
        "batchyard compute",
    ]
    environment = {**plain_environment(), "COLUMNS": str(columns)}
    with tempfile.TemporaryDirectory() as made, service(Path(made), environment):
        folder = Path(made)
        acts = [(step, typed(["sh", "-c", f"{REMEMBER} {step}; {KEEP}"], columns, environment, folder)) for step in steps]
    save("waiting", "why does my job wait?", columns, acts)


def demo() -> None:
    """`make demo` from its start to its end, and the plot that it draws."""
    columns = 124
    environment = {**plain_environment(), "COLUMNS": str(columns)}
    with tempfile.TemporaryDirectory(dir=ROOT) as made:
        out = Path(made).relative_to(ROOT) / "demo-out"
        command = [sys.executable, "examples/variant-calling/run.py", "--out", str(out), "--seed", str(DEMO_SEED)]
        shown = typed(command, columns, environment, ROOT)
        shutil.copyfile(ROOT / out / "latest" / "results" / "variants.png", IMAGES / "variants.png")
    save("demo", "make demo", columns, [(f"make demo SEED={DEMO_SEED}", shown.replace(str(out), "demo-out"))])


def plain_environment() -> dict[str, str]:
    """That of somebody who has activated the virtual environment and knows nothing of AWS, before a terminal with colours."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "BATCHYARD_", "NO_COLOR", "CI"))}
    return {**kept, "PATH": path, "TERM": "xterm-256color", "COLORTERM": "truecolor"}


PICTURES = {"demo": demo, "waiting": waiting}

if __name__ == "__main__":
    for wanted in sys.argv[1:] or PICTURES:
        PICTURES[wanted]()
