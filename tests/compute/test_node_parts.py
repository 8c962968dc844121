"""The small parts of the node, each by itself: output, frames, timers, slots, directories, users, programs."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.compute.local import door, output, proc, protocol, slots, spawn, sweep, users, workplace
from batchyard.compute.local import loop as loops
from batchyard.compute.local.host import DEFAULT_UIDS
from batchyard.compute.local.loop import Loop, boot_s
from batchyard.compute.local.output import Output
from batchyard.compute.local.protocol import Acknowledge, Frames
from batchyard.compute.local.spawn import CannotStart, Identity
from batchyard.compute.local.watched import WatchedTree
from batchyard.core import loglines
from batchyard.store import logs

AS_ROOT = os.geteuid() == 0


# --- output ---


def logged(root: Path) -> list[tuple[int, bytes]]:
    with logs.opened(logs.segment_path(root, "1", "r", "g", "s")) as segment:
        return [(entry.timestamp_ms, entry.message) for entry in logs.entries(segment)]


def test_lines_are_stamped_as_they_are_read_and_never_backwards(tmp_path: Path) -> None:
    written = Output(tmp_path, "1", "r", "g", "s", 1000)
    written.feed(b"one\ntw", 1005)
    written.feed(b"o\n\n\nthree\n", 1003)
    written.feed(b"fo", 1010)
    written.finish(1009, "a note")
    assert logged(tmp_path) == [(1005, b"one"), (1005, b"two"), (1005, b"three"), (1010, b"fo"), (1010, b"a note")]


@given(st.binary(max_size=300), st.lists(st.integers(1, 40), max_size=20))
def test_however_it_arrives_the_lines_are_the_same(tmp_path_factory: pytest.TempPathFactory, content: bytes, steps: list[int]) -> None:
    root = tmp_path_factory.mktemp("logs")
    written = Output(root, "1", "r", "g", "s", 0)
    at = 0
    for step in steps:
        written.feed(content[at : at + step], 0)
        at += step
    written.feed(content[at:], 0)
    written.finish(0)
    assert [message for _, message in logged(root)] == [line for line in content.split(b"\n") if line]


def test_long_lines_are_cut_but_not_within_a_character(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "LINE_BYTES_MAX", 10)
    written = Output(tmp_path, "1", "r", "g", "s", 0)
    text = "aéé€€𝄞𝄞x" * 5
    written.feed(text.encode() + b"\n", 0)
    for byte in text.encode():
        written.feed(bytes([byte]), 0)
    written.feed(b"\n" + b"\xff" * 25, 0)
    written.finish(0)
    messages = [message for _, message in logged(tmp_path)]
    assert all(len(message) <= 10 for message in messages)
    assert b"".join(messages) == text.encode() * 2 + b"\xff" * 25
    for message in messages:
        if b"\xff" not in message:
            message.decode()


def test_a_full_disk_costs_lines_and_says_how_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = Output(tmp_path, "1", "r", "g", "s", 0)
    written.feed(b"before\n", 0)
    real = os.write
    calls = 0

    def nearly_full(descriptor: int, content: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls % 2:
            return real(descriptor, bytes(content)[:5])  # half a frame, as a full disk does it
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", nearly_full)
    written.feed(b"lost 1\nlost 2\n", 0)
    written.feed(b"lost 3\n", 0)
    monkeypatch.setattr(os, "write", real)
    written.feed(b"after\n", 0)
    written.finish(0)
    assert [message for _, message in logged(tmp_path)] == [
        b"before",
        b"[batchyard] 3 lines were lost here: No space left on device",
        b"after",
    ]


# --- the protocol ---


@given(st.lists(st.lists(st.text(max_size=5), max_size=3), max_size=5), st.integers(1, 7))
def test_frames_come_out_as_they_went_in(messages: list[list[str]], step: int) -> None:
    sent = b"".join(protocol.encoded(Acknowledge(attempts)) for attempts in messages)
    frames = Frames()
    received = [protocol.down(body) for at in range(0, len(sent), step) for body in frames.feed(sent[at : at + step])]
    assert received == [Acknowledge(attempts) for attempts in messages]


def test_what_is_no_frame_is_said_to_be_none() -> None:
    with pytest.raises(ValueError, match="does not speak this protocol"):
        Frames().feed(b"GET / HTTP/1.1")


# --- the loop ---


@pytest.fixture(params=["epoll", "selector"])
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Loop:
    import signal

    if request.param == "selector":
        monkeypatch.delattr(select, "epoll", raising=False)
    monkeypatch.setattr(signal, "set_wakeup_fd", lambda *_, **__: -1)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    return Loop(lambda: None)


def test_timers_come_in_order_and_may_be_cancelled(loop: Loop) -> None:
    seen: list[int] = []
    now_s = boot_s()
    timers = [loop.at(now_s + delay / 1000, lambda delay=delay: seen.append(delay)) for delay in (9, 3, 6, 1)]
    loop.cancel(timers[2])
    loop.cancel(timers[2])
    loop.cancel(None)
    while len(seen) < 3:
        loop.once()
    assert seen == [1, 3, 9]
    loop.cancel(timers[0])


def test_cancelled_timers_do_not_pile_up(loop: Loop) -> None:
    for _ in range(10_000):
        loop.cancel(loop.at(boot_s() + 86_400, lambda: None))
    assert len(loop._timers) <= 2001


def test_descriptors_are_watched_for_what_was_asked(loop: Loop) -> None:
    reading, writing = os.pipe()
    seen: list[int] = []
    loop.watch(writing, seen.append, loops.READ | loops.WRITE)
    loop.once()
    assert seen[-1] & loops.WRITE
    loop.forget(writing)
    loop.forget(writing)
    loop.watch(reading, seen.append)
    os.write(writing, b"x")
    loop.once()
    assert seen[-1] & loops.READ
    loop.watch(reading, seen.append, loops.READ | loops.WRITE)
    loop.forget(reading)
    os.close(reading)
    os.close(writing)


# --- slots ---


def test_who_knocks_while_no_descriptor_is_left_is_let_in_later(loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "_PAUSE_S", 0.5)
    listening = door.listening(tmp_path, "door.sock")
    let_in: list[socket.socket] = []
    knocks = 0

    def knock(_: int) -> None:
        nonlocal knocks
        knocks += 1
        if peer := door.let_in(listening, loop, knock):
            let_in.append(peer)

    loop.watch(listening.fileno(), knock)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "door.sock"))
        gc.collect()  # what other tests have left open would be closed at any moment, and then there is a descriptor
        last = os.dup(0)
        resource.setrlimit(resource.RLIMIT_NOFILE, (last + 1, limits[1]))  # the next one is too many
        try:
            loop.wake_at(boot_s() + 0.05)
            loop.once()
            loop.once()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            os.close(last)
        assert (knocks, let_in) == (1, [])
        while not let_in:
            loop.wake_at(boot_s() + 5)
            loop.once()
        let_in.pop().close()
    loop.forget(listening.fileno())
    listening.close()


def test_slots_are_lent_and_used_again(tmp_path: Path) -> None:
    lent = slots.Slots(WatchedTree(), None, str(tmp_path), gpus=[2, 0, 1])
    first, second = lent.take(), lent.take()
    assert first is not None
    assert second is not None
    assert first.number != second.number
    assert lent.equip(first, 2)
    assert first.gpus == (0, 1)
    assert not lent.equip(second, 2)
    assert lent.equip(second, 1)
    lent.give_back(first)
    assert lent.take() is first
    assert lent.equip(first, 2)


def test_user_ids_are_claimed_once_on_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "CLAIMS", tmp_path / "claims")
    monkeypatch.setattr(slots, "in_use", lambda uid: uid == 50_001)
    one, other = (slots.Slots(WatchedTree(), range(50_000, 50_004), str(tmp_path)) for _ in range(2))
    taken = [one.take(), other.take(), one.take(), other.take()]
    assert [slot.uid if slot else None for slot in taken] == [50_000, 50_002, 50_003, None]
    monkeypatch.setattr(slots, "in_use", lambda uid: False)
    late = other.take()
    assert late is not None
    assert late.uid == 50_001


# --- removing ---


def test_whatever_a_job_made_is_removed(tmp_path: Path) -> None:
    top, outside = tmp_path / "top", tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    place = top
    place.mkdir()
    deep = os.open(place, os.O_RDONLY)
    for _ in range(300):  # deeper than a path may be long
        os.mkdir("d" * 20, dir_fd=deep)
        below = os.open("d" * 20, os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=deep))
    os.close(deep)
    (top / "link").symlink_to(outside)
    (top / "closed").mkdir()
    (top / "closed" / "x").touch()
    (top / "closed").chmod(0)
    (top / "empty").mkdir(mode=0o500)
    os.mkfifo(top / "fifo")
    top.chmod(0o500)
    assert sweep.remove_tree(str(top)) == []
    assert not top.exists()
    assert (outside / "kept").exists()
    assert sweep.remove_tree(str(top)) == []


def test_what_cannot_be_removed_is_named(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    (refused,) = sweep.remove_tree(str(tmp_path / "link"))
    assert "link" in refused


# --- its log and its folder ---


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_a_log_that_cannot_be_written_ends_nobody() -> None:
    code = "import os; from batchyard.compute.local.node_log import say; say('the disk is full'); say('still'); os._exit(7)"
    with open("/dev/full", "w") as full:
        assert subprocess.run([sys.executable, "-c", code], stdout=full, timeout=90, check=False).returncode == 7


def test_a_draft_that_goes_while_the_folder_is_closed_to_others_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that comes writes files of its own at the same time: the node, and all jobs with it, would end of that."""
    real, names = os.scandir, ("a", "draft", "z")
    for name in names:
        (tmp_path / name).touch(0o644)

    @contextlib.contextmanager
    def at_that_moment(directory: Path) -> Iterator[list[os.DirEntry[str]]]:
        with real(directory) as entries:
            found = list(entries)
        (tmp_path / "draft").rename(tmp_path / "a")
        yield found

    monkeypatch.setattr(os, "scandir", at_that_moment)
    workplace.close_to_others(tmp_path)
    assert {place.name: place.stat().st_mode & 0o777 for place in tmp_path.iterdir()} == {"a": 0o600, "z": 0o600}


