"""Every attempt's part of the scratch space: limits as attempts come and go, what each held, and what who met its limit is told."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from batchyard.compute.local import walker
from batchyard.compute.local.allotment import Outcome, amount
from batchyard.compute.local.allotments import Allotments
from batchyard.compute.local.attempt import Attempt
from batchyard.compute.local.ground import Plain
from batchyard.compute.local.layers import Short
from batchyard.compute.local.loop import boot_s
from batchyard.compute.local.runner import Ending
from batchyard.compute.local.scratch_shares import Tenant, limits
from batchyard.compute.local.sweep import Sweeper, remove_tree
from batchyard.compute.local.walker import Walker
from batchyard.model.capacity import Resources
from batchyard.model.messages import AttemptEnded, Launch
from batchyard.scratch import disk_usage
from batchyard.scratch.disk_usage import bytes_in

MIB, GIB = 1024**2, 1024**3


class Counted(Plain):
    """A ground that keeps limits and knows what is held, as subvolumes do: what the test says."""

    def __init__(self) -> None:
        self.limits: dict[str, int] = {}
        self.held: dict[str, int] = {}
        self.leaving = 0
        self.changes = 0

    def limit(self, path: str, limit_bytes: int) -> bool:
        self.changes += self.limits.get(path) != limit_bytes
        self.limits[path] = limit_bytes
        return True

    def used_bytes(self, path: str) -> int | None:
        return self.held.get(path, 0)

    def leaving_bytes(self) -> int:
        return self.leaving


class Promises(RuleBasedStateMachine):
    """Attempts come, write and go, as a scheduler lets them that keeps to its rule."""

    @initialize(room=st.integers(1, 1000), vcpus=st.sampled_from([1, 2, 4, 8]))
    def stand(self, room: int, vcpus: float) -> None:
        self.room, self.vcpus = room * GIB, vcpus
        self.ground = Counted()
        self.allotments = Allotments()
        self.allotments.stand_on(self.ground, self.room, vcpus)
        self.needs: dict[str, Resources] = {}
        self.layers: dict[str, int] = {}
        self.count = 0

    @rule(vcpus=st.sampled_from([0.25, 1, 2]), part=st.sampled_from([0, 0, 0.1, 0.5]))
    def come(self, vcpus: float, part: float) -> None:
        promise_mib = int(self.room * part) // MIB
        taken = sum(self.needs[path].scratch_mib * MIB or self.ground.held.get(path, 0) for path in self.needs)
        if promise_mib * MIB + taken > self.room or vcpus + sum(needs.vcpus for needs in self.needs.values()) > self.vcpus:
            return
        self.count += 1
        name = f"attempt-{self.count}"
        if not self.allotments.has_room(name, Resources(vcpus, 1, 0, promise_mib)):
            return
        self.needs[name] = Resources(vcpus, 1, 0, promise_mib)
        self.allotments.open(name, self.needs[name], name)

    @rule(data=st.data(), part=st.floats(0, 1))
    def write(self, data: st.DataObject, part: float) -> None:
        if self.needs:
            path = data.draw(st.sampled_from(sorted(self.needs)))
            self.ground.held[path] = int(self.ground.limits[path] * part)  # never beyond its limit, which the ground keeps

    @rule(data=st.data(), part=st.floats(0, 1))
    def write_to_a_layer(self, data: st.DataObject, part: float) -> None:
        if self.needs:
            path = data.draw(st.sampled_from(sorted(self.needs)))
            left = self.ground.limits[path] - self.ground.held.get(path, 0)  # beyond that it would be ended
            self.layers[path] = self.layers.get(path, 0) + int(left * part)
            self.allotments.layers.add(path, "main")
            self.allotments.layers.tell(path, "main", self.layers[path])
            self.allotments.look()

    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        if self.needs:
            path = data.draw(st.sampled_from(sorted(self.needs)))
            held = self.ground.held.pop(path, 0)
            assert self.allotments.outcome(path) is None
            self.ground.held[path] = held
            before = {other: limit for other, limit in self.ground.limits.items() if other != path}
            self.allotments.close(path)
            self.ground.leaving += held
            self.allotments.give_up(path, NOBODY)
            outcome = self.allotments.outcome(path)
            assert outcome is not None
            assert outcome.peak_bytes >= held + self.layers.pop(path, 0)
            self.allotments.layers.remove(path, "main")
            del self.needs[path], self.ground.limits[path], self.ground.held[path]
            self.allotments.look()
            for other, limit in before.items():
                assert self.ground.limits[other] >= min(limit, self.due(other) - self.layers.get(other, 0) - MIB), (
                    "nobody has less for what another one left"
                )

    def due(self, path: str) -> int:
        """What a limit is when nothing is being cleared away."""
        held = {name: self.ground.held.get(name, 0) + self.layers.get(name, 0) for name in self.needs}
        tenants = {name: Tenant(needs.vcpus, needs.scratch_mib * MIB, held[name]) for name, needs in self.needs.items()}
        return limits(self.room, self.vcpus, tenants)[path]

    @rule()
    def clear(self) -> None:
        self.ground.leaving = 0

    @rule()
    def look(self) -> None:
        self.allotments.look()

    @invariant()
    def all_limits_together_are_never_more_than_there_is(self) -> None:
        if hasattr(self, "ground"):
            assert sum(self.ground.limits.values()) + self.ground.leaving <= self.room

    @invariant()
    def promises_are_kept_and_nobody_is_cut_short(self) -> None:
        for path, needs in self.needs.items() if hasattr(self, "ground") else ():
            if needs.scratch_mib:
                left = needs.scratch_mib * MIB - self.layers.get(path, 0)
                assert left - MIB <= self.ground.limits[path] <= max(left, self.ground.held.get(path, 0)) + MIB
            else:
                assert self.ground.limits[path] >= self.ground.held.get(path, 0)


TestPromises = Promises.TestCase
TestPromises.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def standing(room_bytes: int = 100 * GIB, vcpus: float = 4) -> tuple[Allotments, Counted]:
    allotments, ground = Allotments(), Counted()
    allotments.stand_on(ground, room_bytes, vcpus)
    return allotments, ground


def test_who_comes_changes_nobody_s_limit_while_there_are_vcpus() -> None:
    allotments, ground = standing()
    for number in range(4):
        allotments.open(f"a{number}", Resources(1, 1), f"p{number}")
    assert ground.limits == {f"p{number}": 25 * GIB for number in range(4)}
    allotments.look()
    assert ground.changes == 4


def test_limits_follow_a_promise_that_comes_and_goes() -> None:
    allotments, ground = standing()
    allotments.open("a", Resources(1, 1), "p")
    allotments.open("b", Resources(1, 1, 0, 70 * 1024), "promised")
    assert ground.limits == {"p": 10 * GIB, "promised": 70 * GIB}
    allotments.close("promised")
    allotments.look()
    assert ground.limits["p"] == 25 * GIB


def test_what_is_still_being_cleared_away_is_nobody_s_yet() -> None:
    allotments, ground = standing(64 * GIB, 1)
    ground.leaving = 10 * GIB
    allotments.open("a", Resources(1, 1), "p")
    assert ground.limits["p"] == 54 * GIB
    ground.leaving = 0
    allotments.look()
    assert ground.limits["p"] == 64 * GIB


def test_what_is_being_cleared_away_lowers_nobody_s_limit() -> None:
    """The bomb had its half of all, and the neighbour keeps its own."""
    allotments, ground = standing(64 * GIB, 2)
    allotments.open("bomb", Resources(1, 1), "bomb")
    allotments.open("neighbour", Resources(1, 1), "neighbour")
    ground.held.update(bomb=32 * GIB, neighbour=20 * GIB)
    allotments.look()
    allotments.close("bomb")
    ground.leaving = 32 * GIB
    for _ in range(2):
        allotments.look()
        assert ground.limits["neighbour"] == 32 * GIB
    assert not allotments.has_room("next", Resources(1, 1)), "who comes now would have no room at all"
    ground.leaving = 1 * GIB
    assert allotments.has_room("next", Resources(1, 1))
    allotments.open("next", Resources(1, 1), "next")
    assert ground.limits["neighbour"] == 32 * GIB
    assert ground.limits["next"] == 31 * GIB


def test_a_promise_waits_for_what_others_left_and_for_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    allotments, ground = standing(64 * GIB, 2)
    needs = Resources(1, 1, 0, 60 * 1024)
    assert allotments.has_room("a", needs)
    ground.leaving = 10 * GIB
    assert not allotments.has_room("a", needs)
    assert allotments.has_room("b", Resources(1, 1)), "there is a part for who was promised nothing"
    ground.leaving = 4 * GIB
    assert allotments.has_room("a", needs)
    ground.leaving = 10 * GIB
    assert not allotments.has_room("a", needs)
    later_s = boot_s() + 61
    monkeypatch.setattr("batchyard.compute.local.allotments.boot_s", lambda: later_s)
    assert allotments.has_room("a", needs), "but not for ever"


class Idle(Sweeper):
    """It removes nothing."""

    def __init__(self) -> None:
        self.given: list[str] = []

    def remove(self, directory: str) -> None:
        self.given.append(directory)


NOBODY = Idle()


def test_what_lies_with_the_sweeper_is_nobody_s_yet(tmp_path: Path) -> None:
    allotments, ground = standing(64 * GIB, 1)
    gone, sweeper = tmp_path / "gone", Idle()
    gone.mkdir()
    allotments.open("first", Resources(1, 1), str(gone))
    ground.held[str(gone)] = 8 * GIB
    allotments.close(str(gone))
    allotments.give_up(str(gone), sweeper)
    assert sweeper.given == [str(gone)]
    allotments.look()
    allotments.open("a", Resources(1, 1), "p")
    assert ground.limits["p"] == 56 * GIB
    remove_tree(str(gone))
    allotments.look()
    assert ground.limits["p"] == 64 * GIB


def test_what_the_ground_counts_as_leaving_is_not_counted_twice(tmp_path: Path) -> None:
    class Leaving(Counted):
        def remove(self, path: str) -> bool:
            self.leaving += self.held[path]
            return False

    allotments, ground = Allotments(), Leaving()
    allotments.stand_on(ground, 64 * GIB, 1)
    ground.held[str(tmp_path)] = 8 * GIB
    allotments.open("first", Resources(1, 1), str(tmp_path))
    allotments.close(str(tmp_path))
    allotments.give_up(str(tmp_path), NOBODY)
    allotments.open("a", Resources(1, 1), "p")
    assert ground.limits["p"] == 56 * GIB


def test_the_most_that_was_held_is_remembered() -> None:
    allotments, ground = standing()
    allotments.open("a", Resources(1, 1), "p")
    ground.held["p"] = 7 * GIB
    allotments.look()
    ground.held["p"] = 1 * GIB
    allotments.look()
    allotments.close("p")
    outcome = allotments.outcome("a")
    assert outcome is not None
    assert (outcome.peak_mib, outcome.reason) == (7 * 1024, "")
    assert allotments.outcome("a") is None, "it is told once"


def test_without_a_scratch_space_there_is_no_limit_and_the_end_is_measured(tmp_path: Path) -> None:
    allotments = Allotments()
    allotments.open("a", Resources(1, 1), str(tmp_path))
    (tmp_path / "file").write_bytes(bytes(3 * MIB))
    allotments.close(str(tmp_path))
    outcome = allotments.outcome("a")
    assert outcome is not None
    assert outcome.limit_bytes is None
    assert outcome.peak_mib == pytest.approx(3, rel=0.1)


def until(satisfied: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not satisfied():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_who_holds_more_than_its_limit_is_ended_where_nobody_keeps_it(tmp_path: Path) -> None:
    walker, ended = Walker(), []
    allotments = Allotments(walker=walker)
    allotments.on_excess = ended.append
    allotments.stand_on(Plain(), 8 * MIB, 2)
    for name in ("bomb", "modest"):
        (tmp_path / name).mkdir()
        allotments.open(name, Resources(1, 1), str(tmp_path / name))
    (tmp_path / "modest" / "file").write_bytes(os.urandom(2 * MIB))
    (tmp_path / "bomb" / "below").mkdir()
    for number in range(5):
        (tmp_path / "bomb" / "below" / str(number)).write_bytes(os.urandom(MIB))

    def look() -> list[str]:
        allotments.look()
        return ended

    until(look)
    assert set(ended) == {"bomb"}
    (tmp_path / "bomb" / "below" / "0").unlink()
    allotments.close(str(tmp_path / "bomb"))
    outcome = allotments.outcome("bomb")
    assert outcome is not None
    assert outcome.was_ended
    assert outcome.reason.startswith("OutOfScratchError: the job held 5")
    assert "its limit is 4 MiB; tag the job definition with batchyard:scratch-gib to ask for more" in outcome.reason
    allotments.close(str(tmp_path / "modest"))
    allotments.end()


def test_a_directory_of_many_files_is_walked_again_when_its_disk_fills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long before that is due: a writer would go far past its limit meanwhile."""
    much = tmp_path / "much"

    def disk_of_our_own(_: str) -> tuple[int, int]:
        return 0, much.stat().st_blocks * 512 if much.exists() else 0

    assert 0 < walker._disk(str(tmp_path))[1] <= walker._disk(str(tmp_path))[0]
    monkeypatch.setattr(walker, "_disk", disk_of_our_own)  # of this machine's, others may remove more at this moment than is written here
    monkeypatch.setattr(walker, "_REST", 1e9)
    for number in range(1000):
        (tmp_path / str(number)).touch()
    path, made = str(tmp_path), walker.Walker()
    try:

        def seen() -> int:
            made.take_in()
            return made.look(path) or 0

        until(lambda: seen() > 0)
        with open(much, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, 64 * MIB)
        until(lambda: seen() >= 64 * MIB)
    finally:
        made.close()


