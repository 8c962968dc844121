"""What a job's endpoints (ECS's metadata, its role's credentials, EC2's metadata) say of an attempt, put together when it is launched.

The node serves them, and answers from this as long as the attempt lives, whether the server is there or not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from batchyard.core import pods
from batchyard.engine.dispatch import LaunchOrder
from batchyard.model.capacity import Environment, Platform
from batchyard.model.task import RoleKeys, TaskFacts

ONLY = "default"  # what ECS calls the container of a job that has one


class Whereabouts(NamedTuple):
    """What EC2 says of the machine that an attempt runs on."""

    zone: str
    zone_id: str = ""
    vpc: str = ""
    instance_type: str = ""
    machine_image: str = ""
    architecture: str = "x86_64"
    since_ms: int = 0  # when the instance was started


Locate = Callable[[Environment, str], Whereabouts]


def nowhere(environment: Environment, instance: str) -> Whereabouts:
    """Where nobody knows more of machines than their region."""
    return Whereabouts(f"{environment.region}a", instance_type="unknown" if instance else "")


def facts_of(
    order: LaunchOrder, environment: Environment, effective: Mapping[str, Any], locate: Locate, keys_of: Callable[[], tuple[str, str, str]]
) -> TaskFacts:
    """The facts of an attempt. `effective`: its container, task or pod; `keys_of` mints its credentials, if its definition names a role."""
    spec, attempt = order.spec, order.attempt
    where = locate(environment, attempt.instance)
    family, _, revision = spec.definition.rpartition("/")[2].rpartition(":")
    parts, role_arn = _parts(effective), _role(effective)
    is_pod = spec.form == pods.FORM
    cluster = attempt.cluster or f"AWSBatch-{attempt.environment.rpartition('/')[2]}"
    return TaskFacts(
        task_arn="" if is_pod else f"arn:aws:ecs:{spec.region}:{spec.account}:task/{cluster}/{attempt.id}",
        cluster=cluster,
        family=family,
        revision=revision,
        launch_type=environment.platform.value,
        names=tuple(str(part.get("name") or f"container-{number}") for number, part in enumerate(parts)) or (ONLY,),
        image=str(effective.get("image", "")),
        zone=where.zone,
        zone_id=where.zone_id,
        vpc=where.vpc if environment.platform is not Platform.FARGATE else "",
        instance_type=where.instance_type,
        machine_image=where.machine_image,
        architecture=where.architecture,
        instance_at_ms=where.since_ms,
        is_spot=environment.spot,
        role=_keys(role_arn, keys_of()) if role_arn and not is_pod else None,
    )


def _keys(role_arn: str, keys: tuple[str, str, str]) -> RoleKeys:
    access_key_id, secret_access_key, session_token = keys
    return RoleKeys(role_arn=role_arn, access_key_id=access_key_id, secret_access_key=secret_access_key, session_token=session_token)


def _parts(effective: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The containers of a task or pod; none for the classic single one."""
    task = (effective.get("taskProperties") or [{}])[0]
    return task.get("containers") or (effective.get("podProperties") or {}).get("containers") or ()


def _role(effective: Mapping[str, Any]) -> str:
    """The ARN of the role that a job's definition names; "" for none."""
    return str(effective.get("jobRoleArn") or (effective.get("taskProperties") or [{}])[0].get("taskRoleArn") or "")
