"""Why a multi-node parallel job waits: for each environment what all its nodes together are short of, and the smallest change."""

from __future__ import annotations

from collections.abc import Container, Mapping

from batchyard.core import gangs, packing, reasons, scheduling, scratch_space
from batchyard.core.reasons import amount
from batchyard.model.capacity import Environment, Instance, InstanceState, Queue, Resources
from batchyard.model.job import Specification
from batchyard.model.view import Reason, YardView


def aws_words(view: YardView, queue: Queue, spec: Specification) -> str:
    """AWS's statusReason for a job whose nodes can never start as things are; "" if it only has to wait (section 3.7)."""
    usable = _usable(view, queue)
    if any(gangs.could_seat(view, e, spec) for e in usable):
        return ""
    if not usable:
        return reasons.ACTION_REQUIRED
    if all(gangs.takes_nodes(e) and _is_over_max(view, e, spec) for e in usable):
        return reasons.COMPUTE_ENVIRONMENT_MAX_RESOURCE
    return reasons.JOB_RESOURCE_REQUIREMENT


def own_words(view: YardView, queue: Queue, spec: Specification) -> str:
    """The same of what AWS does not know, in our words."""
    usable = [e for e in _usable(view, queue) if gangs.could_seat(view, e, spec)]
    if not usable or any(gangs.could_take(view, e, spec) for e in usable):
        return ""
    return scratch_space.too_much(view, usable, spec.scratch_mib)


def _usable(view: YardView, queue: Queue) -> list[Environment]:
    return [e for arn in queue.environments if (e := view.environments.get(arn)) is not None and scheduling.is_open(e)]


def head_words(view: YardView, queue: Queue, spec: Specification) -> str:
    """`aws_words`; for a head for which only the host has no room left, that capacity is short."""
    environment = gangs.environment_of(view, queue, spec)
    words = aws_words(view, queue, spec)
    if words or environment is None or scratch_space.reason(view, environment, spec.scratch_mib) is not None:
        return words
    if any(i.state is InstanceState.PENDING for i in _launched_for(view, queue, environment)):
        return words
    short, shapes = _unseated(view, environment, spec, ()), gangs.shapes_for(view, environment, spec)
    taken = sum(i.room.vcpus for i in view.environment_instances(environment.arn).values())
    left = packing.Limits(environment.max_vcpus - taken, reasons.host_left(view, environment.provider))
    if not short or gangs.starts(shapes, short, left) or not gangs.starts(shapes, short, left._replace(host=None)):
        return ""
    return reasons.INSUFFICIENT_CAPACITY.format(instance_type=shapes[0].name)


def _launched_for(view: YardView, queue: Queue, environment: Environment) -> list[Instance]:
    return [i for i in view.environment_instances(environment.arn).values() if i.launched_for in ("", queue.arn)]


def _unseated(view: YardView, environment: Environment, spec: Specification, but: Container[str]) -> list[Resources]:
    """What the nodes need that find no room on the instances there are, but for some."""
    there = view.environment_instances(environment.arn).values()
    takers = [i for i in there if i.id not in but and scheduling.takes_jobs(i, environment) and gangs.is_fitting(view, i, spec)]
    needs = gangs.needs_of_nodes(spec)
    seats, _left = gangs.seat(needs, {i.id: view.free(i.id) for i in takers})
    return [one for one, seat in zip(needs, seats, strict=True) if not seat]


def per_environment(view: YardView, queue: Queue, spec: Specification, kept: Mapping[str, str]) -> tuple[Reason, ...]:
    """One reason for each environment of the queue up to the one where the nodes will run: later ones are not tried.

    `kept`: see `scheduling.Plan`.
    """
    found: list[Reason] = []
    for arn in queue.environments:
        environment = view.environments.get(arn)
        if environment is None:
            found.append(Reason(arn.rpartition("/")[2], "the compute environment is gone", "update the queue's computeEnvironmentOrder"))
            continue
        closed = reasons.closed(environment)
        if closed is not None:
            found.append(closed)
        elif not gangs.could_seat(view, environment, spec):
            found.append(_never(view, environment, spec))
        elif not gangs.could_take(view, environment, spec):
            found.extend(filter(None, [scratch_space.reason(view, environment, spec.scratch_mib)]))
        else:
            reason = scratch_space.reason(view, environment, spec.scratch_mib) or _not_now(view, queue, environment, spec, kept)
            return (*found, reason) if reason is not None else ()
    return tuple(found)


