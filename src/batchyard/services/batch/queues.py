"""Job queues: create, change, show, delete, and a look at their front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from batchyard.core.quotas import PROFILES
from batchyard.core.reasons import TIME_LIMIT_REASONS
from batchyard.model.capacity import Environment, Health, Platform, Queue, State, TimeLimit
from batchyard.model.fault import client_fault
from batchyard.model.requests import Catalogue, Edit
from batchyard.model.tags import QUEUE, SPILL, value_of
from batchyard.services import Caller, Params
from batchyard.services.batch import platform_rules
from batchyard.services.batch.environment_rules import architecture
from batchyard.services.batch.fields_not_yet import refuse_not_yet
from batchyard.services.batch.names import arn_of, by_name, check_name, find_environment, find_queue
from batchyard.services.batch.policies import require_policy
from batchyard.services.batch.tag_rules import check_tags
from batchyard.services.batch.tokens import page
from batchyard.services.batch.validation import check_quota, one_of, page_size
from batchyard.services.desk import Desk

MOST = 100
SNAPSHOT_JOBS = 100
MIN_TIME_LIMIT_S, MAX_TIME_LIMIT_S = 600, 86_400
SNAPSHOT_SHARES = 20
_STATES = ("ENABLED", "DISABLED")


async def create_job_queue(desk: Desk, caller: Caller, params: Params) -> Params:
    """A new queue, VALID at once. Answers its name and ARN."""
    refuse_not_yet("CreateJobQueue", params)
    name, tags = params["jobQueueName"], params.get("tags") or {}
    check_name("jobQueueName", name)
    check_tags(QUEUE, tags)
    kind = one_of("jobQueueType", params.get("jobQueueType"), ("EKS", *(platform_rules.queue_type(platform) for platform in Platform)))
    state = State(one_of("state", params.get("state"), _STATES) or "ENABLED")
    priority = _priority(params["priority"])
    time_limits = _time_limits(params.get("jobStateTimeLimitActions") or ())
    quotas = PROFILES[desk.settings.profile]
    arn, policy = arn_of(caller, "job-queue", name), params.get("schedulingPolicyArn") or ""

    def act(catalogue: Catalogue) -> Queue:
        if arn in catalogue.queues:
            raise client_fault("Object already exists")
        check_quota(quotas.job_queues, caller, "job queues", catalogue.queues.values())
        queue = Queue(
            arn=arn,
            name=name,
            account=caller.account,
            region=caller.region,
            priority=priority,
            state=state,
            scheduling_policy=require_policy(catalogue.policies, caller, policy).arn if policy else "",
            spill_idle=spills_into_idle_room(tags),
            tags=tags,
            time_limits=time_limits,
            created_at_ms=catalogue.now_ms,
            **_order(catalogue.environments, caller, params.get("computeEnvironmentOrder"), quotas.environments_per_queue),
        )
        orchestration = _orchestration(catalogue.environments, queue)
        if kind not in (None, orchestration):
            raise client_fault(f"jobQueueType {kind} does not go with the compute environments: they are of type {orchestration}.")
        catalogue.put(queue)
        return queue

    return _named(await desk.ask(Edit(act)))


async def update_job_queue(desk: Desk, caller: Caller, params: Params) -> Params:
    """Changes what is sent and nothing else. Answers the queue's name and ARN."""
    refuse_not_yet("UpdateJobQueue", params)
    most = PROFILES[desk.settings.profile].environments_per_queue
    state = one_of("state", params.get("state"), _STATES)

    def act(catalogue: Catalogue) -> Queue:
        queue = _require(catalogue.queues, caller, params["jobQueue"])
        if queue.health not in (Health.VALID, Health.INVALID):
            raise client_fault("Cannot update, resource is being modified.")
        fields: dict[str, Any] = {}
        if state:
            fields["state"] = State(state)
        if params.get("priority") is not None:
            fields["priority"] = _priority(params["priority"])
        if params.get("jobStateTimeLimitActions") is not None:
            fields["time_limits"] = _time_limits(params["jobStateTimeLimitActions"])
        if params.get("computeEnvironmentOrder") is not None:  # an empty one would take all environments away
            fields |= _order(catalogue.environments, caller, params["computeEnvironmentOrder"], most)
        if params.get("schedulingPolicyArn") is not None:
            fields["scheduling_policy"] = _other_policy(catalogue, caller, queue, params["schedulingPolicyArn"])
        changed = replace(queue, **fields)
        kind, new_kind = _orchestration(catalogue.environments, queue), _orchestration(catalogue.environments, changed)
        if new_kind != kind:
            raise client_fault(f"A job queue of type {kind} cannot have compute environments of type {new_kind}.")
        catalogue.put(changed)
        return changed

    return _named(await desk.ask(Edit(act)))


