"""The door: one ASGI application for every AWS service, each request walking the same few steps.

    read - identify - match - parse - authorize - call - serialize - log

`/healthz` and `/metrics` answer anybody who may connect, without a signature; S3 buckets cannot have these names in path style.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from batchyard.model.fault import Fault
from batchyard.server.exchange import (
    BODY_IS_HERE,
    BodyAsked,
    Receive,
    Scope,
    Send,
    read_whole,
    refuse_unsendable,
    request_of,
    send_response,
)
from batchyard.server.identity import anonymous_caller, caller_of, refuse_web_pages, unproven_caller
from batchyard.server.metrics import CONTENT_TYPE, Collector, DoorMetrics
from batchyard.services import Caller, Handler
from batchyard.services.cloudformation.running import signals
from batchyard.services.s3 import AccessLogs
from batchyard.services.s3.access_lines import Notes
from batchyard.store.opening import is_for_want_of_room
from batchyard.wire import errors, routes, shapes, sigclaims, sigv2, sigv4
from batchyard.wire.foreign import refusal
from batchyard.wire.http import HttpRequest, HttpResponse
from batchyard.wire.ownjson import OwnService
from batchyard.wire.payload import open_body
from batchyard.wire.sigv4 import Verified

log = logging.getLogger("batchyard.door")
access_log = logging.getLogger("batchyard.access")

BODY_LIMIT = 1024 * 1024
# PutLogEvents takes 1 MiB counted as UTF-8, of which JSON may make six times as much ("\u00e4"), and 10,000 events around it.
# CreateFunction takes an archive of 50 MiB in Base64.
BODY_LIMITS = {"logs": 8 * 1024 * 1024, "lambda": 70 * 1024 * 1024}
BROKEN_OFF = 599  # in the figures only
OWN_PAGES = ("/healthz", "/metrics")

S3Handler = Callable[[Any, Caller, HttpRequest], Awaitable[HttpResponse]]
Authorize = Callable[[Caller, str, str, Any], None]
"""(caller, service, operation, its parameters or, of S3, the request): raises a Fault when that is not allowed."""


class ServiceModule(Protocol):
    """What a service brings: its operations, and why the others of AWS's model are not there."""

    @property
    def OPERATIONS(self) -> Mapping[str, Handler]: ...
    @property
    def NOT_YET(self) -> Mapping[str, str]: ...


class Codec(Protocol):
    """A service's language: `shapes.Service`, or `OwnService` for the routes that AWS does not have."""

    def match(self, request: HttpRequest, body: bytes = b"", /) -> tuple[str, dict[str, str]]: ...
    def decode(self, operation: str, request: HttpRequest, body: bytes, /) -> dict[str, Any]: ...
    def encode(self, operation: str, result: dict[str, Any], request_id: str, /) -> HttpResponse: ...
    def encode_fault(self, fault: Fault, request_id: str, /) -> HttpResponse: ...


@dataclass(frozen=True, slots=True)
class DoorSettings:
    """What the door must know. With `is_open` (`--auth off`) nobody proves anything and everybody is root; `known_hosts` are
    names besides localhost and IP addresses that requests may then be addressed to."""

    account: str
    region: str
    is_open: bool = False
    read_timeout_s: float = 60.0
    known_hosts: frozenset[str] = field(default_factory=frozenset)


def everybody_may(caller: Caller, service: str, operation: str, asked: Any) -> None:
    """Whoever has credentials of this service may call all of it: nobody enforces policies."""


def always_ready() -> Mapping[str, Any]:
    """The health of a service that has nothing to wait for."""
    return {"ready": True}


class _Visit:
    """One request on its way through the house, and what has become known of it."""

    __slots__ = ("asked_for", "caller", "codec", "operation", "receive", "request", "request_id", "sent", "service", "timeout_s")

    def __init__(self, request: HttpRequest, receive: Receive, timeout_s: float | None) -> None:
        self.request = request
        self.receive = receive
        self.timeout_s = timeout_s  # for the body; None when it is here already
        self.request_id = _new_request_id()
        # Until they are found: what a stranger writes must not become a metric's label.
        self.service, self.operation = "none", "-"
        self.asked_for = ""
        self.codec: Codec | None = None
        self.caller: Caller | None = None
        self.sent = 0  # bytes of the answer's body


