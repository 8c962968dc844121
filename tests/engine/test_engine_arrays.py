"""Arrays in the engine: children, chains and followers, stops, restarts, and others that wait for one child."""

from __future__ import annotations

from engine_bench import HOST, N_TO_N, SEQUENTIAL, Bench, Status, after

from batchyard.model.capacity import Resources
from batchyard.model.job import Dependency
from batchyard.model.messages import AttemptEnded

CHAIN = Dependency("", SEQUENTIAL)
HALF = Resources(4, 100)


def led_by(*ids: str) -> tuple[Dependency, ...]:
    return after(*ids, kind=N_TO_N)


def test_children_run_in_order_of_their_index_and_the_parent_ends_with_the_last() -> None:
    bench = Bench(Resources(2, 8192))
    array = bench.submit(size=3)
    assert bench.status(array) == ["PENDING"] and bench.children(array) == "RRR"
    bench.start(f"{array}:0", f"{array}:1")
    assert bench.children(array) == "rrR"
    assert {str(s): n for s, n in bench.read.summary(bench.job(array)).items() if n} == {"RUNNING": 2, "RUNNABLE": 1}
    bench.end(f"{array}:1")
    assert bench.children(array) == "r+S"
    bench.finish(f"{array}:0", f"{array}:2")
    record = bench.job(array)
    assert (record.status, record.children, record.attempts) == (Status.SUCCEEDED, (3, 0), ())
    yard = bench.engine.yard
    assert (yard.arrays, yard.live_children, yard.specifications, yard.live_in_queue) == ({}, {}, {}, dict.fromkeys(yard.live_in_queue, 0))


def test_a_failed_child_fails_the_parent_at_the_end_and_the_others_go_on() -> None:
    bench = Bench()
    array = bench.submit(size=3, attempts=2)
    bench.up()
    bench.start(f"{array}:1")
    bench.end(f"{array}:1", exit_code=1)
    assert bench.children(array) == "SSS", "tried again"
    bench.start(f"{array}:1")
    bench.end(f"{array}:1", exit_code=1)
    assert bench.children(array) == "S-S" and bench.status(array) == ["PENDING"]
    bench.finish(f"{array}:0", f"{array}:2")
    assert (bench.job(array).status_reason, bench.job(array).children) == ("Array Child Job failed", (2, 1))


def test_a_chain() -> None:
    bench = Bench()
    array = bench.submit(CHAIN, size=4)
    assert bench.children(array) == "RPPP"
    bench.finish(f"{array}:0")
    assert bench.children(array) == "+SPP"
    bench.restart()
    assert bench.children(array) == "+SPP"
    bench.start(f"{array}:1")
    bench.end(f"{array}:1", exit_code=1)
    assert bench.children(array) == "+---"
    assert bench.job(f"{array}:3").status_reason == "Dependent Job failed"
    assert (bench.job(array).status, bench.job(array).children) == (Status.FAILED, (1, 3))


def test_followers_child_by_child() -> None:
    bench = Bench()
    leader = bench.submit(size=3)
    follower = bench.submit(*led_by(leader), size=3)
    last = bench.submit(*led_by(follower), size=3)
    assert bench.children(follower) == bench.children(last) == "PPP"
    bench.finish(f"{leader}:1")
    assert (bench.children(follower), bench.children(last)) == ("PSP", "PPP")
    bench.restart()
    bench.start(f"{leader}:2")
    bench.end(f"{leader}:2", exit_code=1)
    assert (bench.children(leader), bench.children(follower), bench.children(last)) == ("S+-", "PS-", "PP-")
    bench.finish(f"{leader}:0", f"{follower}:0", f"{follower}:1")
    assert bench.status(leader, follower) == ["FAILED", "FAILED"]
    bench.restart()
    assert bench.children(last) == "SS-", "its leaders are finished, and read from the store"
    bench.finish(f"{last}:0", f"{last}:1")
    assert bench.job(last).children == (2, 1)
    assert bench.engine.yard.arrays == {}, "nothing is kept of what nobody follows"


def test_followers_of_an_array_that_has_ended() -> None:
    bench = Bench()
    leader = bench.submit(size=3)
    bench.cancel(f"{leader}:1")
    bench.finish(f"{leader}:0", f"{leader}:2")
    assert bench.children(leader) == "+-+"
    follower = bench.submit(*led_by(leader), size=3)
    assert bench.children(follower) == "S-S"
    bench.restart()
    bench.finish(f"{follower}:0", f"{follower}:2")
    assert bench.job(follower).children == (2, 1)
    assert bench.engine.yard.arrays == {}


