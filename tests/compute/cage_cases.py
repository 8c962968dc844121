"""What must hold for every job that a node runs in a cage, written once: played here, and in a guest with cgroups of version 2.

Not a test module. A case runs jobs and says what came of them; its verdict has to be exactly the one that stands above it, and its figures
have to lie within the bounds that stand there, on whichever machine it is played: so what all machines say is the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from compute_rig import LocalRig, alive

from batchyard.compute.local import knobs, proc
from batchyard.compute.local.spawn import DEFAULT_PATH
from batchyard.compute.local.watched import MARKER
from batchyard.model.messages import AttemptEnded, StopAttempt
from batchyard.scratch.freezer import Freezer

PYTHON = os.environ.get("CASES_PYTHON") or shutil.which("python3", path=DEFAULT_PATH) or sys.executable
Said = dict[str, Any]
Bounds = tuple[float, float]


class Case(NamedTuple):
    """What to do, what must come of it exactly, and between which bounds its figures must be."""

    name: str
    play: Callable[[LocalRig], Awaitable[Said]]
    verdict: Said
    bounds: dict[str, Bounds]
    options: tuple[str, ...] = ()  # of the node; with any, it has one of its own

    def check(self, said: Said) -> None:
        """AssertionError if that is not what must come of it."""
        assert {name: said.get(name) for name in self.verdict} == self.verdict, said
        for name, (low, high) in self.bounds.items():
            assert low <= said[name] <= high, f"{name} is {said[name]}, not between {low} and {high}: {said}"
        assert set(said) == {*self.verdict, *self.bounds}, said


CASES: list[Case] = []


def case(
    verdict: Said, options: tuple[str, ...] = (), **bounds: Bounds
) -> Callable[[Callable[[LocalRig], Awaitable[Said]]], Callable[[LocalRig], Awaitable[Said]]]:
    """A case of that verdict and those bounds, named as its function."""

    def noted(play: Callable[[LocalRig], Awaitable[Said]]) -> Callable[[LocalRig], Awaitable[Said]]:
        CASES.append(Case(play.__name__, play, verdict, bounds, options))
        return play

    return noted


# --- what the jobs do ---

HOG = "def hog(mib):\n b = bytearray(mib << 20)\n b[::4096] = b'x' * len(b[::4096])\n return b\n"
SPIN = "def spin(s):\n t = time.process_time()\n while time.process_time() < t + s: pass\n"


def python(code: str) -> tuple[str, ...]:
    """The command that runs this, quickly started."""
    return (PYTHON, "-I", "-S", "-c", "import os, signal, sys, time\n" + HOG + SPIN + code)


def how(ended: AttemptEnded) -> Said:
    return {"cause": ended.cause, "code": ended.exit_code, "oom": ended.oom}


KILLED_FOR_MEMORY = {"cause": "exited", "code": 137, "oom": True}
WENT_WELL = {"cause": "exited", "code": 0, "oom": False}


def processes_of(attempt: str) -> list[int]:
    """The living processes of an attempt, as the marker in their environments tells."""
    return [
        seen.pid for seen in proc.processes() if seen.state != "Z" and proc.environment(seen.pid).get(MARKER.encode()) == attempt.encode()
    ]


def group_of(pid: int, controller: str) -> Path:
    """Where the cgroup of a process lies: of the version 1 hierarchy of this controller, else of version 2."""
    lines = [line.split(":", 2) for line in knobs.read(Path(f"/proc/{pid}/cgroup")).splitlines()]
    own = {name: path for _, names, path in lines for name in names.split(",")}
    mounts = list(knobs.mounts())
    for mount in mounts:
        if mount.kind == "cgroup" and controller in mount.options:
            return knobs.place_in(mount, own[controller])
    return next(knobs.place_in(mount, own[""]) for mount in mounts if mount.kind == "cgroup2")


async def running(rig: LocalRig, *command: str, **fields: Any) -> tuple[str, int]:
    """Start a job that writes a line when it is ready: its attempt, and one of its processes."""
    launch = rig.launch(*command, **fields)
    rig.provider.carry_out([launch])
    await rig.says(launch.attempt)
    return launch.attempt, processes_of(launch.attempt)[-1]


async def stopped(rig: LocalRig, attempt: str, grace_s: float = 0.0) -> AttemptEnded:
    rig.provider.carry_out([StopAttempt(attempt, grace_s)])
    return await rig.ended(attempt)


# --- limits ---


@case({"memory_bytes": 100 << 20, "swap_bytes": 0, "vcpus": 2.0})
async def limits_are_in_force(rig: LocalRig) -> Said:
    """Read from the kernel, not from the job: it may not see its own cgroup."""
    attempt, pid = await running(rig, *python("print('ready', flush=True); time.sleep(600)"), memory_mib=100, vcpus=2)
    memory, cpu = group_of(pid, "memory"), group_of(pid, "cpu")
    if (memory / "memory.max").exists():
        limit, swap = int(knobs.read(memory / "memory.max")), int(knobs.read(memory / "memory.swap.max"))
        vcpus = round((int(knobs.read(cpu / "cpu.weight")) - 1) * 262142 / 9999 / 1024, 1)
    else:
        limit = int(knobs.read(memory / "memory.limit_in_bytes"))
        swap = int(knobs.read(memory / "memory.memsw.limit_in_bytes")) - limit
        vcpus = int(knobs.read(cpu / "cpu.shares")) / 1024
    await stopped(rig, attempt)
    return {"memory_bytes": limit, "swap_bytes": swap, "vcpus": vcpus}


@case(KILLED_FOR_MEMORY, peak_mib=(55, 60.1))
async def above_its_limit_it_is_killed_for_memory(rig: LocalRig) -> Said:
    ended, _ = await rig.run(*python("hog(300); time.sleep(600)"), memory_mib=60)
    return {**how(ended), "peak_mib": ended.peak_memory_mib}


@case({"cause": "exited", "code": 0, "oom": True, "said": ["killed 9"]})
async def of_a_child_alone_it_is_told_too(rig: LocalRig) -> Said:
    """The exit code is the job's own, and that memory was short is said beside it (aws-batch.md 2.3)."""
    code = "pid = os.fork()\nif pid == 0:\n hog(300)\n os._exit(0)\nprint('killed', os.waitpid(pid, 0)[1])"
    ended, lines = await rig.run(*python(code), memory_mib=60)
    return {**how(ended), "said": lines}


