"""Whatever dies: jobs outlive the server, orphans do not outlive the node, nothing is begun twice, no end is lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from compute_rig import PATIENCE_S, RUNS_ON, LocalRig, alive, exits, instance, kill_node, node_pid
from test_local_processes import PYTHON

from batchyard.compute.local import journal, proc, protocol
from batchyard.compute.local.link import LocalProvider
from batchyard.model.messages import AttemptEnded, AttemptStarted, Launch, ProviderBack, ScratchSeen, StartInstance

fresh = pytest.mark.parametrize("local", [[]], indirect=True, ids=["fresh"])
both = pytest.mark.parametrize("local", [[], ["--isolation", "watch"]], indirect=True, ids=["auto", "watched"])


@pytest.fixture
def marks() -> Iterator[Path]:
    """A place where every job may leave a mark, and a file for all of them: two jobs run as two users, at the same time."""
    with tempfile.TemporaryDirectory(prefix="marks-") as made:
        Path(made).chmod(0o777)
        starts = Path(made) / "starts"
        starts.touch()
        starts.chmod(0o666)
        yield Path(made)


def marking(marks: Path, then: str) -> tuple[str, ...]:
    return ("sh", "-c", f"echo $BATCHYARD_ATTEMPT >> {marks}/starts; {then}")


@both
async def test_a_dead_nodes_jobs_are_ended_and_lost_and_a_new_one_says_so(local: LocalRig, marks: Path) -> None:
    code = f'import os, time\nif os.fork(): os._exit(0)\nos.setsid()\nopen("{marks}/daemon", "w").write(str(os.getpid()))\ntime.sleep(600)'
    daemon = f"{PYTHON} -c '{code}'"
    running = local.launch(*marking(marks, f"{daemon}; echo $$; sleep 600"))
    done = local.launch(*exits(7))
    local.provider.carry_out([running, done])
    ended = await local.ended(done.attempt)
    (pid,) = await local.says(running.attempt)
    await local.eventually(lambda: (marks / "daemon").exists() and (marks / "daemon").read_text(), "the daemon runs")
    pids = [int(pid), int((marks / "daemon").read_text())]
    generation = local.provider.generation
    local.reports.clear()
    os.kill(local.provider.node_pid, signal.SIGKILL)
    await local.until(lambda: local.of(ProviderBack))
    back = local.of(ProviderBack)[0]
    assert next(report for report in local.reports if not isinstance(report, ScratchSeen)) == back
    assert back.generation == local.provider.generation != generation
    assert back.instances == ()
    assert set(back.attempts) == {running.attempt, done.attempt}
    assert not [pid for pid in pids if alive(pid)], "orphans are ended before anything is said"
    assert await local.ended(done.attempt) == ended
    lost = await local.ended(running.attempt)
    assert (lost.cause, lost.exit_code) == ("lost", None)
    local.provider.carry_out([StartInstance(instance("i-1")), running])
    await local.until(lambda: len(local.of(AttemptEnded, attempt=running.attempt)) == 2)
    assert (marks / "starts").read_text().split() == [running.attempt], "never begun a second time"
    local.provider.acknowledge([running.attempt, done.attempt])
    ended, _ = await local.run("true")
    assert ended.exit_code == 0
    await local.eventually(lambda: not (local.work / running.attempt).exists(), "what the dead left is removed")


async def test_jobs_outlive_a_server_that_is_killed(folder: Path, marks: Path) -> None:
    script = (
        "import asyncio, os, signal, sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from compute_rig import LocalRig\n"
        "from pathlib import Path\n"
        "from batchyard.compute.local.link import LocalProvider\n"
        "async def main():\n"
        "    rig = LocalRig(LocalProvider(sys.argv[2]), Path(sys.argv[2]))\n"
        "    await rig.connect()\n"
        "    await rig.up()\n"
        "    rig.provider.carry_out([rig.launch('sh', '-c', sys.argv[3], attempt='survivor')])\n"
        "    await rig.started('survivor')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    job = f"echo before; until [ -e {marks}/go ]; do sleep 0.01; done; echo after; exit 9"
    server = subprocess.run([sys.executable, "-c", script, str(Path(__file__).parent), str(folder), job], check=False, timeout=120)
    assert server.returncode == -signal.SIGKILL
    (marks / "go").touch()
    rig = LocalRig(LocalProvider(folder), folder)
    await rig.eventually(lambda: rig.log("survivor") == ["before", "after"], "the job goes on")
    back = await rig.connect(epoch=2)
    assert (back.instances, back.attempts) == (("i-1",), ("survivor",))
    assert (await rig.ended("survivor")).exit_code == 9
    await rig.provider.shut_down(0.0)


async def test_an_intent_without_an_outcome_is_lost_and_never_started(folder: Path, marks: Path) -> None:
    """The node died between writing down that it will start an attempt and starting it (or saying that it ended)."""
    earlier = journal.Journal(folder / journal.NAME, proc.boot_id())
    earlier.note(journal.Intent("half-begun"))
    rig = LocalRig(LocalProvider(folder), folder)
    earlier.note(journal.Epoch(rig.epoch(3)))
    earlier.close()
    back = await rig.connect(epoch=3)
    assert (back.instances, back.attempts) == ((), ("half-begun",))
    assert (await rig.ended("half-begun")).cause == "lost"
    await rig.up()
    rig.provider.carry_out([rig.launch(*marking(marks, "true"), attempt="half-begun")])
    await rig.until(lambda: len(rig.of(AttemptEnded)) == 2)
    assert not rig.of(AttemptStarted)
    assert not (marks / "starts").read_text()
    await rig.provider.close()
    await rig.provider.start(rig.deliver, rig.epoch(2))
    await rig.eventually(
        lambda: f"epoch {rig.epoch(2)} is older than {rig.epoch(3)}" in rig.provider.trouble, "a refusal: the epoch outlives the node"
    )
    await rig.provider.shut_down(0.0)


async def test_a_recycled_process_id_is_never_hit(folder: Path) -> None:
    """The journal names a process of the dead node; by now the number means somebody else."""
    bystander = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        earlier = journal.Journal(folder / journal.NAME, proc.boot_id())
        earlier.note(journal.Intent("gone"))
        earlier.note_begun("gone", bystander.pid, proc.start_ticks(bystander.pid) - 5, -1)
        earlier.close()
        rig = LocalRig(LocalProvider(folder), folder)
        await rig.connect()
        assert (await rig.ended("gone")).cause == "lost"
        assert bystander.poll() is None
        await rig.provider.shut_down(0.0)
    finally:
        bystander.kill()
        bystander.wait()


async def test_a_process_that_is_still_the_noted_one_is_ended_without_any_marker(folder: Path) -> None:
    orphan = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        earlier = journal.Journal(folder / journal.NAME, proc.boot_id())
        earlier.note(journal.Intent("gone"))
        earlier.note_begun("gone", orphan.pid, proc.start_ticks(orphan.pid), -1)
        earlier.close()
        rig = LocalRig(LocalProvider(folder), folder)
        await rig.connect()
        assert orphan.wait(timeout=60) == -signal.SIGKILL
        await rig.provider.shut_down(0.0)
    finally:
        orphan.kill()
        orphan.wait()


@fresh
async def test_the_younger_link_takes_over(local: LocalRig) -> None:
    local.provider.carry_out([local.launch(*RUNS_ON, attempt="runs")])
    await local.started("runs")
    younger = LocalRig(LocalProvider(local.directory), local.directory)
    back = await younger.connect(epoch=5)
    assert (back.instances, back.attempts) == (("i-1",), ("runs",))
    await local.eventually(
        lambda: f"epoch {local.epoch(1)} is older than {younger.epoch(5)}" in local.provider.trouble, "the elder is refused for good"
    )
    await younger.provider.close()


@fresh
async def test_one_node_per_folder(local: LocalRig) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "batchyard.compute.local.node", "--data", str(local.directory)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (second.returncode, second.stdout) == (0, f"there is a node for {local.directory} already\n")
    assert (local.directory / protocol.SOCKET).stat().st_mode & 0o777 == 0o600
    assert node_pid(local.directory) == local.provider.node_pid


@pytest.mark.parametrize("local", [["--idle-s", "0.2"]], indirect=True)
async def test_a_node_without_server_and_work_ends_itself_and_not_before(local: LocalRig, marks: Path) -> None:
    launch = local.launch("sh", "-c", f"until [ -e {marks}/go ]; do sleep 0.01; done; exit 3")
    local.provider.carry_out([launch])
    await local.started(launch.attempt)
    pid = local.provider.node_pid
    await local.provider.close()
    await asyncio.sleep(0.5)
    assert alive(pid)
    (marks / "go").touch()
    await local.eventually(lambda: not alive(pid), "it ends")
    back = await local.connect()
    assert (back.instances, back.attempts) == ((), (launch.attempt,))
    assert (await local.ended(launch.attempt)).exit_code == 3, "the end was kept by the journal"


@fresh
async def test_shut_down_asks_all_jobs_to_end_and_leaves_nothing(local: LocalRig) -> None:
    polite = local.launch("sh", "-c", 'trap "echo bye; exit 0" TERM; echo here; while :; do sleep 0.01; done')
    rude = local.launch("sh", "-c", 'trap "" TERM; echo here; while :; do sleep 0.01; done')
    local.provider.carry_out([polite, rude])
    for launch in (polite, rude):
        await local.says(launch.attempt)
    pid, name = local.provider.node_pid, (local.directory / "node.id").read_text().strip()
    await local.provider.shut_down(6.0)
    await local.eventually(lambda: not alive(pid), "the node is gone")
    assert "bye" in local.log(polite.attempt)
    assert not list(Path("/sys/fs/cgroup").glob(f"*/batchyard-{name}"))
    back = await local.connect()
    assert set(back.attempts) == {polite.attempt, rude.attempt}
    assert {(await local.ended(launch.attempt)).cause for launch in (polite, rude)} == {"lost"}
    assert not local.of(AttemptStarted, attempt="nothing")


async def test_a_node_that_does_not_answer_yet_is_shut_down_too(tmp_path: Path) -> None:
    provider = LocalProvider(tmp_path / "node")
    await provider.start(lambda reports: None, 1)
    async with asyncio.timeout(PATIENCE_S):
        while not (started := nodes_of(tmp_path / "node")):
            await asyncio.sleep(0.001)
        await provider.shut_down(0.0)
    assert not any(map(alive, started))


def nodes_of(directory: Path) -> list[int]:
    """The processes that are nodes of a directory, of those that we started: a node's own children look the same, and go after it."""
    wanted = os.fsencode(f"--data\0{directory}\0")
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            seen = proc.process(int(place.parent.name))
            if wanted in place.read_bytes() and seen and seen.parent == os.getpid():
                found.append(seen.pid)
    return found