def test_followers_of_what_is_not_there_or_no_array() -> None:
    bench = Bench()
    plain = bench.submit(needs=HOST)
    assert bench.status(bench.submit(*led_by(plain), size=2)) == ["FAILED"]
    from batchyard.model.requests import Submit

    bench.ask(Submit(spec := bench.spec(*led_by("nobody"), size=2)))
    assert bench.children(spec.id) == "--"


def test_two_leaders_and_a_chain_at_once() -> None:
    bench = Bench()
    one, two = bench.submit(size=3), bench.submit(size=3)
    both = bench.submit(*led_by(one, two), CHAIN, size=3)
    bench.finish(*(f"{one}:{i}" for i in range(3)), f"{two}:2", f"{two}:1")
    assert bench.children(both) == "PPP"
    bench.finish(f"{two}:0")
    assert bench.children(both) == "SPP"


def test_an_array_behind_a_whole_job() -> None:
    bench = Bench()
    first = bench.submit()
    array = bench.submit(*after(first), size=2)
    assert bench.children(array) == "PP"
    bench.restart()
    assert bench.engine.yard.arrays[array].held
    bench.finish(first)
    bench.up()
    assert bench.children(array) == "SS"
    bad = bench.submit()
    doomed = bench.submit(*after(bad), size=2)
    bench.finish(bad, exit_code=1)
    assert (bench.children(doomed), bench.job(doomed).status_reason, bench.job(doomed).children) == ("--", "Dependent Job failed", (0, 2))
    assert doomed not in bench.engine.yard.arrays
    at_once = bench.submit(*after(bad), size=2)
    assert bench.children(at_once) == "--"


def test_a_job_behind_a_whole_array() -> None:
    bench = Bench()
    array = bench.submit(size=2)
    behind = bench.submit(*after(array))
    bench.finish(f"{array}:0")
    assert bench.status(behind) == ["PENDING"]
    bench.finish(f"{array}:1")
    assert bench.status(behind) == ["STARTING"]


# --- one child that others wait for ---


def test_a_job_behind_one_child() -> None:
    bench = Bench()
    array = bench.submit(size=3)
    behind, other = bench.submit(*after(f"{array}:1")), bench.submit(*after(f"{array}:2"))
    bench.restart()
    bench.finish(f"{array}:0")
    assert bench.status(behind) == ["PENDING"]
    bench.finish(f"{array}:1")
    assert bench.status(behind, other) == ["STARTING", "PENDING"]
    bench.cancel(f"{array}:2")
    bench.start(f"{array}:2")
    bench.end(f"{array}:2", exit_code=1)
    assert bench.job(other).status_reason == "Dependent Job failed"
    late = bench.submit(*after(f"{array}:1"))
    assert bench.status(late) == ["STARTING"], "the child ended well, its array did not"


def test_a_job_behind_a_child_that_never_gets_a_record() -> None:
    bench = Bench()
    chain = bench.submit(CHAIN, size=3)
    behind = bench.submit(*after(f"{chain}:2"))
    array = bench.submit(CHAIN, *after(chain), size=2)
    also = bench.submit(*after(f"{array}:1"))
    bench.restart()
    bench.up()
    bench.start(f"{chain}:0")
    bench.end(f"{chain}:0", exit_code=1)
    assert bench.status(behind, array, also) == ["FAILED"] * 3
    assert {bench.job(id).status_reason for id in (behind, array, also)} == {"Dependent Job failed"}
    assert bench.status(bench.submit(*after(f"{chain}:2"))) == ["FAILED"]


def test_a_job_behind_a_child_that_is_doomed_while_its_array_lives() -> None:
    bench = Bench()
    leader = bench.submit(size=2)
    array = bench.submit(*led_by(leader), size=2)
    bench.up()
    bench.start(f"{leader}:1")
    bench.end(f"{leader}:1", exit_code=1)
    assert bench.children(array) == "P-"
    assert bench.status(bench.submit(*after(f"{array}:1")), bench.submit(*after(f"{array}:0"))) == ["FAILED", "PENDING"]


# --- stops ---


