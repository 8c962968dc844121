"""Instances: launched as the plan wishes, watched while they come up, drained, reclaimed after a notice, stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from batchyard.core import reclaiming
from batchyard.core.growth import StartWish
from batchyard.model.capacity import Environment, Instance, InstanceState
from batchyard.model.fault import Fault
from batchyard.model.requests import Reclaim

if TYPE_CHECKING:
    from batchyard.engine.engine import Engine


class Instances:
    """One per engine; holds nothing that the yard does not."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._yard = engine.yard

    def reclaim(self, request: Reclaim, now_ms: int) -> Instance:
        """Have a Spot instance taken away after its notice: the instance with the time. ClientException if there is none that runs."""
        instance = self._yard.instances.get(request.instance)
        if instance is None or instance.state is InstanceState.STOPPING:
            raise Fault("ClientException", f"Instance {request.instance} does not exist. `batchyard compute` lists those that do.")
        notice_s = self._engine.options.notice_s if request.notice_s is None else request.notice_s
        noticed = replace(instance, reclaim_at_ms=now_ms + int(notice_s * 1000))
        self._yard.put_instance(noticed)
        self._engine.dirty = True
        return noticed

    def tend(self, now_ms: int) -> None:
        """Reclaims that are due, instances that did not come up, and outdated ones of an updated environment."""
        for instance in list(self._yard.instances.values()):
            if instance.state is InstanceState.STOPPING:
                continue
            environment = self._yard.environments[instance.environment]
            due_ms = self.due_ms(instance)
            if due_ms is not None and due_ms <= now_ms:
                self.stop(instance)
            elif instance.generation != environment.generation and instance.reclaim_at_ms is None:
                self._retire(instance, environment, now_ms)

    def note_idle(self, now_ms: int) -> None:
        """Since when each instance is idle."""
        for instance in list(self._yard.instances.values()):
            idle = instance.state is InstanceState.RUNNING and not self._yard.attempts_on(instance.id)
            if idle != (instance.idle_since_ms is not None):
                self._yard.put_instance(replace(instance, idle_since_ms=now_ms if idle else None))

    def drain_surplus(self, environment: Environment) -> None:
        """A lowered maxvCpus holds for what runs as well: instances above it take no more jobs. Those with work, the oldest, stay."""
        staying = [i for i in self._yard.environment_instances(environment.arn).values() if reclaiming.is_staying(i, environment)]
        vcpus = 0.0
        for instance in sorted(staying, key=lambda i: (not self._yard.attempts_on(i.id), i.launched_at_ms, i.id)):
            vcpus += instance.room.vcpus
            if vcpus > environment.max_vcpus:
                self._yard.put_instance(replace(instance, drained=True))

    def _retire(self, instance: Instance, environment: Environment, now_ms: int) -> None:
        """After an infrastructure update: no more jobs; what runs is ended at once, or after the environment's time for it."""
        policy = environment.update_policy
        minutes = 0 if policy.get("terminateJobsOnUpdate") else policy.get("jobExecutionTimeoutMinutes", 30)
        self._yard.put_instance(replace(instance, drained=True, reclaim_at_ms=now_ms + minutes * 60_000))
        self._engine.dirty = True

    def stop(self, instance: Instance) -> None:
        """It ends, and all on it."""
        self._yard.put_instance(replace(instance, state=InstanceState.STOPPING))
        self._engine.dirty = True

    def start(self, wish: StartWish, now_ms: int) -> None:
        """Launch what the plan wishes for."""
        environment = self._yard.environments[wish.environment]
        self._yard.put_instance(
            Instance(
                id=f"i-{self._engine.world.hex_id(17)}",
                environment=wish.environment,
                type_name=wish.shape.name if wish.shape.exact else f"{wish.shape.name}.{wish.room.vcpus:g}x{wish.room.memory_mib}",
                room=wish.room,
                spot=environment.spot,
                state=InstanceState.PENDING,
                generation=environment.generation,
                launched_for=wish.launched_for,
                launched_at_ms=now_ms,
                price_per_hour=self._engine.world.price(wish.shape, wish.room, environment.spot),
            )
        )
        if environment.wanted_vcpus:
            self._yard.put_environment(replace(environment, wanted_vcpus=0))

    def due_ms(self, instance: Instance) -> int | None:
        """When an instance is to be stopped by time alone."""
        if instance.state is InstanceState.PENDING:
            given_up_ms = instance.launched_at_ms + int(self._engine.options.start_s * 1000)
            return given_up_ms if instance.reclaim_at_ms is None else min(given_up_ms, instance.reclaim_at_ms)
        return instance.reclaim_at_ms if instance.state is InstanceState.RUNNING else None
