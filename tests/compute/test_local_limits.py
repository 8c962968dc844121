"""Memory and time: limits are kept, and what was used is told; with cgroups where they are, and by watching."""

from __future__ import annotations

import time
from pathlib import Path

import cage_cases
import pytest
from compute_rig import AS_ROOT, LocalRig, alive
from test_local_processes import PYTHON

from batchyard.compute.local import knobs
from batchyard.model.messages import StopAttempt

MIB = 1024 * 1024
WATCHED = ["--isolation", "watch"]
both = pytest.mark.parametrize("local", [[], WATCHED], indirect=True, ids=["auto", "watched"])


def hog(mib: int, then: str = "pass") -> tuple[str, ...]:
    """Take so much memory and touch it."""
    return (PYTHON, "-c", f"import time\nb = bytearray({mib} << 20)\nb[::4096] = b'x' * len(b[::4096])\n{then}")


@both
async def test_above_its_limit_a_job_is_killed_for_memory(local: LocalRig) -> None:
    ended, _ = await local.run(*hog(400, "time.sleep(600)"), memory_mib=100)
    assert (ended.cause, ended.exit_code, ended.oom) == ("exited", 137, True)
    assert ended.peak_memory_mib is not None
    assert ended.peak_memory_mib > 90
    ended, _ = await local.run("true", memory_mib=100)
    assert (ended.exit_code, ended.oom) == (0, False), "the next one in the same place must not be blamed"


@both
async def test_a_kill_that_is_not_for_memory_is_told_apart(local: LocalRig) -> None:
    ended, _ = await local.run("sh", "-c", "kill -9 $$", memory_mib=100)
    assert (ended.exit_code, ended.oom) == (137, False)


@both
async def test_a_child_that_is_killed_for_memory_counts_too(local: LocalRig) -> None:
    script = f"{PYTHON} -c 'import time; b = bytearray(b\"x\") * (400 << 20); time.sleep(600)'; echo survived; exit 0"
    ended, lines = await local.run("sh", "-c", script, memory_mib=100)
    if local.provider.facts["isolation"] == "watching":
        assert ended.oom  # watching ends the whole job
    else:
        assert (ended.exit_code, ended.oom, lines[-1]) == (0, True, "survived")


@both
async def test_peak_memory_and_cpu_are_told(local: LocalRig) -> None:
    ended, _ = await local.run(*hog(150, "t = time.process_time()\nwhile time.process_time() < t + 0.3: pass"), memory_mib=400)
    assert ended.exit_code == 0
    assert ended.peak_memory_mib is not None
    assert 150 < ended.peak_memory_mib < 220
    assert ended.cpu_s is not None
    assert 0.3 < ended.cpu_s < 30  # far: a machine whose processors are taken away counts that too


async def test_a_small_job_after_a_large_one_has_a_small_peak(local: LocalRig) -> None:
    ended, _ = await local.run("sh", "-c", f"{PYTHON} -c 'b = b\"x\" * (200 << 20)'; head -c 100000000 /dev/zero > big", memory_mib=500)
    assert ended.peak_memory_mib is not None
    assert ended.peak_memory_mib > 200
    ended, _ = await local.run("true", memory_mib=500)
    assert ended.peak_memory_mib is None or ended.peak_memory_mib < 20


async def test_the_smallest_job_there_is_runs(local: LocalRig) -> None:
    """4 MiB is the least that AWS Batch takes; neither the node nor the start of the job may eat it up."""
    for _ in range(3):
        ended, lines = await local.run("sh", "-c", "echo fits", memory_mib=4)
        assert (ended.exit_code, ended.oom, lines) == (0, False, ["fits"])


async def test_a_job_that_bursts_at_once_out_of_a_tiny_limit_does_not_take_the_node_along(local: LocalRig) -> None:
    generation = local.provider.generation
    launches = [local.launch(*hog(64, "time.sleep(600)"), memory_mib=4) for _ in range(8)]  # it is kept, should the limit come late
    local.provider.carry_out(launches)
    for launch in launches:
        ended = await local.ended(launch.attempt)
        assert ended.oom, ended
    assert (await local.connect()).generation == generation


@pytest.mark.skipif(not AS_ROOT, reason="without root nothing tells a job's processes from others that dropped their environment")
@pytest.mark.parametrize("local", [WATCHED], indirect=True)
async def test_who_leaves_the_session_and_drops_the_environment_ends_with_the_job_all_the_same(local: LocalRig) -> None:
    """Its user is the next job's."""
    away = "setsid env -i sh -c 'sleep 600 & wait' & echo $!"
    ended, lines = await local.run("sh", "-c", away)
    assert ended.exit_code == 0
    await local.eventually(lambda: not alive(int(lines[0])), "it is gone")
    _, seen = await local.run("sh", "-c", "id -u; ps -o args= -u $(id -u)")
    assert not any("sleep 600" in line for line in seen), seen