def _never(view: YardView, environment: Environment, spec: Specification) -> Reason:
    if not gangs.takes_nodes(environment):
        return Reason(
            environment.name,
            "is not managed on-demand EC2, and nodes of a multi-node parallel job run on nothing else",
            "attach a MANAGED compute environment of type EC2 to the queue",
        )
    shapes, wanted = gangs.shapes_for(view, environment, spec), spec.nodes[0].instance_type
    if not shapes:
        return Reason(environment.name, f"has no instance type {wanted}", f"add {wanted} or optimal to its instanceTypes")
    needs, host = gangs.needs_of_nodes(spec), view.host_room(environment.provider)
    large = max(needs)
    if not any(one.fits(s.room) for one in [large] for s in shapes):
        return Reason(
            environment.name, f"no instance type of it holds a node that needs {amount(large)}", "ask for less, or add a larger type"
        )
    together = gangs.total(needs)
    if _is_over_max(view, environment, spec):
        return Reason(
            environment.name,
            f"{len(needs)} nodes need {amount(together)} together, and maxvCpus is {environment.max_vcpus}",
            "raise maxvCpus, or use fewer nodes (nodeOverrides.numNodes)",
        )
    machine = f"this machine has {amount(host)} in all" if host is not None else "no instance types hold them"
    return Reason(
        environment.name,
        f"{len(needs)} nodes need {amount(together)} together, and {machine}",
        "use fewer or smaller nodes (nodeOverrides)",
    )


def _is_over_max(view: YardView, environment: Environment, spec: Specification) -> bool:
    """Whether it is maxvCpus alone that forbids the nodes."""
    limits = packing.Limits(float("inf"), view.host_room(environment.provider))
    return bool(gangs.starts(gangs.shapes_for(view, environment, spec), gangs.needs_of_nodes(spec), limits))


def _not_now(view: YardView, queue: Queue, environment: Environment, spec: Specification, kept: Mapping[str, str]) -> Reason | None:
    """All nodes would fit, but not beside what runs."""
    foreign = {i for i in view.environment_instances(environment.arn) if not _is_lent(view, queue, environment, i)}
    short = _unseated(view, environment, spec, {i for i, keeper in kept.items() if keeper != queue.arn} | foreign)
    if not short:
        return None
    found = spec.num_nodes - len(short)
    summary = f"{found} of {spec.num_nodes} nodes have found room; the others need {amount(gangs.total(short))}"
    coming = [i for i in _launched_for(view, queue, environment) if i.state is InstanceState.PENDING]
    if coming:
        names = ", ".join(i.id for i in coming)
        return Reason(environment.name, f"{summary}; starting: {names}", "wait: the nodes start with them")
    return Reason(environment.name, f"{summary}; {_left_over(view, environment)}", "wait for other jobs to end, or use fewer nodes")


def _is_lent(view: YardView, queue: Queue, environment: Environment, instance: str) -> bool:
    """Whether the queue may use an instance: of an environment that only lends it what is idle, not every one."""
    if not queue.spill_idle or environment.arn == queue.environments[0]:
        return True
    return scheduling.is_spare(view, view.instances[instance], queue, scheduling.Plan())


def _left_over(view: YardView, environment: Environment) -> str:
    taken = sum(i.room.vcpus for i in view.environment_instances(environment.arn).values())
    host: Resources | None = reasons.host_left(view, environment.provider)
    left = f", and this machine has {amount(host)} left" if host is not None else ""
    return f"{taken:g} of {environment.max_vcpus} vCPUs (maxvCpus) are taken{left}"
