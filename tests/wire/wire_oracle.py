"""botocore as the mirror image of `wire`: it writes the requests that we read and reads the responses that we write."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import botocore.awsrequest
import botocore.parsers
import botocore.serialize
import botocore.session
from hypothesis import strategies as st

from batchyard.wire.http import HttpRequest, HttpResponse
from batchyard.wire.servicemodel import Shape
from batchyard.wire.shapes import Service
from batchyard.wire.validation import java_pattern


async def no_body() -> AsyncIterator[bytes]:
    """The body of a request whose bytes are handed over otherwise."""
    return
    yield b""


def request(method: str = "POST", path: str = "/", query: str = "", headers: dict[str, str] | None = None) -> HttpRequest:
    """A request without a body."""
    return HttpRequest(method, path, query, headers or {}, no_body())


@lru_cache(maxsize=16)
def botocore_model(service: str) -> Any:
    """botocore's own reading of a service's model."""
    return botocore.session.get_session().get_service_model(service)


@lru_cache(maxsize=8)
def _serializer(protocol: str) -> Any:
    return botocore.serialize.create_serializer(protocol, include_validation=True)


def as_botocore_sends(service: str, operation: str, params: dict[str, Any]) -> tuple[HttpRequest, bytes]:
    """The request that botocore makes of `params`, and its body."""
    model = botocore_model(service)
    parts = _serializer(model.metadata["protocol"]).serialize_to_request(params, model.operation_model(operation))
    botocore.awsrequest.prepare_request_dict(parts, "http://127.0.0.1:1", context={})
    prepared = botocore.awsrequest.create_request_object(parts).prepare()
    url = urlsplit(prepared.url)
    body = prepared.body or b""
    if not isinstance(body, bytes | str):
        body = body.read()
    headers = {name.lower(): value.decode() if isinstance(value, bytes) else str(value) for name, value in prepared.headers.items()}
    return request(prepared.method, url.path, url.query, headers), body.encode() if isinstance(body, str) else body


def as_botocore_reads(service: str, operation: str, response: HttpResponse) -> dict[str, Any]:
    """What botocore makes of a response, times as epoch seconds."""
    model = botocore_model(service)
    parser = botocore.parsers.create_parser(model.metadata["protocol"])
    parts = {
        "status_code": response.status,
        "headers": botocore.awsrequest.HeadersDict(response.headers),
        "body": response.body,
    }
    return plain(parser.parse(parts, model.operation_model(operation).output_shape))


def plain(value: Any) -> Any:
    """The same with times as epoch seconds."""
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def without_empties(value: Any) -> Any:
    """The same without empty objects and lists, which XML and forms cannot tell from absent ones."""
    if isinstance(value, dict):
        kept = {key: without_empties(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in ({}, [], None)}
    if isinstance(value, list):
        return [without_empties(item) for item in value]
    return value


# ---- values of a shape ------------------------------------------------------------------------------------------

_TIMES = st.integers(0, 4_000_000_000_000).map(lambda millis: datetime.fromtimestamp(millis / 1000, UTC))
_WHOLE_TIMES = st.integers(0, 4_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
# Texts for patterns: making them up costs hypothesis seconds.
_SAMPLES = [
    "abc-1",
    "Abc_2/d",
    "a",
    "/",
    "123456789012",
    "arn:aws:iam::123456789012:role/path/name",
    "/path/to/",
    "t" * 40,
    "1.0",
    "fs-01234567",
    "us-east-1",
]
_PLAIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_/.: "


class Values:
    """Strategies for values of one service's shapes. `xml`: only characters that XML 1.0 holds, nothing empty."""

    def __init__(self, service: Service, *, xml: bool = False, whole_seconds: bool = False) -> None:
        self.model = service.model
        self.xml = xml
        self.times = _WHOLE_TIMES if whole_seconds else _TIMES
        self._known: dict[str, st.SearchStrategy[Any]] = {}

    def structure(self, shape: Shape, *, only: frozenset[str | None] | None = None) -> st.SearchStrategy[dict[str, Any]]:
        """Members of `shape`, required ones always; with `only`, those that travel there."""
        required, optional = {}, {}
        for name, member in shape.members.items():
            if only is not None and member.location not in only:
                continue
            value = self.of(member.shape) if member.location is None else self.outside(member.shape)
            (required if name in shape.required else optional)[name] = value
        return st.fixed_dictionaries(required, optional=optional)

    def of(self, name: str) -> st.SearchStrategy[Any]:
        """Values of the shape called `name`."""
        if name not in self._known:
            self._known[name] = st.deferred(lambda: self._made(self.model.shapes[name]))
        return self._known[name]

    def _made(self, shape: Shape) -> st.SearchStrategy[Any]:
        low, high = int(shape.min or 0), int(min(shape.max if shape.max is not None else 10**12, 10**12))
        if shape.type == "structure":
            if shape.document:
                return st.just({"a": [1, "b"]})
            if shape.eventstream:
                return st.just({})
            if shape.union:
                return st.one_of([self.of(m.shape).map(lambda value, name=name: {name: value}) for name, m in shape.members.items()])
            return self.structure(shape).filter(bool) if self.xml and shape.members else self.structure(shape)
        if shape.type == "list":
            low = max(low, 1) if self.xml else low
            return st.lists(self.of(shape.member.shape), min_size=low, max_size=min(max(low, 3), max(high, low)))
        if shape.type == "map":
            low = max(low, 1) if self.xml else low
            return st.dictionaries(self.of(shape.key.shape), self.of(shape.value.shape), min_size=low, max_size=min(max(low, 3), high))
        return self._scalar(shape, low, high)

    def _scalar(self, shape: Shape, low: int, high: int) -> st.SearchStrategy[Any]:
        if shape.type == "boolean":
            return st.booleans()
        if shape.type == "timestamp":
            return self.times
        if shape.type == "blob":
            return st.binary(min_size=1, max_size=20)
        if shape.type in ("float", "double"):
            return st.floats(shape.min or 0, min(shape.max or 1e9, 1e9), allow_nan=False)
        if shape.type in ("integer", "long"):
            ceiling = 2**31 - 1 if shape.type == "integer" else 2**62
            floor = -5 if shape.min is None else int(shape.min)
            return st.integers(floor, ceiling if shape.max is None else min(int(shape.max), ceiling))
        return self._text(shape, low, high)

    def _text(self, shape: Shape, low: int, high: int) -> st.SearchStrategy[str]:
        if shape.enum:
            return st.sampled_from(shape.enum)
        if shape.pattern and (pattern := java_pattern(shape.pattern)):
            known = [text for text in _SAMPLES if low <= len(text) <= high and re.search(pattern, text)]
            if known:
                return st.sampled_from(known)
            return st.from_regex(pattern, alphabet=_PLAIN).filter(lambda text: low <= len(text) <= high)
        low = max(low, 1) if self.xml else low
        alphabet = (
            st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn"))
            if self.xml
            else st.characters(codec="utf-8", exclude_categories=("Cs",))
        )
        return st.text(alphabet, min_size=low, max_size=min(max(low, 12), max(high, low)))

    def outside(self, name: str) -> st.SearchStrategy[Any]:
        """Values that can travel in a path, query or header."""
        shape = self.model.shapes[name]
        text = st.text(_PLAIN, min_size=1, max_size=12).filter(lambda t: t == t.strip() and t not in (".", ".."))
        if shape.type == "string" and not shape.enum:
            return self.of(name) if shape.pattern else text
        if shape.type == "list":
            return st.lists(self.outside(shape.member.shape), min_size=1, max_size=3)
        if shape.type == "map":
            return st.dictionaries(st.text("abcxyz-", min_size=1, max_size=5), text, max_size=3)
        if shape.type == "timestamp":
            return _WHOLE_TIMES
        return self.of(name)
