"""The first process of a guest machine with cgroups of version 2: plays the cases there, and says in JSON lines what came of them.

Not a test module: `guest_machine` puts it into the guest. It says them on the second serial port.
"""

import asyncio
import ctypes
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cage_cases import Case
    from compute_rig import LocalRig

DATA = Path("/disk/yard")
PATIENCE_S = 180.0  # for a case: the machine that emulates this one may be busy
FINIT_MODULE = 313
MS_BIND, MS_MOVE = 0x1000, 0x2000
LIBC = ctypes.CDLL(None, use_errno=True)


def be_a_machine() -> None:
    """What the first process of a machine has to do."""
    mount("none", "/dev", "devtmpfs")  # to be able to say what is wrong
    # The first root of all is not a mount that can be changed for another, which bubblewrap wants to do: stand on one of its own.
    Path("/root-again").mkdir()
    mount("/", "/root-again", "", MS_BIND)
    os.chdir("/root-again")
    mount(".", "/", "", MS_MOVE)
    os.chroot(".")
    for kind, place in (
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("tmpfs", "/dev/shm"),
        ("cgroup2", "/sys/fs/cgroup"),
        ("tmpfs", "/tmp"),
    ):
        Path(place).mkdir(exist_ok=True)
        mount("none", place, kind)
    Path("/dev/shm").chmod(0o1777)
    Path("/tmp").chmod(0o1777)
    for module in Path("/modules/order").read_text().split():
        with open(f"/modules/{module}", "rb") as file:
            if LIBC.syscall(FINIT_MODULE, file.fileno(), b"", 0):
                tell("trouble", what=f"module {module}: {os.strerror(ctypes.get_errno())}")
    Path("/disk").mkdir()
    mount("/dev/vda", "/disk", "ext4")


def mount(what: str, place: str, kind: str, flags: int = 0) -> None:
    if LIBC.mount(what.encode(), place.encode(), kind.encode(), flags, None):
        tell("trouble", what=f"mount {kind or what} at {place}: {os.strerror(ctypes.get_errno())}")


def tell(name: str, **fields: object) -> None:
    with open("/dev/ttyS1", "w") as port:
        port.write(json.dumps({"name": name, **fields}) + "\n")


async def main() -> None:
    import compute_rig
    from cage_cases import CASES, the_node_is_killed
    from compute_rig import LocalRig

    from batchyard.compute.local.link import LocalProvider

    DATA.mkdir()
    compute_rig.PATIENCE_S = PATIENCE_S
    rig = LocalRig(LocalProvider(DATA), DATA)
    await rig.connect()
    tell("facts", **rig.provider.facts)
    for case in CASES:
        if case.options:
            continue
        await rig.connect()
        await rig.up()
        await play(case, rig)
        await rig.clear()
    tell("the node is killed", said=await the_node_is_killed(rig))
    await rig.provider.shut_down(0.0)
    for _ in range(3000):
        if not list(Path("/sys/fs/cgroup").glob("batchyard-*")):
            break
        await asyncio.sleep(0.02)
    tell("groups", left=[place.name for place in Path("/sys/fs/cgroup").glob("batchyard-*")])


async def play(case: "Case", rig: "LocalRig") -> None:
    try:
        async with asyncio.timeout(PATIENCE_S):
            tell(case.name, said=await case.play(rig))
    except Exception:  # noqa: BLE001 - told, and the next case is played
        tell(case.name, failed=traceback.format_exc())


async def on_nodes_of_their_own() -> None:
    """The cases whose node has options."""
    from cage_cases import CASES
    from compute_rig import LocalRig

    from batchyard.compute.local.link import LocalProvider

    for case in CASES:
        if case.options:
            directory = Path(f"/disk/{case.name}")
            rig = LocalRig(LocalProvider(directory, node_options=case.options), directory)
            await rig.connect()
            await rig.up()
            await play(case, rig)
            await rig.provider.shut_down(0.0)


def a_user_has_a_cgroup() -> None:
    """The cases once more by somebody who is not root; what is said there is said here under the name "user"."""
    command = [os.environ["CASES_PYTHON"], "/app/cage_user.py", "/disk/user", "1000"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=2 * PATIENCE_S, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    tell("user", said={said["name"]: said for said in lines}, output="" if lines else done.stdout)


async def who_asks_is_known() -> None:
    import link_local_case
    from compute_rig import LocalRig

    from batchyard.compute.local.link import LocalProvider

    link_local_case.loopback_up()
    directory = Path("/disk/linked")
    rig = LocalRig(LocalProvider(directory, node_options=link_local_case.OPTIONS), directory)
    try:
        async with asyncio.timeout(PATIENCE_S):
            tell("who asks is known", said=await link_local_case.play(rig))
    except Exception:  # noqa: BLE001 - told
        log = directory / "node.log"
        tell("who asks is known", failed=traceback.format_exc(), log=log.read_text() if log.exists() else "")


def scratch_grows() -> None:
    import scratch_case

    for kind in scratch_case.KINDS:
        root = Path(f"/disk/{kind}")
        root.mkdir()
        try:
            tell(f"scratch {kind}", said=scratch_case.play(root, kind, 2 * PATIENCE_S))
        except Exception:  # noqa: BLE001 - told
            tell(f"scratch {kind}", failed=traceback.format_exc())


if __name__ == "__main__":
    be_a_machine()
    os.environ["CASES_PYTHON"] = os.readlink("/proc/self/exe")  # noqa: PTH115
    os.environ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    try:
        for step in (
            lambda: asyncio.run(main()),
            lambda: asyncio.run(on_nodes_of_their_own()),
            lambda: asyncio.run(who_asks_is_known()),
            a_user_has_a_cgroup,
            scratch_grows,
        ):
            try:
                step()
            except Exception:  # noqa: BLE001 - told, and the next step is taken
                tell("trouble", what=traceback.format_exc())
    finally:
        node_log = DATA / "node.log"
        tell("end", executable=sys.executable, node=node_log.read_text() if node_log.exists() else "")
        LIBC.reboot(0x4321FEDC)  # power off
