"""How fast can a job be started? Prints a table of ways to do it, and what the node reaches with everything that a job gets.

    .venv/bin/python bench/spawn.py [--jobs 300] [--rounds 5]

Every way starts and reaps /bin/true, with eight at a time. As root on Linux all rows are filled; elsewhere some are left out.
docs/decisions/0003-how-jobs-are-spawned.md says what follows from it.
"""

from __future__ import annotations

import argparse
import asyncio
import atexit
import itertools
import os
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from batchyard.compute.local import cgroup1, cgroup2, cgroups, knobs, spawn
from batchyard.compute.local.cage import Cage, Tree
from batchyard.compute.local.link import LocalProvider
from batchyard.compute.local.spawn import Identity, Order
from batchyard.model.capacity import Instance, InstanceState, Resources
from batchyard.model.messages import AttemptEnded, Effect, Launch, Report, StartInstance

TRUE = "/bin/true"
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "AWS_BATCH_JOB_ID": "0" * 36}
AT_A_TIME = 8
SOMEBODY = Identity(60999, 60999)
AS_ROOT = os.geteuid() == 0
NEEDS = Resources(1, 64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()), help="where the node gets its directory")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}; medians of {options.rounds} rounds\n")
    print(f"{'way':<70} {'jobs/s':>7} {'CPU ms':>7}")
    with tempfile.TemporaryFile() as output, trees() as found:
        measured: dict[str, list[Measured]] = {}
        for _ in range(options.rounds):  # round by round, so that a busy moment of the machine meets all of them
            for name, start in ways(output.fileno(), found):
                measured.setdefault(name, []).append(overlapped(start, options.jobs))
            measured.setdefault("a zygote per slot that is the user already", []).append(by_zygotes(output.fileno(), options.jobs))
            for name, extra in node_settings():
                measured.setdefault(name, []).append(asyncio.run(whole(options.jobs * 3, options.data, extra)))
    for name, rounds in measured.items():
        print(f"{name:<70} {median(one.rate for one in rounds):>7.0f} {median(one.cpu_ms for one in rounds):>7.2f}")


class Measured(NamedTuple):
    """Jobs per second, and the processor time that each cost all who had to do with it, itself included."""

    rate: float
    cpu_ms: float


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def overlapped(start: Callable[[], int], jobs: int) -> Measured:
    """Start and reap in this process, some at a time."""
    running = started = 0
    begun_s, cpu_s = time.perf_counter(), used_s()
    while started < jobs or running:
        if started < jobs and running < AT_A_TIME:
            start()
            started, running = started + 1, running + 1
        elif os.waitpid(-1, 0)[0]:
            running -= 1
    return Measured(jobs / (time.perf_counter() - begun_s), (used_s() - cpu_s) / jobs * 1000)


def used_s() -> float:
    return sum(os.times()[:4])


# --- the ways ---


def ways(output: int, found: Sequence[tuple[str, Tree]]) -> Iterator[tuple[str, Callable[[], int]]]:
    """Ways to start a program, from bare to what the node does."""
    order = Order((TRUE,), ENVIRONMENT, "/", output, None)
    somebody = order._replace(identity=SOMEBODY)
    yield "posix_spawn, nothing else", lambda: os.posix_spawn(TRUE, [TRUE], ENVIRONMENT)
    yield "posix_spawn, own session, output, directory (node without root)", lambda: spawn.start(order)
    yield "os.fork + exec, the same", lambda: spawn.forking(order)
    yield "subprocess.Popen(start_new_session)", lambda: popen(output, None)
    if AS_ROOT:
        yield "subprocess.Popen(start_new_session, user=...)", lambda: popen(output, SOMEBODY.uid)
        yield "os.fork + exec as another user", lambda: spawn.forking(somebody)
        yield "posix_spawn as another user, borrowed", lambda: spawn.borrowing(somebody)
    for name, tree in found:
        yield f"the same, in {name} with limits, pooled or made anew as the node does", in_groups(tree, somebody if AS_ROOT else order)


def popen(output: int, user: int | None) -> int:
    """Leaves the reaping to us."""
    process = subprocess.Popen(
        [TRUE], stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, user=user, env=ENVIRONMENT
    )
    process.returncode = 0
    return process.pid


@contextmanager
def trees() -> Iterator[list[tuple[str, Tree]]]:
    """The cgroup trees that can be made here; version 2 even where it has no controllers, as its way to start needs none."""
    made: list[tuple[str, Tree]] = []
    groups = cgroups.usable_groups()
    if groups.version == 1:
        made.append(("cgroups v1", cgroup1.Tree1(groups.places, f"batchyard-bench-{os.getpid()}")))
    for mount in knobs.mounts():
        if mount.kind == "cgroup2" and os.access(mount.place, os.W_OK) and AS_ROOT:
            made.append(("cgroup v2", cgroup2.Tree2(mount.place, f"batchyard-bench-{os.getpid()}")))
            break
    yield made
    for _, tree in made:
        tree.tick()
        tree.remove()


