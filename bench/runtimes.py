"""(r) What a job costs to start on each runtime, beside the bare runtime: /bin/true, one after the other, from the order to the end."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from batchyard.compute.local import bubble
from batchyard.compute.local.link import LocalProvider
from batchyard.model.capacity import Instance, InstanceState, Resources
from batchyard.model.messages import AttemptEnded, Launch, ProviderBack, Report, StartInstance
from bench.report import Line, show, want
from containers.engines import IMAGE, Daemon, why_not

GOAL_MS = 5.0
PATIENCE_S = 60.0
AT_A_TIME = 8
NO_OP = ("/bin/true",)
LEAVES_A_FILE = ("/usr/bin/touch", "file")  # which is removed at once
OPENS_ITS_HOME = ("/bin/chmod", "755", ".")  # as jobs that leave much: what their namespaces show is not used again
NAMESPACES = ("--bubblewrap", "require")
_names = itertools.count(1)


def run(alternations: int, *, is_quick: bool) -> None:
    """Measure and print."""
    jobs = 5 if is_quick else 20
    lines: list[Line] = []
    bare, ours = Line("posix_spawn and waitpid", unit="ms"), Line("Batchyard, a process", unit="ms")
    wrapped, inside = Line("bwrap, the same arguments", unit="ms"), Line("Batchyard, in namespaces", unit="ms")
    anew = Line("Batchyard, in new namespaces", unit="ms")
    rates = [Line(f"Batchyard, {name}") for name in ("processes", "in namespaces", "in namespaces, a file is left", "in new namespaces")]
    bwrap = bubble.program()
    for line in (wrapped, inside, anew, *rates[1:]):
        line.why_not = "" if bwrap else "bubblewrap is not installed"
    for _ in range(alternations):
        bare.figures.extend(_bare_process(("/bin/true",)) for _ in range(jobs))
        ours.figures.extend(asyncio.run(_by_the_node(jobs, None)))
        rates[0].figures.append(asyncio.run(_rate(jobs * 20, None)))
        if bwrap:
            wrapped.figures.extend(_bare_bubble(bwrap) for _ in range(jobs))
            inside.figures.extend(asyncio.run(_by_the_node(jobs, None, options=NAMESPACES)))
            anew.figures.extend(asyncio.run(_by_the_node(jobs, None, options=NAMESPACES, command=OPENS_ITS_HOME)))
            rates[1].figures.append(asyncio.run(_rate(jobs * 20, None, options=NAMESPACES)))
            rates[2].figures.append(asyncio.run(_rate(jobs * 20, None, options=NAMESPACES, command=LEAVES_A_FILE)))
            rates[3].figures.append(asyncio.run(_rate(jobs * 10, None, options=NAMESPACES, command=OPENS_ITS_HOME)))
    lines += [*_compared(ours, bare), *_compared(inside, wrapped), *_compared(anew, wrapped)[:1]]
    for kind in ("docker", "podman"):
        bare, ours = Line(f"{kind}: create, attach, start, wait", unit="ms"), Line(f"Batchyard, a container of {kind}", unit="ms")
        rate = Line(f"Batchyard, containers of {kind}")
        rates.append(rate)
        if missing := why_not(kind):
            bare.why_not = ours.why_not = rate.why_not = missing
            lines += [ours, bare]
            continue
        with _running(kind) as daemon:
            for _ in range(alternations):
                ours.figures.extend(asyncio.run(_by_the_node(jobs, daemon, bare.figures)))
                rate.figures.append(asyncio.run(_rate(jobs, daemon)))
        lines += _compared(ours, bare)
    show("(r) A job of /bin/true, from its order to its end", lines)
    show(f"(r) Jobs of /bin/true per second, {AT_A_TIME} at a time", rates)


def _compared(ours: Line, bare: Line) -> list[Line]:
    on_top_ms = ours.median - bare.median
    want(ours, f"< {GOAL_MS:g} ms on top of the bare runtime, is {on_top_ms:.1f} ms", on_top_ms < GOAL_MS)
    return [ours, bare]


def _bare_process(words: tuple[str, ...]) -> float:
    started = time.perf_counter()
    os.waitpid(os.posix_spawn(words[0], words, {}), 0)
    return (time.perf_counter() - started) * 1000


def _bare_bubble(bwrap: str) -> float:
    """bubblewrap with what the node asks of it, but with /bin/true in the place of what holds the namespaces."""
    with tempfile.TemporaryDirectory(prefix="batchyard-bench-", dir="/var/lib" if os.geteuid() == 0 else None) as folder:
        view = bubble.View(folder, f"{folder}/work", "bare", as_user=os.geteuid() != 0)
        for path in (view.home, view.temporary):
            Path(path).mkdir(parents=True)
        words = bubble.arguments(bwrap, view)
        of_info = words.index("--info-fd")
        return _bare_process((*words[:of_info], *words[of_info + 2 : words.index("--")], "--", "/bin/true"))


def _bare_container(daemon: Daemon) -> float:
    """What `docker run` asks of the daemon, with the settings that a job has; what it writes is read to its end."""
    name = f"bare-{next(_names)}"
    limits = [{"Name": limit, "Soft": 16384, "Hard": 16384} for limit in ("nofile", "nproc")]
    config = {"NetworkMode": "host", "LogConfig": {"Type": "none"}, "Memory": 64 << 20, "Ulimits": limits}
    started = time.perf_counter()
    made = {"Image": IMAGE, "Cmd": ["true"], "AttachStdout": True, "AttachStderr": True, "HostConfig": config}
    _asked(daemon, "POST", f"/v1.40/containers/create?name={name}", made)
    with _attached(daemon, name) as output:
        _asked(daemon, "POST", f"/v1.40/containers/{name}/start")
        _asked(daemon, "POST", f"/v1.40/containers/{name}/wait")
        while output.recv(65536):
            pass
    took_ms = (time.perf_counter() - started) * 1000
    _asked(daemon, "DELETE", f"/v1.40/containers/{name}?v=1&force=1")
    return took_ms


def _attached(daemon: Daemon, name: str) -> socket.socket:
    output = socket.socket(socket.AF_UNIX)
    output.settimeout(PATIENCE_S)
    output.connect(daemon.socket)
    head = f"POST /v1.40/containers/{name}/attach?stream=1&stdout=1&stderr=1 HTTP/1.1"
    output.sendall(f"{head}\r\nHost: engine\r\nContent-Length: 0\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\n".encode())
    assert output.recv(65536).startswith(b"HTTP/1.1 1"), "the daemon does not attach"
    return output


def _asked(daemon: Daemon, method: str, target: str, body: Any = None) -> None:
    status, told = daemon.call(method, target, body)
    if status >= 400:
        raise RuntimeError(f"{daemon.kind}: {told}")


@contextlib.contextmanager
def _running(kind: str) -> Iterator[Daemon]:
    daemon = Daemon(kind)
    try:
        daemon.start()
        daemon.load("busybox")
        yield daemon
    finally:
        daemon.remove()


class _Node:
    """A node of its own, with everything that a job gets, as the server's link sees it."""

    def __init__(self, daemon: Daemon | None, options: Sequence[str]) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="batchyard-bench-"))
        self._folder.chmod(0o711)
        self._ended: dict[str, asyncio.Future[None]] = {}
        self._here = asyncio.get_running_loop().create_future()
        self._provider = LocalProvider(self._folder, node_options=[*options, *(["--container-socket", daemon.socket] if daemon else [])])

    async def __aenter__(self) -> _Node:
        await self._provider.start(self._deliver, 1)
        await asyncio.wait_for(self._here, PATIENCE_S)
        self._provider.carry_out([StartInstance(_instance())])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._provider.shut_down(0.0)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _deliver(self, reports: Sequence[Report]) -> None:
        for report in reports:
            if isinstance(report, ProviderBack) and not self._here.done():
                self._here.set_result(None)
            elif isinstance(report, AttemptEnded) and not self._ended[report.attempt].done():
                if report.exit_code != 0:
                    raise RuntimeError(f"a job failed: {report}")
                self._ended[report.attempt].set_result(None)

    async def run(self, launch: Launch) -> float:
        """Milliseconds from the Launch to the report of its end."""
        ended = self._ended[launch.attempt] = asyncio.get_running_loop().create_future()
        started = time.perf_counter()
        self._provider.carry_out([launch])
        await asyncio.wait_for(ended, PATIENCE_S)
        took_ms = (time.perf_counter() - started) * 1000
        self._provider.acknowledge([launch.attempt])
        return took_ms


