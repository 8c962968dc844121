"""What callers read: committed records, children without one, counts, and why a job is where it is."""

from __future__ import annotations

import pytest
from engine_bench import CE, N_TO_N, SEQUENTIAL, Bench, Q, Status, after
from msgspec.structs import replace

from batchyard.core import reasons
from batchyard.engine.reader import EngineReader
from batchyard.model.capacity import Health, InstanceState, Resources
from batchyard.model.definition import Definition
from batchyard.model.job import Dependency
from batchyard.model.messages import AttemptEnded, InstanceUp
from batchyard.model.requests import Cancel, Edit, Submit
from batchyard.model.view import JobQuery


def ids(bench: Bench, **query: object) -> list[str]:
    return [job.id for job, _ in bench.read.jobs(JobQuery(**query)).jobs]  # type: ignore[arg-type]


def summary(bench: Bench, id: str) -> str:
    told = bench.read.explain(id)
    assert told is not None
    return told.summary


def test_named_things() -> None:
    bench = Bench()
    definition = Definition(arn="arn:d:3", name="d", revision=3, account="1", region="r")
    bench.ask(Edit(lambda catalogue: catalogue.put(definition)))
    assert bench.read.definitions == {"arn:d:3": definition}
    assert (bench.read.latest_revision("1", "r", "d"), bench.read.latest_revision("1", "r", "x")) == (3, 0)
    seen = bench.ask(Edit(lambda catalogue: (catalogue.latest_revision("1", "r", "d"), catalogue.now_ms, dict(catalogue.instances))))
    assert seen == (3, bench.world.now, {})
    assert set(bench.read.environments) == {CE} and set(bench.read.queues) == {Q} and bench.read.instances == {}
    bench.restart()
    assert bench.read.latest_revision("1", "r", "d") == 3


def test_what_is_not_there() -> None:
    bench = Bench()
    array = bench.submit(size=2)
    for id in ("nobody", "nobody:1", f"{array}:2", f"{array}:01", f"{array}:x"):
        assert bench.read.job(id) is None and bench.read.explain(id) is None
    assert bench.read.jobs(JobQuery(array="nobody")) == ([], "")
    assert bench.read.jobs(JobQuery(array=bench.submit())) == ([], "")


def test_pages_of_children_with_and_without_a_record() -> None:
    bench = Bench(Resources(2, 8192))
    array = bench.submit(size=7)
    bench.finish(f"{array}:0")
    found, cursor = [], ""
    while True:
        page = bench.read.jobs(JobQuery(array=array, limit=3, cursor=cursor))
        found += [j.index for j, _ in page.jobs]
        cursor = page.cursor
        if not cursor:
            break
    assert found == list(range(7))
    assert ids(bench, array=array, status=Status.SUCCEEDED) == [f"{array}:0"]
    assert ids(bench, array=array, status=Status.RUNNABLE) == [f"{array}:{i}" for i in range(3, 7)]
    assert ids(bench, array=array, status=Status.RUNNABLE, limit=2, cursor="3") == [f"{array}:4", f"{array}:5"]
    assert ids(bench, queue=Q) == [array]


def test_nothing_of_a_turn_that_is_being_written_is_seen() -> None:
    """Not even of children that have no record: states and ends are committed ones, and counts add up."""
    bench = Bench()
    leader = bench.submit(size=2)
    follower = bench.submit(*after(leader, kind=N_TO_N), size=2)
    bench.engine.decide([Cancel(leader, "x")], [], bench.world.now)
    for array in (leader, follower):
        assert sum(bench.read.summary(bench.job(array)).values()) == 2
        assert bench.status(f"{array}:1") == ["PENDING"]
    bench = Bench()
    leader = bench.submit(size=2)
    bench.up()
    bench.engine.decide([], [AttemptEnded(bench.attempt(f"{leader}:0"), 1, "exited", exit_code=1)], bench.world.now)
    assert bench.children(leader) == "SS"


def test_a_job_that_is_about_to_start_waits_for_nothing() -> None:
    bench = Bench()
    plain = bench.submit()
    bench.engine.decide([], [InstanceUp(i.id, 1) for i in bench.instances], bench.world.now)
    about_to_start(bench, plain)
    bench = Bench()
    array = bench.submit(size=2)
    bench.engine.decide([], [InstanceUp(i.id, 1) for i in bench.instances], bench.world.now)
    about_to_start(bench, f"{array}:0")


def about_to_start(bench: Bench, id: str) -> None:
    job, spec = bench.job(id), bench.job_spec(id)
    assert job.status is Status.RUNNABLE and bench.read.waiting_reason(job, spec) == ""
    assert summary(bench, id) == "is about to start"


# --- why ---


def test_stories_of_jobs_that_do_not_wait_for_room() -> None:
    bench = Bench()
    job = bench.submit(attempts=2)
    behind = bench.submit(*after(job))
    bench.up()
    (instance,) = bench.instances
    assert summary(bench, job) == f"starts on instance {instance.id} (attempt 1 of 2)"
    assert summary(bench, behind) == f"waits for {job} (STARTING)"
    bench.start(job)
    assert summary(bench, job) == f"runs on instance {instance.id} (attempt 1 of 2)"
    bench.end(job, exit_code=137, oom=True)
    bench.start(job)
    bench.end(job, exit_code=137, oom=True)
    assert summary(bench, job) == ("ended: Essential container in task exited: OutOfMemoryError: Container killed due to memory usage")
    assert summary(bench, behind) == "ended: Dependent Job failed"
    array = bench.submit(size=2)
    bench.finish(f"{array}:0", f"{array}:1")
    assert summary(bench, array) == "ended: all children succeeded"


