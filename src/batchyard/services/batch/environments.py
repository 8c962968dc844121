"""Compute environments: create, change, show, delete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from batchyard.core.quotas import PROFILES
from batchyard.model.capacity import Environment, Health, Instance, InstanceState, Platform, State
from batchyard.model.fault import Fault, client_fault
from batchyard.model.requests import Catalogue, Edit
from batchyard.model.tags import ENVIRONMENT, PROVIDER, value_of
from batchyard.services import Caller, Params
from batchyard.services.batch import eks_rules, platform_rules
from batchyard.services.batch import environment_rules as rules
from batchyard.services.batch.fields_not_yet import refuse_not_yet
from batchyard.services.batch.names import arn_of, by_name, check_name, find_environment
from batchyard.services.batch.tag_rules import check_tags
from batchyard.services.batch.tokens import page
from batchyard.services.batch.validation import check_quota, one_of, page_size
from batchyard.services.desk import Desk

MOST = 100
_SERVICE_LINKED = "role/aws-service-role/batch.amazonaws.com/"
_STATES = ("ENABLED", "DISABLED")
_UPDATABLE = ("state", "computeResources", "serviceRole", "unmanagedvCpus", "updatePolicy", "context", "ecsSettings")
_INSIGHTS = ("ENABLED", "ENHANCED", "DISABLED")


async def create_compute_environment(desk: Desk, caller: Caller, params: Params) -> Params:
    """A new environment, VALID at once. Answers its name and ARN."""
    refuse_not_yet("CreateComputeEnvironment", params)
    environment = _judged(desk, caller, _new_environment(desk, caller, params))

    def act(catalogue: Catalogue) -> None:
        if environment.arn in catalogue.environments:
            raise client_fault("Object already exists")
        check_quota(PROFILES[desk.settings.profile].compute_environments, caller, "compute environments", catalogue.environments.values())
        catalogue.put(replace(environment, created_at_ms=catalogue.now_ms))

    await desk.ask(Edit(act))
    return _named(environment)


async def update_compute_environment(desk: Desk, caller: Caller, params: Params) -> Params:
    """Changes what is sent and nothing else. What replaces instances raises the environment's generation. Answers name and ARN."""
    refuse_not_yet("UpdateComputeEnvironment", params)
    one_of("computeResources.allocationStrategy", (params.get("computeResources") or {}).get("allocationStrategy"), rules.STRATEGIES[1:])
    if all(params.get(name) is None for name in _UPDATABLE):
        raise client_fault("One of [state | compute-resources | service-role | unmanaged-vcpus] is required.")

    def act(catalogue: Catalogue) -> Environment:
        environment = _require(find_environment(catalogue.environments, caller, params["computeEnvironment"]), params)
        if environment.health not in (Health.VALID, Health.INVALID):
            raise client_fault("Cannot update, resource is being modified.")
        changed = _judged(desk, caller, _changed(desk, catalogue, environment, params))
        catalogue.put(changed)
        return changed

    return _named(await desk.ask(Edit(act)))


async def delete_compute_environment(desk: Desk, caller: Caller, params: Params) -> Params:
    """DELETING at once; the engine takes it away when its instances are gone. Needs state DISABLED and no queue that names it."""

    def act(catalogue: Catalogue) -> None:
        environment = _require(find_environment(catalogue.environments, caller, params["computeEnvironment"]), params)
        if environment.health not in (Health.VALID, Health.INVALID):
            raise client_fault("Cannot delete, resource is being modified.")
        if any(environment.arn in queue.environments for queue in catalogue.queues.values()):
            raise client_fault("Cannot delete, found existing JobQueue relationship")
        if environment.state is not State.DISABLED:
            raise client_fault("Cannot delete, compute environment state must be disabled.")
        catalogue.put(replace(environment, health=Health.DELETING, health_reason="ComputeEnvironment is being deleted"))

    await desk.ask(Edit(act))
    return {}


async def describe_compute_environments(desk: Desk, caller: Caller, params: Params) -> Params:
    """Those asked for by name or ARN (unknown ones left out), or all in order of name, in pages."""
    wanted = params.get("computeEnvironments") or []
    if len(wanted) > MOST:
        raise client_fault(f"computeEnvironments may hold at most {MOST} names or ARNs, not {len(wanted)}.")
    size = page_size(params.get("maxResults"), MOST)
    if wanted:
        found = [find_environment(desk.read.environments, caller, name) for name in wanted]
        mine = list({environment.name: environment for environment in found if environment is not None}.items())
        return {"computeEnvironments": [_detail(desk, environment) for _, environment in mine[:size]]}
    mine = by_name(desk.read.environments, caller)
    shown, token = page(("DescribeComputeEnvironments", caller.account, caller.region), mine, params.get("nextToken"), size)
    result: Params = {"computeEnvironments": [_detail(desk, environment) for environment in shown]}
    if token:
        result["nextToken"] = token
    return result