async def _by_the_node(
    jobs: int, daemon: Daemon | None, bare: list[float] | None = None, *, options: Sequence[str] = (), command: Sequence[str] = NO_OP
) -> list[float]:
    """Milliseconds of each job, one after the other.

    Containers are removed before the next thing is measured, and after each the daemon is asked for one without us, for `bare`.
    """
    took_ms: list[float] = []
    async with _Node(daemon, options) as node:
        for _ in range(jobs):
            took_ms.append(await node.run(_launch(daemon is not None, command)))
            while daemon and daemon.call("GET", "/v1.40/containers/json?all=1")[1]:
                await asyncio.sleep(0.01)
            if daemon and bare is not None:
                bare.append(_bare_container(daemon))
    return took_ms


async def _rate(jobs: int, daemon: Daemon | None, *, options: Sequence[str] = (), command: Sequence[str] = NO_OP) -> float:
    """Jobs per second, some at a time."""
    async with _Node(daemon, options) as node:
        waiting = [_launch(daemon is not None, command) for _ in range(jobs)]

        async def work() -> None:
            while waiting:
                await node.run(waiting.pop())

        started = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(AT_A_TIME)))
        return jobs / (time.perf_counter() - started)


def _launch(contained: bool, command: Sequence[str]) -> Launch:
    attempt = f"bench-{os.getpid()}-{next(_names)}"
    return Launch(
        attempt=attempt,
        job_id=attempt,
        number=1,
        instance="i-1",
        command=("true",) if contained else tuple(command),
        environment={},
        needs=Resources(1, 64),
        log_group="/aws/batch/job",
        log_stream=f"bench/default/{attempt}",
        account="123456789012",
        region="us-east-1",
        container={"image": IMAGE} if contained else {},
        runtime="container" if contained else "process",
    )


def _instance() -> Instance:
    room = Resources(2, 8192)
    return Instance(id="i-1", environment="ce", type_name="m5.large", room=room, spot=False, state=InstanceState.PENDING, launched_at_ms=1)
