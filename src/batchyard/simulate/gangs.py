"""What must hold of multi-node parallel jobs in a simulation: all nodes or none, and nothing runs once the job is final."""

from __future__ import annotations

from random import Random

from batchyard.core import gangs, scaling, scheduling
from batchyard.engine.engine import Engine
from batchyard.engine.reader import EngineReader
from batchyard.model.capacity import Queue, Resources
from batchyard.model.job import Job, NodeGroup, Specification, Status, node_id
from batchyard.model.view import JobQuery, Waiting, YardView
from batchyard.simulate.chance import require

S = Status
SIZES = ((0.5, 256), (1, 512), (1, 1024), (2, 2048))


def some_nodes(random: Random, most_nodes: int, needs: Resources) -> tuple[tuple[NodeGroup, ...], int]:
    """Nodes of one or two sizes and the index of the main one, which needs `needs`."""
    count = random.randint(2, most_nodes)
    main, other = random.randrange(count), Resources(*random.choice(SIZES))
    groups = [NodeGroup(first=n, last=n, needs=needs if n == main else other) for n in range(count)]
    return tuple(groups), main


def is_possible(view: YardView, queue: Queue, spec: Specification) -> bool:
    """Whether a job, of nodes or not, could start if nothing else ran."""
    if spec.nodes:
        return gangs.environment_of(view, queue, spec) is not None
    return scaling.is_possible(view, queue, spec.needs)


def could_start(engine: Engine, queue: Queue, waiting: Waiting) -> bool:
    """Whether all nodes of a job would find room now, beside what others keep."""
    view = engine.yard
    environment = gangs.environment_of(view, queue, waiting.spec)
    if environment is None:
        return False
    rooms = {
        i.id: view.free(i.id)
        for i in view.environment_instances(environment.arn).values()
        if scheduling.takes_jobs(i, environment) and engine.kept.get(i.id, queue.arn) == queue.arn
    }
    return all(gangs.seat(gangs.needs_of_nodes(waiting.spec), rooms)[0])


def check(engine: Engine, job: Job) -> None:
    """A job that is not final, and its nodes."""
    yard = engine.yard
    spec = yard.specifications[job.spec_id]
    nodes = [yard.jobs[node_id(job.id, n)] for n in sorted(yard.live_nodes.get(job.id, ()))]
    holding = [node for node in nodes if node.current is not None]
    whole = [n.current for n in (job, *holding) if n.current is not None]
    require(len({a.environment for a in whole}) <= 1, f"the nodes of {job.id} are in several environments")
    require(len({a.number for a in whole}) <= 1, f"the nodes of {job.id} are in several attempts")
    require(not any(yard.instances[a.instance].spot for a in whole), f"a node of {job.id} is on a Spot instance")
    if not job.status.is_placed:
        require(not holding, f"{job.id} is {job.status} and nodes of it hold room")
    elif job.is_ending:
        require(bool(holding), f"{job.id} waits for its nodes, and all have ended")
        require(all(node.is_being_stopped for node in holding), f"the main node of {job.id} has ended and others are not stopped")
    elif job.is_being_stopped:
        require(all(node.is_being_stopped for node in holding), f"{job.id} is stopped and nodes of it are not")
    elif job.status is S.STARTING:
        require(len(holding) == spec.num_nodes - 1, f"{job.id} starts with {len(holding) + 1} of {spec.num_nodes} nodes")
        require(all(node.status is S.RUNNABLE for node in holding), f"nodes of {job.id} start before the main node runs")
    else:
        require(all(node.status is not S.RUNNABLE for node in holding), f"the main node of {job.id} runs and a node is not called")


def check_ended(engine: Engine, job: Job) -> None:
    """A job that is final: so are its nodes."""
    require(job.id not in engine.yard.live_nodes, f"{job.id} is {job.status} and has unfinished nodes")
    require(all(status.is_final for _, status in engine.store.children_of(job.id)), f"{job.id} is {job.status} and its nodes are not")


def judge(read: EngineReader, job: Job, spec: Specification) -> None:
    """A job at the end of a run, with all its nodes."""
    nodes = [node for node, _ in read.jobs(JobQuery(array=job.id, limit=spec.num_nodes)).jobs]
    require([node.id for node in nodes] == [node_id(job.id, n) for n in range(spec.num_nodes)], f"the nodes of {job.id} are not all there")
    for node in nodes:
        require(node.status.is_final, f"{node.id} is {node.status} for ever")
        if node.node == spec.main_node:
            require((node.status, node.attempts) == (job.status, job.attempts), f"{node.id} and its job differ")
            continue
        known = {attempt.number for attempt in job.attempts}
        require({attempt.number for attempt in node.attempts} <= known, f"{node.id} was tried when its job was not")
        for attempt in node.attempts:
            main = job.attempts[attempt.number - 1]
            began_ms, ended_ms = main.started_at_ms, main.stopped_at_ms
            require(began_ms is not None, f"{node.id} was started and the main node was not")
            require(attempt.started_at_ms is None or attempt.started_at_ms >= attempt.placed_at_ms, f"{node.id} began before it was placed")
            require(ended_ms is not None, f"an attempt of {job.id} has no end")
