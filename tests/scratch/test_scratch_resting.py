"""A watcher sleeps while nothing can write, and is awake before anything may; whatever gets lost, it looks as often as ever."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
from ground import Numbers
from served import INITIAL_MIB, KINDS, Served, on, served, writer

from batchyard.compute.local.scratching.rest import REST_S, Rests
from batchyard.scratch.daemon import Daemon
from batchyard.scratch.policy import MIB, Limits
from batchyard.scratch.resting import Rest
from yard import until

OFTEN_S = 1.0  # awake, it never sleeps for so long with so little free


class Watch:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Quiet:
    """A daemon, nobody who writes, and who says so."""

    def __init__(self) -> None:
        self.watch, self.ground = Watch(), Numbers(1000 * MIB)
        self.rest = Rest(clock=self.watch)
        allowed = Limits(cap_bytes=10_000 * MIB, step_bytes=100 * MIB)
        self.daemon = Daemon(self.ground, allowed, rest=self.rest, assumed_grow_s=0.1, clock=self.watch)
        self.daemon.start()

    def allow(self, seconds: float) -> None:
        self.rest.allow(self.watch.now_s + seconds)

    def falls_asleep(self) -> None:
        """Nothing has been written for a while, and what it does beside its looks comes to its end."""
        self.daemon.turn()
        self.watch.now_s += 10.0
        self.allow(1000.0)
        until(lambda: True if self.daemon.turn() > 1.0 else None, "it sleeps", 60)


def test_it_sleeps_for_as_long_as_nobody_can_write_and_no_longer() -> None:
    quiet = Quiet()
    assert quiet.daemon.turn() < OFTEN_S, "nobody has said so yet"
    quiet.falls_asleep()
    quiet.allow(5.0)
    assert quiet.daemon.turn() == pytest.approx(5.0)
    quiet.watch.now_s += 4.0
    assert quiet.daemon.turn() == pytest.approx(1.0)
    quiet.watch.now_s += 1.0
    assert quiet.daemon.turn() < OFTEN_S, "nobody has said so again"


def test_it_does_not_take_anybody_at_their_word_against_what_it_sees() -> None:
    quiet = Quiet()
    quiet.falls_asleep()
    quiet.ground.used += 50 * MIB
    quiet.watch.now_s += 1.0
    assert quiet.daemon.turn() < OFTEN_S, "somebody has written"
    quiet.falls_asleep()


def test_it_does_not_sleep_while_something_is_to_be_done() -> None:
    quiet = Quiet()
    quiet.falls_asleep()
    is_done = threading.Event()
    quiet.ground.during = lambda: is_done.wait(60)
    quiet.ground.used = 950 * MIB
    quiet.daemon.turn()  # it begins to grow
    quiet.watch.now_s += 10.0
    try:
        assert quiet.daemon.turn() < OFTEN_S
    finally:
        is_done.set()
    quiet.falls_asleep()
    quiet.ground.sick = "it is sick"
    quiet.watch.now_s += 60.0
    until(lambda: (quiet.daemon.turn(), quiet.daemon.why_not)[1] or None, "the gate shuts", 60)
    assert quiet.daemon.turn() < OFTEN_S, "one that is not well is looked after"


def test_who_calls_is_answered_after_a_look() -> None:
    """Not before: an answer says that it is ahead of who writes from now on."""
    quiet = Quiet()
    quiet.falls_asleep()
    said: list[tuple[str, int]] = []
    rest = Rest(lambda number: said.append((number, quiet.daemon.counters.looks)), quiet.watch)
    sleeping = threading.Thread(target=lambda: [rest.look(lambda: (quiet.daemon.turn(), 60.0)[1]) for _ in range(2)], daemon=True)
    before = quiet.daemon.counters.looks
    sleeping.start()
    until(lambda: quiet.daemon.counters.looks > before or None, "it has looked, and sleeps", 60)
    rest.end("7")
    until(lambda: said or None, "it answers", 30)
    assert said == [("7", before + 2)]
    assert rest.left_s() == 0.0
    rest.wake()
    sleeping.join(30)


class Node:
    """The side of the node, without one."""

    def __init__(self) -> None:
        self.watch, self.said, self.is_used = Watch(), list[str](), False
        self.woken: list[float] = []
        self.rests = Rests(self.said.append, self, lambda: self.is_used, self.watch)  # type: ignore[arg-type]

    def wake_at(self, when_s: float) -> None:
        self.woken.append(when_s)

    def ticks(self, count: int) -> None:
        for _ in range(count):
            self.watch.now_s += 1.0
            self.rests.tick()

    def asleep(self) -> None:
        self.ticks(5)
        assert self.said[-1] == f"rest {self.watch.now_s + REST_S!r}"
        assert not self.rests.is_awake


def test_rest_is_allowed_when_nothing_was_there_for_a_while() -> None:
    node = Node()
    node.is_used = True
    node.ticks(10)
    node.is_used = False
    node.ticks(2)
    assert node.said == []
    assert node.rests.is_awake
    node.asleep()


def test_an_attempt_waits_until_the_watcher_has_answered() -> None:
    node = Node()
    node.asleep()
    node.is_used = True
    node.rests.end()
    node.rests.end()  # another one that comes at the same time
    assert node.said[-1] == "wake 1"
    assert node.said.count("wake 1") == 1
    assert not node.rests.is_awake
    node.rests.answered("0")  # of another time
    assert not node.rests.is_awake
    node.rests.answered("1")
    assert node.rests.is_awake


def test_what_is_lost_is_said_again_and_nobody_waits_for_ever() -> None:
    node = Node()
    node.asleep()
    node.is_used = True
    node.rests.end()
    node.ticks(1)
    assert node.said[-2:] == ["wake 1", "wake 1"]
    node.watch.now_s += REST_S
    assert node.rests.is_awake, "by now it looks as often as ever, whatever it has heard"
    assert node.woken, "and the node looks at that without being told"
    node.rests.answered("1")
    node.is_used = False
    node.asleep()
    node.rests.answered("1")  # to what was said twice
    assert not node.rests.is_awake


def test_another_watcher_is_awake_from_the_beginning() -> None:
    node = Node()
    node.asleep()
    node.rests.lost()
    assert node.rests.is_awake


def looks(one: Served) -> int:
    return int(one.status()["counters"]["looks"])


@pytest.mark.parametrize("kind", [KINDS[0]])
def test_a_node_that_stands_still_or_a_watcher_that_dies_in_its_sleep(kind: str) -> None:
    """It looks as often as ever when nobody allows it to sleep any more, and the next job is safe with another one."""
    with served(*on(kind)) as one:
        yard = one.start()
        one.rests()
        before = looks(one)
        os.kill(yard.node_pid, signal.SIGSTOP)
        try:
            until(lambda: True if looks(one) > before + 1000 else None, "it looks often", 60)
        finally:
            os.kill(yard.node_pid, signal.SIGCONT)
        one.rests()
        os.kill(one.watchers()[0], signal.SIGKILL)
        job = yard.until(yard.submit(writer(yard, "writer", 6 * INITIAL_MIB[kind])), patience_s=300)
        assert job["status"] == "SUCCEEDED", yard.logs(job)
        assert Path(yard.logs(job)[-1].split()[2]).is_relative_to(one.work)
        yard.down()
        one.nothing_is_left()