# So many children that hold so much each, one after the other; how they ended, who was still there being asked to.
HOGS = """
pids = []
for _ in range({0}):
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.signal(15, signal.SIG_DFL)
        kept = hog({1})
        os.write(w, b'x')
        signal.pause()
    os.close(w)
    os.read(r, 1)
    pids.append(pid)
for pid in pids: os.kill(pid, 15)
print(*[os.waitpid(pid, 0)[1] for pid in pids])
"""


@case({"cause": "exited", "code": 0, "oom": True, "killed_and_not": ["15", "9"]})
async def the_limit_is_of_all_processes_together(rig: LocalRig) -> Said:
    """Each of four is well below it; all of them are not."""
    ended, lines = await rig.run(*python(HOGS.format(4, 40)), memory_mib=110)
    return {**how(ended), "killed_and_not": sorted(set(lines[0].split()))}


@case({**WENT_WELL, "ends": "15 15 15", "next": WENT_WELL}, peak_mib=(90, 130), next_peak_mib=(0, 20))
async def the_peak_is_of_all_processes_together_and_of_this_job_alone(rig: LocalRig) -> Said:
    ended, lines = await rig.run(*python(HOGS.format(3, 30)), memory_mib=200)
    following, _ = await rig.run("sleep", "0", memory_mib=200)
    peaks = {"peak_mib": ended.peak_memory_mib, "next_peak_mib": following.peak_memory_mib}
    return {**how(ended), "ends": lines[0], "next": how(following), **peaks}