@fresh
async def test_sigterm_ends_the_node_as_shut_down_does(local: LocalRig) -> None:
    launch = local.launch(*RUNS_ON)
    local.provider.carry_out([launch])
    await local.started(launch.attempt)
    local.reports.clear()
    os.kill(local.provider.node_pid, signal.SIGTERM)
    assert (await local.ended(launch.attempt)).cause == "lost"
    await local.until(lambda: local.of(ProviderBack))


@fresh
async def test_nothing_is_lost_when_the_link_breaks_again_and_again(local: LocalRig, marks: Path) -> None:
    """As an engine does it: after every ProviderBack all that is not yet known to have ended is asked for again."""
    wanted: dict[str, Launch] = {}
    for number in range(40):
        launch = local.launch(*marking(marks, f"exit {number % 5}"), attempt=f"a-{number}")
        wanted[launch.attempt] = launch
    ended: dict[str, AttemptEnded] = {}
    give_up_s = asyncio.get_running_loop().time() + PATIENCE_S
    for epoch in range(2, 900):
        back = await local.connect(epoch)
        assert back.instances == ("i-1",)
        local.provider.carry_out([launch for name, launch in wanted.items() if name not in ended])
        await asyncio.sleep(min(0.02 * epoch, 1.0))  # at last long enough for what has begun to be told
        for report in local.of(AttemptEnded):
            assert ended.setdefault(report.attempt, report) == report
        if len(ended) == 40:
            break
        assert asyncio.get_running_loop().time() < give_up_s, sorted(set(wanted) - set(ended))
        local.provider.acknowledge([])
    assert len(ended) == 40
    assert all(report.exit_code == int(name[2:]) % 5 for name, report in ended.items())
    assert sorted((marks / "starts").read_text().split()) == sorted(wanted)


