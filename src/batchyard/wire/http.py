"""The two things that cross the door: a request as it arrived and a response as it leaves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class HttpRequest:
    """One request. `raw_path` and `raw_query` are as on the wire (percent-encoding kept: `/v1/tags/{arn}` needs it).

    `headers` has lower-case names; repeated ones are joined by a comma. `body` yields the chunks of the body; once the door has
    checked the signature, they come without aws-chunked framing, and a wrong length, chunk signature, payload hash or trailing
    checksum raises a `Fault` from the iterator. After the last chunk, `trailers` holds what followed the body. `notes` is None unless
    the door wants to hear more of the answering than the response says (`services/s3/access_lines.py`). `may` tells, of what stands in the
    body, whether the caller's policies allow an action on a resource; None where no policy has to.
    """

    method: str
    raw_path: str
    raw_query: str
    headers: dict[str, str]
    body: AsyncIterator[bytes]
    remote: str = ""
    trailers: dict[str, str] = field(default_factory=dict)
    notes: Any = None
    may: Callable[[str, str], bool] | None = None


@dataclass(slots=True)
class HttpResponse:
    """One response. `body` is bytes, or an async iterator of chunks for bodies that stream (then set content-length yourself)."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | AsyncIterator[bytes] = b""