@case({**KILLED_FOR_MEMORY, "below_it": WENT_WELL}, peak_mib=(20, 35))
async def files_of_memory_are_the_jobs_memory(rig: LocalRig) -> Said:
    """A tmpfs is memory: what a job keeps there counts for it, until it ends for memory."""
    code = "p = f'/dev/shm/case-{0}'\nf = open(p, 'wb', buffering=0)\nos.unlink(p)\nfor _ in range({1}): f.write(bytes(1 << 20))\n"
    below, _ = await rig.run(*python(code.format("below", 20)), memory_mib=60)
    above, _ = await rig.run(*python(code.format("above", 100) + "time.sleep(600)"), memory_mib=60)
    return {**how(above), "below_it": how(below), "peak_mib": below.peak_memory_mib}


@case({"codes": [0, 137] * 4, "ooms": [False, True] * 4, "node_lives": True})
async def a_burst_out_of_a_tiny_limit_does_not_take_the_node_along(rig: LocalRig) -> Said:
    """Started in quick succession, jobs are started by stepping in; the node must not be among those to kill."""
    # Who has too little keeps it: the node may be held up between a start and the limit of what it started.
    launches = [
        rig.launch(*python("kept = hog(50); time.sleep(600)"), memory_mib=4)
        if number % 2
        else rig.launch(*python("hog(50)"), memory_mib=200)
        for number in range(8)
    ]
    before = rig.provider.node_pid
    rig.provider.carry_out(launches)
    ends = [await rig.ended(launch.attempt) for launch in launches]
    return {
        "codes": [end.exit_code for end in ends],
        "ooms": [end.oom for end in ends],
        "node_lives": alive(before) and rig.provider.node_pid == before,
    }


@case({**WENT_WELL, "refused": True, "another": WENT_WELL}, options=("--pids-limit", "100"), made=(90, 99))
async def who_makes_too_many_processes_is_refused_more(rig: LocalRig) -> Said:
    """A fork bomb meets its own limit, and others do not feel it."""
    code = (
        "pids = []\ntry:\n while len(pids) < 1000:\n  pid = os.fork()\n  if pid == 0: signal.pause()\n  pids.append(pid)\n"
        "except BlockingIOError: print('refused', len(pids), flush=True)\nwhile not os.path.exists('go'): time.sleep(0.05)\n"
    )
    launch = rig.launch(*python(code))
    rig.provider.carry_out([launch])
    said = (await rig.says(launch.attempt))[0].split()
    another, _ = await rig.run("sh", "-c", "sleep 0; echo alive")
    (rig.work / launch.attempt / "home" / "go").touch()
    ended = await rig.ended(launch.attempt)
    return {**how(ended), "refused": said[0] == "refused", "another": how(another), "made": int(said[1])}


# --- ends ---


@case({"KILL": [137, False], "TERM": [143, False], "SEGV": [139, False], "exit": [3, False]})
async def an_end_by_a_signal_is_no_end_for_memory(rig: LocalRig) -> Said:
    """137 proves nothing: only the kernel's own count of kills for memory does."""
    ways = {name: f"os.kill(os.getpid(), signal.SIG{name})" for name in ("KILL", "TERM", "SEGV")} | {"exit": "sys.exit(3)"}
    launches = {
        name: rig.launch(*python(f"signal.signal(signal.SIGTERM, signal.SIG_DFL)\nif os.fork() == 0: {way}\ns = os.wait()[1]\n{way}"))
        for name, way in ways.items()
    }
    rig.provider.carry_out(list(launches.values()))
    said: Said = {}
    for name, launch in launches.items():
        ended = await rig.ended(launch.attempt)
        said[name] = [ended.exit_code, ended.oom]
    return said


DAEMON = (
    "r, w = os.pipe()\nif os.fork() == 0:\n os.setsid()\n if os.fork(): os._exit(0)\n {0}\n os.write(w, b'x')\n time.sleep(601)\n"
    "os.wait()\nos.read(r, 1)\n"
)


