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
from bench.report import Line, paired, show, want
from containers.engines import IMAGE, Daemon, why_not

GOAL_MS = 5.0
PATIENCE_S = 60.0
AT_A_TIME = 8
NO_OP = ("/bin/true",)
LEAVES_A_FILE = ("/usr/bin/touch", "file")  # which is removed at once
OPENS_ITS_HOME = ("/bin/chmod", "755", ".")  # as jobs that leave much: what their namespaces show is not used again
NAMESPACES = ("--bubblewrap", "require")
NO_BUBBLES = "bubblewrap is not installed"
WARM_UPS = 2
REST_S = 0.02  # between two turns: nobody's end is in the way of another one's beginning
# How each of the rates is come by: options, command, and what part of the usual number of jobs.
RATES = ((), NO_OP, 1), (NAMESPACES, NO_OP, 1), (NAMESPACES, LEAVES_A_FILE, 1), (NAMESPACES, OPENS_ITS_HOME, 2)
_names = itertools.count(1)


def run(alternations: int, *, is_quick: bool) -> None:
    """Measure and print."""
    jobs = alternations * (5 if is_quick else 20)
    rates = [Line(f"Batchyard, {name}") for name in ("processes", "in namespaces", "in namespaces, a file is left", "in new namespaces")]
    lines = asyncio.run(_processes(jobs))
    for line, (options, command, part) in zip(rates, RATES, strict=True):
        if options and not bubble.program():
            line.why_not = NO_BUBBLES
            continue
        line.figures.extend(asyncio.run(_rate(jobs * 20 // alternations // part, None, options, command)) for _ in range(alternations))
    for kind in ("docker", "podman"):
        bare, ours = Line(f"{kind}: create, attach, start, wait", unit="ms"), Line(f"Batchyard, a container of {kind}", unit="ms")
        rate = Line(f"Batchyard, containers of {kind}")
        rates.append(rate)
        lines += [ours, bare]
        if missing := why_not(kind):
            bare.why_not = ours.why_not = rate.why_not = missing
            continue
        with _running(kind) as daemon:
            asyncio.run(_containers(daemon, jobs, ours, bare))
            rate.figures.extend(asyncio.run(_rate(jobs // alternations, daemon)) for _ in range(alternations))
        _compare(ours, bare)
    show("(r) A job of /bin/true, from its order to its end", lines)
    show(f"(r) Jobs of /bin/true per second, {AT_A_TIME} at a time", rates)


async def _processes(jobs: int) -> list[Line]:
    """Each way once, then each once more: a busy moment of the machine meets all of them."""
    bare, ours = Line("posix_spawn and waitpid", unit="ms"), Line("Batchyard, a process", unit="ms")
    wrapped, inside = Line("bwrap, the same arguments", unit="ms"), Line("Batchyard, in namespaces", unit="ms")
    rested, anew = Line("Batchyard, in new namespaces", unit="ms"), Line("the same, right after the job before", unit="ms")
    bwrap = bubble.program()
    async with contextlib.AsyncExitStack() as stack:
        plain = await stack.enter_async_context(_Node(None, ()))
        kept = await stack.enter_async_context(_Node(None, NAMESPACES)) if bwrap else None
        opened = await stack.enter_async_context(_Node(None, NAMESPACES)) if bwrap else None
        for turn in range(-WARM_UPS, jobs):
            took_ms = [(bare, _bare_process(("/bin/true",))), (ours, await plain.run(_launch(False, NO_OP)))]
            if kept and opened:
                took_ms += [(wrapped, _bare_bubble(bwrap)), (inside, await kept.run(_launch(False, NO_OP)))]
                took_ms += [(line, await opened.run(_launch(False, OPENS_ITS_HOME))) for line in (rested, anew)]
            if turn >= 0:
                for line, figure in took_ms:
                    line.figures.append(figure)
            await asyncio.sleep(REST_S)
    _compare(ours, bare)
    for line in (inside, rested, anew):
        if bwrap:
            _compare(line, wrapped)
    for line in (wrapped, inside, rested, anew):
        line.why_not = "" if bwrap else NO_BUBBLES
    return [ours, bare, inside, rested, anew, wrapped]


async def _containers(daemon: Daemon, jobs: int, ours: Line, bare: Line) -> None:
    """One of ours, one without us, and so on, with the same daemon. Each is removed before the next is begun."""
    async with _Node(daemon, ()) as node:
        for turn in range(-WARM_UPS, jobs):
            our_ms = await node.run(_launch(True, NO_OP))
            while daemon.call("GET", "/v1.40/containers/json?all=1")[1]:
                await asyncio.sleep(0.01)
            its_ms = _bare_container(daemon)
            if turn >= 0:
                ours.figures.append(our_ms)
                bare.figures.append(its_ms)


def _compare(ours: Line, bare: Line) -> None:
    on_top = paired(ours.figures, bare.figures)
    between = f"{on_top.median:.1f} ms ({on_top.low:.1f} to {on_top.high:.1f})"
    want(ours, f"< {GOAL_MS:g} ms on top of the bare runtime, is {between}", on_top.median < GOAL_MS)


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


async def _rate(jobs: int, daemon: Daemon | None, options: Sequence[str] = (), command: Sequence[str] = NO_OP) -> float:
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
