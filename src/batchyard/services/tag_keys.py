"""Which tag keys are a caller's to give: those that begin with `aws:` are the services' own."""

from __future__ import annotations

from batchyard.services import Caller

RESERVED = "aws:"
_OF_STACKS = "aws:cloudformation:"


def is_reserved(caller: Caller, key: str) -> bool:
    """Whether `caller` may not put or take away a tag with this key. The steps of a stack give those that say which stack it is."""
    name = key.lower()
    return name.startswith(RESERVED) and not (caller.via == "cloudformation" and name.startswith(_OF_STACKS))
