"""What a job definition and a submission may say of consumable resources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchyard.model.consumable import Consumable, Wants
from batchyard.model.fault import client_fault


def check_consumables(where: str, properties: Mapping[str, Any] | None) -> None:
    """Refuse entries without a resource or a quantity of at least 1, and a resource that stands there twice.

    Whether a resource exists is asked when a job is submitted: a definition may be registered before its resources are created.
    """
    seen: set[str] = set()
    for number, entry in enumerate((properties or {}).get("consumableResourceList") or ()):
        place = f"{where}.consumableResourceList[{number}]"
        resource, quantity = entry.get("consumableResource"), entry.get("quantity")
        if not resource:
            raise client_fault(f"{place}.consumableResource is required: the name or ARN of a consumable resource.")
        if quantity is None or quantity < 1:
            raise client_fault(f"{place}.quantity must be 1 or more, not {quantity}.")
        name = resource.rpartition("/")[2]
        if name in seen:
            raise client_fault(f"{where}.consumableResourceList names {name} more than once.")
        seen.add(name)


def check_known(consumables: Mapping[str, Consumable], wants: Wants) -> None:
    """Refuse a job that wants what does not exist: it would wait for ever."""
    for resource, _quantity in wants:
        if resource not in consumables:
            raise client_fault(f"ConsumableResource {resource} does not exist")
