"""Where attempts run, as EC2 would say it: looked up once for all instances of a kind, because it is asked with every launch."""

from __future__ import annotations

from batchyard.compute.catalogue import Catalogue
from batchyard.engine.engine import Engine
from batchyard.engine.task_facts import Locate, Whereabouts
from batchyard.model.capacity import Environment
from batchyard.services.ec2.machines import whereabouts
from batchyard.store.shelf import Shelf

_KINDS_MOST = 1000


def locator(engine: Engine, shelf: Shelf, catalogue: Catalogue) -> Locate:
    """Says what DescribeInstances says of an instance; those of an environment that are cut alike have one answer."""
    known: dict[tuple[object, ...], Whereabouts] = {}

    def locate(environment: Environment, instance_id: str) -> Whereabouts:
        instance = engine.yard.instances.get(instance_id)
        slice_of = (instance.type_name, instance.room) if instance is not None else None
        settings = environment.settings
        key = (environment.arn, tuple(settings.get("subnets") or ()), settings.get("imageId"), slice_of)
        if key not in known:
            if len(known) >= _KINDS_MOST:
                known.clear()
            known[key] = whereabouts(shelf, catalogue, environment, instance)
        return known[key]._replace(since_ms=instance.launched_at_ms if instance is not None else 0)

    return locate