class App:
    """The ASGI application.

    `services` maps botocore's service names ("batch", "logs", "sts", ... and "batchyard" for our own routes) to their modules;
    `credentials(access_key_id, token)` gives whom a key belongs to; `health` tells `/healthz` what to say, with "ready" in it.
    """

    def __init__(
        self,
        desk: Any,
        services: Mapping[str, ServiceModule],
        s3: S3Handler | None,
        credentials: sigv4.Lookup,
        settings: DoorSettings,
        *,
        health: Callable[[], Mapping[str, Any]] = always_ready,
        authorize: Authorize = everybody_may,
        collectors: Iterable[Collector] = (),
        access_logs: AccessLogs | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.metrics = DoorMetrics(collectors)
        self._desk = desk
        self._services = services
        self._s3 = s3
        self._credentials = credentials
        self._settings = settings
        self._health = health
        self._authorize = authorize
        self._clock = clock
        self._access_logs = access_logs
        self._codecs: dict[str, Codec] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        started = time.perf_counter()
        asked = BodyAsked(receive)
        request = request_of(scope, asked, self._settings.read_timeout_s)
        is_here = scope.get("state", {}).get(BODY_IS_HERE)
        visit = _Visit(request, asked, None if is_here else self._settings.read_timeout_s)
        response = await self._answer(visit)
        decided = time.perf_counter()
        if "expect" in request.headers and not asked.yet:
            # The client will not send the body now, and what follows on this connection would be taken for it.
            response.headers["connection"] = "close"
        status = await self._send(visit, response, receive, send)
        if request.notes is not None and self._access_logs is not None:
            self._access_logs.note(request, visit.caller, response, visit.sent, started, decided)
        elapsed = time.perf_counter() - started
        self.metrics.count(visit.service, visit.operation, status, elapsed)
        if access_log.isEnabledFor(logging.DEBUG):
            access_log.debug(
                "%s %s %s %s.%s %d %.1f ms %s",
                request.remote,
                request.method,
                request.raw_path,
                visit.service,
                visit.operation,
                status,
                elapsed * 1000,
                visit.request_id,
            )

    async def _send(self, visit: _Visit, response: HttpResponse, receive: Receive, send: Send) -> int:
        """The status, once all is sent; `BROKEN_OFF` when the body failed after the head was out. Then all that is left is to stop
        there, so that nobody takes a part for the whole."""
        try:
            visit.sent = await send_response(response, visit.request.method == "HEAD", receive, send)
        except Fault as fault:
            log.warning("%s %s broke off after its head: %s", visit.service, visit.operation, fault.message)
            return BROKEN_OFF
        except Exception:
            log.exception("%s %s broke off after its head (request %s)", visit.service, visit.operation, visit.request_id)
            self.metrics.count_unexpected(visit.service, visit.operation)
            return BROKEN_OFF
        return response.status

    async def _answer(self, visit: _Visit) -> HttpResponse:
        """The response, whatever happens."""
        try:
            if visit.request.raw_path in OWN_PAGES and visit.request.method in ("GET", "HEAD"):
                return self._own_page(visit)
            if visit.request.method == "PUT" and visit.request.raw_path.startswith(signals.PATH):
                return await self._signal(visit)
            response = await self._walk(visit)
            refuse_unsendable(response)
            return response
        except Fault as fault:
            return self._refusal(visit, fault)
        except Exception as error:
            if is_for_want_of_room(error):
                log.warning("%s %s found no room on the disk (request %s)", visit.service, visit.operation, visit.request_id)
                return self._refusal(visit, errors.disk_full(visit.service))
            log.exception("%s %s failed (request %s)", visit.service, visit.operation, visit.request_id)
            self.metrics.count_unexpected(visit.service, visit.operation)
            return self._refusal(visit, errors.server_fault(visit.service))

    async def _walk(self, visit: _Visit) -> HttpResponse:
        """The steps that every request takes."""
        request = visit.request
        service, form = await self._route(visit)
        visit.service = service
        codec = self._codecs.get(service)
        if codec is None:
            codec = await asyncio.to_thread(self._open, service)
        visit.codec = codec
        if service == "s3":
            return await self._walk_s3(visit)
        # 1 read
        limit = BODY_LIMITS.get(service, BODY_LIMIT)
        body = await read_whole(request, visit.receive, limit, visit.timeout_s) if form is None else form
        # 2 identify
        caller = self._identify(visit, body)
        # 3 match
        module = self._services[service]
        operation, _ = codec.match(request, body)
        visit.operation = operation
        handler = module.OPERATIONS.get(operation)
        if handler is None:
            raise errors.not_available(service, operation, module.NOT_YET.get(operation, ""))
        # 4 parse
        params = codec.decode(operation, request, body)
        # 5 authorize
        self._authorize(caller, service, operation, params)
        # 6 call
        result = await handler(self._desk, caller, params)
        # 7 serialize
        return codec.encode(operation, result, visit.request_id)

    async def _walk_s3(self, visit: _Visit) -> HttpResponse:
        """The same steps for S3, whose bodies stream through the last of them; it parses and serializes by itself."""
        request = visit.request
        visit.operation = request.method
        if self._s3 is None:
            raise errors.not_available("s3", "S3", "")
        if self._access_logs is not None and self._access_logs.sources:
            request.notes = Notes()
        verified = None
        if self._settings.is_open:
            caller = self._identify(visit, b"")
        elif sigclaims.is_signed(request) or sigv2.is_presigned(request):
            verify = sigv2.verify if sigv2.is_presigned(request) else sigv4.verify
            verified = verify(request, self._credentials, self._clock())
            caller = caller_of(verified, self._settings.region, visit.request_id)
            self._authorize(caller, "s3", request.method, request)
        else:
            caller = anonymous_caller(self._settings.region, visit.request_id)
        visit.caller = caller
        request.body = open_body(request, verified)
        response = await self._s3(self._desk, caller, request)
        response.headers.setdefault("x-amz-request-id", visit.request_id)
        response.headers.setdefault("x-amz-id-2", errors.host_id(visit.request_id))
        return response

    async def _route(self, visit: _Visit) -> tuple[str, bytes | None]:
        """(service, the form if it had to be read to know)."""
        request = visit.request
        service, form = routes.service_of(request), None
        if service is None:
            form = await read_whole(request, visit.receive, BODY_LIMIT, visit.timeout_s)
            service = routes.service_of_form(form.decode("latin-1")) or "sts"
        if service != "s3" and service not in self._services:
            visit.asked_for = service
            raise Fault(
                "UnsupportedOperationException",
                f"The service {service[:64]!r} is not available in this version of Batchyard.",
            )
        return service, form

    def _identify(self, visit: _Visit, body: bytes) -> Caller:
        """Who asks. Raises a `Fault` when a signature is missing, wrong or late."""
        if self._settings.is_open:
            refuse_web_pages(visit.request, self._settings.known_hosts)
            return unproven_caller(visit.request, self._settings.account, self._settings.region, visit.request_id)
        verified: Verified = sigv4.verify(visit.request, self._credentials, self._clock(), body)
        return caller_of(verified, self._settings.region, visit.request_id)

    def _open(self, service: str) -> Codec:
        """The codec of a service at its first request. Botocore's model and the modules of the service take tenths of a second to read."""
        if service == routes.OWN:
            codec: Codec = OwnService(self._services[service].OPERATIONS)
        else:
            codec = shapes.load(service)
            if service != "s3":
                _ = self._services[service].OPERATIONS
        self._codecs[service] = codec
        return codec

    def _refusal(self, visit: _Visit, fault: Fault) -> HttpResponse:
        if visit.service == "s3" and "Resource" not in fault.fields:
            fault.fields["Resource"] = visit.request.raw_path
        if visit.codec is not None:
            response = visit.codec.encode_fault(fault, visit.request_id)
        else:
            response = refusal(visit.asked_for, visit.request, fault, visit.request_id)
        if fault.code == "RequestTimeoutException":
            response.headers["connection"] = "close"
        return response

    async def _signal(self, visit: _Visit) -> HttpResponse:
        """An answer that a step of a stack waits for: whoever was given its URL may give it, without a signature."""
        visit.service, visit.operation = routes.OWN, "response"
        body = await read_whole(visit.request, visit.receive, BODY_LIMIT, visit.timeout_s)
        await signals.take(self._desk, visit.request.raw_path, body)
        return HttpResponse(200)

    def _own_page(self, visit: _Visit) -> HttpResponse:
        visit.service, visit.operation = routes.OWN, visit.request.raw_path[1:]
        if visit.operation == "metrics":
            return HttpResponse(200, {"content-type": CONTENT_TYPE}, self.metrics.render())
        return HttpResponse(200, {"content-type": "application/json"}, msgspec.json.encode(self._health()))


def _new_request_id() -> str:
    """A random UUID; 1 µs less than `uuid.uuid4()`, and nobody's secret."""
    text = f"{random.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"
