"""What functions can ask for, and the two values that are none: nothing at all, and what is not known yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batchyard.services.cloudformation.template.model import Template

MAX_MADE = 4_000_000  # characters, on the way to one value; a template has a million, and functions within functions could make any number
LATER = "{{changeSet:KNOWN_AFTER_APPLY}}"  # stands for what only exists after the change (AWS's own marker)


class _NoValue:
    def __repr__(self) -> str:
        return "AWS::NoValue"


NO_VALUE = _NoValue()


@dataclass(frozen=True, slots=True)
class Scope:
    """What functions can ask for. `refs` and `attributes` are those of resources that exist; names are logical ids."""

    template: Template
    parameters: Mapping[str, str] = field(default_factory=dict)  # settled; those of SSM types already looked up
    pseudo: Mapping[str, Any] = field(default_factory=dict)  # "AWS::Region" and so on; "AWS::NotificationARNs" is a list
    conditions: Mapping[str, bool] = field(default_factory=dict)  # from conditions.decide
    refs: Mapping[str, Any] = field(default_factory=dict)  # what Ref gives
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # what GetAtt gives; nested stacks: "Outputs.X"
    exports: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # name or id of a stack -> its outputs
    zones: Mapping[str, Sequence[str]] = field(default_factory=dict)  # region -> its zones; "" is the stack's region too
    is_plan: bool = False  # then what a resource has that is not there yet is LATER instead of an error
    room: list[int] = field(default_factory=lambda: [MAX_MADE])  # characters that functions may still make of one value


def as_text(value: Any) -> str | None:
    """A scalar as it stands in a text: integers plain, booleans in small letters; None for what is no scalar."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def is_later(value: Any) -> bool:
    """Whether `value` is, or holds, what only exists after the change."""
    return isinstance(value, str) and LATER in value
