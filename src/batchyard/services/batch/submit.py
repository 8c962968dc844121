"""SubmitJob: from a request to a specification that the engine takes. The busiest path of all, so what can be prepared is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from batchyard.core import forms, pods, tasks
from batchyard.core.multinode import expand, is_multi_node
from batchyard.core.quotas import PROFILES, Bucket
from batchyard.core.submission import Prepared, dependencies, specify
from batchyard.model.capacity import Health, Platform, Queue, State
from batchyard.model.definition import Definition
from batchyard.model.fault import Fault, client_fault
from batchyard.model.job import Dependency, DependencyKind, Specification, Status
from batchyard.model.requests import Submit
from batchyard.model.tags import JOB
from batchyard.services import Caller, Params
from batchyard.services.batch.consumable_rules import check_consumables, check_known
from batchyard.services.batch.container_rules import check_resources
from batchyard.services.batch.fargate_rules import check_fargate_sizes
from batchyard.services.batch.fields_not_yet import FIELDS_NOT_YET, is_empty, refuse_not_yet
from batchyard.services.batch.names import JOB_NAME, find_queue, job_id_of, latest_active, parse_definition, revision_of
from batchyard.services.batch.node_rules import check_node_overrides
from batchyard.services.batch.pod_rules import check_eks_override
from batchyard.services.batch.policies import check_share
from batchyard.services.batch.tag_rules import MOST as MAX_TAGS
from batchyard.services.batch.tag_rules import check_tags
from batchyard.services.batch.task_rules import check_ecs_override
from batchyard.services.batch.validation import (
    check_command,
    check_environment_variables,
    check_retry_strategy,
    check_scheduling_priority,
    check_timeout,
    executing,
    one_of,
)
from batchyard.services.desk import Desk

MAX_DEPENDENCIES = 20
MIN_ARRAY, MAX_ARRAY = 2, 10_000

_NOT_YET = frozenset(path.partition(".")[0] for path in FIELDS_NOT_YET["SubmitJob"])
_CHECKED = frozenset(
    {
        *("retryStrategy", "timeout", "tags", "arrayProperties", "consumableResourcePropertiesOverride"),
        *forms.OVERRIDES.values(),
    }
)
_MOST_PREPARED = 10_000


async def submit_job(desk: Desk, caller: Caller, params: Params, job_id: str = "") -> Params:
    """Makes a job, or an array of jobs. Answers its ARN, name and id once it is durable; DescribeJobs shows it from then on.

    `job_id` is given by who must be able to tell later whether it was done (see `events/submitting.py`).
    """
    quotas = PROFILES[desk.settings.profile]
    if quotas.submissions_per_s is not None:
        _throttle(desk, caller, quotas.submissions_per_s)
    if not _NOT_YET.isdisjoint(params):
        refuse_not_yet("SubmitJob", params)
    if not JOB_NAME.fullmatch(params["jobName"]):
        raise executing("Job name should match valid pattern", caller.request_id)
    queue = _open_queue(desk, caller, params["jobQueue"])
    prepared = _prepared(desk, _definition(desk, caller, params["jobDefinition"]))
    _check_orchestration(desk, queue, prepared)
    is_gang = is_multi_node(prepared.definition)
    if is_gang or "nodeOverrides" in params:
        check_node_overrides(params, is_gang)
    _check_platform(desk, queue, prepared, params)
    if not _CHECKED.isdisjoint(params):
        _check_members(params)
        _check_overrides(prepared, params)
    share, priority = _share(queue, prepared, params)
    if quotas.submission_bytes is not None and len(msgspec.json.encode(params)) > quotas.submission_bytes:
        raise client_fault(f"The request is larger than {quotas.submission_bytes // 1024} KiB.")
    depends_on, settled = _dependencies(desk, caller, params) if params.get("dependsOn") else ((), {})
    job_id = job_id or desk.new_job_id()
    spec = specify(prepared, params, job_id=job_id, queue=queue.arn, depends_on=depends_on, now_ms=desk.now_ms())
    if is_gang:
        spec = expand(spec, prepared.definition, params)
    if share:
        spec = replace(spec, share=share, priority=priority)
    if spec.consumables:
        check_known(desk.read.consumables, spec.consumables)
    await desk.ask(Submit(spec, settled, _fate(desk, prepared, spec, params)))
    return {"jobArn": f"arn:aws:batch:{caller.region}:{caller.account}:job/{job_id}", "jobName": spec.name, "jobId": job_id}


def _throttle(desk: Desk, caller: Caller, rate_per_s: float) -> None:
    """AWS takes so many submissions of an account per second; clients try again after a 429, as SDKs do by themselves."""
    now_ms = desk.now_ms()
    bucket = desk.buckets.get(caller.account)
    if bucket is None:
        bucket = desk.buckets[caller.account] = Bucket(rate_per_s, now_ms)
    if not bucket.take(now_ms):
        raise Fault("TooManyRequestsException", "Too Many Requests")


def _check_platform(desk: Desk, queue: Queue, prepared: Prepared, params: Params) -> None:
    """Refuse a job that the queue's environments cannot run whatever their size, and old spellings that Fargate does not take."""
    if queue.environments and desk.read.environments[queue.environments[0]].platform is not prepared.platform:
        raise client_fault(f"Job Queue is attached to Compute Environment that can not run Jobs with capability {prepared.platform.value}.")
    if prepared.platform is Platform.FARGATE:
        check_fargate_sizes(params.get("containerOverrides") or {})