@both
async def test_time_is_up_even_without_a_server(local: LocalRig) -> None:
    polite = local.launch("sh", "-c", 'trap "echo asked; exit 0" TERM; while :; do sleep 0.01; done', timeout_s=6)
    rude = local.launch("sleep", "600", timeout_s=3)
    quick = local.launch("sh", "-c", "exit 3", timeout_s=60)
    local.provider.carry_out([polite, rude, quick])
    for launch in (polite, rude, quick):
        await local.started(launch.attempt)
    await local.provider.close()
    await local.eventually(lambda: "asked" in local.log(polite.attempt), "it is asked to end")
    await local.connect()
    ended = await local.ended(polite.attempt)
    assert (ended.cause, ended.exit_code) == ("timeout", 0)
    assert ended.started_at_ms is not None
    assert ended.at_ms - ended.started_at_ms >= 6000
    ended = await local.ended(rude.attempt)
    assert (ended.cause, ended.exit_code) == ("timeout", 143)
    ended = await local.ended(quick.attempt)
    assert (ended.cause, ended.exit_code) == ("exited", 3)


async def test_a_stop_of_what_timed_out_still_shortens_its_grace(local: LocalRig) -> None:
    launch = local.launch("sh", "-c", 'trap "" TERM; echo deaf; while :; do sleep 0.01; done', timeout_s=6)
    local.provider.carry_out([launch])
    await local.says(launch.attempt)
    began_ms = (await local.started(launch.attempt)).at_ms
    await local.eventually(lambda: time.time_ns() // 1_000_000 > began_ms + 6100, "time is up")
    local.provider.carry_out([StopAttempt(launch.attempt, 0.0)])
    ended = await local.ended(launch.attempt)
    assert ended.exit_code == 137
    assert ended.cause in ("timeout", "stopped")


@pytest.mark.parametrize("local", [WATCHED], indirect=True)
async def test_watching_finds_who_left_the_group(local: LocalRig) -> None:
    """Without cgroups a daemon is found by its marker, or by its session."""
    keep = 'open("pid", "w").write(str(os.getpid()))\ntime.sleep(600)'
    daemon = f"import os, time\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\n{keep}"
    ended, lines = await local.run("sh", "-c", f"{PYTHON} -c '{daemon}'; until [ -s pid ]; do sleep 0.01; done; cat pid; exit 4")
    assert ended.exit_code == 4
    await local.eventually(lambda: not Path(f"/proc/{lines[0]}").exists(), "the daemon is gone")


async def test_shares_follow_the_vcpus(local: LocalRig) -> None:
    if local.provider.facts["isolation"] != "cgroup v1":
        assert local.provider.facts["isolation"] in ("cgroup v2", "watching")
        return
    for vcpus, shares in ((0.25, "256"), (2, "2048"), (1, "1024")):
        _, lines = await local.run(
            "sh", "-c", "cat /sys/fs/cgroup/cpu$(grep :cpu: /proc/self/cgroup | cut -d: -f3)/cpu.shares", vcpus=vcpus
        )
        assert lines == [shares]


@pytest.mark.parametrize("local", [["--cpu", "hard", "--pids-limit", "33"]], indirect=True)
async def test_vcpus_can_be_caps_and_processes_are_counted(local: LocalRig) -> None:
    """Twice in the same slot: what held for one job does not hold for the next."""
    if not local.provider.facts["isolation"].startswith("cgroup"):
        assert local.provider.facts["isolation"] == "watching"
        return
    for vcpus, quota in ((0.25, 25_000), (2, 200_000)):
        launch = local.launch("sleep", "600", vcpus=vcpus)
        local.provider.carry_out([launch])
        await local.started(launch.attempt)
        first = next(
            int(place.name)
            for place in Path("/proc").iterdir()
            if place.name.isdecimal() and f"BATCHYARD_ATTEMPT={launch.attempt}\0".encode() in environment(place)
        )
        cpu, pids = cage_cases.group_of(first, "cpu"), cage_cases.group_of(first, "pids")
        told = knobs.read(cpu / "cpu.max").split() or [
            knobs.read(cpu / "cpu.cfs_quota_us").strip(),
            knobs.read(cpu / "cpu.cfs_period_us").strip(),
        ]
        assert [int(number) for number in told] == [quota, 100_000]
        assert knobs.read(pids / "pids.max").strip() == "33"
        local.provider.carry_out([StopAttempt(launch.attempt, 0.0)])
        await local.ended(launch.attempt)


def environment(place: Path) -> bytes:
    """Of a process by its directory in /proc; b"" once it has ended."""
    try:
        return (place / "environ").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("local", [[*WATCHED, "--pids-limit", "20"]], indirect=True)
async def test_without_cgroups_processes_are_counted_by_user(local: LocalRig) -> None:
    if not AS_ROOT:
        return  # there all that its user runs counts too
    code = (
        "import os, time\nmade = 0\n"
        "try:\n while made < 500:\n  if os.fork() == 0:\n   time.sleep(600)\n   os._exit(0)\n  made += 1\n"
        "except OSError: pass\nprint(made)"
    )
    _, lines = await local.run(PYTHON, "-c", code)
    assert int(lines[-1]) < 20
