"""The times in a signature: how they are written, and when they are too old, too early or over."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache

from batchyard.model.fault import Fault
from batchyard.wire.timestamps import iso8601

MAX_SKEW_S = 15 * 60
_AMZ_DATE = re.compile(r"\d{8}T\d{6}Z", re.ASCII)


@lru_cache(maxsize=64)
def amz_date(epoch_s: float) -> str:
    """`20261122T141500Z`."""
    return f"{datetime.fromtimestamp(int(epoch_s), UTC):%Y%m%dT%H%M%SZ}"


@lru_cache(maxsize=256)
def parse_amz_date(text: str) -> float | None:
    """Seconds since 1970, or None when `text` is not such a date."""
    if not _AMZ_DATE.fullmatch(text):
        return None
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def amz_date_of_http_date(text: str | None) -> str | None:
    """The `Date` header in the form of x-amz-date; None when there is none or it is no date."""
    if not text:
        return None
    if _AMZ_DATE.fullmatch(text):
        return text
    try:
        return amz_date(parsedate_to_datetime(text).timestamp())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def require_current(date: str, now_s: float, *, is_s3: bool) -> None:
    """Raises the service's fault when a signature's date is further from now than 15 minutes."""
    signed_s = parse_amz_date(date)
    if signed_s is None:
        if is_s3:
            raise Fault("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
        raise Fault(
            "IncompleteSignatureException",
            f"Date must be in ISO-8601 'basic format'. Got '{date[:64]}'. See http://en.wikipedia.org/wiki/ISO_8601",
        )
    if abs(now_s - signed_s) <= MAX_SKEW_S:
        return
    if is_s3:
        raise Fault(
            "RequestTimeTooSkewed",
            "The difference between the request time and the current time is too large.",
            RequestTime=date,
            ServerTime=iso8601(int(now_s)),
            MaxAllowedSkewMilliseconds=str(MAX_SKEW_S * 1000),
        )
    now = amz_date(int(now_s))
    if signed_s < now_s:
        edge = amz_date(int(now_s) - MAX_SKEW_S)
        text = f"Signature expired: {date} is now earlier than {edge} ({now} - 15 min.)"
    else:
        edge = amz_date(int(now_s) + MAX_SKEW_S)
        text = f"Signature not yet current: {date} is still later than {edge} ({now} + 15 min.)"
    raise Fault("InvalidSignatureException", text)


def require_within_term(date: str, term_s: int, now_s: float, *, is_s3: bool) -> None:
    """Raises the service's fault when a presigned request is not valid yet or not any more."""
    signed_s = parse_amz_date(date)
    if signed_s is None:
        raise Fault(
            "AuthorizationQueryParametersError" if is_s3 else "IncompleteSignatureException",
            "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"",
        )
    if signed_s - now_s > MAX_SKEW_S:
        text = "Request is not valid yet"
        fields = {"X-Amz-Expires": str(term_s), "ServerTime": iso8601(int(now_s))}
    elif signed_s + term_s < now_s:
        text = "Request has expired"
        fields = {
            "X-Amz-Expires": str(term_s),
            "Expires": iso8601(signed_s + term_s),
            "ServerTime": iso8601(int(now_s)),
        }
    else:
        return
    if is_s3:
        raise Fault("AccessDenied", text, **fields)
    now = amz_date(int(now_s))
    raise Fault("InvalidSignatureException", f"{text}: signed at {date} for {term_s} s, and it is now {now}")