def test_the_instance_that_starts_is_the_reason() -> None:
    bench = Bench()
    job = bench.submit()
    assert summary(bench, job) == f"waits for instance {bench.instances[0].id}, which is starting"
    assert bench.read.waiting_reason(bench.job(job), bench.job_spec(job)) == summary(bench, job)


def test_behind_a_head() -> None:
    bench = Bench(bare=True)
    bench.environment(max_vcpus=2)
    bench.queue()
    runs, head, behind = bench.submit(needs=Resources(2, 100)), bench.submit(needs=Resources(2, 100)), bench.submit()
    bench.up()
    assert summary(bench, behind) == f"waits behind {head}, which is at the head of queue q and finds no room yet"
    told = bench.read.explain(head)
    assert told is not None and told.position == 1 and told.aws_reason == ""
    assert told.summary == "ce: 2 of 2 vCPUs (maxvCpus) are taken; 2 short; the roomiest instance lacks 2 vCPUs and 100 MiB"
    assert bench.status(runs) == ["STARTING"]


@pytest.mark.parametrize("profile", ["open", "aws"])
def test_reasons_by_profile(profile: str) -> None:
    """In profile aws only the head has one, and it is AWS's own; there an impossible head blocks."""
    bench = Bench(open_profile=profile == "open")
    impossible, behind = bench.submit(needs=Resources(99, 1)), bench.submit(needs=Resources(98, 1))
    told = [bench.read.waiting_reason(bench.job(id), bench.job_spec(id)) for id in (impossible, behind)]
    words = reasons.JOB_RESOURCE_REQUIREMENT
    assert told == ([words, words] if profile == "open" else [words, ""])
    assert [bench.read.waiting_reason(bench.job(id), bench.job_spec(id)) for id in (impossible, behind)] == told, "the same again"
    if profile == "aws":
        possible = bench.submit()
        assert summary(bench, possible) == (
            f"waits behind {impossible}, which is at the head of queue q and cannot run as things are:"
            f" `batchyard explain {impossible}` says why"
        )


def test_a_head_without_aws_words_says_nothing_in_profile_aws() -> None:
    bench = Bench(open_profile=False)
    job = bench.submit()
    assert bench.read.waiting_reason(bench.job(job), bench.job_spec(job)) == ""
    assert bench.read.waiting_reason(replace(bench.job(job), status=Status.RUNNING), bench.job_spec(job)) == ""


def test_arrays_say_what_their_children_wait_for() -> None:
    bench = Bench()
    leader = bench.submit(size=2, needs=Resources(4, 10))
    follower = bench.submit(*after(leader, kind=N_TO_N), Dependency("", SEQUENTIAL), size=2)
    assert (
        summary(bench, leader)
        == f"array of 2: 2 RUNNABLE; for its next child: waits for instance {bench.instances[0].id}, which is starting"
    )
    assert summary(bench, follower) == f"array of 2: 2 PENDING; its children wait for those of {leader} (PENDING) and for one another"
    assert summary(bench, f"{follower}:1") == f"waits for {leader}:1 (RUNNABLE), {follower}:0 (PENDING)"
    behind = bench.submit(*after(leader), size=2)
    assert summary(bench, behind) == f"array of 2: 2 PENDING; waits for {leader} (PENDING)"
    assert summary(bench, f"{behind}:0") == f"waits for {leader} (PENDING)"
    bench.up()
    assert summary(bench, leader) == "array of 2: 2 STARTING"
    bench.finish(f"{leader}:1")
    assert summary(bench, f"{follower}:1") == f"waits for {follower}:0 (PENDING)"


def test_a_job_of_a_queue_that_is_gone() -> None:
    """Cannot be while it waits; whoever asks in between gets an answer all the same."""
    bench = Bench()
    job = bench.submit()
    reader: EngineReader = bench.read
    found = reader.job(job)
    assert found is not None
    del bench.engine.yard.queues[Q]
    assert summary(bench, job) == "its job queue is gone"
    assert reader.waiting_reason(*found) == ""


def test_room_that_came_meanwhile() -> None:
    bench = Bench()
    job = bench.submit()
    (instance,) = bench.instances
    bench.engine.yard.put_instance(replace(instance, state=InstanceState.RUNNING))  # as if between two turns
    assert summary(bench, job) == "is about to start"


# --- the queue ---


def test_the_front_of_a_queue_and_what_it_uses() -> None:
    bench = Bench(Resources(2, 8192))
    first, second = bench.submit(), bench.submit(needs=Resources(2, 10))
    third = bench.submit(size=2)
    assert bench.read.usage(Q) == 0
    bench.up()
    placed_ms = bench.world.now
    bench.tick(5)
    later = bench.submit()
    assert bench.read.usage(Q) == 1.0 and bench.status(first) == ["STARTING"]
    assert bench.read.front(Q, 10) == [(second, placed_ms), (f"{third}:0", placed_ms), (f"{third}:1", placed_ms), (later, bench.world.now)]
    assert bench.read.front(Q, 1) == [(second, placed_ms)]
    assert bench.read.front("nowhere", 5) == []


def test_a_queue_that_is_being_deleted_takes_no_jobs() -> None:
    bench = Bench()
    runs = bench.submit()
    bench.up()
    bench.put(replace(bench.engine.ledger.queues[Q], health=Health.DELETING))
    (answer,) = bench.turn([Submit(bench.spec())]).answers
    assert "not found" in answer.message and bench.status(runs) == ["STARTING"]