def _judged(desk: Desk, caller: Caller, environment: Environment) -> Environment:
    """INVALID while something that its settings name is not there; a correcting update repairs it (user guide)."""
    missing = desk.missing(caller, environment.settings)
    if missing:
        return replace(environment, health=Health.INVALID, health_reason=missing)
    return replace(environment, health=Health.VALID, health_reason="ComputeEnvironment Healthy")


def _new_environment(desk: Desk, caller: Caller, params: Params) -> Environment:
    name = params["computeEnvironmentName"]
    check_name("computeEnvironmentName", name)
    kind = one_of("type", params["type"], ("MANAGED", "UNMANAGED")) or "MANAGED"
    rules.check_kind(kind, params)
    tags = params.get("tags") or {}
    check_tags(ENVIRONMENT, tags)
    eks = eks_rules.configuration(params.get("eksConfiguration"), caller)
    if eks and kind != "MANAGED":
        raise client_fault("eksConfiguration is only for compute environments of type MANAGED.")
    resources = eks_rules.with_defaults(params["computeResources"]) if eks else params.get("computeResources")
    settings = _new_settings(desk, caller, resources) if resources else {}
    if eks and platform_rules.platform_of(settings) is not Platform.EC2:
        raise client_fault(f"computeResources.type {settings['type']} is not applicable for EKS. Use EC2 or SPOT.")
    uuid = desk.new_job_id()
    return Environment(
        arn=arn_of(caller, "compute-environment", name),
        name=name,
        account=caller.account,
        region=caller.region,
        uuid=uuid,
        kind=kind,
        unmanaged_vcpus=params.get("unmanagedvCpus"),
        state=State(one_of("state", params.get("state"), _STATES) or "ENABLED"),
        wanted_vcpus=settings["desiredvCpus"] if settings.get("desiredvCpus", 0) > settings.get("minvCpus", 0) else 0,
        provider=value_of(PROVIDER, tags),
        service_role=params.get("serviceRole") or _service_linked_role(caller.account),
        ecs_cluster_arn=f"arn:aws:ecs:{caller.region}:{caller.account}:cluster/AWSBatch-{name}-{uuid}",
        eks=eks,
        context=params.get("context"),
        ecs_settings=_ecs_settings(params),
        tags=tags,
        **_capacity(settings),
    )


def _new_settings(desk: Desk, caller: Caller, resources: Params) -> dict[str, Any]:
    kinds = (*rules.KINDS, *platform_rules.FARGATE_KINDS, platform_rules.MANAGED_INSTANCES)
    if not one_of("computeResources.type", resources.get("type"), kinds):
        raise client_fault(f"computeResources.type is required: one of {', '.join(kinds)}.")
    platform = platform_rules.platform_of(resources)
    if platform is Platform.FARGATE:
        return platform_rules.fargate_settings(resources)
    if platform is Platform.MANAGED_INSTANCES:
        return platform_rules.managed_settings(resources)
    return rules.new_settings(resources, desk.known_type, caller.request_id)


def _ecs_settings(params: Params) -> Params:
    """Echoed: the figures that Container Insights would send are at /metrics and in the jobs' records whatever it says."""
    settings: Params = params.get("ecsSettings") or {}
    one_of("ecsSettings.containerInsights", settings.get("containerInsights"), _INSIGHTS)
    return settings


def _capacity(settings: dict[str, Any]) -> dict[str, Any]:
    """The fields of an environment that follow from its settings; none without any (UNMANAGED)."""
    if not settings:
        return {}
    if platform_rules.platform_of(settings) is not Platform.EC2:
        return platform_rules.capacity(settings)
    minutes = rules.idle_minutes(settings)
    return {
        "spot": settings["type"] == "SPOT",
        "min_vcpus": settings["minvCpus"],
        "max_vcpus": settings["maxvCpus"],
        "instance_types": tuple(settings["instanceTypes"]),
        "in_order": settings.get("allocationStrategy") in rules.ORDERED,
        "idle_s": minutes * 60.0 if minutes else None,
        "settings": settings,
    }


