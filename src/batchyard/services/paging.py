"""Pages of the small services' lists: opaque tokens that hold only for the list they were made for."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from zlib import crc32

from batchyard.model.fault import Fault

Item = TypeVar("Item")


def page_of(
    items: Sequence[Item],
    name_of: Callable[[Item], str],
    *,
    limit: int,
    token: str | None,
    purpose: tuple[Any, ...],
    invalid: Fault,
) -> tuple[list[Item], str]:
    """(the next `limit` items, the token of the page after or ""). `items` are in order of `name_of`; `invalid` is raised for a token
    that was not made for `purpose`."""
    start = 0
    if token:
        last = _unseal(token, purpose, invalid)
        while start < len(items) and name_of(items[start]) <= last:
            start += 1
    page = list(items[start : start + limit])
    is_more = start + limit < len(items)
    return page, _seal(name_of(page[-1]), purpose) if is_more and page else ""


def _seal(last: str, purpose: tuple[Any, ...]) -> str:
    return base64.urlsafe_b64encode(json.dumps([_mark(purpose), last], separators=(",", ":")).encode()).decode().rstrip("=")


def _unseal(token: str, purpose: tuple[Any, ...], invalid: Fault) -> str:
    try:
        mark, last = json.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
    except (ValueError, TypeError, RecursionError):
        raise invalid from None
    if mark != _mark(purpose) or not isinstance(last, str):
        raise invalid
    return last


def _mark(purpose: tuple[Any, ...]) -> int:
    return crc32(repr(purpose).encode("utf-8", "backslashreplace"))