def _open_queue(desk: Desk, caller: Caller, name_or_arn: str) -> Queue:
    queue = find_queue(desk.read.queues, caller, name_or_arn)
    if queue is None:
        raise client_fault(f"JobQueue {name_or_arn} not found.")
    if queue.state is not State.ENABLED:
        raise client_fault(f"JobQueue {name_or_arn} is DISABLED and takes no jobs. Enable it with UpdateJobQueue.")
    if queue.health is not Health.VALID:
        raise client_fault(f"JobQueue {name_or_arn} is not VALID: its status is {queue.health.value}.")
    return queue


def _definition(desk: Desk, caller: Caller, text: str) -> Definition:
    """The active revision that a submission names. Raises a Fault in AWS's words, which differ between names and ARNs."""
    named = parse_definition(caller, text)
    if named is None and not text.startswith("arn:"):
        raise client_fault(f"Provided name {text} is not supported pattern[a-zA-Z_0-9-]{{1,128}}")
    definition = None
    if named is not None:
        if named.revision is None:
            definition = latest_active(desk.read, caller, named.name)
        else:
            definition = revision_of(desk.read, caller, named.name, named.revision)
    if definition is not None and definition.active:
        return definition
    if named is None or named.is_arn:
        raise client_fault(f"JobDefinition {text} not found.")
    raise client_fault(f"JobDefinition name {text} does not exist or is not in ACTIVE status")


def _prepared(desk: Desk, definition: Definition) -> Prepared:
    """The definition as submissions need it, kept for the next one; a changed record is prepared anew."""
    prepared: Prepared | None = desk.prepared.get(definition.arn)
    if prepared is None or prepared.definition is not definition:
        if len(desk.prepared) >= _MOST_PREPARED:
            desk.prepared.clear()
        prepared = desk.prepared[definition.arn] = forms.prepare(definition)
    return prepared


def _fate(desk: Desk, prepared: Prepared, spec: Specification, params: Params) -> str:
    """Why a job that AWS accepts is FAILED at once; "" if it is not."""
    tags = prepared.definition.tags
    if tags and spec.tags:
        propagate = params.get("propagateTags")
        if prepared.definition.properties.get("propagateTags") if propagate is None else propagate:
            together = len(tags.keys() | spec.tags.keys())
            if together > MAX_TAGS:
                return f"The job and its definition have {together} tags together; at most {MAX_TAGS} can be propagated."
    most = PROFILES[desk.settings.profile].overrides_bytes
    if most is not None and any(len(msgspec.json.encode(overrides)) > most for overrides in _ecs_overrides(params)):
        return f"Container Overrides length must be at most {most}"
    return ""


def _ecs_overrides(params: Params) -> list[Params]:
    """What ECS is told of each kind of task of a job: its limit does not count overrides of pods."""
    holders = [params, *((params.get("nodeOverrides") or {}).get("nodePropertyOverrides") or ())]
    return [holder[member] for holder in holders for form, member in forms.OVERRIDES.items() if form != pods.FORM and holder.get(member)]


def _share(queue: Queue, prepared: Prepared, params: Params) -> tuple[str, int]:
    """shareIdentifier and the priority within it; ("", 0) on a queue that is first in, first out."""
    share, priority = params.get("shareIdentifier") or "", params.get("schedulingPriorityOverride")
    if not queue.scheduling_policy:
        if share or priority is not None:
            raise client_fault(
                "Job with shareIdentifier or schedulingPriority can onlybe submitted to job queue with fair share scheduling policy."
            )
        return "", 0
    if not share:
        raise client_fault(f"shareIdentifier is required: job queue {queue.name} has a fair-share scheduling policy.")
    check_share("shareIdentifier", share)
    if priority is None:
        priority = prepared.definition.properties.get("schedulingPriority")
        if priority is None:
            raise client_fault("Either schedulingPriority in job definition or schedulingPriorityOverride should be specified.")
    check_scheduling_priority(priority)
    return share, int(priority)


