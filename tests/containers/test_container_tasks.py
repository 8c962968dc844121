"""Tasks of several containers in real containers: order, sidecars, limits, mounts, what pods add, and a daemon that goes away."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from batchyard.model.messages import AttemptEnded, AttemptStarted, Launch, StopAttempt
from batchyard.model.task import Condition, ContainerEnd, StartsAfter, TaskContainer
from batchyard.store import logs
from compute.compute_rig import ACCOUNT, GROUP, REGION, LocalRig
from containers.engines import IMAGE, Daemon


def container(name: str, script: str, *, after: tuple[tuple[str, str], ...] = (), **more: Any) -> TaskContainer:
    """A container that runs a shell script; `properties` are further members in the spelling of containerProperties."""
    return TaskContainer(
        name=name,
        image=IMAGE,
        command=("sh", "-c", script),
        memory_mib=more.pop("memory_mib", 64),
        vcpus=1.0,
        depends_on=tuple(StartsAfter(other, Condition(condition)) for other, condition in after),
        log_group=GROUP,
        log_stream="",
        container={"image": IMAGE, **more.pop("properties", {})},
        **more,
    )


def task(local: LocalRig, *containers: TaskContainer) -> Launch:
    launch = local.launch(runtime="container")
    return replace(launch, containers=tuple(replace(one, log_stream=f"definition/{one.name}/{launch.attempt}") for one in containers))


async def run(local: LocalRig, *containers: TaskContainer) -> tuple[AttemptEnded, dict[str, ContainerEnd], Launch]:
    launch = task(local, *containers)
    local.provider.carry_out([launch])
    ended = await local.ended(launch.attempt)
    return ended, {end.name: end for end in ended.containers}, launch


def lines(local: LocalRig, launch: Launch, name: str) -> list[str]:
    path = logs.segment_path(local.directory / "logs", ACCOUNT, REGION, GROUP, f"definition/{name}/{launch.attempt}")
    with logs.opened(path) as segment:
        return [entry.message.decode() for entry in logs.entries(segment)]


CALM = "trap 'echo told; exit 0' TERM; echo up; while :; do sleep 0.05; done"


async def test_a_sidecar_runs_beside_the_work_and_is_told_to_end(local: LocalRig) -> None:
    ended, ends, launch = await run(
        local,
        container("prepare", "exit 5", essential=False),
        container("watch", CALM.replace("echo up", "echo up; touch /scratch/up"), essential=False, after=(("prepare", "COMPLETE"),)),
        container("work", "until test -e /scratch/up; do sleep 0.1; done; exit 3", after=(("watch", "START"),)),
    )
    assert (ended.cause, ended.exit_code) == ("exited", 3)
    assert {name: end.exit_code for name, end in ends.items()} == {"prepare": 5, "watch": 0, "work": 3}
    assert lines(local, launch, "watch") == ["up", "told"]
    (started,) = local.of(AttemptStarted, attempt=launch.attempt)
    assert started.at_ms == ends["work"].started_at_ms


async def test_each_container_has_its_own_memory(local: LocalRig) -> None:
    eat = "dd if=/dev/zero of=/dev/null bs=200M count=1"
    ended, ends, _ = await run(
        local, container("hungry", eat, memory_mib=32, essential=False), container("work", "true", after=(("hungry", "COMPLETE"),))
    )
    assert (ended.exit_code, ends["hungry"].exit_code) == (0, 137)
    assert ends["hungry"].oom and not ends["work"].oom


async def test_an_image_that_is_not_there_fails_the_task_and_names_its_container(local: LocalRig) -> None:
    missing = replace(container("work", "true"), container={"image": "nobody/has:this", "imagePullPolicy": "Never"})
    ended, ends, _ = await run(local, container("side", CALM, essential=False), missing)
    assert (ended.cause, ended.exit_code) == ("not-started", None)
    assert ended.reason == ends["work"].reason and ended.reason.startswith("CannotPullContainerError")
    assert ends["side"].exit_code in (None, 0, 143)


async def test_volumes_paths_within_them_and_read_only(local: LocalRig) -> None:
    volumes = [{"name": "v"}]
    at = {"sourceVolume": "v", "containerPath": "/v"}
    ended, _, launch = await run(
        local,
        container(
            "write",
            "echo kept > /deep/x",
            essential=False,
            properties={"volumes": volumes, "mountPoints": [{**at, "containerPath": "/deep", "subPath": "a/b"}]},
        ),
        container(
            "read",
            "cat /v/a/b/x; touch /v/no 2>/dev/null || echo closed",
            after=(("write", "SUCCESS"),),
            properties={"volumes": volumes, "mountPoints": [{**at, "readOnly": True}]},
        ),
    )
    assert ended.exit_code == 0
    assert lines(local, launch, "read") == ["kept", "closed"]
    await local.eventually(lambda: not list(local.work.glob(f"{launch.attempt}*")), "what the task shared is removed")


async def test_what_a_pod_says_of_its_containers(local: LocalRig) -> None:
    pod = replace(
        container("pod", "", essential=False, user="1000:1001"),
        command=("sh", "-c", "never looked at"),
        container={
            "image": IMAGE,
            "entryPoint": ["sh", "-c"],
            "command": ["id -u; id -g; touch /x 2>/dev/null || echo closed; grep NoNewPrivs /proc/self/status"],
            "readonlyRootFilesystem": True,
            "noNewPrivileges": True,
        },
    )
    ended, _, launch = await run(local, pod)
    assert ended.exit_code == 0
    said = lines(local, launch, "pod")
    assert said[:3] == ["1000", "1001", "closed"] and said[3].split() == ["NoNewPrivs:", "1"]


async def test_a_namespace_that_cannot_be_shared_is_said(local: LocalRig) -> None:
    ended, _, _ = await run(local, container("work", "true", properties={"pidMode": "task"}))
    assert ended.cause == "not-started" and "pidMode task" in ended.reason


async def test_terminate_tells_all_containers(local: LocalRig) -> None:
    launch = task(local, container("one", CALM), container("two", CALM))
    local.provider.carry_out([launch])
    await local.started(launch.attempt)  # both of them
    await local.eventually(lambda: _up(local, launch, "one") and _up(local, launch, "two"), "both are up")
    local.provider.carry_out([StopAttempt(launch.attempt)])
    ended = await local.ended(launch.attempt)
    assert (ended.cause, [end.exit_code for end in ended.containers]) == ("stopped", [0, 0])


def _up(local: LocalRig, launch: Launch, name: str) -> bool:
    try:
        return lines(local, launch, name) == ["up"]
    except FileNotFoundError:
        return False


async def test_a_container_that_is_taken_away_is_the_loss_of_the_task(local: LocalRig, shared_daemon: Daemon) -> None:
    launch = task(local, container("one", CALM), container("two", CALM))
    local.provider.carry_out([launch])
    await local.started(launch.attempt)
    shared_daemon.call("DELETE", f"/containers/{launch.attempt}-one?force=1")
    ended = await local.ended(launch.attempt)
    assert (ended.cause, ended.exit_code, ended.containers) == ("lost", None, ())