@case({"cause": "exited", "code": 4, "oom": False, "left": []})
async def who_escaped_into_a_session_of_its_own_is_ended_with_the_job(rig: LocalRig) -> Said:
    launch = rig.launch(*python(DAEMON.format("pass") + "print('escaped', flush=True); sys.exit(4)"))
    rig.provider.carry_out([launch])
    ended = await rig.ended(launch.attempt)
    return {**how(ended), "left": processes_of(launch.attempt)}


@case({"polite": ["stopped", 0], "deaf": ["stopped", 137], "late": ["timeout", 5], "left": []})
async def it_is_asked_first_and_killed_then(rig: LocalRig) -> Said:
    """SIGTERM to all of it, SIGKILL after the grace; the same when its time is up."""
    waits = "echo ready; while :; do sleep 0.05; done"
    polite, _ = await running(rig, "sh", "-c", f"trap 'exit 0' TERM; {waits}")
    deaf, _ = await running(rig, "sh", "-c", f"trap '' TERM; ({waits}) & {waits}")
    limited = rig.launch("sh", "-c", f"trap 'exit 5' TERM; {waits}", timeout_s=6)  # an emulated shell on a busy machine takes its time
    rig.provider.carry_out([limited])
    late = limited.attempt
    rig.provider.carry_out([StopAttempt(polite, 60.0), StopAttempt(deaf, 0.3)])
    ends = {name: await rig.ended(attempt) for name, attempt in (("polite", polite), ("deaf", deaf), ("late", late))}
    left = [pid for attempt in (polite, deaf, late) for pid in processes_of(attempt)]
    return {**{name: [end.cause, end.exit_code] for name, end in ends.items()}, "left": left}


# --- figures ---


@case({**WENT_WELL, "more_than_there_was": False}, cpu_s=(0.6, 30))
async def processor_time_is_of_all_even_of_who_escaped(rig: LocalRig) -> Said:
    """The upper bound is far: a machine that is emulated on a busy one counts the time in which it stood still."""
    ended, _ = await rig.run(*python("spin(0.3)\n" + DAEMON.format("spin(0.3)")))
    cpu_s, took_s = ended.cpu_s or 0.0, (ended.at_ms - (ended.started_at_ms or 0)) / 1000
    return {**how(ended), "more_than_there_was": cpu_s > took_s * (os.cpu_count() or 1) + 0.1, "cpu_s": cpu_s}


STORE = """
def store(path, mib):
    f = os.open(path, os.O_RDWR | os.O_CREAT)
    b = os.urandom(1 << 20)
    for _ in range(mib): os.write(f, b)
    os.fsync(f)
    os.posix_fadvise(f, 0, 0, os.POSIX_FADV_DONTNEED)
    os.lseek(f, 0, 0)
    while os.read(f, 1 << 20): pass
"""


@case({**WENT_WELL, "idle": WENT_WELL}, written_mib=(64, 66), read_mib=(63, 66), idle_written_mib=(0, 0.1))
async def what_it_read_and_wrote_is_counted(rig: LocalRig) -> Said:
    """Storage is: 64 MiB written and read back, past the page cache. A memory file system and a device of characters are not.

    Of what is to leave the page cache, the kernel may keep the few pages that it has in hand at this moment.
    """
    await rig.run(*python("pass"))  # so that the program itself is in the page cache, and nothing of it is read from storage
    ended, _ = await rig.run(*python(STORE + "store('large', 64)"))
    nothing = (
        "f = open('/dev/shm/case-idle', 'wb')\nos.unlink(f.name)\nf.write(bytes(9 << 20))\nopen('/dev/null', 'wb').write(bytes(9 << 20))"
    )
    idle, _ = await rig.run(*python(nothing))
    figures = {"written_mib": ended.written_mib, "read_mib": ended.read_mib, "idle_written_mib": idle.written_mib}
    return {**how(ended), "idle": how(idle), **figures}


