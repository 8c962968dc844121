"""Page tokens: opaque to callers, and of use only with the question that they came from."""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from batchyard.model.fault import Fault, client_fault

_Token = tuple[int, str]
Item = TypeVar("Item")

_NUMBER = re.compile(r"[0-9]{1,9}")


def write_token(question: Any, cursor: str) -> str:
    """A token that carries on after `cursor` in the answer to `question` (anything that JSON can hold)."""
    return base64.urlsafe_b64encode(msgspec.json.encode((_fingerprint(question), cursor))).decode()


def read_token(question: Any, token: str | None, *, is_number: bool = False) -> str:
    """The cursor of a token; "" (from the start) for none or an empty one. Raises a Fault for one that is not ours.

    With `is_number` the cursor is a number of a few digits: a forged one must do no harm.
    """
    if not token:
        return ""
    try:
        fingerprint, cursor = msgspec.json.decode(base64.b64decode(token.encode(), altchars=b"-_", validate=True), type=_Token)
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise _invalid() from None
    if fingerprint != _fingerprint(question):
        raise client_fault("nextToken belongs to another request: repeat the request that it came from, with the same parameters.")
    if is_number and not _NUMBER.fullmatch(cursor):
        raise _invalid()
    return str(cursor)


def page(question: Any, items: Sequence[tuple[str, Item]], token: str | None, size: int) -> tuple[list[Item], str | None]:
    """One page of `items`, (key, item) in ascending order of keys (none is empty), and the token of the next page (None at the end)."""
    cursor = read_token(question, token)
    rest = [entry for entry in items if entry[0] > cursor] if cursor else items
    found = [item for _, item in rest[:size]]
    return found, write_token(question, rest[size - 1][0]) if len(rest) > size else None


def _invalid() -> Fault:
    return client_fault("nextToken is not valid: give the one that came with the page before, unchanged.")


def _fingerprint(question: Any) -> int:
    return zlib.crc32(msgspec.json.encode(question))
