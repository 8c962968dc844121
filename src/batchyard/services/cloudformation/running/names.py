"""Physical names of resources that the template does not name: STACK-LOGICAL-RANDOM."""

from __future__ import annotations

import secrets

from batchyard.services.cloudformation.resources.type import NameRule

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_RANDOM = 12


def physical_name(stack_name: str, logical_id: str, rule: NameRule | None) -> str:
    """A new name within the rule's length; the stack's and the resource's names are cut alike where it is short."""
    rule = rule or NameRule("")
    chance = "".join(secrets.choice(_LETTERS) for _ in range(_RANDOM))
    room = rule.length - _RANDOM - 2 * len(rule.separator)
    stack_room = max(room - min(len(logical_id), (room + 1) // 2), 1)
    stack, logical = stack_name[:stack_room], logical_id[: max(room - min(len(stack_name), stack_room), 1)]
    name = rule.separator.join((stack.rstrip("-"), logical, chance))
    return name.lower() if rule.is_lower else name
