"""Why a job waits: for each environment of its queue the exact shortfall, and the smallest change that would start the job.

Derived from the yard whenever it is asked for, never stored, so that it cannot be stale; the same for all jobs of one queue that
need the same. While an instance for the job is starting, that is the reason, and nothing else is.
"""

from __future__ import annotations

import math

from msgspec.structs import replace

from batchyard.core import fairshare, growth, packing, reclaiming, scaling, scheduling, scratch_space
from batchyard.model.capacity import NOTHING, Environment, Health, Instance, InstanceState, Platform, Queue, Resources, Shape, State
from batchyard.model.fairshare import Standing
from batchyard.model.view import Reason, YardView

JOB_RESOURCE_REQUIREMENT = (
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement (vCPU/memory/GPU) is higher than that can be met by"
    " the CE(s) attached to the job queue."
)
COMPUTE_ENVIRONMENT_MAX_RESOURCE = (
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - CE(s) associated with the job queue cannot meet the CPU requirement of the job."
)
INSUFFICIENT_CAPACITY = (
    "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot fulfill the capacity requested for instance type [{instance_type}]"
)
# What jobStateTimeLimitActions may name (specification, section 3.7).
TIME_LIMIT_REASONS = (
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE",
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT",
    "MISCONFIGURATION:EC2_INSTANCE_CONFIGURATION_UNSUPPORTED",
    "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY",
)
_COMES_BY_ITSELF = "wait: "  # so a fix begins where nothing is short
ACTION_REQUIRED = "ACTION_REQUIRED - CE(s) associated with the job queue are invalid."


def per_environment(view: YardView, queue: Queue, needs: Resources) -> tuple[Reason, ...]:
    """One reason for each environment of the queue, in its order. Empty where there is room now."""
    reasons = (_reason(view, queue, order, arn, needs) for order, arn in enumerate(queue.environments))
    return tuple(r for r in reasons if r is not None)


def aws_words(view: YardView, queue: Queue, needs: Resources) -> str:
    """AWS's statusReason for a job at the head that can never start as things are; "" if it only has to wait (section 3.7)."""
    environments = [view.environments[arn] for arn in queue.environments if arn in view.environments]
    usable = [e for e in environments if scheduling.is_open(e)]
    if not usable:
        return ACTION_REQUIRED
    room = needs.of_instance  # of scratch space AWS has no word: see `own_words`
    if any(scaling.is_possible(view, _only(queue, e), room) for e in usable):
        return ""
    if all(_is_over_max(view, e, needs) for e in usable):
        return COMPUTE_ENVIRONMENT_MAX_RESOURCE
    return JOB_RESOURCE_REQUIREMENT


def own_words(view: YardView, queue: Queue, needs: Resources) -> str:
    """Our statusReason for a job that can never start as things are for a reason that AWS does not know; "" if there is none."""
    usable = [e for arn in queue.environments if (e := view.environments.get(arn)) is not None and scheduling.is_open(e)]
    usable = [e for e in usable if scaling.is_possible(view, _only(queue, e), needs.of_instance)]
    if not usable or any(scratch_space.could_hold(view, e.provider, needs.scratch_mib) for e in usable):
        return ""
    return scratch_space.too_much(view, usable, needs.scratch_mib)


def head_words(view: YardView, queue: Queue, needs: Resources) -> str:
    """AWS's statusReason for a job that is stuck at the head: as `aws_words`, and where the host has no room for one more instance,
    which is what a lack of capacity is here. Environments that are full by their own maxvCpus are no reason to speak of, nor is scratch
    space."""
    words = aws_words(view, queue, needs)
    if words or scratch_space.is_short_now(view, queue, needs.scratch_mib) or starting_instance(view, queue, needs) is not None:
        return words
    short = [_short_of_host(view, view.environments[arn], needs) for arn in growth.scalable(view, queue)]
    names = [name for name in short if name is not None]
    return INSUFFICIENT_CAPACITY.format(instance_type=names[0]) if names and all(names) else ""


