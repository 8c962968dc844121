"""What a resource is taken to be made of when its last update failed half-way and was not taken back; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ABSENT: Any = object()


def in_doubt(former: Mapping[str, Any], tried: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Properties that differ from what is `wanted` wherever it is not certain to be there.

    `former` stood before the update that failed, `tried` is what that one wanted. What both agree on is certain; where they do not, the
    one that is not what is wanted now is taken, so that the next update sets it.
    """
    found: dict[str, Any] = {}
    for name in {**former, **tried}:
        old, new, asked = former.get(name, _ABSENT), tried.get(name, _ABSENT), wanted.get(name, _ABSENT)
        if isinstance(old, Mapping) and isinstance(new, Mapping) and isinstance(asked, Mapping):
            found[name] = in_doubt(old, new, asked)
            continue
        chosen = old if asked == new else new
        if chosen is not _ABSENT:
            found[name] = chosen
    return found
