"""From a placed attempt to the Launch that a provider gets: the environment contract of a job (specification, section 6).

Order of an environment, later ones win: the server's allow-list, the endpoint and credentials of the attempt, the job definition
with its overrides, its secrets, and last the AWS_BATCH_* variables, which no user can set.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from batchyard.core import forms, loglines, pods
from batchyard.engine import log_groups
from batchyard.engine.cannot_launch import CannotLaunch
from batchyard.engine.dispatch import LaunchOrder
from batchyard.engine.job_secrets import Resolve, Wanted, no_secrets, registry_auth, secret_variables
from batchyard.engine.task_facts import Locate, facts_of, nowhere
from batchyard.model.capacity import Environment, Platform, Queue
from batchyard.model.job import Job, Specification, node_id
from batchyard.model.messages import Launch
from batchyard.model.tags import runtime_of
from batchyard.model.task import TaskContainer

LOG_GROUP = "/aws/batch/job"
LOCAL_ADDRESS = "127.0.0.1"  # where nodes find the main node: all of them run on this machine
EXECUTION_ENV = {
    Platform.EC2: "AWS_ECS_EC2",
    Platform.FARGATE: "AWS_ECS_FARGATE",
    Platform.MANAGED_INSTANCES: "AWS_ECS_MANAGED_INSTANCES",
}
NO_TAGS: Mapping[str, str] = {}


class AttemptKeys(NamedTuple):
    """Credentials that live as long as an attempt."""

    access_key_id: str
    secret_access_key: str
    session_token: str


class Launcher:
    """`base` is the allow-listed part of the server's environment, for processes only: what a container finds is its image's. `keys_of`
    mints an attempt's credentials, `runtime` is how jobs run where no tag says otherwise, `resolve` looks their secrets up, `locate` says
    what EC2 would say of their machines, `has_group` whether a log group that they name is there."""

    def __init__(
        self,
        base: Mapping[str, str],
        endpoint_url: str,
        keys_of: Callable[[LaunchOrder], AttemptKeys],
        runtime: str = "process",
        resolve: Resolve = no_secrets,
        locate: Locate = nowhere,
        has_group: log_groups.HasGroup = log_groups.made_when_missing,
    ) -> None:
        self._runtime = runtime
        self._base = dict(base)
        self._endpoint_url = endpoint_url
        self._keys_of = keys_of
        self._resolve = resolve
        self._locate = locate
        self._has_group = has_group

    def launch(self, order: LaunchOrder, environment: Environment, queue: Queue, definition_tags: Mapping[str, str] = NO_TAGS) -> Launch:
        """The effect to send. Reads the specification only now: most jobs wait much longer than they are looked at.

        Raises `CannotLaunch` when it is known already that the attempt cannot: for want of a secret, or of a log group.
        """
        job, spec, attempt = order.job, order.spec, order.attempt
        spec = spec.part_of(job)
        runtime = runtime_of(definition_tags, queue.tags, self._runtime)
        if spec.form:
            return self._launch_several(LaunchOrder(job, spec, attempt), environment, queue, runtime)
        container = msgspec.json.decode(spec.effective)
        log_groups.check(container, spec.account, spec.region, environment.platform, self._has_group)
        own = {e["name"]: e.get("value", "") for e in container.get("environment") or () if e.get("name")}
        base = self._base if runtime == "process" else {}
        variables = {**base, **self._aws(order, own), **own, **self._secrets(order, container), **_batch(job, spec, environment, queue)}
        return Launch(
            attempt=attempt.id,
            job_id=_own_id(job, spec),
            number=attempt.number,
            instance=attempt.instance,
            command=tuple(container.get("command") or ()),
            environment=variables,
            needs=spec.needs,
            log_group=spec.log_group or LOG_GROUP,
            log_stream=attempt.log_stream,
            account=spec.account,
            region=spec.region,
            timeout_s=spec.timeout_s,
            user=container.get("user", ""),
            log_begins=loglines.begins((container.get("logConfiguration") or {}).get("options") or {}),
            log_driver=loglines.other_driver(container),
            log_options=loglines.file_options(container),
            container=container if runtime == "container" else _of_a_process(container),
            runtime=runtime,
            registry_auth=self._registry_auth(order, container, container.get("image", "")) if runtime == "container" else "",
            facts=facts_of(LaunchOrder(job, spec, attempt), environment, container, self._locate, lambda: self._keys_of(order)),
        )

    def _launch_several(self, order: LaunchOrder, environment: Environment, queue: Queue, runtime: str) -> Launch:
        """The effect for a task of several containers: each has variables, limits and a log stream of its own."""
        job, spec, attempt = order.job, order.spec, order.attempt
        batch = _batch(job, spec, environment, queue)
        if spec.form == pods.FORM:
            del batch["AWS_EXECUTION_ENV"]  # a pod has no variables of ECS
            batch["AWS_BATCH_JOB_KUBERNETES_NODE_UID"] = str(uuid.uuid5(uuid.NAMESPACE_DNS, attempt.instance))
        containers = forms.containers_of(spec, attempt.id)
        effective = msgspec.json.decode(spec.effective)
        return Launch(
            attempt=attempt.id,
            job_id=_own_id(job, spec),
            number=attempt.number,
            instance=attempt.instance,
            command=(),
            environment={},
            needs=spec.needs,
            log_group=LOG_GROUP,
            log_stream=attempt.log_stream,
            account=spec.account,
            region=spec.region,
            timeout_s=spec.timeout_s,
            containers=tuple(self._of_several(order, container, batch, runtime, environment.platform) for container in containers),
            runtime=runtime,
            facts=facts_of(order, environment, effective, self._locate, lambda: self._keys_of(order)),
        )

    def _of_several(
        self, order: LaunchOrder, container: TaskContainer, batch: Mapping[str, str], runtime: str, platform: Platform
    ) -> TaskContainer:
        try:
            log_groups.check(container.container, order.spec.account, order.spec.region, platform, self._has_group)
            return self._with_variables(order, container, batch, runtime)
        except CannotLaunch as why:
            why.container = container.name
            raise

    def _with_variables(self, order: LaunchOrder, container: TaskContainer, batch: Mapping[str, str], runtime: str) -> TaskContainer:
        base = self._base if runtime == "process" else {}
        own = container.environment
        if order.spec.form == pods.FORM:
            own = pods.expanded(own, batch)
            known = {**own, **batch}
            container = replace(
                container,
                command=tuple(pods.expand(element, known) for element in container.command),
                container=_expanded_command(container.container, known),
            )
        secrets = self._secrets(order, container.container)
        if runtime == "container":
            container = replace(container, registry_auth=self._registry_auth(order, container.container, container.image))
        size = {"BATCHYARD_VCPUS": f"{container.vcpus:g}", "BATCHYARD_MEMORY_MIB": str(container.memory_mib)}
        return replace(container, environment={**base, **self._aws(order, own), **own, **secrets, **batch, **size})

    def _secrets(self, order: LaunchOrder, container: Mapping[str, Any]) -> dict[str, str]:
        if not container.get("secrets"):
            return {}
        return secret_variables(container, self._resolve, _wanted(order))

    def _registry_auth(self, order: LaunchOrder, container: Mapping[str, Any], image: str) -> str:
        if not container.get("repositoryCredentials"):
            return ""
        return registry_auth(container, image, self._resolve, _wanted(order))

    def _aws(self, order: LaunchOrder, own: Mapping[str, str]) -> dict[str, str]:
        """Where the job finds us. Own keys of the job (AWS_ACCESS_KEY_ID in its definition) must not be mixed with ours."""
        region = order.spec.region
        variables = {"AWS_ENDPOINT_URL": self._endpoint_url, "AWS_REGION": region, "AWS_DEFAULT_REGION": region}
        if "AWS_ACCESS_KEY_ID" not in own:
            keys = self._keys_of(order)
            variables["AWS_ACCESS_KEY_ID"] = keys.access_key_id
            variables["AWS_SECRET_ACCESS_KEY"] = keys.secret_access_key
            variables["AWS_SESSION_TOKEN"] = keys.session_token
        return variables


def _wanted(order: LaunchOrder) -> Wanted:
    """On whose behalf secrets are looked up, where a container names no execution role of its own."""
    role = ""
    if order.spec.form:
        role = msgspec.json.decode(order.spec.effective).get("taskProperties", [{}])[0].get("executionRoleArn") or ""
    return Wanted(order.spec.account, order.spec.region, "", role, order.attempt.id)


def _expanded_command(container: Mapping[str, Any], known: Mapping[str, str]) -> dict[str, Any]:
    """The properties of a pod's container with `$(NAME)` filled in where a container runtime looks for the command."""
    changed = {
        name: [pods.expand(element, known) for element in container[name]] for name in ("command", "entryPoint") if container.get(name)
    }
    return {**container, **changed}