def _short_of_host(view: YardView, environment: Environment, needs: Resources) -> str | None:
    """The instance type for which the host has no room left; "" if it has, or if maxvCpus is what is short; None if none would do."""
    room = reclaiming.least_room(view, environment, needs)
    if room is None:
        return None
    taken = sum(i.room.vcpus for i in view.environment_instances(environment.arn).values())
    left = host_left(view, environment.provider)
    is_short = taken + room.vcpus <= environment.max_vcpus and left is not None and not room.fits(left)
    return _fitting_name(view, environment, needs) if is_short else ""


def _fitting_name(view: YardView, environment: Environment, needs: Resources) -> str:
    fitting = _fitting(view, environment, needs)
    return fitting[0].name if fitting else environment.name


def starting_instance(view: YardView, queue: Queue, needs: Resources) -> Instance | None:
    """An instance on its way that the job would fit, and that was not called for by another queue."""
    found = (_starting(view, queue, view.environments[arn], needs) for arn in growth.scalable(view, queue))
    return next((instance for instance in found if instance is not None), None)


def _starting(view: YardView, queue: Queue, environment: Environment, needs: Resources) -> Instance | None:
    for instance in view.environment_instances(environment.arn).values():
        if instance.state is not InstanceState.PENDING or not reclaiming.is_staying(instance, environment):
            continue
        if instance.launched_for in ("", queue.arn) and packing.holds(environment, instance.room, needs):
            return instance
    return None


def is_possible(view: YardView, queue: Queue, needs: Resources) -> bool:
    """Whether the job could start if nothing else ran."""
    return scaling.is_possible(view, queue, needs)


def kept_for_others(view: YardView, queue: Queue, vcpus: float) -> Reason | None:
    """Why a job of so many vCPUs has to leave room to shares that are not active; None if it has not. It concerns the whole queue: the
    reason names no environment."""
    allowed = fairshare.allowance(view, queue)
    if vcpus <= allowed.left_vcpus:
        return None
    kept, held = allowed.all_vcpus - allowed.most_vcpus, allowed.most_vcpus - allowed.left_vcpus
    shares = "the one active share" if allowed.active == 1 else f"the {allowed.active} active shares"
    wait = "wait for jobs of the queue to end" if vcpus <= allowed.most_vcpus else f"ask for at most {allowed.most_vcpus:g} vCPUs"
    return Reason(
        "",
        f"computeReservation keeps {kept:g} of the queue's {allowed.all_vcpus:g} vCPUs for share identifiers that are not active:"
        f" {shares} may hold {allowed.most_vcpus:g}, and {held:g} are held",
        f"{wait}, or lower the scheduling policy's computeReservation",
    )


def behind_share(view: YardView, queue: Queue, share: str, ahead: str) -> str:
    """Why another share of the queue comes first, in figures; "" without fair share or within one share."""
    sharing = view.sharing(queue.arn)
    standings = {s.share: s for s in sharing.standings} if sharing is not None else {}
    if share == ahead or share not in standings or ahead not in standings:
        return ""
    return f"{_standing(standings[share])}; {_standing(standings[ahead])}, and comes first"


def _standing(standing: Standing) -> str:
    return (
        f"share {standing.share} has used {standing.used_vcpu_s:.0f} vCPU-seconds of late and holds {standing.held_vcpus:g} vCPUs"
        f" (weight {standing.weight:g})"
    )


def _only(queue: Queue, environment: Environment) -> Queue:
    return replace(queue, environments=(environment.arn,))


def _fitting(view: YardView, environment: Environment, needs: Resources) -> list[Shape]:
    """The instance types of the environment that are large enough by themselves."""
    return [s for s in view.shapes(environment.arn) if needs.fits(s.room)]


def _least_vcpus(fitting: list[Shape], needs: Resources) -> float:
    """The vCPUs of the smallest instance that holds the job."""
    return min(s.room.vcpus if s.exact else needs.vcpus if s.single else math.ceil(needs.vcpus) for s in fitting)


def _is_over_max(view: YardView, environment: Environment, needs: Resources) -> bool:
    fitting = _fitting(view, environment, needs)
    return bool(fitting) and _least_vcpus(fitting, needs) > environment.max_vcpus


