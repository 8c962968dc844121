"""What AWS asks of tags, and what Batchyard asks of its own."""

from __future__ import annotations

from collections.abc import Mapping

from batchyard.model.fault import client_fault
from batchyard.model.tags import check_own_tags

MOST = 50


def check_tags(kind: str, tags: Mapping[str, str]) -> None:
    """Refuse tags that AWS refuses (count, lengths, the prefix `aws:`), and unknown `batchyard:*` tags on a thing of `kind`."""
    if not tags:
        return
    if len(tags) > MOST:
        raise client_fault(f"tags: a resource may have at most {MOST} tags, not {len(tags)}.")
    for name, value in tags.items():
        if not 1 <= len(name) <= 128:
            raise client_fault("tags: a key has 1 to 128 characters.")
        if len(value) > 256:
            raise client_fault(f"tags: the value of {name} has more than 256 characters.")
        if name.lower().startswith("aws:"):
            raise client_fault(f"tags: {name}: keys that start with aws: are reserved.")
    check_own_tags(kind, tags)
