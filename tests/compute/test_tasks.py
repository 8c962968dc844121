"""Tasks of several containers on this machine: order, conditions, whose end ends the others, outcomes, volumes (compute/local/task.py)."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from compute_rig import ACCOUNT, AS_ROOT, GROUP, REGION, LocalRig, Rig, ScriptedRig, alive

from batchyard.compute.local.link import LocalProvider
from batchyard.compute.local.task import stop_s
from batchyard.compute.scripted import ScriptedProvider
from batchyard.model.messages import AttemptEnded, AttemptStarted, Launch, StopAttempt, StopInstance
from batchyard.model.task import Condition, ContainerEnd, StartsAfter, TaskContainer
from batchyard.store import logs

RUNS_ON = "exec sleep 600"
CALM = "trap 'echo told; exit 0' TERM; echo up; while :; do sleep 0.05; done"


@pytest.fixture
async def rig(folder: Path) -> AsyncIterator[LocalRig]:
    local = LocalProvider(folder)
    rig = LocalRig(local, folder)
    await rig.connect()
    await rig.up()
    yield rig
    await local.shut_down(0.0)


def container(name: str, script: str, **more: Any) -> TaskContainer:
    """A container that runs a shell script. `after` holds pairs of a name and a condition."""
    after = tuple(StartsAfter(other, Condition(condition)) for other, condition in more.pop("after", ()))
    return TaskContainer(
        name=name,
        command=more.pop("command", ("sh", "-c", script)),
        memory_mib=more.pop("memory_mib", 64),
        vcpus=1.0,
        depends_on=after,
        log_group=GROUP,
        log_stream=f"definition/{name}/STREAM",
        **more,
    )


def task(rig: Rig, *containers: TaskContainer, **fields: Any) -> Launch:
    """A Launch of these containers; not sent. Their streams are named by the attempt."""
    launch = rig.launch(**fields)
    own = tuple(_with_stream(one, launch.attempt) for one in containers)
    from msgspec.structs import replace

    return replace(launch, containers=own)


def _with_stream(one: TaskContainer, attempt: str) -> TaskContainer:
    from msgspec.structs import replace

    return replace(one, log_stream=f"definition/{one.name}/{attempt}")


def lines(rig: Rig, launch: Launch, name: str) -> list[str]:
    path = logs.segment_path(rig.directory / "logs", ACCOUNT, REGION, GROUP, f"definition/{name}/{launch.attempt}")
    with logs.opened(path) as segment:
        said = [entry.message.decode() for entry in logs.entries(segment)]
    return [line for line in said if line != "Terminated"]  # what some shells say of their children


async def says(rig: Rig, launch: Launch, name: str) -> list[str]:
    """Wait until a container has written something."""

    def written() -> list[str]:
        try:
            return lines(rig, launch, name)
        except FileNotFoundError:
            return []

    await rig.eventually(written, f"{name} writes")
    return written()


async def run(rig: Rig, *containers: TaskContainer, **fields: Any) -> tuple[AttemptEnded, dict[str, ContainerEnd], Launch]:
    """Run a task to its end: the report, what came of each container, the launch."""
    launch = task(rig, *containers, **fields)
    rig.provider.carry_out([launch])
    ended = await rig.ended(launch.attempt)
    return ended, {end.name: end for end in ended.containers}, launch


def codes(ends: dict[str, ContainerEnd]) -> dict[str, int | None]:
    return {name: end.exit_code for name, end in ends.items()}


# --- what every provider does ---


@pytest.mark.parametrize("kind", ["local", "scripted"])
async def test_what_came_of_each_container_is_reported_and_kept_until_it_is_acknowledged(kind: str, rig: LocalRig, folder: Path) -> None:
    one: Rig = rig
    if kind == "scripted":
        ticks = itertools.count(1)
        one = ScriptedRig(ScriptedProvider(lambda: next(ticks), automatic=True), folder)
        await one.connect()
        await one.up()
    launch = task(one, container("first", "exit 0", essential=False), container("second", "exit 3", after=[("first", "SUCCESS")]))
    one.deliver = one.deliver if kind == "local" else super(ScriptedRig, one).deliver  # type: ignore[method-assign]
    if isinstance(one.provider, ScriptedProvider):
        await one.provider.start(one.deliver, one.epoch(1))
    one.provider.carry_out([launch, launch])
    if isinstance(one.provider, ScriptedProvider):
        ends = (ContainerEnd(name="first", exit_code=0), ContainerEnd(name="second", exit_code=3))
        one.provider.end(launch.attempt, 3, containers=ends)
    first = await one.ended(launch.attempt)
    assert (first.cause, first.exit_code) == ("exited", 3)
    assert [(end.name, end.exit_code) for end in first.containers] == [("first", 0), ("second", 3)]
    await one.connect()
    assert await one.ended(launch.attempt) == first


# --- order and conditions ---


async def test_containers_start_in_the_order_of_their_conditions(rig: LocalRig) -> None:
    begin = time.time_ns()
    ended, ends, launch = await run(
        rig,
        container("prepare", "sleep 0.3; echo prepared; exit 5", essential=False),
        container("check", "sleep 0.2; exit 0", essential=False, after=[("prepare", "COMPLETE")]),
        container("work", "echo working", after=[("check", "SUCCESS")]),
    )
    assert (ended.cause, ended.exit_code) == ("exited", 0)
    assert codes(ends) == {"prepare": 5, "check": 0, "work": 0}
    stamps = [(ends[name].started_at_ms or 0, ends[name].stopped_at_ms or 0) for name in ("prepare", "check", "work")]
    assert all(start <= stop for start, stop in stamps)
    assert stamps[0][1] <= stamps[1][0] + 50 and stamps[1][1] <= stamps[2][0] + 50  # wall clock against boot clock
    assert lines(rig, launch, "prepare") == ["prepared"] and lines(rig, launch, "work") == ["working"]
    assert stamps[0][0] * 1_000_000 >= begin - 1_000_000
    (started,) = rig.of(AttemptStarted, attempt=launch.attempt)
    assert started.at_ms == ends["work"].started_at_ms == ended.started_at_ms  # it runs once all essential containers do


async def test_a_sidecar_is_stopped_when_the_essential_container_has_ended(rig: LocalRig) -> None:
    volumes, at = [{"name": "v"}], {"sourceVolume": "v", "containerPath": "/v"}
    calm = CALM.replace("echo up", 'echo up; touch "$BATCHYARD_VOLUME_V/up"')
    work = 'until test -e "$BATCHYARD_VOLUME_V/up"; do sleep 0.05; done; echo done'
    ended, ends, launch = await run(
        rig,
        mounting("watch", calm, at, volumes=volumes, essential=False),
        mounting("work", work, at, volumes=volumes, after=[("watch", "START")]),
    )
    assert (ended.cause, ended.exit_code) == ("exited", 0)
    assert codes(ends) == {"watch": 0, "work": 0}
    assert lines(rig, launch, "watch") == ["up", "told"]


async def test_an_essential_container_that_fails_ends_the_others(rig: LocalRig) -> None:
    ended, ends, _ = await run(rig, container("one", RUNS_ON), container("two", "sleep 0.2; exit 7"), container("three", RUNS_ON))
    assert (ended.cause, ended.exit_code) == ("exited", 7)
    assert codes(ends) == {"one": 143, "two": 7, "three": 143}


async def test_what_we_ended_ourselves_is_no_failure(rig: LocalRig) -> None:
    ended, ends, _ = await run(rig, container("server", RUNS_ON), container("client", "sleep 0.1; exit 0"))
    assert (ended.exit_code, codes(ends)) == (0, {"server": 143, "client": 0})


async def test_a_container_that_is_not_essential_may_fail(rig: LocalRig) -> None:
    ended, ends, _ = await run(rig, container("side", "exit 9", essential=False), container("work", "true", after=[("side", "COMPLETE")]))
    assert (ended.exit_code, codes(ends)) == (0, {"side": 9, "work": 0})


async def test_success_that_does_not_come_fails_the_task(rig: LocalRig) -> None:
    ended, ends, _ = await run(
        rig, container("prepare", "exit 4", essential=False), container("work", "exit 0", after=[("prepare", "SUCCESS")])
    )
    reason = "DependencyError: container prepare ended with exit code 4, not 0"
    assert (ended.cause, ended.exit_code, ended.reason, ended.started_at_ms) == ("not-started", None, reason, None)
    assert codes(ends) == {"prepare": 4, "work": None} and ends["work"].reason == reason


async def test_an_optional_container_whose_condition_fails_is_left_out(rig: LocalRig) -> None:
    ended, ends, _ = await run(
        rig,
        container("prepare", "exit 4", essential=False),
        container("extra", "exit 0", essential=False, after=[("prepare", "SUCCESS")]),
        container("work", "sleep 0.3", after=[("prepare", "COMPLETE")]),
    )
    assert (ended.exit_code, codes(ends)) == (0, {"prepare": 4, "extra": None, "work": 0})
    assert "exit code 4" in ends["extra"].reason


async def test_a_container_that_cannot_start_fails_the_task_if_it_is_essential(rig: LocalRig) -> None:
    broken = {"command": ("/no/such/program",)}
    ended, ends, launch = await run(rig, container("side", RUNS_ON, essential=False), container("work", "", **broken))
    assert (ended.cause, ended.exit_code) == ("not-started", None)
    assert ended.reason == ends["work"].reason == 'CannotStartContainerError: exec: "/no/such/program": no such file or directory'
    assert ends["side"].exit_code == 143 and not rig.of(AttemptStarted, attempt=launch.attempt)

    ended, ends, _ = await run(
        rig,
        container("side", "", essential=False, **broken),
        container("after", "exit 0", essential=False, after=[("side", "START")]),
        container("work", "sleep 0.2"),
    )
    assert (ended.cause, ended.exit_code) == ("exited", 0)
    assert ends["after"].reason == "DependencyError: container side was not started"


async def test_who_waits_gives_up_when_a_start_timeout_is_over(rig: LocalRig) -> None:
    ended, ends, _ = await run(
        rig,
        container("slow", RUNS_ON, essential=False, start_timeout_s=1),
        container("work", "exit 0", after=[("slow", "COMPLETE")]),
    )
    assert ended.cause == "not-started"
    assert ended.reason == "DependencyError: container slow has not reached COMPLETE within its startTimeout of 1 seconds"
    assert ends["slow"].exit_code == 143


async def test_a_pod_ends_when_all_of_its_containers_have(rig: LocalRig) -> None:
    ended, ends, _ = await run(
        rig,
        container("init", "exit 0", essential=False),
        container("one", "exit 3", essential=False, after=[("init", "SUCCESS")]),
        container("two", "sleep 0.4; exit 0", essential=False, after=[("init", "SUCCESS")]),
    )
    assert (ended.cause, ended.exit_code, codes(ends)) == ("exited", 3, {"init": 0, "one": 3, "two": 0})


# --- being stopped ---


async def test_containers_are_told_to_end_after_those_that_wait_for_them(rig: LocalRig) -> None:
    proxy = container("proxy", "trap 'date +%s%N; exit 0' TERM; echo up; while :; do sleep 0.05; done", essential=False)
    work = container("work", "trap 'sleep 0.3; date +%s%N; exit 0' TERM; echo up; while :; do sleep 0.05; done", after=[("proxy", "START")])
    launch = task(rig, proxy, work)
    rig.provider.carry_out([launch])
    await says(rig, launch, "work")
    await says(rig, launch, "proxy")
    rig.provider.carry_out([StopAttempt(launch.attempt)])
    ended = await rig.ended(launch.attempt)
    assert (ended.cause, ended.exit_code) == ("stopped", 0)
    assert int(lines(rig, launch, "work")[-1]) <= int(lines(rig, launch, "proxy")[-1])


async def test_a_container_has_its_own_time_to_stop(rig: LocalRig) -> None:
    deaf = "trap '' TERM; echo up; while :; do sleep 0.05; done"
    launch = task(rig, container("deaf", deaf, stop_timeout_s=1), container("calm", CALM, essential=False))
    rig.provider.carry_out([launch])
    await says(rig, launch, "deaf")
    await says(rig, launch, "calm")
    rig.provider.carry_out([StopAttempt(launch.attempt)])
    ended = await rig.ended(launch.attempt)
    assert (ended.cause, ended.exit_code) == ("stopped", 137)
    assert codes({end.name: end for end in ended.containers}) == {"deaf": 137, "calm": 0}


def test_the_time_that_a_task_may_take_to_stop() -> None:
    a, b = container("a", "", stop_timeout_s=40), container("b", "", stop_timeout_s=10, after=[("a", "START")])
    c = container("c", "", stop_timeout_s=20)
    launch = Launch("x", "j", 1, "i", (), {}, (1.0, 1, 0), "g", "s", "1", "r", containers=(a, b, c))  # type: ignore[arg-type]
    assert stop_s(launch) == 50.0


async def test_a_task_that_is_stopped_while_its_first_container_prepares(rig: LocalRig) -> None:
    launch = task(rig, container("prepare", CALM, essential=False), container("work", "exit 0", after=[("prepare", "SUCCESS")]))
    rig.provider.carry_out([launch])
    await says(rig, launch, "prepare")
    rig.provider.carry_out([StopAttempt(launch.attempt)])
    ended = await rig.ended(launch.attempt)
    assert (ended.cause, ended.exit_code, ended.started_at_ms) == ("stopped", None, None)
    assert [(end.name, end.exit_code) for end in ended.containers] == [("prepare", 0), ("work", None)]
    assert lines(rig, launch, "prepare") == ["up", "told"]


async def test_time_that_is_used_up_ends_the_whole_task(rig: LocalRig) -> None:
    ended, ends, _ = await run(rig, container("one", RUNS_ON), container("two", RUNS_ON), timeout_s=1)
    assert (ended.cause, ended.exit_code, codes(ends)) == ("timeout", 143, {"one": 143, "two": 143})


async def test_a_task_is_lost_with_its_instance(rig: LocalRig) -> None:
    launch = task(rig, container("one", f"echo $$; {RUNS_ON}"), container("two", f"echo $$; {RUNS_ON}"))
    rig.provider.carry_out([launch])
    pids = [int((await says(rig, launch, name))[0]) for name in ("one", "two")]
    rig.provider.carry_out([StopInstance("i-1")])
    ended = await rig.ended(launch.attempt)
    assert (ended.cause, ended.exit_code, ended.containers) == ("lost", None, ())
    assert not any(alive(pid) for pid in pids)


@pytest.mark.parametrize("isolation", ["auto", "watch"])
async def test_a_node_that_dies_leaves_no_container_behind(isolation: str, folder: Path) -> None:
    import os
    import signal

    local = LocalProvider(folder, node_options=("--isolation", isolation))
    rig = LocalRig(local, folder)
    try:
        await rig.connect()
        await rig.up()
        # Both drop their markers: only what the node noted tells whose they are.
        script = 'echo $$; exec env -i PATH="$PATH" sleep 600'
        launch = task(rig, container("one", script), container("two", script))
        rig.provider.carry_out([launch])
        pids = [int((await says(rig, launch, name))[0]) for name in ("one", "two")]
        await rig.started(launch.attempt)
        os.kill(local.node_pid, signal.SIGKILL)
        rig.reports.clear()
        ended = await rig.ended(launch.attempt)
        assert (ended.cause, ended.containers) == ("lost", ())
        assert not any(alive(pid) for pid in pids)
    finally:
        await local.shut_down(0.0)


# --- limits, users, volumes ---


async def test_each_container_has_its_own_memory(rig: LocalRig) -> None:
    eat = "python3 -c 'x = bytearray(200 * 1024 * 1024); x[::4096] = b\"1\" * len(x[::4096]); import time; time.sleep(5)'"
    ended, ends, _ = await run(
        rig,
        container("hungry", eat, memory_mib=48, essential=False),
        container("work", "sleep 0.2", memory_mib=512, after=[("hungry", "COMPLETE")]),
    )
    assert (ended.cause, ended.exit_code, ended.oom) == ("exited", 0, False)
    assert ends["hungry"].oom and ends["hungry"].exit_code == 137 and not ends["work"].oom


async def test_each_container_is_told_its_own_size(rig: LocalRig) -> None:
    _, _, launch = await run(rig, container("one", 'echo "$BATCHYARD_MEMORY_MIB $BATCHYARD_ATTEMPT"', memory_mib=70))
    assert lines(rig, launch, "one") == [f"70 {launch.attempt}/one"]


def mounting(name: str, script: str, *points: dict[str, Any], volumes: Sequence[dict[str, Any]], **more: Any) -> TaskContainer:
    return container(name, script, container={"volumes": list(volumes), "mountPoints": list(points)}, **more)


async def test_containers_share_volumes_and_a_user(rig: LocalRig, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "given").write_text("from the host\n")
    volumes = [{"name": "scratch-1"}, {"name": "host", "host": {"sourcePath": str(tmp_path)}}]
    at = {"sourceVolume": "scratch-1", "containerPath": "/scratch"}
    ended, _, launch = await run(
        rig,
        mounting(
            "write",
            'umask 077; echo kept > "$BATCHYARD_VOLUME_SCRATCH_1/x"; id -u',
            {**at, "subPath": "a/b"},
            volumes=volumes,
            essential=False,
        ),
        mounting(
            "read",
            'cat "$BATCHYARD_VOLUME_SCRATCH_1/a/b/x"; id -u; echo "$BATCHYARD_VOLUME_HOST"',
            at,
            {"sourceVolume": "host", "containerPath": "/h"},
            volumes=volumes,
            after=[("write", "SUCCESS")],
        ),
    )
    assert ended.exit_code == 0
    (writer,) = lines(rig, launch, "write")
    assert lines(rig, launch, "read") == ["kept", writer, str(tmp_path)]
    await rig.eventually(lambda: not list(rig.work.glob(f"{launch.attempt}*")), "what the task shared is removed")


@pytest.mark.skipif(not AS_ROOT, reason="without root all jobs are one user")
async def test_another_job_sees_nothing_of_a_task(rig: LocalRig) -> None:
    volumes = [{"name": "v"}]
    inside = mounting("one", f'echo "$BATCHYARD_VOLUME_V"; {RUNS_ON}', {"sourceVolume": "v", "containerPath": "/v"}, volumes=volumes)
    launch = task(rig, inside)
    rig.provider.carry_out([launch])
    (path,) = await says(rig, launch, "one")
    ended, said = await rig.run("sh", "-c", f"ls {path} && exit 0 || exit 9")
    assert ended.exit_code == 9 and "Permission denied" in said[0]


async def test_many_tasks_on_few_users_do_not_wait_for_one_another(folder: Path) -> None:
    local = LocalProvider(folder, node_options=("--uids", "60602-60605") if AS_ROOT else ())
    rig = LocalRig(local, folder)
    try:
        await rig.connect()
        await rig.up()
        launches = [
            task(rig, container("a", "exit 0", essential=False), container("b", "exit 0", after=[("a", "SUCCESS")])) for _ in range(6)
        ]
        rig.provider.carry_out(launches)
        for launch in launches:
            assert (await rig.ended(launch.attempt)).exit_code == 0
    finally:
        await local.shut_down(0.0)
        await asyncio.sleep(0)


# --- scratch space ---


async def test_the_containers_of_a_task_are_one_part_of_the_scratch_space(rig: LocalRig) -> None:
    """They live within the task's directory, and what they hold counts together."""
    write = "head -c 3000000 /dev/urandom > file; cd ..; pwd"
    both = [("first", "COMPLETE"), ("second", "COMPLETE")]
    ended, _, launch = await run(
        rig,
        container("first", write, essential=False),
        container("second", write, essential=False),
        container("last", "true", after=both),
    )
    assert ended.exit_code == 0
    places = {lines(rig, launch, name)[0] for name in ("first", "second")}
    assert {Path(place).parent for place in places} == {rig.work / launch.attempt}
    assert ended.disk_peak_mib is not None
    assert ended.disk_peak_mib > 2.8
    await rig.eventually(lambda: not (rig.work / launch.attempt).exists(), "nothing is left of it")