def _reason(view: YardView, queue: Queue, order: int, arn: str, needs: Resources) -> Reason | None:
    environment = view.environments.get(arn)
    if environment is None:
        return Reason(arn.rpartition("/")[2], "the compute environment is gone", "update the queue's computeEnvironmentOrder")
    shut = closed(environment)
    if shut is not None:
        return shut
    never = _never(view, environment, needs)
    if never is not None:
        return never
    short = scratch_space.reason(view, environment, needs.scratch_mib)
    if short is not None and not scratch_space.is_taken(view, environment.provider, needs.scratch_mib):
        return short
    room = _not_lent(view, queue, environment, needs) if order and queue.spill_idle else _not_now(view, queue, environment, needs)
    return _both(short, room) if short is not None else room


def _both(short: Reason, room: Reason | None) -> Reason:
    """Of a job that lacks scratch space, and perhaps room. An instance that is only to be started comes once there is scratch space."""
    if room is None or room.fix.startswith(_COMES_BY_ITSELF):
        return short
    return Reason(short.environment, f"{short.shortfall}; besides, {room.shortfall}", f"{short.fix}; besides, {room.fix}")


def closed(environment: Environment) -> Reason | None:
    if environment.health is Health.DELETING:
        return Reason(environment.name, "is being deleted", "attach another compute environment to the queue")
    if environment.health is Health.INVALID:
        return Reason(environment.name, f"is INVALID: {environment.health_reason}", "mend it with UpdateComputeEnvironment")
    if environment.state is State.DISABLED:
        return Reason(environment.name, "is DISABLED", "enable it: UpdateComputeEnvironment state=ENABLED")
    if environment.kind == fairshare.UNMANAGED:
        cluster = environment.ecs_cluster_arn.rpartition("/")[2]
        return Reason(
            environment.name,
            f"is UNMANAGED: nothing is started for it, and no container instance is registered in its ECS cluster {cluster}",
            "on AWS register container instances in that cluster; here attach a MANAGED compute environment to the queue",
        )
    return None


def _never(view: YardView, environment: Environment, needs: Resources) -> Reason | None:
    """The job is too large for the environment whatever else runs."""
    fitting, host = _fitting(view, environment, needs), view.host_room(environment.provider)
    is_cut = any(not shape.exact for shape in view.shapes(environment.arn))  # to any size: then the machine is the largest type
    if not fitting and not is_cut:
        largest = _largest(view, environment)
        return Reason(
            environment.name,
            f"no instance type of {', '.join(environment.instance_types)} holds {amount(needs)}; the largest has {amount(largest)}",
            f"ask for at most {amount(largest)}, or add a larger instance type",
        )
    if host is not None and not needs.fits(host):
        return Reason(
            environment.name,
            f"the job needs {amount(needs)} and this machine has {amount(host)} in all",
            "ask for less, or start the server with larger --vcpus and --memory-mib if the machine has them",
        )
    least = _least_vcpus(fitting, needs)
    if needs.vcpus > environment.max_vcpus:
        return Reason(
            environment.name,
            f"the job needs {needs.vcpus:g} vCPUs and maxvCpus is {environment.max_vcpus}",
            f"raise maxvCpus to {least:g} or more",
        )
    if least > environment.max_vcpus:
        return Reason(
            environment.name,
            f"the smallest instance type that holds the job has {least:g} vCPUs and maxvCpus is {environment.max_vcpus}",
            f"raise maxvCpus to {least:g} or more, or add a smaller instance type",
        )
    if reclaiming.least_room(view, environment, needs) is None:
        least_shape = min(fitting, key=lambda s: (s.room.memory_mib, s.room.vcpus))
        return Reason(
            environment.name,
            f"the job would fit this machine ({amount(host or NOTHING)}), but no named instance type does: the smallest that holds the"
            f" job, {least_shape.name}, has {amount(least_shape.room)}",
            "add instance type optimal, which may be cut to any size",
        )
    return None