def _check_members(params: Params) -> None:
    check_retry_strategy(params.get("retryStrategy"))
    check_timeout(params.get("timeout"))
    check_consumables("consumableResourcePropertiesOverride", params.get("consumableResourcePropertiesOverride"))
    check_tags(JOB, params.get("tags") or {})
    size = (params.get("arrayProperties") or {}).get("size")
    if size is not None and not MIN_ARRAY <= size <= MAX_ARRAY:
        raise client_fault(f"arrayProperties.size must be between {MIN_ARRAY} and {MAX_ARRAY}, not {size}.")


def _check_overrides(prepared: Prepared, params: Params) -> None:
    """Only the override of the definition's own form has a meaning: another one would change nothing."""
    for form, member in forms.OVERRIDES.items():
        if form != prepared.form and not is_empty(params.get(member)):
            raise client_fault(
                f"{member} is not for this job: its definition has {forms.MEMBERS[prepared.form]}. Use {forms.OVERRIDES[prepared.form]}."
            )
    overrides = params.get(forms.OVERRIDES[prepared.form]) or {}
    match prepared.form:
        case tasks.FORM:
            check_ecs_override(overrides)
        case pods.FORM:
            check_eks_override(overrides)
        case _:
            _check_container_overrides(overrides)


def _check_orchestration(desk: Desk, queue: Queue, prepared: Prepared) -> None:
    """A Kubernetes job runs on an EKS environment, all others on ECS ones; the environments of a queue are all of one kind."""
    is_eks = prepared.form == pods.FORM
    environments = desk.read.environments
    if any(bool(environments[arn].eks) is not is_eks for arn in queue.environments if arn in environments):
        raise client_fault(
            f"Job Queue is attached to Compute Environment that can not run Jobs with capability {'EKS' if is_eks else 'EC2'}."
        )


def _check_container_overrides(overrides: Mapping[str, Any]) -> None:
    if overrides.get("instanceType"):
        raise client_fault("containerOverrides.instanceType is only for multi-node parallel jobs.")
    check_command("containerOverrides", overrides.get("command"))
    check_environment_variables("containerOverrides", overrides.get("environment"))
    check_resources("containerOverrides", overrides.get("resourceRequirements") or ())


def _dependencies(desk: Desk, caller: Caller, params: Params) -> tuple[tuple[Dependency, ...], dict[str, Status]]:
    """dependsOn, checked, and the outcome of those jobs that have one already (which never changes)."""
    entries: Sequence[Mapping[str, Any]] = params["dependsOn"]
    if len(entries) > MAX_DEPENDENCIES:
        raise client_fault(f"dependsOn may hold at most {MAX_DEPENDENCIES} entries, not {len(entries)}.")
    array_size = (params.get("arrayProperties") or {}).get("size") or 0
    settled: dict[str, Status] = {}
    normal = []
    for number, entry in enumerate(entries):
        where = f"dependsOn[{number}]"
        kind = one_of(f"{where}.type", entry.get("type"), ("N_TO_N", "SEQUENTIAL")) or ""
        job_id = job_id_of(caller, entry.get("jobId") or "")
        normal.append({"jobId": job_id, "type": kind})
        if kind and not array_size:
            raise client_fault(f"{where}.type {kind} is only for array jobs: give arrayProperties.size.")
        if kind == DependencyKind.SEQUENTIAL:
            if job_id:
                raise client_fault(f"{where}: a SEQUENTIAL dependency has no jobId: the children wait for one another.")
            continue
        if not job_id:
            raise client_fault(f"{where}.jobId is required.")
        status = _status_of_dependency(desk, caller, where, job_id, array_size if kind else 0)
        if status.is_final:
            settled[job_id] = status
    return dependencies(normal), settled


def _status_of_dependency(desk: Desk, caller: Caller, where: str, job_id: str, equal_size: int) -> Status:
    found = desk.read.job(job_id)
    if found is None or (found[1].account, found[1].region) != (caller.account, caller.region):
        raise client_fault(f"{where}: job {job_id} does not exist.")
    job, spec = found
    if equal_size and not job.is_array:
        raise client_fault(f"{where}: an N_TO_N dependency must be an array job; {job_id} is not one.")
    if equal_size and spec.array_size != equal_size:
        raise client_fault(f"{where}: an N_TO_N dependency must have the same size: {job_id} has {spec.array_size}, this job {equal_size}.")
    return job.status