# --- who and what ---


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("", Identity(60706, 60706)),
        ("4321", Identity(4321, 4321, (), True)),
        ("4321:8765", Identity(4321, 8765, (), True)),
    ],
)
def test_users_as_root(monkeypatch: pytest.MonkeyPatch, wanted: str, expected: Identity) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert users.identity(wanted, 60706, DEFAULT_UIDS, False) == expected


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ("0", "owns parts of this machine"),
        ("1000:4", "owns parts of this machine"),
        ("60800", "kept for jobs"),
        ("nobody-there", "passwd"),
        ("1000:nobody-there", "group"),
        (str(2**32 - 1), "below 4294967295"),
    ],
)
def test_users_that_are_refused_as_root(monkeypatch: pytest.MonkeyPatch, wanted: str, why: str) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(CannotStart, match=why):
        users.identity(wanted, 60706, DEFAULT_UIDS, False)


def test_without_root_there_is_only_ourselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    assert users.identity("", None, DEFAULT_UIDS, False) is None
    assert users.identity("1234", None, DEFAULT_UIDS, False) is None
    with pytest.raises(CannotStart, match="without root"):
        users.identity("4321", None, DEFAULT_UIDS, False)


def test_both_ways_to_start_a_program_agree(tmp_path: Path) -> None:
    ways = [spawn.forking]
    if spawn.CAN_BORROW:
        ways.append(spawn.borrowing)
    script = "pwd; umask; echo $X; cut -d' ' -f5,6 /proc/$$/stat; readlink /proc/$$/fd/0; grep SigIgn /proc/self/status; exit 3"
    seen = []
    for way in ways:
        reading, writing = os.pipe()
        pid = way(spawn.Order(("sh", "-c", script), {"X": "y"}, str(tmp_path), writing, None))
        os.close(writing)
        with os.fdopen(reading) as file:
            lines = file.read().splitlines()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
        assert lines[3] == f"{pid} {pid}"
        lines[5] = hex(int(lines[5].split()[1], 16) & 0x7FFF_FFFF)
        seen.append(lines[:3] + lines[4:])
        for command in (("no-such-tool",), ("/etc/passwd",), ("sh", "\0")):
            with pytest.raises(CannotStart, match="CannotStartContainerError: exec: "):
                way(spawn.Order(command, {}, str(tmp_path), 1, None))
    assert seen == [[str(tmp_path), "0022", "y", "/dev/null", "0x0"]] * len(ways)


