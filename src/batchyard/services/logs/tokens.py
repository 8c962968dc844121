"""Tokens of the next page: opaque to clients, and refused when they were made for something else."""

from __future__ import annotations

import base64
import json
from typing import Any
from zlib import crc32

from batchyard.services.logs.names import refusal


def seal(*fields: Any, purpose: tuple[Any, ...]) -> str:
    """A token that carries `fields` (JSON values) and holds only for `purpose`."""
    return base64.urlsafe_b64encode(json.dumps([_mark(purpose), *fields], separators=(",", ":")).encode()).decode().rstrip("=")


def unseal(token: str, *kinds: type, purpose: tuple[Any, ...]) -> list[Any]:
    """The fields of a token, which must be of `kinds`. InvalidParameterException for one that `seal` did not make for `purpose`."""
    try:
        mark, *fields = json.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
    except (ValueError, TypeError, RecursionError):
        raise refusal("The specified nextToken is invalid.") from None
    if mark != _mark(purpose) or [type(field) for field in fields] != list(kinds) or not all(map(_in_range, fields)):
        raise refusal("The specified nextToken is invalid.")
    return list(fields)


def _in_range(field: Any) -> bool:
    return not isinstance(field, int) or -1 <= field <= 2**62


def _mark(purpose: tuple[Any, ...]) -> int:
    return crc32(repr(purpose).encode("utf-8", "backslashreplace"))
