"""Compute environments as ECS's clusters, and their instances as container instances: derived from the engine's records."""

from __future__ import annotations

from typing import Any, NamedTuple

from batchyard.model.capacity import NOTHING, Instance, InstanceState, Resources
from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.paging import page_of

_TOKEN = Fault("InvalidParameterException", "Invalid token")


class Cluster(NamedTuple):
    """The cluster of an environment."""

    arn: str
    name: str
    environment: str  # ARN


def sole_name(arn: str) -> str:
    """The last part of an ARN; a plain name is itself."""
    return arn.rpartition("/")[2]


def clusters_of(desk: Any, caller: Caller) -> list[Cluster]:
    """The clusters of an account in a region, by name."""
    found = [
        Cluster(environment.ecs_cluster_arn, sole_name(environment.ecs_cluster_arn), environment.arn)
        for environment in desk.read.environments.values()
        if environment.ecs_cluster_arn and (environment.account, environment.region) == (caller.account, caller.region)
    ]
    return sorted(found, key=lambda cluster: cluster.name)


def cluster_named(desk: Any, caller: Caller, name: str | None) -> Cluster:
    """By name or ARN; without one it is `default`, which no environment has. ClusterNotFoundException."""
    wanted = sole_name(name or "default")
    for cluster in clusters_of(desk, caller):
        if cluster.name == wanted:
            return cluster
    raise Fault("ClusterNotFoundException", "Cluster not found.")


def failure(arn: str) -> Params:
    return {"arn": arn, "reason": "MISSING"}


def instance_arn(cluster_arn: str, instance: str) -> str:
    """As DescribeJobs names it."""
    return f"{cluster_arn.replace(':cluster/', ':container-instance/')}/{instance}"


def listed(arns: list[str], params: Params, member: str) -> Params:
    """A page of ARNs."""
    page, token = page_of(
        sorted(arns),
        str,
        limit=params.get("maxResults") or 100,
        token=params.get("nextToken"),
        purpose=(member, params.get("cluster")),
        invalid=_TOKEN,
    )
    return {member: page, **({"nextToken": token} if token else {})}


def _instances(desk: Any, cluster: Cluster) -> list[Instance]:
    found = [i for i in desk.read.instances.values() if i.environment == cluster.environment and i.state is not InstanceState.PENDING]
    return sorted(found, key=lambda instance: instance.id)


def _held(desk: Any) -> dict[str, tuple[Resources, int, int]]:
    """By instance: what its tasks hold, how many run, how many start."""
    held: dict[str, tuple[Resources, int, int]] = {}
    for job_id, instance in desk.placed():
        found = desk.read.job(job_id)
        if found is None or found[0].current is None:
            continue
        job, spec = found
        used, running, pending = held.get(instance, (NOTHING, 0, 0))
        is_running = job.current.started_at_ms is not None
        held[instance] = (used.plus(spec.part_of(job).needs), running + is_running, pending + (not is_running))
    return held


async def list_clusters(desk: Any, caller: Caller, params: Params) -> Params:
    """API reference, ListClusters."""
    return listed([cluster.arn for cluster in clusters_of(desk, caller)], params, "clusterArns")


async def describe_clusters(desk: Any, caller: Caller, params: Params) -> Params:
    """API reference, DescribeClusters."""
    await desk.read.level()
    known = {cluster.name: cluster for cluster in clusters_of(desk, caller)}
    held = _held(desk)
    shown, failures = [], []
    for name in params.get("clusters") or ["default"]:
        cluster = known.get(sole_name(name))
        if cluster is None:
            failures.append(failure(f"arn:aws:ecs:{caller.region}:{caller.account}:cluster/{sole_name(name)}"))
            continue
        instances = _instances(desk, cluster)
        counts = [held.get(instance.id, (NOTHING, 0, 0)) for instance in instances]
        shown.append(
            {
                "clusterArn": cluster.arn,
                "clusterName": cluster.name,
                "status": "ACTIVE",
                "registeredContainerInstancesCount": len(instances),
                "runningTasksCount": sum(running for _, running, _ in counts),
                "pendingTasksCount": sum(pending for _, _, pending in counts),
                "activeServicesCount": 0,
                "statistics": [],
                "tags": [],
                "settings": [{"name": "containerInsights", "value": "disabled"}],
                "capacityProviders": [],
                "defaultCapacityProviderStrategy": [],
            }
        )
    return {"clusters": shown, "failures": failures}


async def list_container_instances(desk: Any, caller: Caller, params: Params) -> Params:
    """API reference, ListContainerInstances."""
    if params.get("filter"):
        raise Fault(
            "InvalidParameterException", "filter: cluster query language is not available in this version of Batchyard: leave it out."
        )
    cluster = cluster_named(desk, caller, params.get("cluster"))
    wanted = params.get("status")
    found = [instance for instance in _instances(desk, cluster) if wanted is None or _status(instance) == wanted]
    return listed([instance_arn(cluster.arn, instance.id) for instance in found], params, "containerInstanceArns")


def _status(instance: Instance) -> str:
    is_leaving = instance.drained or instance.reclaim_at_ms is not None or instance.state is InstanceState.STOPPING
    return "DRAINING" if is_leaving else "ACTIVE"


async def describe_container_instances(desk: Any, caller: Caller, params: Params) -> Params:
    """API reference, DescribeContainerInstances."""
    await desk.read.level()
    cluster = cluster_named(desk, caller, params.get("cluster"))
    known = {instance.id: instance for instance in _instances(desk, cluster)}
    held = _held(desk)
    shown, failures = [], []
    for name in params["containerInstances"]:
        instance = known.get(sole_name(name))
        if instance is None:
            failures.append(failure(instance_arn(cluster.arn, sole_name(name))))
            continue
        used, running, pending = held.get(instance.id, (NOTHING, 0, 0))
        shown.append(
            {
                "containerInstanceArn": instance_arn(cluster.arn, instance.id),
                "ec2InstanceId": instance.id,
                "version": 1,
                "versionInfo": {},
                "status": _status(instance),
                "agentConnected": instance.state is InstanceState.RUNNING,
                "registeredResources": _resources(instance.room),
                "remainingResources": _resources(instance.room.minus(used)),
                "runningTasksCount": running,
                "pendingTasksCount": pending,
                "registeredAt": instance.launched_at_ms / 1000,
                "attributes": [
                    {"name": "ecs.instance-type", "value": instance.type_name},
                    {"name": "ecs.os-type", "value": "linux"},
                ],
                "attachments": [],
                "tags": [],
            }
        )
    return {"containerInstances": shown, "failures": failures}


def _resources(room: Resources) -> list[Params]:
    """In ECS's units: 1024 a vCPU, MiB."""
    found = [("CPU", int(room.vcpus * 1024)), ("MEMORY", room.memory_mib)]
    return [{"name": name, "type": "INTEGER", "integerValue": value, "longValue": 0, "doubleValue": 0.0} for name, value in found]