@case(WENT_WELL, written_mib=(32, 34), read_mib=(15, 18))
async def what_children_and_escaped_ones_wrote_is_counted_before_it_is_on_disk(rig: LocalRig) -> Said:
    """A child that is waited for, and one that escaped and is ended with the job; nobody has synced what the second wrote."""
    await rig.run(*python("pass"))  # as above
    code = STORE + "if os.fork() == 0:\n store('a', 16)\n os._exit(0)\nos.wait()\n"
    ended, _ = await rig.run(*python(code + DAEMON.format("open('b', 'wb').write(os.urandom(16 << 20))")))
    return {**how(ended), "written_mib": ended.written_mib, "read_mib": ended.read_mib}


# --- held for a moment ---


@contextlib.contextmanager
def freezable(attempt: str, pid: int) -> Iterator[Path]:
    """A cgroup with a freezer that has all of an attempt: its own of version 2, or one of version 1 made for it."""
    mount = next((mount for mount in knobs.mounts() if mount.kind == "cgroup" and "freezer" in mount.options), None)
    if mount is None:
        yield group_of(pid, "freezer")
        return
    group = mount.place / f"batchyard-case-{os.getpid()}"
    group.mkdir()
    for member in processes_of(attempt):
        (group / "cgroup.procs").write_text(str(member))
    try:
        yield group
    finally:
        for member in processes_of(attempt):
            (mount.place / "cgroup.procs").write_text(str(member))
        group.rmdir()


def is_held(group: Path) -> bool:
    """Whether nothing moves in a cgroup, as its freezer tells."""
    return "FROZEN" in knobs.read(group / "freezer.state") or "frozen 1" in knobs.read(group / "cgroup.events")


def processor_ticks(attempt: str) -> int:
    """The processor time that an attempt has had, as far as it lives."""
    fields = [knobs.read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split() for pid in processes_of(attempt)]
    return sum(int(field[11]) + int(field[12]) for field in fields if field)


@case({"held": "stands still", "let_go": "goes on", "cause": "stopped"})
async def it_can_be_held_and_let_go(rig: LocalRig) -> Said:
    """As when scratch space has to grow first: nothing moves while it is held, and nothing is lost."""
    attempt, pid = await running(rig, *python("print('ready', flush=True)\nwhile True: spin(0.005)"))
    with freezable(attempt, pid) as group:
        freezer = Freezer(group)
        freezer.open()
        freezer.freeze()
        await rig.eventually(lambda: is_held(group), "it is held: one that gets no processor for a moment takes longer")
        ticks = processor_ticks(attempt)
        await asyncio.sleep(0.3)
        held = "stands still" if processor_ticks(attempt) == ticks else "moves"
        freezer.thaw()
        await rig.eventually(lambda: processor_ticks(attempt) > ticks, "it goes on")
        freezer.close()
    ended = await stopped(rig, attempt)
    return {"held": held, "let_go": "goes on", "cause": ended.cause}


# --- what outlives a node ---


AFTER_THE_NODE = {"causes": ["lost", "lost"], "left": [], "next": KILLED_FOR_MEMORY, "isolation_changed": False}


async def the_node_is_killed(rig: LocalRig) -> Said:
    """Its jobs are lost and nobody of them goes on; the next node holds its jobs as the one before did."""
    isolation = rig.provider.facts["isolation"]
    await rig.connect()
    await rig.up()
    jobs = [rig.launch(*python(code)) for code in ("time.sleep(603)", DAEMON.format("pass") + "time.sleep(602)")]
    rig.provider.carry_out(jobs)
    for job in jobs:
        await rig.started(job.attempt)
    os.kill(rig.provider.node_pid, signal.SIGKILL)
    causes = [(await rig.ended(job.attempt)).cause for job in jobs]
    left = [pid for job in jobs for pid in processes_of(job.attempt)]
    await rig.up()
    following, _ = await rig.run(*python("hog(300)"), memory_mib=60)
    return {"causes": causes, "left": left, "next": how(following), "isolation_changed": rig.provider.facts["isolation"] != isolation}
