"""The first process of a guest machine with cgroups of version 2: runs jobs by a node there, says in JSON lines what came of it.

Not a test module: `test_cgroup2_guest` puts it into the guest. Its output goes to the serial console.
"""

import asyncio
import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

PYTHON = os.readlink("/proc/self/exe") if os.path.exists("/proc/self/exe") else sys.executable  # noqa: PTH110, PTH115
DATA = Path("/tmp/yard")
PATIENCE_S = 60.0


def be_a_machine() -> None:
    """What the first process of a machine has to do."""
    libc = ctypes.CDLL(None, use_errno=True)
    for kind, place in (("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("cgroup2", "/sys/fs/cgroup"), ("tmpfs", "/tmp")):
        Path(place).mkdir(exist_ok=True)
        if libc.mount(b"none", place.encode(), kind.encode(), 0, None):
            tell("trouble", what=f"mount {kind}: {os.strerror(ctypes.get_errno())}")


def tell(name: str, **fields: object) -> None:
    sys.stdout.write("GUEST " + json.dumps({"name": name, **fields}) + "\n")
    sys.stdout.flush()


async def main() -> None:
    from batchyard.compute.local.link import LocalProvider
    from batchyard.model.capacity import Instance, InstanceState, Resources
    from batchyard.model.messages import AttemptEnded, AttemptStarted, Launch, Report, StartInstance

    news = asyncio.Event()
    reports: list[Report] = []

    def deliver(came: Sequence[Report]) -> None:
        reports.extend(came)
        news.set()

    async def until(satisfied: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not satisfied():
                news.clear()
                await news.wait()

    def launch(name: str, code: str, memory_mib: int) -> Launch:
        return Launch(name, name, 1, "i-1", (PYTHON, "-I", "-S", "-c", code), {}, Resources(2, memory_mib), "g", name, "1", "r")

    def ends() -> dict[str, AttemptEnded]:
        return {report.attempt: report for report in reports if isinstance(report, AttemptEnded)}

    async def run(name: str, code: str, memory_mib: int = 100) -> None:
        provider.carry_out([launch(name, code, memory_mib)])
        await until(lambda: name in ends())
        told(name)

    def told(name: str) -> None:
        end = ends()[name]
        tell(
            name,
            code=end.exit_code,
            oom=end.oom,
            peak=end.peak_memory_mib,
            cpu=end.cpu_s,
            cause=end.cause,
            reason=end.reason,
            log=log(name),
        )

    provider = LocalProvider(DATA)
    instance = Instance(id="i-1", environment="ce", type_name="any", room=Resources(4, 900), spot=False, state=InstanceState.PENDING)
    await provider.start(deliver, 1)
    await asyncio.wait_for(provider.connected(), PATIENCE_S)
    provider.carry_out([StartInstance(instance)])
    tell("facts", **provider.facts)
    hog = "b = bytearray({0} << 20)\nb[::4096] = b'x' * len(b[::4096])\n"
    await run("plain", "print('hello'); raise SystemExit(3)")
    group = "'/sys/fs/cgroup' + open('/proc/self/cgroup').read().strip().split(':')[2]"
    await run("limits", f"g = {group}\nfor n in ('memory.max', 'memory.swap.max', 'cpu.weight'): print(open(g + '/' + n).read().strip())")
    await run("oom", hog.format(300) + "import time; time.sleep(600)", 60)
    child = f"import os\nif os.fork() == 0:\n exec({hog.format(300)!r})\n os._exit(0)\nos.wait()\nprint('survived')"
    await run("oom of a child", child, 60)
    await run("kill", "import os; os.kill(os.getpid(), 9)")
    await run("peak", hog.format(50), 200)
    daemon = (
        "import os, time\nif os.fork() == 0:\n os.setsid()\n if os.fork(): os._exit(0)\n time.sleep(601)\nos.wait()\nraise SystemExit(4)"
    )
    await run("daemon", daemon)
    names = [f"burst {number}" for number in range(8)]
    provider.carry_out([launch(name, hog.format(50), 4 if number % 2 else 200) for number, name in enumerate(names)])
    await until(lambda: set(names) <= set(ends()))
    for name in names:
        told(name)
    provider.carry_out([launch("orphan", daemon + "\nwhile True: time.sleep(602)", 64), launch("runs", "import time; time.sleep(603)", 64)])
    await until(lambda: [report for report in reports if isinstance(report, AttemptStarted) and report.attempt == "runs"])
    os.kill(provider.node_pid, signal.SIGKILL)
    await until(lambda: "runs" in ends())
    told("runs")
    tell("left", processes=sleepers())
    await provider.shut_down(0.0)
    for _ in range(500):
        if not list(Path("/sys/fs/cgroup").glob("batchyard-*")):
            break
        await asyncio.sleep(0.02)
    tell("groups", left=[place.name for place in Path("/sys/fs/cgroup").glob("batchyard-*")], node=(DATA / "node.log").read_text())


def log(name: str) -> list[str]:
    from batchyard.store import logs

    with logs.opened(logs.segment_path(DATA / "logs", "1", "r", "g", name)) as segment:
        return [entry.message.decode() for entry in logs.entries(segment)]


def sleepers() -> list[str]:
    """Jobs' processes that are still alive."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = place.read_bytes()
            ended = ") Z " in (place.parent / "stat").read_text()
        except OSError:
            continue
        if b"sleep(60" in line and not ended:
            found.append(place.parent.name)
    return found


if __name__ == "__main__":
    be_a_machine()
    try:
        asyncio.run(main())
    finally:
        node_log = DATA / "node.log"
        tell("end", executable=sys.executable, node=node_log.read_text() if node_log.exists() else "")
        ctypes.CDLL(None).reboot(0x4321FEDC)  # power off
