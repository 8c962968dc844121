"""The cases as somebody who is not root and has a cgroup delegated: a program of its own, since it gives its privileges away.

    python cage_user.py DIR UID        says in a JSON line the node's facts, then one for each case; run it as root

Not a test module: `test_cages` and the guest run it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from cage_cases import CASES, Case, the_node_is_killed
from compute_rig import LocalRig

from batchyard.compute.local import cgroup1, cgroup2, knobs
from batchyard.compute.local.link import LocalProvider

PATIENCE_S = 120.0
# What may be otherwise for somebody who is not root: he makes his groups in another place, and all are one user.
USERS_CASES = [
    case
    for case in CASES
    if case.name
    in (
        "limits_are_in_force",
        "above_its_limit_it_is_killed_for_memory",
        "of_a_child_alone_it_is_told_too",
        "the_peak_is_of_all_processes_together_and_of_this_job_alone",
        "who_escaped_into_a_session_of_its_own_is_ended_with_the_job",
        "processor_time_is_of_all_even_of_who_escaped",
        "what_it_read_and_wrote_is_counted",
    )
]


@contextlib.contextmanager
def delegated(uid: int) -> Iterator[list[Path]]:
    """Cgroups that belong to a user, as `systemd-run --user -p Delegate=yes` makes one, in every hierarchy with a controller of ours."""
    name, made = f"delegated-{os.getpid()}", []
    mounts = list(knobs.mounts())
    if any(mount.kind == "cgroup" and "memory" in mount.options for mount in mounts):
        parents = {mount.place for mount in mounts if mount.kind == "cgroup" and mount.options & set(cgroup1.CONTROLLERS)}
    else:
        parents = {mount.place for mount in mounts if mount.kind == "cgroup2"}
        for parent in parents:
            for controller in cgroup2.CONTROLLERS:
                knobs.write(parent / "cgroup.subtree_control", f"+{controller}")
    try:
        for parent in sorted(parents):
            group = parent / name
            group.mkdir()
            made.append(group)
            for file in (group, *(group / file for file in ("cgroup.procs", "tasks", "cgroup.subtree_control", "cgroup.threads"))):
                if file.exists():
                    os.chown(file, uid, uid)
        yield made
    finally:
        for group in made:
            deadline = time.monotonic() + 60
            while not cgroup2.remove_below(group) and time.monotonic() < deadline:
                time.sleep(0.05)


def tell(name: str, **fields: object) -> None:
    sys.stdout.write(json.dumps({"name": name, **fields}) + "\n")
    sys.stdout.flush()


async def play(directory: Path, cases: list[Case]) -> None:
    rig = LocalRig(LocalProvider(directory), directory)
    await rig.connect()
    tell("facts", **rig.provider.facts)
    await rig.up()
    for case in cases:
        try:
            async with asyncio.timeout(PATIENCE_S):
                tell(case.name, said=await case.play(rig))
        except Exception:  # noqa: BLE001 - told, and the next case is played
            tell(case.name, failed=traceback.format_exc())
    tell("the node is killed", said=await the_node_is_killed(rig))
    await rig.provider.shut_down(0.0)


def main(directory: Path, uid: int) -> int:
    directory.mkdir(exist_ok=True)
    os.chown(directory, uid, uid)
    with delegated(uid) as groups:
        pid = os.fork()
        if pid == 0:
            try:
                for group in groups:
                    (group / "cgroup.procs").write_text("0")
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
                asyncio.run(play(directory, USERS_CASES))
            except BaseException:  # noqa: BLE001 - the end of a fork
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(0)
        signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGKILL))
        os.waitpid(pid, 0)
    tell("left", groups=[str(group) for group in groups if group.exists()])
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