def test_cancel_an_array_with_running_children() -> None:
    bench = Bench()
    array = bench.submit(size=4, needs=HALF, attempts=2)
    bench.up()
    bench.start(f"{array}:0")
    bench.cancel(array)
    assert bench.children(array) == "rS--"
    assert (bench.job(f"{array}:3").status_reason, bench.job(f"{array}:3").is_cancelled) == ("enough", True)
    bench.restart()
    assert bench.children(array) == "rS--"
    bench.end(f"{array}:0")
    bench.finish(f"{array}:1")
    assert (bench.job(array).status, bench.job(array).status_reason, bench.job(array).children) == (Status.FAILED, "enough", (2, 2))


def test_cancel_an_array_whose_children_all_run_changes_nothing_for_them() -> None:
    bench = Bench()
    array = bench.submit(size=2)
    bench.up()
    bench.cancel(array)
    bench.finish(f"{array}:0", f"{array}:1")
    assert (bench.job(array).status, bench.job(array).status_reason) == (Status.SUCCEEDED, "")


def test_terminate_an_array_after_it_was_cancelled() -> None:
    bench = Bench()
    array = bench.submit(size=3, needs=HALF)
    bench.up()
    bench.start(f"{array}:0")
    bench.cancel(array)
    bench.terminate(array)
    assert sorted(bench.effects) == sorted(f"StopAttempt {bench.attempt(f'{array}:{i}')}" for i in (0, 1))
    bench.terminate(array, "again")
    assert bench.effects == []
    for index in (0, 1):
        bench.end(f"{array}:{index}", cause="stopped", exit_code=143)
    assert bench.children(array) == "---" and bench.job(array).status_reason == "enough"


def test_a_child_that_waits_for_another_attempt_is_cancelled_with_its_array() -> None:
    bench = Bench(Resources(1, 8192))
    first = bench.submit(size=2, attempts=3)
    bench.start(f"{first}:0")
    other = bench.submit(size=2, attempts=3, queue=bench.queue("arn:q/high", priority=9).arn)
    bench.end(f"{first}:0", exit_code=1)
    assert bench.children(first) == "RR" and bench.children(other) == "SR"
    bench.cancel(first)
    assert bench.children(first) == "--" and bench.status(first) == ["FAILED"]


def test_cancel_children_without_a_record() -> None:
    bench = Bench()
    array = bench.submit(size=3, needs=HALF)
    bench.up()
    assert bench.children(array) == "SSR"
    bench.cancel(f"{array}:2")
    assert (bench.children(array), bench.job(f"{array}:2").status_reason) == ("SS-", "enough")
    for nobody in (f"{array}:3", f"{array}:x", f"{array}:2"):
        bench.cancel(nobody)
        assert not bench.last.changes
    bench.restart()
    bench.finish(f"{array}:0", f"{array}:1")
    assert bench.job(array).children == (2, 1)


def test_a_cancelled_child_breaks_its_chain() -> None:
    bench = Bench()
    array = bench.submit(CHAIN, size=4)
    bench.cancel(f"{array}:2")
    assert bench.children(array) == "RP--"
    assert bench.job(f"{array}:3").status_reason == "Dependent Job failed"
    bench.up()
    bench.terminate(f"{array}:0")
    bench.end(f"{array}:0", cause="stopped", exit_code=143)
    assert bench.children(array) == "----" and bench.job(array).status_reason == "Array Child Job failed"


def test_a_stopped_array_with_a_dependency_says_who_stopped_it() -> None:
    """Also if the dependency fails in the very same turn."""
    bench = Bench()
    first = bench.submit(needs=HOST)
    array = bench.submit(*after(first), size=2)
    from batchyard.model.requests import Cancel

    bench.turn([Cancel(array, "mine"), Cancel(first, "other")])
    assert bench.job(array).status_reason == "mine"


def test_a_stopped_array_at_the_head_no_longer_blocks_those_behind_it() -> None:
    bench = Bench()
    runs = bench.submit(needs=Resources(5, 100))
    bench.up()
    blocker = bench.submit(size=2, needs=Resources(8, 100))
    small = bench.submit()
    bench.up()
    assert bench.status(runs, small) == ["STARTING", "RUNNABLE"]
    bench.cancel(blocker)
    bench.up()
    assert bench.status(runs, small) == ["STARTING", "STARTING"]


