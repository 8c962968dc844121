"""Types that are recorded without effect, where a stack's tag `batchyard:inert=allow` asks for it; said so in their events."""

from __future__ import annotations

from batchyard.services.cloudformation.resources.type import Asked, Hands, Kept, Made, ResourceType
from batchyard.services.cloudformation.schemas.attributes import attributes

INERT = "Recorded without effect: this type is not there in Batchyard (batchyard:inert=allow)"


async def create(hands: Hands, asked: Asked) -> Made:
    """A record alone: an id, and for every attribute that GetAtt may ask a text that says what it is."""
    names = attributes(asked.type)
    return Made(asked.name, {name: f"inert-{asked.logical_id}-{name}" for name in names})


async def update(hands: Hands, asked: Asked, before: Kept) -> Made:
    """The record takes the new properties; its id and attributes stay."""
    return Made(before.physical_id, before.attributes)


async def delete(hands: Hands, kept: Kept) -> None:
    """Nothing is there but the record."""


def inert(type_name: str) -> ResourceType:
    """A type that does nothing."""
    return ResourceType(type_name, create, update, delete)