@pytest.mark.skipif(not AS_ROOT, reason="other users take root")
def test_both_ways_to_be_somebody_else_agree(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    seen = []
    for way in (spawn.forking, spawn.borrowing):
        reading, writing = os.pipe()
        pid = way(
            spawn.Order(("grep", "-E", "[UG]id|Groups|Cap(Prm|Eff)", "/proc/self/status"), {}, "/", writing, Identity(50_000, 50_001))
        )
        os.close(writing)
        with os.fdopen(reading) as file:
            seen.append(file.read())
        os.waitpid(pid, 0)
    assert seen[0].split()[1:5] == ["50000"] * 4
    borrowed, forked = (text.replace("Groups:\t \n", "Groups:\n") for text in seen)
    assert [line for line in borrowed.splitlines() if "Groups" not in line] == [
        line for line in forked.splitlines() if "Groups" not in line
    ]
    assert os.getresuid() == (0, 0, 0)


def test_a_lock_is_not_inherited_by_the_sweeper(tmp_path: Path) -> None:
    held = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(held, fcntl.LOCK_EX)
    sweeper = sweep.Sweeper()
    (tmp_path / "tree" / "below").mkdir(parents=True)
    sweeper.remove(str(tmp_path / "tree"))
    os.close(held)
    while (tmp_path / "tree").exists():
        os.sched_yield()
    again = os.open(tmp_path / "lock", os.O_RDWR)
    fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(again)
    sweeper.close()
    _, status, used = os.wait4(sweeper.pid, 0)
    assert status == 0
    assert isinstance(used, resource.struct_rusage)


def test_processes_are_seen_the_same_in_proc_and_by_ps(monkeypatch: pytest.MonkeyPatch) -> None:
    own = proc.process(os.getpid())
    assert own is not None
    assert (own.parent, own.group, own.session) == (os.getppid(), os.getpgid(0), os.getsid(0))
    assert own.pid in {seen.pid for seen in proc.processes()}
    monkeypatch.setattr(proc, "HAS_PROC", False)
    other = proc.process(os.getpid())
    assert other is not None
    assert (other.parent, other.group) == (own.parent, own.group)
    assert 0 <= time.time() - other.ticks < 86_400
    assert own.rss_kib / 2 < other.rss_kib < own.rss_kib * 2
    assert own.pid in {seen.pid for seen in proc.processes()}
    assert proc.process(999_999_999) is None


def test_ended_children_are_found_without_waitid(monkeypatch: pytest.MonkeyPatch) -> None:
    """As macOS has to do it."""
    monkeypatch.delattr(os, "waitid")
    quick, slow = subprocess.Popen(["true"]), subprocess.Popen(["sleep", "600"])
    known = [process.pid for process in (quick, slow)]
    while not (found := list(proc.ended_children(known))):
        os.sched_yield()
    assert found == [quick.pid]
    slow.kill()
    slow.wait()
    quick.wait()


def test_a_sweeper_that_was_killed_is_replaced(tmp_path: Path) -> None:
    sweeper = sweep.Sweeper()
    os.kill(sweeper.pid, 9)
    os.waitpid(sweeper.pid, 0)
    (tmp_path / "tree").mkdir()
    sweeper.remove(str(tmp_path / "tree"))
    while (tmp_path / "tree").exists():
        os.sched_yield()
    sweeper.close()
    os.waitpid(sweeper.pid, 0)


def test_lines_that_belong_together_are_one_event(tmp_path: Path) -> None:
    written = Output(tmp_path, "1", "r", "g", "s", 1000, begins="^[A-Z]+:")
    written.feed(b"stray\nINFO: one\n  two\n\n  three\nWARN: f", 1001)
    written.feed(b"our\n", 1002)
    written.tick(1003)  # it may go on
    written.feed(b"  five\n", 1004)
    written.tick(20_000)
    written.feed(b"INFO: six\n", 20_001)
    written.finish(20_002, "the end")
    with logs.opened(logs.segment_path(tmp_path, "1", "r", "g", "s")) as segment:
        events = [(entry.timestamp_ms, entry.message) for entry in logs.entries(segment)]
    assert events == [
        (1001, b"stray"),
        (1001, b"INFO: one\n  two\n\n  three"),
        (1002, b"WARN: four\n  five"),
        (20_001, b"INFO: six"),
        (20_002, b"the end"),
    ]


def test_a_pattern_that_would_be_searched_for_for_ever_is_given_up(tmp_path: Path) -> None:
    """It is one that registering lets through, for it has no unbounded repeat."""
    pattern = "a?" * 40 + "a" * 40 + "b"
    assert not loglines.wrong_pattern(pattern)
    written = Output(tmp_path, "1", "r", "g", "s", 1000, begins=pattern)
    written.feed(b"one\ntwo\n" + b"a" * 60 + b"\nthree\n", 1000)
    written.finish(1001)
    first, told, *lines = [message for _, message in logged(tmp_path)]
    assert first == b"one\ntwo"
    assert told.startswith(b"[batchyard] ")
    assert lines == [b"a" * 60, b"three"]


def test_a_child_that_is_stopped_before_it_begins_is_woken_up() -> None:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.kill(os.getpid(), signal.SIGSTOP)
        os.write(writing, b"said")
        os._exit(0)
    os.close(writing)
    assert spawn.told_by(pid, reading) == b"said"
    os.waitpid(pid, 0)