def test_children_that_vanish_from_the_head_of_a_queue_make_way_at_once() -> None:
    """The array goes on, because a child runs; what blocked the queue was one without a record."""
    bench = Bench(Resources(4, 8192))
    array = bench.submit(size=2, needs=Resources(3, 100))
    bench.up()
    small = bench.submit(needs=Resources(1, 100))
    assert (bench.children(array), bench.status(small)) == ("SR", ["RUNNABLE"])
    bench.terminate(array)
    assert bench.status(array) == ["PENDING"]
    assert any(e.startswith("StartInstance") for e in bench.effects), "for the job behind it"


def test_what_was_said_of_the_end_of_a_child_that_never_ran_holds() -> None:
    """Its array is doomed as a whole; what it followed child by child fails only later."""
    bench = Bench()
    first, leader = bench.submit(), bench.submit(size=2)
    array = bench.submit(*after(first), *led_by(leader), size=2)
    bench.finish(first, exit_code=1)
    told = bench.job(f"{array}:1")
    assert (told.status_reason, told.stopped_at_ms) == ("Dependent Job failed", bench.world.now)
    bench.tick(5)
    bench.finish(f"{leader}:1", exit_code=1)
    assert bench.job(f"{array}:1") == told


def test_the_end_of_children_that_never_ran_is_told_once_for_all() -> None:
    """A report of an earlier end comes after the stop; a leader was stopped whose child still runs."""
    bench = Bench()
    chain = bench.submit(CHAIN, size=3)
    bench.up()
    bench.start(f"{chain}:0")
    died_ms = bench.world.now
    bench.tick(10)
    follower = bench.submit(CHAIN, *led_by(chain), size=3)
    bench.terminate(chain)
    told = bench.job(f"{chain}:1")
    assert (told.status_reason, told.is_terminated, told.stopped_at_ms) == ("stop it", True, bench.world.now)
    assert (bench.children(chain), bench.children(follower)) == ("r--", "P--")
    followed = bench.job(f"{follower}:2")
    assert (followed.status_reason, followed.stopped_at_ms) == ("Dependent Job failed", bench.world.now)
    bench.report(AttemptEnded(bench.attempt(f"{chain}:0"), died_ms, "exited", exit_code=1))
    assert bench.job(f"{chain}:1") == told
    assert bench.job(f"{follower}:0").status_reason == "Dependent Job failed"
    assert (bench.job(f"{follower}:0").stopped_at_ms or 0) >= bench.job(follower).created_at_ms


def test_in_a_chain_the_later_end_of_a_leaders_running_child_changes_nothing() -> None:
    """The leader was stopped while its first child ran: its others ended then, and with them those that follow both."""
    bench = Bench(Resources(4, 8192))
    leader = bench.submit(size=3, needs=Resources(3, 100))
    bench.up()
    bench.start(f"{leader}:0")
    bench.tick(10)
    bench.terminate(leader)
    bench.tick(10)
    follower = bench.submit(CHAIN, *led_by(leader), size=3)
    told = bench.job(f"{follower}:1")
    assert (told.status_reason, told.stopped_at_ms) == ("Dependent Job failed", bench.job(follower).created_at_ms)
    bench.tick(10)
    bench.report(AttemptEnded(bench.attempt(f"{leader}:0"), bench.world.now, "stopped", exit_code=143))
    assert bench.job(f"{follower}:1").stopped_at_ms == told.stopped_at_ms
    bench.restart()
    assert bench.job(f"{follower}:1").stopped_at_ms == told.stopped_at_ms


def test_children_that_were_doomed_before_the_stop_stay_so() -> None:
    bench = Bench()
    chain = bench.submit(CHAIN, size=4)
    bench.cancel(f"{chain}:2", "this one")
    doomed = bench.job(f"{chain}:3")
    bench.tick(10)
    bench.cancel(chain, "all")
    assert bench.job(f"{chain}:3") == doomed and doomed.status_reason == "Dependent Job failed"
    assert [bench.job(f"{chain}:{i}").status_reason for i in (0, 1, 2)] == ["all", "all", "this one"]
    bench.restart()
    assert bench.job(f"{chain}:3") == doomed


def test_ready_jobs_and_the_front_count_children() -> None:
    bench = Bench(Resources(1, 8192))
    array, plain = bench.submit(size=3), bench.submit()
    assert bench.engine.yard.lanes.count(bench.job_spec(plain).queue) == 4
    bench.up()
    front = bench.read.front(bench.job_spec(plain).queue, 2)
    assert [id for id, _ in front] == [f"{array}:1", f"{array}:2"]
    assert bench.engine.yard.lanes.count("nowhere") == 0