def _not_lent(view: YardView, queue: Queue, environment: Environment, needs: Resources) -> Reason | None:
    """The environment only lends this queue what is idle, and none of that is enough."""
    takers = [i for i in view.environment_instances(environment.arn).values() if scheduling.takes_jobs(i, environment)]
    if any(packing.holds(environment, view.free(i.id), needs) and scheduling.is_spare(view, i, queue, scheduling.Plan()) for i in takers):
        return None
    return Reason(
        environment.name,
        f"takes this queue's jobs only into room that already runs (batchyard:spill=idle); {_lacking(view, environment, needs)}",
        "wait for such room, raise the environment's minvCpus, or tag the queue batchyard:spill=scale",
    )


def _not_now(view: YardView, queue: Queue, environment: Environment, needs: Resources) -> Reason | None:
    """The job fits, but not beside what runs."""
    instances = view.environment_instances(environment.arn).values()
    if any(scheduling.takes_jobs(i, environment) and packing.holds(environment, view.free(i.id), needs) for i in instances):
        return None
    starting = _starting(view, queue, environment, needs)
    if starting is not None:
        return Reason(
            environment.name, f"instance {starting.id} ({amount(starting.room)}) is starting", f"{_COMES_BY_ITSELF}the job starts with it"
        )
    room = reclaiming.least_room(view, environment, needs) or needs.of_instance
    taken = sum(i.room.vcpus for i in instances)
    short = taken + room.vcpus - environment.max_vcpus
    host, left = view.host_room(environment.provider), host_left(view, environment.provider)
    if short > 0:
        more = f", or raise maxvCpus by {short:g}" if left is None or room.fits(left) else f": this machine has only {amount(left)} left"
        return Reason(
            environment.name,
            f"{taken:g} of {environment.max_vcpus} vCPUs (maxvCpus) are taken; {short:g} short; {_lacking(view, environment, needs)}",
            f"wait for a job to end{more}",
        )
    if host is not None and left is not None and not room.fits(left):
        asked = (
            f"the job needs {amount(needs)}"
            if room == needs.of_instance
            else f"the smallest instance that holds the job has {amount(room)}"
        )
        return Reason(
            environment.name,
            f"this machine has {amount(left)} left of {amount(host)}; {asked}",
            "wait for other jobs to end, or ask for less",
        )
    return Reason(
        environment.name,
        "no instance with room for the job runs yet",
        f"{_COMES_BY_ITSELF}an instance is started for the head of the queue",
    )


def _lacking(view: YardView, environment: Environment, needs: Resources) -> str:
    """How far the roomiest instance is from taking the job."""
    if environment.platform is Platform.FARGATE:
        return "every task has a slice of its own"
    rooms = [view.free(i.id) for i in view.environment_instances(environment.arn).values() if scheduling.takes_jobs(i, environment)]
    if not rooms:
        return "no instance runs"
    best = max(rooms, key=lambda r: (min(r.vcpus, needs.vcpus), min(r.memory_mib, needs.memory_mib)))
    short = [f"{needs.vcpus - best.vcpus:g} vCPUs"] if needs.vcpus > best.vcpus else []
    if needs.memory_mib > best.memory_mib:
        short.append(f"{needs.memory_mib - best.memory_mib} MiB")
    if needs.gpus > best.gpus:
        short.append(f"{needs.gpus - best.gpus} GPUs")
    return f"the roomiest instance lacks {' and '.join(short)}" if short else "what is free is kept for the queue that called for it"


def _largest(view: YardView, environment: Environment) -> Resources:
    rooms = [s.room for s in view.shapes(environment.arn)]
    return max(rooms, key=lambda r: (r.memory_mib, r.vcpus)) if rooms else NOTHING


def host_left(view: YardView, provider: str) -> Resources | None:
    """What no instance of a provider's host holds; None where there is no such bound."""
    host = view.host_room(provider)
    if host is None:
        return None
    return host.minus(_total([i.room for i in view.instances.values() if view.environments[i.environment].provider == provider]))


def _total(rooms: list[Resources]) -> Resources:
    total = NOTHING
    for room in rooms:
        total = total.plus(room)
    return total


def amount(room: Resources) -> str:
    gpus = f", {room.gpus} GPU{'s' * (room.gpus != 1)}" if room.gpus else ""
    return f"{room.vcpus:g} vCPU{'s' * (room.vcpus != 1)}, {room.memory_mib} MiB{gpus}"