def in_groups(tree: Tree, order: Order) -> Callable[[], int]:
    """The node's own way, each time in another cage."""
    cages = _cages.setdefault(id(tree), [tree.cage(number) for number in range(AT_A_TIME + 1)])
    used = itertools.count()

    def start() -> int:
        cage = cages[next(used) % len(cages)]
        while not cage.end_all():
            time.sleep(0)
        cage.release()
        return cage.start(order, NEEDS)

    return start


_cages: dict[int, list[Cage]] = {}


def by_zygotes(output: int, jobs: int) -> Measured:
    """Processes that wait to be told to spawn, reap by themselves, and say so."""
    begun_s, cpu_s = 0.0, used_s()
    poll = select.epoll()
    zygotes: dict[int, tuple[socket.socket, int]] = {}
    for _ in range(AT_A_TIME):
        mine, its = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            for other in (mine, *(other for other, _ in zygotes.values())):
                other.close()  # or it would never see that ours is closed
            live_as_zygote(its, output)
        its.close()
        zygotes[mine.fileno()] = (mine, pid)
        poll.register(mine.fileno(), select.EPOLLIN)
    begun_s = time.perf_counter()
    asked = done = 0
    for mine, _ in zygotes.values():
        mine.send(b"x")
        asked += 1
    while done < jobs:
        for descriptor, _ in poll.poll():
            done += len(zygotes[descriptor][0].recv(1))
            if asked < jobs:
                zygotes[descriptor][0].send(b"x")
                asked += 1
    rate = jobs / (time.perf_counter() - begun_s)
    for mine, pid in zygotes.values():
        mine.close()
        os.waitpid(pid, 0)
    return Measured(rate, (used_s() - cpu_s) / jobs * 1000)


def live_as_zygote(asked: socket.socket, output: int) -> None:
    if AS_ROOT:
        os.setgid(SOMEBODY.gid)
        os.setuid(SOMEBODY.uid)
    while asked.recv(1):
        os.waitpid(os.posix_spawn(TRUE, [TRUE], ENVIRONMENT, file_actions=[(os.POSIX_SPAWN_DUP2, output, 1)], setsid=True), 0)
        asked.send(b"x")
    os._exit(0)


# --- the node ---


def node_settings() -> Iterator[tuple[str, Sequence[str]]]:
    yield "the whole node: journal, directory, user, cgroup, log stream, reports", ()
    yield "the whole node without cgroups and users (--isolation watch)", ("--isolation", "watch", "--same-user")


async def whole(jobs: int, data: Path, options: Sequence[str]) -> Measured:
    """No-op jobs per second through a LocalProvider, from the first launch to the last report."""
    directory = Path(tempfile.mkdtemp(prefix="bench-", dir=data))
    provider = LocalProvider(directory, node_options=options)
    waiting = [launch(number) for number in range(jobs)]
    ended = 0
    done = asyncio.Event()

    def deliver(reports: Sequence[Report]) -> None:
        nonlocal ended
        ends = [report for report in reports if isinstance(report, AttemptEnded)]
        ended += len(ends)
        provider.acknowledge([report.attempt for report in ends])
        effects: list[Effect] = [waiting.pop() for _ in ends if waiting]
        provider.carry_out(effects)
        if ended == jobs:
            done.set()

    await provider.start(deliver, 1)
    await provider.connected()
    begun_s, cpu_s = time.perf_counter(), node_cpu_s(provider.node_pid)
    first = [waiting.pop() for _ in range(min(2 * AT_A_TIME, jobs))]
    provider.carry_out([StartInstance(instance()), *first])
    await done.wait()
    found = Measured(jobs / (time.perf_counter() - begun_s), (node_cpu_s(provider.node_pid) - cpu_s) / jobs * 1000)
    await provider.shut_down(0.0)
    # Removed only at the very end: ext4 makes new files more slowly where many were removed in the last minute.
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return found


def node_cpu_s(pid: int) -> float:
    """What the node and the jobs it has reaped used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def instance() -> Instance:
    return Instance(id="i-1", environment="ce", type_name="any", room=Resources(16, 4096), spot=False, state=InstanceState.PENDING)


def launch(number: int) -> Launch:
    name = f"{number:032x}"
    return Launch(
        name, name, 1, "i-1", ("true",), ENVIRONMENT, NEEDS, "/aws/batch/job", f"noop/default/{name}", "123456789012", "us-east-1"
    )


if __name__ == "__main__":
    main()
