"""What holds for the plan of any yard whatever: capacity, order, priority, and that it says what it does."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from plain_yard import NOW, PlainYard, exact

from batchyard.core import scaling, scheduling
from batchyard.core.growth import scalable
from batchyard.core.scheduling import Plan, Rules, plan
from batchyard.model.capacity import NOTHING, Health, Instance, InstanceState, Resources, Shape, State

HOSTS = st.sampled_from([None, Resources(4, 4096), Resources(8, 8192)])
NEEDS = st.tuples(st.sampled_from([0.25, 0.5, 1, 2, 3, 4, 6, 9]), st.sampled_from([64, 512, 1024, 3000, 9000]))
TYPES = st.sampled_from(
    [
        (Shape("optimal", Resources(8, 8192), exact=False),),
        (exact("large", 2, 4096), exact("xlarge", 4, 8192)),
        (exact("r-large", 1, 8192),),
    ]
)


@st.composite
def yards(draw: st.DrawFn) -> PlainYard:
    """Any yard that the engine can get into: instances never hold more than they have, nor the host more than it has."""
    yard = PlainYard(draw(HOSTS))
    names = draw(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3, unique=True))
    for name in names:
        yard.environment(
            name,
            shapes=draw(TYPES),
            max_vcpus=draw(st.integers(0, 10)),
            min_vcpus=draw(st.sampled_from([0, 0, 0, 2, 5])),
            wanted_vcpus=draw(st.sampled_from([0, 0, 3])),
            spot=draw(st.booleans()),
            state=draw(st.sampled_from([State.ENABLED, State.ENABLED, State.ENABLED, State.DISABLED])),
            health=draw(st.sampled_from([Health.VALID, Health.VALID, Health.VALID, Health.DELETING])),
            idle_s=draw(st.sampled_from([None, 0.0])),
        )
    queues = draw(st.lists(st.sampled_from(["p", "q", "r"]), min_size=1, max_size=3, unique=True))
    for name in queues:
        order = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
        yard.queue(name, order, priority=draw(st.integers(1, 3)), spill_idle=draw(st.booleans()))
    for number in range(draw(st.integers(0, 4))):
        _add_instance(draw, yard, f"i-{number}", names, [*queues, ""])
    for name in queues:
        for needs in draw(st.lists(NEEDS, max_size=6)):
            yard.wait(needs, name)
    return yard


def _add_instance(draw: st.DrawFn, yard: PlainYard, id: str, environments: list[str], queues: list[str]) -> None:
    room = Resources(draw(st.integers(1, 4)), draw(st.sampled_from([512, 2048, 4096])))
    if yard.host is not None and not room.fits(yard.host.minus(total(list(yard.instances.values())))):
        return
    state = draw(st.sampled_from([InstanceState.RUNNING, InstanceState.RUNNING, InstanceState.PENDING, InstanceState.STOPPING]))
    runs: list[tuple[float, int]] = []
    left = room
    for needs in draw(st.lists(NEEDS, max_size=3)) if state is not InstanceState.PENDING else ():
        if Resources(*needs).fits(left):
            runs.append(needs)
            left = left.minus(Resources(*needs))
    yard.instance(
        id,
        room,
        draw(st.sampled_from(environments)),
        runs=runs,
        attempts=draw(st.integers(1, 2)),
        state=state,
        launched_for=draw(st.sampled_from(queues)),
        reclaim_at_ms=draw(st.sampled_from([None, None, NOW + 5])),
        idle_since_ms=draw(st.sampled_from([None, 0, NOW])) if not runs else None,
    )


def total(instances: list[Instance]) -> Resources:
    room = NOTHING
    for instance in instances:
        room = room.plus(instance.room)
    return room


RULES = st.builds(Rules, st.booleans(), st.sampled_from([0.0, 60.0]))


@settings(max_examples=100)
@given(yards(), RULES)
def test_a_plan_never_promises_what_is_not_there(yard: PlainYard, rules: Rules) -> None:
    made = plan(yard, NOW, rules)
    free = {id: yard.free(id) for id in yard.instances}
    for waiting, id in made.placements:
        instance = yard.instances[id]
        assert instance.environment in yard.queues[waiting.spec.queue].environments
        assert scheduling.takes_jobs(instance, yard.environments[instance.environment])
        assert waiting.spec.needs.fits(free[id])
        free[id] = free[id].minus(waiting.spec.needs)
    for name, environment in yard.environments.items():
        before = sum(i.room.vcpus for i in yard.environment_instances(name).values())
        starting = sum(s.room.vcpus for s in made.starts if s.environment == name)
        assert not starting or before + starting <= environment.max_vcpus
    if yard.host is not None:
        wanted = total(list(yard.instances.values()))
        for wish in made.starts:
            wanted = wanted.plus(wish.room)
        assert not made.starts or wanted.fits(yard.host)
    for wish in made.starts:
        assert wish.shape in yard.shapes(wish.environment)
        assert wish.room == wish.shape.room if wish.shape.exact else wish.room.fits(wish.shape.room)


@settings(max_examples=100)
@given(yards(), RULES)
def test_a_job_is_placed_once_and_in_order(yard: PlainYard, rules: Rules) -> None:
    made = plan(yard, NOW, rules)
    names = [w.job_id for w, _ in made.placements]
    assert len(names) == len(set(names))
    for queue in yard.queues.values():
        waiting = list(yard.ready(queue.arn))
        placed = [w.job_id in names for w in waiting]
        last = max((i for i, yes in enumerate(placed) if yes), default=-1)
        for job, yes in zip(waiting[: last + 1], placed, strict=False):
            passed = rules.pass_impossible and not scaling.is_possible(yard, queue, job.spec.needs)
            assert yes or passed, "a later job of the queue started before it"
        left = [w for w, yes in zip(waiting, placed, strict=True) if not yes]
        if rules.pass_impossible:
            left = [w for w in left if scaling.is_possible(yard, queue, w.spec.needs)]
        assert made.blocked.get(queue.arn) == (left[0].job_id if left else None)


@settings(max_examples=100)
@given(yards(), RULES)
def test_a_blocked_head_would_not_have_fitted_where_a_queue_behind_it_placed(yard: PlainYard, rules: Rules) -> None:
    made = plan(yard, NOW, rules)
    order = [q.arn for q in yard.open_queues]
    for arn, head in made.blocked.items():
        queue = yard.queues[arn]
        needs = next(w.spec.needs for w in yard.ready(arn) if w.job_id == head)
        behind = set(order[order.index(arn) + 1 :])
        rooms = {id: yard.free(id) for id in yard.instances}
        for waiting, id in made.placements:
            if waiting.spec.queue not in behind:
                rooms[id] = rooms[id].minus(waiting.spec.needs)
        for _, id in made.placements:
            environment = yard.instances[id].environment
            if environment == queue.environments[0] or (environment in queue.environments and not queue.spill_idle):
                assert not needs.fits(rooms[id])


@settings(max_examples=100)
@given(yards(), RULES)
def test_instances_go_only_for_a_reason(yard: PlainYard, rules: Rules) -> None:
    made = plan(yard, NOW, rules)
    busy = {i for _, i in made.placements}
    assert len(set(made.stops)) == len(made.stops) and not set(made.stops) & set(made.reclaims)
    for id in made.stops:
        assert yard.instances[id].state is not InstanceState.STOPPING
        assert not yard.attempts_on(id) and id not in busy, "what has work is never stopped without a notice"
    heads = [yard.queues[arn] for arn in made.blocked]
    for id in made.reclaims:
        instance = yard.instances[id]
        assert instance.spot and instance.state is InstanceState.RUNNING and instance.reclaim_at_ms is None
        for_whom = [q for q in heads if any(not yard.environments[arn].spot for arn in scalable(yard, q))]
        assert for_whom, "Spot work goes for on-demand work only"
        assert any(_suffices(yard, made, queue.arn) for queue in for_whom)


def _suffices(yard: PlainYard, made: Plan, queue: str) -> bool:
    """Whether what goes, with what is left, would hold the queue's head in an on-demand environment."""
    needs = next(w.spec.needs for w in yard.ready(queue) if w.job_id == made.blocked[queue])
    for arn in scalable(yard, yard.queues[queue]):
        environment = yard.environments[arn]
        gone = {i.id for i in yard.instances.values() if i.state is InstanceState.STOPPING or i.reclaim_at_ms is not None}
        stay = [i for i in yard.instances.values() if i.id not in gone | {*made.stops, *made.reclaims}]
        vcpus = environment.max_vcpus - sum(i.room.vcpus for i in stay if i.environment == arn)
        fits_host = yard.host is None or needs.fits(yard.host.minus(total(stay)))
        if not environment.spot and needs.vcpus <= vcpus and fits_host:
            return True
    return False


@settings(max_examples=60)
@given(yards())
def test_idle_stops_keep_the_minimum(yard: PlainYard) -> None:
    """What was idle for long enough goes, but not so much that minvCpus would have to come back."""
    for queue in list(yard.queues):
        yard.waiting[queue] = []
    made = plan(yard, NOW, Rules(idle_s=60))
    for name, environment in yard.environments.items():
        if environment.health is Health.DELETING:
            continue
        stay = [i for i in yard.environment_instances(name).values() if i.state is not InstanceState.STOPPING and i.reclaim_at_ms is None]
        after = sum(i.room.vcpus for i in stay if i.id not in made.stops)
        assert after >= min(environment.min_vcpus, sum(i.room.vcpus for i in stay))


@settings(max_examples=60)
@given(yards(), RULES)
def test_a_plan_depends_on_nothing_but_the_yard_and_the_time(yard: PlainYard, rules: Rules) -> None:
    assert plan(yard, NOW, rules) == plan(yard, NOW, rules)