def test_what_takes_long_to_walk_is_walked_in_slices_and_more_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a job of millions of files would keep the walker from looking at the others."""
    for module, name, value in ((walker, "_SLICE_S", 0.0), (disk_usage, "_STEP", 10)):
        monkeypatch.setattr(module, name, value)
    for number in range(100):
        (tmp_path / str(number)).touch()
    place = walker._Place(str(tmp_path))
    told = []
    while place.held_bytes is None:
        place.go_on()
        if place.has_news:
            told.append(place.told())
    assert (told[0], told[-1]) == (10 * 512, 100 * 512) and told == sorted(told)
    place.go_on()
    assert place.held_bytes is None and not place.has_news, "nothing that was not known"


def test_the_walker_is_replaced_when_somebody_kills_it(tmp_path: Path) -> None:
    walker = Walker()
    (tmp_path / "file").write_bytes(bytes(MIB))
    first = walker.pid

    def seen() -> int | None:
        walker.take_in()
        return walker.look(str(tmp_path))

    until(seen)
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    (tmp_path / "more").mkdir()
    walker.look(str(tmp_path / "more"))
    until(lambda: walker.take_in() or walker.look(str(tmp_path / "more")) is not None)
    assert walker.pid != first
    (tmp_path / "file").write_bytes(bytes(3 * MIB))
    until(lambda: (seen() or 0) >= 3 * MIB)
    assert walker.forget(str(tmp_path)) is not None
    assert walker.forget(str(tmp_path)) is None
    walker.close()


def test_a_million_empty_files_take_room_too(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / str(number)).touch()
    walker = Walker()
    until(lambda: walker.take_in() or (walker.look(str(tmp_path)) or 0) >= 1000 * 512)
    walker.close()
    assert bytes_in(tmp_path, entries_most=10, inode_bytes=512) == 10 * 512, "as much as can be seen in a moment"


class Walked(Plain):
    """A ground where limits are watched, and what is held is what the test says."""

    def __init__(self) -> None:
        self.held: dict[str, int] = {}

    def used_bytes(self, path: str) -> int | None:
        return self.held.get(path, 0)


def test_who_wrote_within_a_limit_that_is_lowered_then_keeps_what_it_holds_and_gets_no_more() -> None:
    allotments, ground, ended = Allotments(), Walked(), []
    allotments.on_excess = ended.append
    allotments.stand_on(ground, 100 * GIB, 2)
    allotments.open("early", Resources(1, 1), "early")
    ground.held["early"] = 30 * GIB
    allotments.look()
    allotments.open("promised", Resources(1, 1, 0, 60 * 1024), "promised")
    ground.held["early"] = 45 * GIB  # it was on its way there, and that is more than the 40 GiB that it has now
    for _ in range(3):
        allotments.look()
    assert ended == []
    for others in range(5):  # whoever comes, it does not get more by that
        allotments.open(f"other-{others}", Resources(0, 1), f"other-{others}")
    ground.held["early"] = 46 * GIB
    allotments.open("last", Resources(0, 1), "last")
    allotments.look()
    assert ended == ["early"]


# --- what is said of it ---


def ended(scratch: Outcome, exit_code: int = 1, cause: str = "exited") -> AttemptEnded:
    launch = Launch("a", "j", 1, "i", (), {}, Resources(1, 1), "g", "s", "1", "r")
    attempt = Attempt(launch)
    attempt.started_at_ms, attempt.cause = 1, cause
    return attempt.ended(Ending(exit_code, 1.0), 2, scratch)


AT_LIMIT = Outcome(10 * GIB, 10 * GIB, met_limit=True)


def test_who_failed_at_its_limit_is_told_so() -> None:
    assert ended(AT_LIMIT).reason == (
        "OutOfScratchError: the job had reached its limit of scratch space, 10 GiB, when it ended; "
        "tag the job definition with batchyard:scratch-gib to ask for more"
    )
    assert "raise its tag batchyard:scratch-gib" in ended(AT_LIMIT._replace(is_promised=True)).reason
    assert ended(AT_LIMIT).disk_peak_mib == 10 * 1024


@pytest.mark.parametrize(
    ("scratch", "exit_code", "cause"),
    [
        pytest.param(AT_LIMIT, 0, "exited", id="it succeeded"),
        pytest.param(AT_LIMIT, 143, "stopped", id="it was stopped"),
        pytest.param(AT_LIMIT, 143, "timeout", id="its time was up"),
        pytest.param(AT_LIMIT._replace(met_limit=False), 1, "exited", id="it failed for another reason"),
        pytest.param(Outcome(10 * GIB, None, met_limit=True), 1, "exited", id="it had no limit"),
    ],
)
def test_nothing_is_said_of_scratch_space_where_it_had_no_part(scratch: Outcome, exit_code: int, cause: str) -> None:
    assert ended(scratch, exit_code, cause).reason == ""


def test_amounts_are_said_as_people_say_them() -> None:
    assert [amount(count) for count in (10 * GIB, int(12.34 * GIB), 512 * MIB, MIB // 2)] == ["10 GiB", "12.3 GiB", "512 MiB", "0.5 MiB"]
    assert amount(1500 * GIB) == "1500 GiB"


def test_who_holds_most_where_layers_lie_is_ended_when_there_is_little_room_left() -> None:
    allotments, _ = standing()
    ended: list[str] = []
    allotments.on_excess = ended.append
    for name, held in (("a", 2 * GIB), ("b", 3 * GIB), ("c", 0)):
        allotments.open(name, Resources(1, 1), f"p-{name}")
        allotments.layers.add(name, "main")
        allotments.layers.tell(name, "main", held)
    allotments.look()
    assert ended == []
    allotments.layers.short = lambda: Short("the disk has less than 4 GiB left", 4 * GIB)
    allotments.look()
    assert ended == [], "what nobody's end would mend is no reason to end anybody"
    allotments.layers.short = lambda: Short("the disk has less than 1 GiB left", GIB)
    allotments.look()
    allotments.look()
    assert ended == ["b"], "and the next one only if that did not help"
    allotments.close("p-b")
    outcome = allotments.outcome("b")
    assert outcome is not None
    assert outcome.reason == (
        "OutOfScratchError: the disk has less than 1 GiB left, and the job held 3 GiB there in containers' own layers, more than any other;"
        " write large files to /scratch or /tmp"
    )


def test_a_layer_that_is_gone_holds_nothing_and_was_part_of_the_peak() -> None:
    allotments, ground = standing()
    allotments.open("a", Resources(1, 1), "p")
    for name, held in (("first", 30 * MIB), ("second", 5 * MIB)):
        allotments.layers.add("a", name)
        allotments.layers.tell("a", name, held)
    allotments.layers.end("a", "first")
    allotments.layers.remove("a", "first")
    ground.held["p"] = 10 * MIB
    allotments.look()
    assert ground.limits["p"] == 25 * GIB - 5 * MIB, "what the layer that is left leaves over"
    allotments.close("p")
    outcome = allotments.outcome("a")
    assert outcome is not None
    assert (outcome.peak_bytes, outcome.layer_bytes) == (35 * MIB, 35 * MIB)
