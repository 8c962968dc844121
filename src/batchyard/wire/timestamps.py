"""AWS writes points in time in three ways; inside they are float seconds since 1970."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime

FIRST_S, LAST_S = -62_135_596_800, 253_402_300_799  # the years 1 to 9999: no other can be written as text

_NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,9})?")


def parse_timestamp(text: str) -> float:
    """Seconds since 1970 from ISO 8601, RFC 822 or plain epoch seconds. Raises `ValueError` for anything else."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return _writable(float(text), text)
    try:
        if text[:1].isdigit():
            moment = datetime.fromisoformat(text)
        else:
            moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise ValueError(f"{text[:64]!r} is not a timestamp; write it like 2026-11-22T14:15:00Z") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return _writable(moment.timestamp(), text)


def _writable(epoch_s: float, text: str) -> float:
    if not FIRST_S <= epoch_s <= LAST_S:
        raise ValueError(f"{text[:64]!r} is not in the years 1 to 9999")
    return epoch_s


def iso8601(epoch_s: float) -> str:
    """`2026-11-22T14:15:00Z`; with milliseconds when there are any."""
    millis = round(epoch_s * 1000)
    moment = datetime.fromtimestamp(millis // 1000, UTC)
    fraction = f".{millis % 1000:03d}" if millis % 1000 else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}Z"


def iso8601_millis(epoch_s: float) -> str:
    """`2026-11-22T14:15:00.000Z`: S3 always writes the milliseconds."""
    millis = round(epoch_s * 1000)
    return f"{datetime.fromtimestamp(millis // 1000, UTC):%Y-%m-%dT%H:%M:%S}.{millis % 1000:03d}Z"


def rfc822(epoch_s: float) -> str:
    """`Sun, 22 Nov 2026 14:15:00 GMT`, as in HTTP headers."""
    return formatdate(int(epoch_s), usegmt=True)
