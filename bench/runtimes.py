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

from batchyard.compute.local.link import LocalProvider
from batchyard.model.capacity import Instance, InstanceState, Resources
from batchyard.model.messages import AttemptEnded, Launch, ProviderBack, Report, StartInstance
from bench.report import Line, show, want
from containers.engines import IMAGE, Daemon, why_not

GOAL_MS = 5.0
PATIENCE_S = 60.0
_names = itertools.count(1)


def run(alternations: int, *, is_quick: bool) -> None:
    """Measure and print."""
    jobs = 5 if is_quick else 20
    lines: list[Line] = []
    bare, ours = Line("posix_spawn and waitpid", unit="ms"), Line("Batchyard, a process", unit="ms")
    for _ in range(alternations):
        bare.figures.extend(_bare_process() for _ in range(jobs))
        ours.figures.extend(asyncio.run(_by_the_node(jobs, None)))
    lines += _compared(ours, bare)
    for kind in ("docker", "podman"):
        bare, ours = Line(f"{kind}: create, attach, start, wait", unit="ms"), Line(f"Batchyard, a container of {kind}", unit="ms")
        if missing := why_not(kind):
            bare.why_not = ours.why_not = missing
            lines += [ours, bare]
            continue
        with _running(kind) as daemon:
            for _ in range(alternations):
                ours.figures.extend(asyncio.run(_by_the_node(jobs, daemon, bare.figures)))
        lines += _compared(ours, bare)
    show("(r) A job of /bin/true, from its order to its end", lines)


def _compared(ours: Line, bare: Line) -> list[Line]:
    on_top_ms = ours.median - bare.median
    want(ours, f"< {GOAL_MS:g} ms on top of the bare runtime, is {on_top_ms:.1f} ms", on_top_ms < GOAL_MS)
    return [ours, bare]


def _bare_process() -> float:
    started = time.perf_counter()
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
    return (time.perf_counter() - started) * 1000


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


async def _by_the_node(jobs: int, daemon: Daemon | None, bare: list[float] | None = None) -> list[float]:
    """Milliseconds from each Launch to the report of its end, through the link and the node, with everything that a job gets.

    Containers are removed before the next thing is measured, and after each the daemon is asked for one without us, for `bare`.
    """
    folder = Path(tempfile.mkdtemp(prefix="batchyard-bench-"))
    ended: dict[str, asyncio.Future[None]] = {}
    here = asyncio.get_running_loop().create_future()

    def deliver(reports: Sequence[Report]) -> None:
        for report in reports:
            if isinstance(report, ProviderBack) and not here.done():
                here.set_result(None)
            elif isinstance(report, AttemptEnded) and not ended[report.attempt].done():
                if report.exit_code != 0:
                    raise RuntimeError(f"a job failed: {report}")
                ended[report.attempt].set_result(None)

    provider = LocalProvider(folder, node_options=["--container-socket", daemon.socket] if daemon else [])
    took_ms: list[float] = []
    try:
        await provider.start(deliver, 1)
        await asyncio.wait_for(here, PATIENCE_S)
        provider.carry_out([StartInstance(_instance())])
        for _ in range(jobs):
            launch = _launch(daemon is not None)
            ended[launch.attempt] = asyncio.get_running_loop().create_future()
            started = time.perf_counter()
            provider.carry_out([launch])
            await asyncio.wait_for(ended[launch.attempt], PATIENCE_S)
            took_ms.append((time.perf_counter() - started) * 1000)
            provider.acknowledge([launch.attempt])
            while daemon and daemon.call("GET", "/v1.40/containers/json?all=1")[1]:
                await asyncio.sleep(0.01)
            if daemon and bare is not None:
                bare.append(_bare_container(daemon))
    finally:
        await provider.shut_down(0.0)
        shutil.rmtree(folder, ignore_errors=True)
    return took_ms


def _launch(contained: bool) -> Launch:
    attempt = f"bench-{os.getpid()}-{next(_names)}"
    return Launch(
        attempt=attempt,
        job_id=attempt,
        number=1,
        instance="i-1",
        command=("true",) if contained else ("/bin/true",),
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
