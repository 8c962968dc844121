"""Attempts in containers, with real daemons: what they get, what comes of them, and that nothing is left."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from batchyard.model.messages import AttemptEnded, AttemptStarted, Launch, NoticeInstance, StopAttempt, StopInstance
from batchyard.model.task import Condition, StartsAfter, TaskContainer
from batchyard.store import logs
from compute.compute_rig import ACCOUNT, GROUP, REGION, LocalRig
from containers.engines import IMAGE, Daemon


def contained(rig: LocalRig, *command: str, image: str = IMAGE, **fields: object) -> Launch:
    """A Launch into a container; further members of containerProperties by keyword."""
    plain = {
        name: fields.pop(name)
        for name in ("memory_mib", "vcpus", "environment", "timeout_s", "user", "on", "registry_auth")
        if name in fields
    }
    return rig.launch(*command, runtime="container", container={"image": image, **fields}, **plain)  # type: ignore[arg-type]


async def run(rig: LocalRig, *command: str, **fields: object) -> tuple[AttemptEnded, list[str]]:
    launch = contained(rig, *command, **fields)  # type: ignore[arg-type]
    rig.provider.carry_out([launch])
    return await rig.ended(launch.attempt), rig.log(launch.attempt)


async def test_a_container_runs_and_ends_with_its_code_its_lines_and_what_it_used(local: LocalRig) -> None:
    ended, lines = await run(local, "sh", "-c", "echo out; echo err >&2; echo $GREETING; exit 3", environment={"GREETING": "hello"})
    assert (ended.cause, ended.exit_code, ended.oom) == ("exited", 3, False)
    assert sorted(lines) == ["err", "hello", "out"]
    assert ended.started_at_ms <= ended.at_ms
    assert ended.peak_memory_mib > 0 and ended.cpu_s > 0


async def test_the_entry_point_stays_and_the_command_takes_the_place_of_the_images_own(local: LocalRig, shared_daemon: Daemon) -> None:
    shared_daemon.load("entry", 'ENTRYPOINT ["echo","entry"]', 'CMD ["from","the","image"]', "ENV OF=image", "WORKDIR /tmp")
    assert (await run(local, image="entry:latest"))[1] == ["entry from the image"]
    assert (await run(local, "mine", image="entry:latest"))[1] == ["entry mine"]
    shared_daemon.load("plain", "ENV OF=image", "WORKDIR /tmp", "USER worker")
    ended, lines = await run(local, "sh", "-c", "echo $OF $PWD $(id -u) $BATCHYARD_VCPUS", image="plain:latest")
    assert (ended.exit_code, lines) == (0, ["image /tmp 1234 1"])


async def test_every_limit_and_mount_of_a_definition_is_in_force(local: LocalRig) -> None:
    script = (
        "id -u; ulimit -n; ulimit -Hn; cat /in/given; touch /in/no 2>/dev/null || echo read-only; echo there > /new/made; cat /new/made;"
        "touch /nowhere 2>/dev/null || echo root read-only; df -m /small | tail -n 1 | grep -c tmpfs;"
        "df -m /dev/shm | tail -n 1 | tr -s ' ';"
        "echo kept > /scratch/a; cat /again/a; test -c /dev/nothing && echo device; grep -c init /proc/1/comm"
    )
    host = local.directory / "host"
    host.mkdir()
    (host / "given").write_text("from the host\n")
    ended, lines = await run(
        local,
        "sh",
        "-c",
        script,
        user="root",
        ulimits=[{"name": "nofile", "softLimit": 100, "hardLimit": 200}],
        volumes=[
            {"name": "in", "host": {"sourcePath": str(host)}},
            {"name": "new", "host": {"sourcePath": str(local.directory / "made" / "deep")}},
            {"name": "scratch"},
        ],
        mountPoints=[
            {"sourceVolume": "in", "containerPath": "/in", "readOnly": True},
            {"sourceVolume": "new", "containerPath": "/new"},
            {"sourceVolume": "scratch", "containerPath": "/scratch"},
            {"sourceVolume": "scratch", "containerPath": "/again"},
        ],
        readonlyRootFilesystem=True,
        linuxParameters={
            "sharedMemorySize": 7,
            "tmpfs": [{"containerPath": "/small", "size": 5, "mountOptions": ["noexec"]}],
            "devices": [{"hostPath": "/dev/null", "containerPath": "/dev/nothing", "permissions": ["READ"]}],
            "initProcessEnabled": True,
        },
    )
    assert lines[:8] == ["0", "100", "200", "from the host", "read-only", "there", "root read-only", "1"]
    assert " 7 0 7 " in lines[8]
    assert lines[9:] == ["kept", "device", "1"]
    assert ended.exit_code == 0
    assert (local.directory / "made" / "deep" / "made").read_text() == "there\n"


async def test_memory_is_a_hard_limit_and_cpus_are_shares_or_caps(local: LocalRig, shared_daemon: Daemon) -> None:
    launch = contained(local, "sleep", "600", memory_mib=96, vcpus=2, linuxParameters={"maxSwap": 0, "swappiness": 10})
    capped = contained(local, "sleep", "600", linuxParameters={"maxSwap": 32})
    local.provider.carry_out([launch, capped])
    await local.started(launch.attempt)
    await local.started(capped.attempt)
    made = shared_daemon.call("GET", f"/v1.40/containers/{launch.attempt}/json")[1]["HostConfig"]
    assert (made["Memory"], made["MemorySwap"], made["CpuShares"], made["NetworkMode"]) == (96 << 20, 96 << 20, 2048, "host")
    other = shared_daemon.call("GET", f"/v1.40/containers/{capped.attempt}/json")[1]["HostConfig"]
    assert other["MemorySwap"] - other["Memory"] == 32 << 20


@pytest.mark.parametrize("local", [["--container-cpu", "hard"]], indirect=True)
async def test_cpus_can_be_hard_caps(local: LocalRig, shared_daemon: Daemon) -> None:
    launch = contained(local, "sleep", "600", vcpus=1)
    local.provider.carry_out([launch])
    await local.started(launch.attempt)
    made = shared_daemon.call("GET", f"/v1.40/containers/{launch.attempt}/json")[1]["HostConfig"]
    assert made["NanoCpus"] == 1_000_000_000


async def test_privileged_ones_own_the_machine_or_say_why_not(local: LocalRig) -> None:
    ended, lines = await run(local, "sh", "-c", "mount -t tmpfs none /tmp && echo mounted", privileged=True)
    if ended.cause == "not-started":  # this machine withholds capabilities even from root
        assert "unable to apply caps: operation not permitted" in ended.reason
    else:
        assert lines == ["mounted"]


async def test_what_runs_out_of_memory_is_told_by_the_kernel_and_not_guessed_from_137(local: LocalRig) -> None:
    ended, _ = await run(
        local, "sh", "-c", "tail -c 150000000 /dev/zero; echo went on; exit 0", memory_mib=32, linuxParameters={"maxSwap": 0}
    )
    assert (ended.oom, ended.exit_code) == (True, 0)  # only a child was killed
    ended, _ = await run(local, "tail", "-c", "150000000", "/dev/zero", memory_mib=32, linuxParameters={"maxSwap": 0})
    assert (ended.oom, ended.exit_code) == (True, 137)
    assert 28 <= ended.peak_memory_mib <= 32.1
    ended, _ = await run(local, "sh", "-c", "kill -9 $$; exit 137")
    assert ended.oom is False


async def test_processor_time_is_counted(local: LocalRig) -> None:
    ended, _ = await run(local, "sh", "-c", "i=0; while [ $i -lt 1000000 ]; do i=$((i+1)); done")
    assert ended.cpu_s > 0.05


async def test_what_was_read_and_written_is_counted(local: LocalRig, tmp_path: Path) -> None:
    """Of a child that was waited for, and of one that still runs and was seen; of a container that is gone before anybody looks twice."""
    aside = "(dd if=/dev/zero of=/b bs=1M count=8; touch /c; sleep 600) & until [ -e /c ]; do sleep 0.1; done"
    until_seen = "echo there; until [ -e /host/seen ]; do sleep 0.1; done"
    launch = contained(
        local,
        *("sh", "-c", f"dd if=/dev/zero of=/a bs=1M count=24; {aside}; {until_seen}"),
        volumes=[{"name": "host", "host": {"sourcePath": str(tmp_path)}}],
        mountPoints=[{"sourceVolume": "host", "containerPath": "/host"}],
    )
    local.provider.carry_out([launch])
    await local.says(launch.attempt)
    await local.eventually(lambda: "there" in local.log(launch.attempt), "it has written")
    for _ in range(2):  # others live and end meanwhile: the node is awake, and looks
        await run(local, "sleep", "1")
    (tmp_path / "seen").touch()
    ended = await local.ended(launch.attempt)
    assert 32 <= ended.written_mib <= 33
    assert ended.read_mib is not None
    ended, _ = await run(local, "dd", "if=/dev/zero", "of=/a", "bs=1M", "count=8")
    assert 8 <= ended.written_mib <= 9
    ended, _ = await run(local, "sleep", "0.5")
    assert ended.written_mib <= 0.2


async def test_a_stop_asks_first_and_then_kills(local: LocalRig) -> None:
    polite = contained(local, "sh", "-c", 'trap "echo bye; exit 5" TERM; echo here; while :; do sleep 0.05; done')
    deaf = contained(local, "sh", "-c", 'trap "" TERM; echo here; while :; do sleep 0.05; done')
    local.provider.carry_out([polite, deaf])
    await local.says(polite.attempt)
    await local.says(deaf.attempt)
    local.provider.carry_out([StopAttempt(polite.attempt), StopAttempt(deaf.attempt, 0.3)])
    ended = await local.ended(polite.attempt)
    assert (ended.cause, ended.exit_code, local.log(polite.attempt)) == ("stopped", 5, ["here", "bye"])
    ended = await local.ended(deaf.attempt)
    assert (ended.cause, ended.exit_code) == ("stopped", 137)


async def test_time_limits_and_lost_hosts(local: LocalRig) -> None:
    limited = contained(local, "sh", "-c", 'trap "exit 9" TERM; while :; do sleep 0.05; done', timeout_s=4)
    await local.up("i-2")
    hosted = contained(local, "sleep", "600", on="i-2")
    local.provider.carry_out([limited, hosted])
    await local.started(hosted.attempt)
    local.provider.carry_out([StopInstance("i-2")])
    ended = await local.ended(hosted.attempt)
    assert (ended.cause, ended.exit_code) == ("lost", None)
    ended = await local.ended(limited.attempt)
    assert (ended.cause, ended.exit_code) == ("timeout", 9)


async def test_a_launch_that_comes_twice_starts_one_container(local: LocalRig, shared_daemon: Daemon) -> None:
    launch = contained(local, "sleep", "600")
    local.provider.carry_out([launch, launch])
    await local.started(launch.attempt)
    local.provider.carry_out([launch])
    await local.until(lambda: len(local.of(AttemptStarted, attempt=launch.attempt)) >= 2)
    assert len(shared_daemon.containers()) == 1


@pytest.mark.parametrize(
    ("command", "fields", "reason"),
    [
        (("nosuch",), {}, r"CannotStartContainerError: Error response from daemon: .*nosuch.*not found"),
        (("true",), {"user": "nobodyhere"}, r"Cannot(Start|Create)ContainerError: Error response from daemon: .*(nobodyhere|user)"),
        (
            ("true",),
            {"ulimits": [{"name": "nofile", "softLimit": 5_000_000, "hardLimit": 5_000_000}]},
            r"Cannot(Start|Create)ContainerError: Error response from daemon: .*",
        ),
        (("true",), {"image": "127.0.0.1:1/nobody/listens"}, r"CannotPullContainerError: Error response from daemon: .*refused"),
    ],
)
async def test_what_cannot_start_says_why(local: LocalRig, command: tuple[str, ...], fields: dict[str, object], reason: str) -> None:
    ended, lines = await run(local, *command, **fields)
    assert (ended.cause, ended.exit_code, ended.started_at_ms) == ("not-started", None, None)
    assert re.match(reason, ended.reason), ended.reason
    assert lines and lines[0].startswith(ended.reason[:100])


async def test_processes_and_containers_run_beside_each_other(local: LocalRig) -> None:
    process = local.launch("sh", "-c", "echo process")
    inside = contained(local, "echo", "container")
    local.provider.carry_out([inside, process])
    assert (await local.ended(process.attempt)).exit_code == 0
    assert (await local.ended(inside.attempt)).exit_code == 0
    assert (local.log(process.attempt), local.log(inside.attempt)) == (["process"], ["container"])


async def test_many_at_a_time(local: LocalRig) -> None:
    launches = [contained(local, "sh", "-c", f"echo {number}; exit {number}") for number in range(12)]
    local.provider.carry_out(launches)
    for number, launch in enumerate(launches):
        assert (await local.ended(launch.attempt)).exit_code == number
        assert local.log(launch.attempt) == [str(number)]


async def test_the_notice_of_a_spot_instance_is_seen_inside(local: LocalRig) -> None:
    launch = contained(local, "sh", "-c", "echo here; while ! cat $BATCHYARD_SPOT_NOTICE_FILE 2>/dev/null; do sleep 0.05; done")
    local.provider.carry_out([launch])
    await local.says(launch.attempt)
    local.provider.carry_out([NoticeInstance("i-1", 1_700_000_000_000)])
    assert (await local.ended(launch.attempt)).exit_code == 0
    assert "2023-11-14T22:13:20Z" in local.log(launch.attempt)[1]


async def test_a_task_of_several_containers_shares_its_volumes(local: LocalRig) -> None:
    volumes = [{"name": "shared"}]
    properties = {"image": IMAGE, "volumes": volumes, "mountPoints": [{"sourceVolume": "shared", "containerPath": "/shared"}]}
    first, second = (
        TaskContainer(
            name=name,
            image=IMAGE,
            command=("sh", "-c", script),
            memory_mib=64,
            vcpus=1,
            essential=name == "second",
            depends_on=after,
            log_group=GROUP,
            log_stream=f"definition/{name}/task",
            container=properties,
        )
        for name, script, after in (
            ("first", "echo from the first > /shared/note", ()),
            ("second", "cat /shared/note; exit 6", (StartsAfter("first", Condition.SUCCESS),)),
        )
    )
    launch = local.launch(runtime="container", containers=(first, second))
    local.provider.carry_out([launch])
    ended = await local.ended(launch.attempt)
    assert (ended.exit_code, [end.exit_code for end in ended.containers]) == (6, [0, 6])
    path = logs.segment_path(local.directory / "logs", ACCOUNT, REGION, GROUP, "definition/second/task")
    with logs.opened(path) as segment:
        assert [entry.message.decode() for entry in logs.entries(segment)] == ["from the first"]


@pytest.mark.parametrize("local", [["--pids-limit", "40", "--log-limit-mib", "1"]], indirect=True)
async def test_bombs_hurt_nobody_else(local: LocalRig, shared_daemon: Daemon) -> None:
    """Of processes, of memory and of output, side by side, with a neighbour that goes on."""
    forks = contained(local, "sh", "-c", "bomb() { bomb | bomb & }; bomb 2>/dev/null; sleep 3; exit 4")
    memory = contained(local, "sh", "-c", "for i in 1 2 3; do tail -c 150000000 /dev/zero & done; wait; exit 5", memory_mib=32)
    flood = contained(local, "sh", "-c", "yes 0123456789012345678901234567890123456789 | head -c 20000000; echo; echo the end; exit 6")
    bombs = [forks, memory, flood]
    local.provider.carry_out(bombs)
    for bomb in bombs:
        await local.started(bomb.attempt)
    ended, lines = await run(local, "sh", "-c", "for i in 1 2 3 4; do echo alive $i; sleep 0.3; done")
    assert ended.exit_code == 0
    assert lines == [f"alive {n}" for n in range(1, 5)]
    assert (await local.ended(forks.attempt)).exit_code in (2, 4)  # 2: its shell could not fork any more
    assert (await local.ended(memory.attempt)).oom
    assert (await local.ended(flood.attempt)).exit_code == 6
    said = local.log(flood.attempt)
    assert said[-1] == "the end"
    assert any("a log may have 1 MiB" in line for line in said[-2000:])
    path = logs.segment_path(local.directory / "logs", ACCOUNT, REGION, GROUP, f"definition/default/{flood.attempt}")
    assert path.stat().st_size < 3 << 20