@fresh
async def test_what_is_not_the_protocol_is_refused(local: LocalRig) -> None:
    for sent in (b"GET / HTTP/1.1\r\n\r\n", protocol.encoded(protocol.Welcome(1, "", 1, {})), b"\0\0\0\1\xc1"):
        reader, writer = await asyncio.open_unix_connection(str(local.directory / protocol.SOCKET))
        writer.write(sent)
        (body,) = protocol.Frames().feed(await reader.read())
        answer = protocol.up(body)
        assert isinstance(answer, protocol.Refused)
        assert answer.code == "malformed"
        writer.close()
    for hello, code in ((protocol.Hello(protocol.VERSION + 1, 10**9), "version"), (protocol.Do([]), "superseded")):
        reader, writer = await asyncio.open_unix_connection(str(local.directory / protocol.SOCKET))
        writer.write(protocol.encoded(hello))
        (body,) = protocol.Frames().feed(await reader.read())
        answer = protocol.up(body)
        assert isinstance(answer, protocol.Refused)
        assert answer.code == code
        writer.close()
    ended, _ = await local.run("true")
    assert ended.exit_code == 0


@fresh
async def test_a_node_that_dies_while_the_server_is_away_is_replaced(local: LocalRig) -> None:
    launch = local.launch(*RUNS_ON)
    local.provider.carry_out([launch])
    await local.started(launch.attempt)
    generation = local.provider.generation
    await local.provider.close()
    kill_node(local.directory)
    back = await local.connect(epoch=2)
    assert back.generation != generation
    assert back.attempts == (launch.attempt,)
    assert (await local.ended(launch.attempt)).cause == "lost"


async def test_a_node_that_cannot_start_is_complained_about(folder: Path) -> None:
    (folder / protocol.LOCK).mkdir()
    provider = LocalProvider(folder)
    rig = LocalRig(provider, folder)
    await provider.start(rig.deliver, 1)
    await rig.eventually(lambda: "Is a directory" in provider.trouble, "the trouble is told")
    (folder / protocol.LOCK).rmdir()
    await provider.connected()
    assert provider.trouble == ""
    await provider.shut_down(0.0)