def _changed(desk: Desk, catalogue: Catalogue, environment: Environment, params: Params) -> Environment:
    fields: dict[str, Any] = {}
    rules.check_members(environment.kind, params)
    if params.get("unmanagedvCpus") is not None:
        fields["unmanaged_vcpus"] = params["unmanagedvCpus"]
    state = one_of("state", params.get("state"), _STATES)
    if state:
        fields["state"] = State(state)
    role = params.get("serviceRole")
    if role:
        if (_SERVICE_LINKED in role) != (_SERVICE_LINKED in environment.service_role):
            raise client_fault("serviceRole cannot be changed from a service-linked role to another kind of role, nor back.")
        fields["service_role"] = role
    if params.get("ecsSettings"):
        fields["ecs_settings"] = {**environment.ecs_settings, **_ecs_settings(params)}
    if params.get("updatePolicy") and environment.platform is Platform.EC2:  # AWS ignores it for all others
        fields["update_policy"] = _update_policy({**environment.update_policy, **params["updatePolicy"]})
    if params.get("context") is not None:
        fields["context"] = params["context"]
    update = params.get("computeResources")
    if update and environment.platform is Platform.FARGATE:
        fields |= _capacity(platform_rules.changed_fargate_settings(environment.settings, update))
    elif update and environment.platform is Platform.MANAGED_INSTANCES:
        fields |= _capacity(platform_rules.changed_managed_settings(environment.settings, update))
    elif update:
        fields |= _changed_capacity(desk, catalogue, environment, update)
    return replace(environment, **fields)


def _changed_capacity(desk: Desk, catalogue: Catalogue, environment: Environment, update: Params) -> dict[str, Any]:
    if environment.eks:
        eks_rules.check_update(update)
    changed = rules.changed_settings(environment.settings, update)
    fields: dict[str, Any] = {}
    if update.get("desiredvCpus") is not None:
        if update["desiredvCpus"] < desired_vcpus(catalogue.instances, environment):
            raise client_fault(
                "Manually scaling down compute environment is not supported. "
                "Disconnecting job queues from compute environment will cause it to scale-down to minvCpus."
            )
        fields["wanted_vcpus"] = update["desiredvCpus"]
    else:
        changed["desiredvCpus"] = min(max(changed["desiredvCpus"], changed["minvCpus"]), changed["maxvCpus"])
        fields["wanted_vcpus"] = min(environment.wanted_vcpus, changed["maxvCpus"])
    changed = rules.checked(changed, desk.known_type)
    replacing = rules.infrastructure_changes(environment.settings, changed, update)
    if replacing:
        _check_infrastructure_update(environment, replacing)
        fields["generation"] = environment.generation + 1
    return fields | _capacity(changed)


def _check_infrastructure_update(environment: Environment, replacing: list[str]) -> None:
    names = ", ".join(replacing)
    if environment.settings.get("allocationStrategy", rules.DEFAULT_STRATEGY) == rules.DEFAULT_STRATEGY:
        raise client_fault(
            f"{names} cannot be updated: the allocation strategy of the compute environment is BEST_FIT. "
            "Make a new compute environment, or use BEST_FIT_PROGRESSIVE or a SPOT_* strategy from the start."
        )
    if _SERVICE_LINKED not in environment.service_role:
        raise client_fault(
            f"{names} cannot be updated: the compute environment does not use the service-linked role AWSServiceRoleForBatch."
        )


def _update_policy(policy: Params) -> Params:
    return {"terminateJobsOnUpdate": False, "jobExecutionTimeoutMinutes": 30, **policy}


def desired_vcpus(instances: Mapping[str, Instance], environment: Environment) -> int:
    """desiredvCpus as it is now: what runs or starts, never less than minvCpus and what a caller asked for."""
    running = sum(
        instance.room.vcpus
        for instance in instances.values()
        if instance.environment == environment.arn and instance.state is not InstanceState.STOPPING
    )
    return max(int(running), environment.min_vcpus, environment.wanted_vcpus)


def _detail(desk: Desk, environment: Environment) -> Params:
    detail: Params = {
        "computeEnvironmentName": environment.name,
        "computeEnvironmentArn": environment.arn,
        **eks_rules.orchestration(environment),
        "tags": environment.tags,
        "type": environment.kind,
        "state": environment.state.value,
        "status": environment.health.value,
        "statusReason": environment.health_reason,
        "serviceRole": environment.service_role,
        "uuid": environment.uuid,
    }
    if environment.settings:
        detail["computeResources"] = dict(environment.settings)
        if environment.platform is not Platform.FARGATE:
            detail["computeResources"]["desiredvCpus"] = desired_vcpus(desk.read.instances, environment)
    if environment.ecs_settings:
        detail["ecsSettings"] = environment.ecs_settings
    if environment.unmanaged_vcpus is not None:
        detail["unmanagedvCpus"] = environment.unmanaged_vcpus
    if environment.update_policy:
        detail["updatePolicy"] = environment.update_policy
    if environment.context is not None:
        detail["context"] = environment.context
    return detail


def _service_linked_role(account: str) -> str:
    return f"arn:aws:iam::{account}:{_SERVICE_LINKED}AWSServiceRoleForBatch"


def _require(environment: Environment | None, params: Params) -> Environment:
    if environment is None:
        raise _unknown(params["computeEnvironment"])
    return environment


def _unknown(name_or_arn: str) -> Fault:
    return client_fault(f"ComputeEnvironment {name_or_arn} does not exist")


def _named(environment: Environment) -> Params:
    return {"computeEnvironmentName": environment.name, "computeEnvironmentArn": environment.arn}
