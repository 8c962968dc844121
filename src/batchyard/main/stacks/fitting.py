"""Which job definitions could never run in compute environments that are planned: by the law that the scheduler itself goes by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchyard.compute.catalogue import GROUPS, Catalogue
from batchyard.core import forms, gang_reasons, gangs, multinode, reasons
from batchyard.core.reasons import amount
from batchyard.core.submission import Prepared, specify
from batchyard.model.capacity import Environment, Instance, Platform, Queue, Resources, Scratch, Shape
from batchyard.model.consumable import Consumable
from batchyard.model.definition import Definition
from batchyard.model.fairshare import SchedulingPolicy, Sharing
from batchyard.model.fault import Fault
from batchyard.model.job import Specification
from batchyard.model.view import Passing, Reason, Waiting
from batchyard.services.batch import platform_rules
from batchyard.services.cloudformation.template.functions import LATER

ORDERED = ("BEST_FIT_PROGRESSIVE_ORDERED", "SPOT_CAPACITY_OPTIMIZED_PRIORITIZED")


@dataclass(frozen=True, slots=True)
class Misfit:
    """A job definition that no environment can take: what it needs, and why each of them refuses it."""

    definition: str  # name:revision
    needs: str
    reasons: tuple[Reason, ...]


class PlannedYard:
    """A yard with environments and nothing else, as `YardView` has it: what an environment could ever take does not depend on more.

    `machine` is what the one machine has that they all stand on; None for AWS, where families stand for their real types.
    """

    def __init__(self, environments: Sequence[Environment], machine: Resources | None, catalogue: Catalogue) -> None:
        self.environments: Mapping[str, Environment] = {each.arn: each for each in environments}
        self.queues: Mapping[str, Queue] = {}
        self.instances: Mapping[str, Instance] = {}
        self.consumables: Mapping[str, Consumable] = {}
        self.open_queues: Sequence[Queue] = ()
        self._machine, self._catalogue = machine, catalogue

    def shapes(self, environment: str) -> Sequence[Shape]:
        """The instance types that it may start, cheapest per vCPU first."""
        one = self.environments[environment]
        if self._machine is not None or one.platform is Platform.FARGATE:
            host = self._machine or Resources(float("inf"), 2**40)
            return self._catalogue.shapes(one.instance_types, host, in_order=one.in_order)
        return self._catalogue.shapes(tuple(self._types(one.instance_types)), Resources(0, 0), in_order=one.in_order)

    def _types(self, names: Sequence[str]) -> Iterator[str]:
        families = {family for name in names for family in GROUPS.get(name, (name,))}
        yield from (one for one in self._catalogue.types if one in names or one.partition(".")[0] in families)

    def host_room(self, provider: str) -> Resources | None:
        return self._machine

    def scratch(self, provider: str) -> Scratch | None:
        if self._machine is None or not self._machine.scratch_mib:
            return None
        return Scratch(True, "", self._machine.scratch_mib, 0, 0)

    def environment_instances(self, environment: str) -> Mapping[str, Instance]:
        return {}

    def attempts_on(self, instance: str) -> Mapping[str, bool]:
        return {}

    def ready(self, queue: str, passing: Passing = ()) -> Iterator[Waiting]:
        return iter(())

    def policy_of(self, queue: str) -> SchedulingPolicy | None:
        return None

    def sharing(self, queue: str) -> Sharing | None:
        return None

    def in_use(self, resource: str) -> int:
        return 0

    def free(self, instance: str) -> Resources:
        raise KeyError(instance)


def environment(logical_id: str, properties: Mapping[str, Any]) -> Environment | None:
    """A compute environment as properties of a template have it; None where what counts is known only after the change."""
    resources = properties.get("ComputeResources") or {}
    kind = str(properties.get("Type", "MANAGED")).upper()
    settings = {_small(key): value for key, value in resources.items()}
    most = str(settings.get("maxvCpus", "0"))
    types = settings.get("instanceTypes") or ["optimal"]
    if LATER in most or not most.isdigit() or any(LATER in str(each) for each in types):
        return None
    platform = platform_rules.platform_of(settings)
    if platform is Platform.MANAGED_INSTANCES:
        return None
    return Environment(
        arn=logical_id,
        name=logical_id,
        account="",
        region="",
        uuid=logical_id,
        kind=kind,
        platform=platform,
        spot="SPOT" in str(settings.get("type", "")).upper(),
        max_vcpus=int(most),
        instance_types=("fargate",) if platform is Platform.FARGATE else tuple(str(each) for each in types),
        in_order=settings.get("allocationStrategy") in ORDERED,
        eks={"there": "yes"} if properties.get("EksConfiguration") else {},
    )


def as_template_has_it(described: Mapping[str, Any]) -> dict[str, Any]:
    """A compute environment of DescribeComputeEnvironments in the spelling of templates."""
    resources = {key[:1].upper() + key[1:]: value for key, value in (described.get("computeResources") or {}).items()}
    found = {"Type": described.get("type", "MANAGED"), "ComputeResources": resources}
    return found | ({"EksConfiguration": described["eksConfiguration"]} if described.get("eksConfiguration") else {})


def misfits(definitions: Sequence[Mapping[str, Any]], environments: Sequence[Environment], machine: Resources | None) -> list[Misfit]:
    """The job definitions (as DescribeJobDefinitions shows them) that none of the environments could ever take.

    A definition for which no environment is meant (Fargate tasks where there is EC2 only, pods without EKS) is one of them. One whose
    needs are not said, so that each submission must say them, is not.
    """
    yard = PlannedYard(environments, machine, Catalogue())
    found = []
    for described in definitions:
        name = f"{described['jobDefinitionName']}:{described['revision']}"
        definition = Definition(
            arn=str(described["jobDefinitionArn"]),
            name=str(described["jobDefinitionName"]),
            revision=int(described["revision"]),
            account="",
            region="",
            properties=dict(described),
            tags=dict(described.get("tags") or {}),
        )
        try:
            misfit = _judged(yard, name, definition)
        except Fault:
            continue
        if misfit is not None:
            found.append(misfit)
    return found


def _judged(yard: PlannedYard, name: str, definition: Definition) -> Misfit | None:
    prepared = forms.prepare(definition)
    needs = prepared.needs._replace(scratch_mib=prepared.scratch_mib)
    meant = [each for each in yard.environments.values() if _is_meant_for(prepared, each)]
    if multinode.is_multi_node(definition):
        return _judged_nodes(yard, name, definition, prepared, meant)
    if any(reasons.is_possible(yard, _queue(each), needs) for each in meant):
        return None
    refused = [reason for each in meant for reason in reasons.per_environment(yard, _queue(each), needs)]
    return Misfit(name, amount(needs), tuple(refused) or (_not_meant(prepared),))


def _judged_nodes(yard: PlannedYard, name: str, definition: Definition, prepared: Prepared, meant: Sequence[Environment]) -> Misfit | None:
    spec: Specification = multinode.expand(
        specify(prepared, {"jobName": name}, job_id="", queue="", now_ms=0), definition, {"jobName": name}
    )
    if any(gangs.could_take(yard, each, spec) for each in meant):
        return None
    refused = [reason for each in meant for reason in gang_reasons.per_environment(yard, _queue(each), spec, {})]
    needs = f"{spec.num_nodes} nodes, {amount(gangs.total(gangs.needs_of_nodes(spec)))} together"
    return Misfit(name, needs, tuple(refused) or (_not_meant(prepared),))


def _is_meant_for(prepared: Prepared, environment: Environment) -> bool:
    is_pod = bool(prepared.definition.properties.get("eksProperties"))
    return environment.platform is prepared.platform and bool(environment.eks) == is_pod


def _not_meant(prepared: Prepared) -> Reason:
    wanted = "EKS" if prepared.definition.properties.get("eksProperties") else prepared.platform.value
    return Reason("", f"there is no compute environment for {wanted}", "")


def _queue(environment: Environment) -> Queue:
    return Queue(arn="", name="", account="", region="", priority=1, environments=(environment.arn,))


def _small(key: str) -> str:
    return key[:1].lower() + key[1:]