def _batch(job: Job, spec: Specification, environment: Environment, queue: Queue) -> dict[str, str]:
    assert job.current is not None
    variables = {
        "AWS_BATCH_CE_NAME": environment.name,
        "AWS_BATCH_JQ_NAME": queue.name,
        "AWS_BATCH_JOB_ID": _own_id(job, spec),
        "AWS_BATCH_JOB_ATTEMPT": str(job.current.number),
        "AWS_EXECUTION_ENV": EXECUTION_ENV[environment.platform],
        "BATCHYARD_VCPUS": f"{spec.needs.vcpus:g}",
        "BATCHYARD_MEMORY_MIB": str(spec.needs.memory_mib),
    }
    if job.index is not None:
        variables["AWS_BATCH_JOB_ARRAY_INDEX"] = str(job.index)
        variables["AWS_BATCH_JOB_ARRAY_SIZE"] = str(spec.array_size)
    if spec.nodes:
        variables["AWS_BATCH_JOB_NODE_INDEX"] = str(_node(job, spec))
        variables["AWS_BATCH_JOB_NUM_NODES"] = str(spec.num_nodes)
        variables["AWS_BATCH_JOB_MAIN_NODE_INDEX"] = str(spec.main_node)
    if job.node is not None:
        variables["AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS"] = LOCAL_ADDRESS
    return variables


def _node(job: Job, spec: Specification) -> int:
    return spec.main_node if job.node is None else job.node


def _of_a_process(container: Mapping[str, Any]) -> dict[str, Any]:
    """What a process, for which nothing is mounted, may still be shown of its machine."""
    volumes = container.get("volumes")
    return {"volumes": volumes} if volumes else {}


def _own_id(job: Job, spec: Specification) -> str:
    """A main node's record is its job's, and yet it knows itself as a node."""
    return node_id(job.id, spec.main_node) if job.is_multi_node else job.id