async def delete_job_queue(desk: Desk, caller: Caller, params: Params) -> Params:
    """DELETING at once; the engine ends the queue's jobs and then takes it away. Needs state DISABLED."""

    def act(catalogue: Catalogue) -> None:
        queue = _require(catalogue.queues, caller, params["jobQueue"])
        if queue.health not in (Health.VALID, Health.INVALID):
            raise client_fault("Cannot delete, resource is being modified.")
        if queue.state is not State.DISABLED:
            raise client_fault("Cannot delete, job queue state must be disabled.")
        catalogue.put(replace(queue, health=Health.DELETING, health_reason="JobQueue is being deleted"))

    await desk.ask(Edit(act))
    return {}


async def describe_job_queues(desk: Desk, caller: Caller, params: Params) -> Params:
    """Those asked for by name or ARN (unknown ones left out), or all in order of name, in pages."""
    wanted = params.get("jobQueues") or []
    if len(wanted) > MOST:
        raise client_fault(f"jobQueues may hold at most {MOST} names or ARNs, not {len(wanted)}.")
    size = page_size(params.get("maxResults"), MOST)
    if wanted:
        found = [find_queue(desk.read.queues, caller, name) for name in wanted]
        unique = {queue.name: queue for queue in found if queue is not None}
        return {"jobQueues": [_detail(desk, queue) for queue in list(unique.values())[:size]]}
    mine = by_name(desk.read.queues, caller)
    shown, token = page(("DescribeJobQueues", caller.account, caller.region), mine, params.get("nextToken"), size)
    result: Params = {"jobQueues": [_detail(desk, queue) for queue in shown]}
    if token:
        result["nextToken"] = token
    return result


async def get_job_queue_snapshot(desk: Desk, caller: Caller, params: Params) -> Params:
    """The first RUNNABLE jobs in the order in which they will start, since when each is where it is, and the vCPUs in use.

    Shares count while they hold capacity, and no longer (API reference, FairshareUtilizationDetail).
    """
    await desk.read.level()
    queue = _require(desk.read.queues, caller, params["jobQueue"])
    now_ms = desk.now_ms()
    jobs = [
        {"jobArn": arn_of(caller, "job", job_id), "earliestTimeAtPosition": since_ms}
        for job_id, since_ms in desk.read.front(queue.arn, SNAPSHOT_JOBS)
    ]
    utilization: Params = {"totalCapacityUsage": _vcpus(desk.read.usage(queue.arn)), "lastUpdatedAt": now_ms}
    if queue.scheduling_policy:
        shares = desk.read.share_usage(queue.arn)
        top = [{"shareIdentifier": share, "capacityUsage": _vcpus(vcpus)} for share, vcpus in shares[:SNAPSHOT_SHARES]]
        utilization["fairshareUtilization"] = {"activeShareCount": len(shares), "topCapacityUtilization": top}
    return {"frontOfQueue": {"jobs": jobs, "lastUpdatedAt": now_ms}, "queueUtilization": utilization}


def _vcpus(quantity: float) -> list[Params]:
    return [{"capacityUnit": "VCPU", "quantity": float(quantity)}]


def _other_policy(catalogue: Catalogue, caller: Caller, queue: Queue, arn: str) -> str:
    """The policy that takes the place of the queue's own. It can be replaced, never be removed, nor be added."""
    if not queue.scheduling_policy:
        if arn:
            raise client_fault(
                f"schedulingPolicyArn: job queue {queue.name} was created without a scheduling policy, and none can be added."
            )
        return ""
    if not arn:
        raise client_fault(f"schedulingPolicyArn: the scheduling policy of job queue {queue.name} can be replaced, but not removed.")
    return require_policy(catalogue.policies, caller, arn).arn


def spills_into_idle_room(tags: Mapping[str, str]) -> bool:
    """Whether the tag `batchyard:spill` says that environments after the first only lend room that already runs."""
    return value_of(SPILL, tags) == "idle"


