"""How the node starts a job's process, what the job finds, and what is left of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from compute_rig import LocalRig

from batchyard.compute.local.spawn import DEFAULT_PATH
from batchyard.model.messages import AttemptStarted, NoticeInstance, StopAttempt, StopInstance

PYTHON = shutil.which("python3", path=DEFAULT_PATH) or sys.executable


async def test_exit_codes_are_the_shells(local: LocalRig) -> None:
    for script, code in [("exit 0", 0), ("exit 255", 255), ("kill -TERM $$", 143), ("kill -KILL $$", 137), ("kill -SEGV $$", 139)]:
        ended, _ = await local.run("sh", "-c", script)
        assert (ended.cause, ended.exit_code, ended.oom) == ("exited", code, False), script


async def test_output_of_both_streams_is_logged_in_order_with_the_last_half_line(local: LocalRig) -> None:
    ended, lines = await local.run("sh", "-c", "echo one; echo two >&2; echo; printf three")
    assert ended.exit_code == 0
    assert lines == ["one", "two", "three"]


async def test_a_silent_attempt_has_a_log_stream(local: LocalRig) -> None:
    _, lines = await local.run("true")
    assert lines == []


async def test_the_environment_is_exactly_what_was_given_and_what_only_the_node_knows(
    local: LocalRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"PATH": "/usr/bin:/bin", "AWS_BATCH_JOB_ID": "j-1", "GREETING": "grüß dich =:'\n x"}
    launch = local.launch(
        PYTHON, "-c", "import os, json; print(json.dumps(dict(os.environ)))", environment=given, vcpus=0.5, memory_mib=300
    )
    local.provider.carry_out([launch])
    await local.ended(launch.attempt)
    seen = json.loads(local.log(launch.attempt)[0])
    seen.pop("LC_CTYPE", None)  # Python's own, of its start
    home = f"{local.work}/{launch.attempt}/home"
    assert seen == {
        **given,
        "HOME": home,
        "PWD": home,
        "TMPDIR": f"{local.work}/{launch.attempt}/tmp",
        "BATCHYARD_ATTEMPT": launch.attempt,
        "BATCHYARD_NODE": (local.directory / "node.id").read_text().strip(),
        "BATCHYARD_VCPUS": "0.5",
        "BATCHYARD_MEMORY_MIB": "300",
        "BATCHYARD_GPUS": "0",
        "BATCHYARD_SPOT_NOTICE_FILE": f"{local.work}/notices/i-1.json",
    }


async def test_a_jobs_own_home_stands(local: LocalRig) -> None:
    _, lines = await local.run("sh", "-c", "echo $HOME $TMPDIR", environment={"HOME": "/h", "TMPDIR": "/t"})
    assert lines == ["/h /t"]


async def test_keys_of_the_operator_never_reach_node_or_job(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from batchyard.compute.local.link import LocalProvider

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-operators-own")
    rig = LocalRig(LocalProvider(folder), folder)
    await rig.connect()
    await rig.up()
    assert b"the-operators-own" not in Path(f"/proc/{rig.provider.node_pid}/environ").read_bytes()
    _, lines = await rig.run("env")
    assert not [line for line in lines if "AWS" in line]
    await rig.provider.shut_down(0.0)


async def test_the_jobs_own_path_finds_the_command(local: LocalRig, tmp_path: Path) -> None:
    tools = local.directory.parent / f"{local.directory.name}-tools"
    tools.mkdir(mode=0o755)
    try:
        tool = tools / "ls"
        tool.write_text("#!/bin/sh\necho the other ls\n")
        tool.chmod(0o755)
        (tools / "cat").mkdir()
        _, lines = await local.run("ls", environment={"PATH": f"/nowhere:{tools}:/usr/bin:/bin"})
        assert lines == ["the other ls"]
        ended, _ = await local.run("cat", "/dev/null", environment={"PATH": f"{tools}:/usr/bin:/bin"})
        assert ended.exit_code == 0
        tool.chmod(0o644)
        ended, _ = await local.run("ls", environment={"PATH": str(tools)})
        assert ended.reason == 'CannotStartContainerError: exec: "ls": permission denied'
    finally:
        shutil.rmtree(tools)


@pytest.mark.parametrize(
    ("command", "fields", "reason"),
    [
        (("no-such-tool", "x"), {}, 'CannotStartContainerError: exec: "no-such-tool": executable file not found in $PATH'),
        (("true",), {"environment": {"PATH": "/nowhere"}}, 'CannotStartContainerError: exec: "true": executable file not found in $PATH'),
        (("./run.sh",), {}, 'CannotStartContainerError: exec: "./run.sh": no such file or directory'),
        (("/etc/passwd",), {}, 'CannotStartContainerError: exec: "/etc/passwd": permission denied'),
        (("",), {}, 'CannotStartContainerError: exec: "": executable file not found in $PATH'),
        (("true", "a\0b"), {}, 'CannotStartContainerError: exec: "true": invalid argument: embedded null byte'),
        (("true", "x" * 200_000), {}, 'CannotStartContainerError: exec: "true": argument list too long'),
        (
            ("true",),
            {"environment": {"A=B": "c"}},
            'CannotStartContainerError: exec: "true": invalid argument: illegal environment variable name',
        ),
        (
            ("true",),
            {"user": "nobody-of-that-name"},
            'CannotStartContainerError: unable to find user "nobody-of-that-name": no matching entries in passwd file',
        ),
    ],
)
async def test_what_cannot_start_says_why_and_never_started(
    local: LocalRig, command: tuple[str, ...], fields: dict[str, object], reason: str
) -> None:
    launch = local.launch(*command, **fields)
    local.provider.carry_out([launch])
    ended = await local.ended(launch.attempt)
    assert (ended.cause, ended.exit_code, ended.started_at_ms, ended.reason) == ("not-started", None, None, reason)
    assert not local.of(AttemptStarted)
    assert local.log(launch.attempt) == [reason]
    await local.eventually(lambda: not (local.work / launch.attempt).exists(), "the directory is removed")


async def test_without_a_command_the_reason_says_what_to_do(local: LocalRig) -> None:
    ended, lines = await local.run()
    assert "has to name the command" in ended.reason
    assert lines == [ended.reason] or len(ended.reason) == 255


async def test_each_attempt_has_its_own_directory_that_is_removed_whatever_was_made_of_it(local: LocalRig) -> None:
    script = "pwd; touch $TMPDIR/t; mkdir -p a/b/c; ln -s / root; touch a/b/c/f; chmod 500 a/b/c; chmod 0 a; touch x; chmod 000 .; exit 0"
    first, second = local.launch("sh", "-c", script), local.launch("sh", "-c", "ls -A . $TMPDIR | wc -c; pwd; touch clean; rm clean")
    local.provider.carry_out([first])
    await local.ended(first.attempt)
    assert local.log(first.attempt) == [f"{local.work}/{first.attempt}/home"]
    await local.eventually(lambda: not (local.work / first.attempt).exists(), "the directory is removed")
    local.provider.carry_out([second])
    await local.ended(second.attempt)
    assert local.log(second.attempt)[1:] == [f"{local.work}/{second.attempt}/home"]
    await local.eventually(lambda: not (local.work / second.attempt).exists(), "the directory is removed")
    assert Path("/etc").is_dir()


async def test_directories_that_were_left_closed_or_full_are_not_used_again(local: LocalRig) -> None:
    for spoil in ("chmod 777 $HOME", "touch $TMPDIR/x", "rmdir $HOME", "mv $TMPDIR $HOME/", "true"):
        await local.run("sh", "-c", spoil)
        _, lines = await local.run("sh", "-c", 'stat -c "%a" . $TMPDIR; ls -A . $TMPDIR | grep -v : | tr -d "\\n"; pwd')
        assert [line for line in lines if line][:2] == ["700", "700"], spoil
        assert len([line for line in lines if line]) == 3, spoil


async def test_a_job_starts_in_its_own_session_with_plain_signals_and_nothing_of_the_node(local: LocalRig) -> None:
    _, lines = await local.run("sh", "-c", "cut -d' ' -f5,6 /proc/$$/stat; echo $$ $$; umask; readlink /proc/$$/fd/0; ulimit -c")
    assert lines[0] == lines[1]
    assert lines[2:4] == ["0022", "/dev/null"]
    _, lines = await local.run("ls", "/proc/self/fd")
    assert lines == ["0", "1", "2", "3"]  # the last is of the listing
    _, lines = await local.run("grep", "-E", "Sig(Blk|Ign)", "/proc/self/status")
    # 32 and 33 are glibc's own, which posix_spawn leaves ignored.
    assert [int(line.split()[1], 16) & 0x7FFF_FFFF for line in lines] == [0, 0]


async def test_stop_asks_the_whole_group_and_then_kills(local: LocalRig) -> None:
    grandchild = '(trap "echo grandchild bye; exit" TERM; echo here; while :; do sleep 0.01; done)'
    polite = local.launch("sh", "-c", f'trap "echo child bye" TERM; {grandchild} & wait; wait')
    stubborn = local.launch("sh", "-c", 'trap "" TERM; echo deaf; while :; do sleep 0.01; done')
    stopped = local.launch("sh", "-c", "echo here; kill -STOP $$; exit 1")
    local.provider.carry_out([polite, stubborn, stopped])
    for launch in (polite, stubborn, stopped):
        await local.says(launch.attempt)
    local.provider.carry_out([StopAttempt(polite.attempt, 20.0), StopAttempt(stubborn.attempt, 0.1), StopAttempt(stopped.attempt, 20.0)])
    assert (await local.ended(stubborn.attempt)).exit_code == 137
    assert (await local.ended(stopped.attempt)).exit_code == 143
    ended = await local.ended(polite.attempt)
    assert (ended.cause, ended.exit_code) == ("stopped", 0)
    assert {"here", "child bye", "grandchild bye"} <= set(local.log(polite.attempt))


async def test_a_second_stop_may_only_shorten_the_grace(local: LocalRig) -> None:
    launch = local.launch("sh", "-c", 'trap "" TERM; echo deaf; while :; do sleep 0.01; done')
    local.provider.carry_out([launch])
    await local.says(launch.attempt)
    local.provider.carry_out([StopAttempt(launch.attempt, 600.0), StopAttempt(launch.attempt, 900.0), StopAttempt(launch.attempt, 0.0)])
    assert (await local.ended(launch.attempt)).exit_code == 137


async def test_what_a_job_leaves_behind_is_killed_with_it(local: LocalRig) -> None:
    """A daemon in a session of its own that holds the pipe open and has dropped its environment."""
    fork_twice = "if os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\n"
    daemon = f'import os, time\n{fork_twice}open("pid", "w").write(str(os.getpid()))\ntime.sleep(600)'
    script = f"env -u BATCHYARD_NODE {PYTHON} -c '{daemon}'; until [ -s pid ]; do sleep 0.01; done; cat pid; exit 4"
    ended, lines = await local.run("sh", "-c", script)
    assert ended.exit_code == 4
    await local.eventually(lambda: not Path(f"/proc/{lines[0]}").exists(), "the daemon is gone")
    ended, lines = await local.run("sh", "-c", "sleep 600 & echo $!; exit 5")
    assert ended.exit_code == 5
    await local.eventually(lambda: not Path(f"/proc/{lines[0]}").exists(), "the background process is gone")


async def test_the_end_of_an_instance_kills_without_asking(local: LocalRig) -> None:
    launch = local.launch("sh", "-c", 'trap "echo asked" TERM; echo here; while :; do sleep 0.01; done')
    local.provider.carry_out([launch])
    await local.says(launch.attempt)
    local.provider.carry_out([StopInstance("i-1")])
    ended = await local.ended(launch.attempt)
    assert (ended.cause, ended.exit_code) == ("lost", None)
    assert local.log(launch.attempt) == ["here"]


async def test_the_notice_of_reclaim_reaches_the_jobs_of_its_instance(local: LocalRig) -> None:
    launch = local.launch("sh", "-c", "while ! cat $BATCHYARD_SPOT_NOTICE_FILE 2>/dev/null; do sleep 0.01; done")
    local.provider.carry_out([launch])
    await local.started(launch.attempt)
    local.provider.carry_out([NoticeInstance("i-1", 1_800_000_000_500)])
    await local.ended(launch.attempt)
    assert json.loads(local.log(launch.attempt)[0]) == {"action": "terminate", "time": "2027-01-15T08:00:00Z"}


async def test_a_flood_of_output_is_kept_whole(local: LocalRig) -> None:
    ended, lines = await local.run("sh", "-c", "seq 1 60000; head -c 600000 /dev/zero | tr '\\0' x; echo; echo end")
    assert ended.exit_code == 0
    assert lines[:60000] == [str(number) for number in range(1, 60001)]
    assert "".join(lines[60000:-1]) == "x" * 600000
    assert max(len(line) for line in lines) <= 262_118
    assert lines[-1] == "end"


async def test_many_at_once(local: LocalRig) -> None:
    launches = [local.launch("sh", "-c", f"echo {number}; exit {number % 7}") for number in range(100)]
    local.provider.carry_out(launches)
    for number, launch in enumerate(launches):
        assert (await local.ended(launch.attempt)).exit_code == number % 7
        assert local.log(launch.attempt) == [str(number)]
    assert len(local.of(AttemptStarted)) == 100


async def test_a_path_that_is_too_long_for_a_socket(folder: Path) -> None:
    from batchyard.compute.local.link import LocalProvider

    deep = folder / ("d" * 120) / "yard"
    deep.mkdir(parents=True)
    rig = LocalRig(LocalProvider(deep), deep)
    await rig.connect()
    await rig.up()
    ended, _ = await rig.run("true")
    assert ended.exit_code == 0
    await rig.provider.shut_down(0.0)


async def test_the_group_of_a_job_may_be_signalled_by_itself_only(local: LocalRig) -> None:
    ended, _ = await local.run("sh", "-c", f"kill -{signal.SIGKILL} 0")
    assert ended.exit_code == 137
    assert os.path.exists(f"/proc/{local.provider.node_pid}")  # noqa: PTH110 - of a process