def _order(
    environments: Mapping[str, Environment], caller: Caller, entries: Sequence[Mapping[str, Any]] | None, most: int
) -> dict[str, Any]:
    """The queue's fields from computeEnvironmentOrder, after every check that needs the environments themselves."""
    if not entries:
        raise client_fault("computeEnvironmentOrder is required: name at least one compute environment.")
    if len(entries) > most:
        raise client_fault(f"computeEnvironmentOrder may hold at most {most} compute environments, not {len(entries)}.")
    found: list[tuple[int, Environment]] = []
    for entry in sorted(entries, key=lambda entry: int(entry["order"])):
        environment = find_environment(environments, caller, entry["computeEnvironment"])
        if environment is None:
            raise client_fault(f"ComputeEnvironment {entry['computeEnvironment']} does not exist")
        if environment.health is not Health.VALID:
            raise client_fault(f"ComputeEnvironment {environment.name} is not VALID: its status is {environment.health.value}.")
        if any(environment.arn == other.arn for _, other in found):
            raise client_fault(f"computeEnvironmentOrder names {environment.name} more than once.")
        found.append((int(entry["order"]), environment))
    if len({architecture(name) for _, environment in found for name in environment.instance_types}) > 1:
        raise client_fault("computeEnvironmentOrder cannot mix compute environments of x86 and of ARM instance types.")
    if len({bool(environment.eks) for _, environment in found}) > 1:
        raise client_fault("computeEnvironmentOrder cannot mix compute environments of ECS and of EKS.")
    platform_rules.check_order([environment for _, environment in found])
    return {"environments": tuple(environment.arn for _, environment in found), "orders": tuple(order for order, _ in found)}


def _time_limits(entries: Sequence[Mapping[str, Any]]) -> tuple[TimeLimit, ...]:
    """jobStateTimeLimitActions, after AWS's checks."""
    limits: dict[str, TimeLimit] = {}
    for number, entry in enumerate(entries):
        where = f"jobStateTimeLimitActions[{number}]"
        one_of(f"{where}.state", entry["state"], ("RUNNABLE",))
        if one_of(f"{where}.action", entry["action"], ("CANCEL", "TERMINATE")) == "TERMINATE":
            raise client_fault(f"{where}.action TERMINATE is only for queues of service jobs. Use CANCEL.")
        seconds, reason = entry["maxTimeSeconds"], entry["reason"]
        if not MIN_TIME_LIMIT_S <= seconds <= MAX_TIME_LIMIT_S:
            raise client_fault(f"{where}.maxTimeSeconds must be between {MIN_TIME_LIMIT_S} and {MAX_TIME_LIMIT_S}, not {seconds}.")
        if reason not in TIME_LIMIT_REASONS:
            raise client_fault(f"{where}.reason {reason} is not valid. Valid values are: {', '.join(TIME_LIMIT_REASONS)}.")
        if reason in limits:
            raise client_fault(f"jobStateTimeLimitActions names {reason} more than once.")
        limits[reason] = TimeLimit(reason, seconds)
    return tuple(limits.values())


def _priority(priority: int) -> int:
    if priority < 0:
        raise client_fault(f"priority must be 0 or more, not {priority}.")
    return priority


def _orchestration(environments: Mapping[str, Environment], queue: Queue) -> str:
    """AWS's jobQueueType: the environments of a queue are all of one kind."""
    found = [environments[arn] for arn in queue.environments if arn in environments]
    if any(environment.eks for environment in found):
        return "EKS"
    return platform_rules.queue_type(found[0].platform if found else Platform.EC2)


def _detail(desk: Desk, queue: Queue) -> Params:
    orders = queue.orders or tuple(range(1, len(queue.environments) + 1))
    return {
        "jobQueueName": queue.name,
        "jobQueueArn": queue.arn,
        **({"schedulingPolicyArn": queue.scheduling_policy} if queue.scheduling_policy else {}),
        "state": queue.state.value,
        "status": queue.health.value,
        "statusReason": queue.health_reason,
        "priority": queue.priority,
        "computeEnvironmentOrder": [
            {"order": order, "computeEnvironment": arn} for order, arn in zip(orders, queue.environments, strict=True)
        ],
        "serviceEnvironmentOrder": [],
        "jobQueueType": _orchestration(desk.read.environments, queue),
        "tags": queue.tags,
        "jobStateTimeLimitActions": [
            {"reason": limit.reason, "state": "RUNNABLE", "maxTimeSeconds": limit.max_time_s, "action": "CANCEL"}
            for limit in queue.time_limits
        ],
    }


def _require(queues: Mapping[str, Queue], caller: Caller, name_or_arn: str) -> Queue:
    queue = find_queue(queues, caller, name_or_arn)
    if queue is None:
        raise client_fault(f"JobQueue {name_or_arn} does not exist")
    return queue


def _named(queue: Queue) -> Params:
    return {"jobQueueName": queue.name, "jobQueueArn": queue.arn}
