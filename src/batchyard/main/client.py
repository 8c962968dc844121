"""A small synchronous client, so that a command is quick to start: signed calls of Batch, Logs and the service's own routes.

Trouble            what a command must expect: a sentence, what to do, an exit code
  Unreachable      nobody answers at the endpoint
  BeyondAws        only a Batchyard service can answer this; what answers here is none
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

EXIT_FAILED = 1  # the job failed, the check failed, the request was refused
EXIT_CANNOT = 2  # wrong usage (click's own), or a question that what answers here cannot answer
EXIT_NO_SERVICE = 3
EXIT_NO_KEYS = 4

TIMEOUT_S = 60.0
READ_TRIES = 4
_BACK_OFF_S = 0.3
_BUSY = frozenset({429, 500, 502, 503, 504})
_DROPPED = (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError)
_OWN_READS = ("explain", "instances", "machine", "cost", "log")
_READS = ("Describe", "List", "Get", "Filter")
_LOGS_TARGET = "Logs_20140328."


class Trouble(Exception):
    """What a command must expect to go wrong: `message` says it, `fix` what to do about it; `code` is AWS's exception name, if any."""

    def __init__(self, message: str, fix: str = "", *, exit_code: int = EXIT_FAILED, code: str = "", status: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.exit_code = exit_code
        self.code = code
        self.status = status


class Unreachable(Trouble):
    """Nobody answers at the endpoint."""


class BeyondAws(Trouble):
    """Only a Batchyard service can answer this; what answers here is none."""


@dataclass(frozen=True, slots=True)
class Keys:
    """One set of AWS credentials; `token` only with temporary ones."""

    access_key_id: str
    secret_access_key: str
    token: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the commands talk to. `kind`: "batchyard" (found by its endpoint.json), "endpoint" (named by the environment) or "aws".

    `endpoint_of` gives the base URL for "batch", "logs" or "batchyard"; `keys` is asked before each call, because temporary
    credentials are renewed while a command waits. `start_hint` says how to bring back a service that does not answer.
    """

    kind: str
    name: str
    region: str
    endpoint_of: Callable[[str], str]
    keys: Callable[[], Keys | None]
    folder: Path | None = None
    start_hint: str = ""

    @property
    def is_near(self) -> bool:
        """Whether asking often costs nobody anything: everything but AWS itself."""
        return self.kind != "aws"


@dataclass(slots=True)
class Client:
    """Calls to one `Place`. While `patience_s` is above 0, a service that does not answer is waited for so long (a restart)."""

    place: Place
    patience_s: float = 0.0
    _connections: dict[tuple[str, str], http.client.HTTPConnection] = field(default_factory=dict)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def batch(self, operation: str, **params: Any) -> dict[str, Any]:
        """The answer of one Batch operation (rest-json, `POST /v1/<operation in lower case>`); raises `Trouble`."""
        return self._call("batch", operation, f"/v1/{operation.lower()}", {"content-type": "application/json"}, params)

    def logs(self, operation: str, **params: Any) -> dict[str, Any]:
        """The answer of one CloudWatch Logs operation (json-1.1); raises `Trouble`."""
        headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": _LOGS_TARGET + operation}
        return self._call("logs", operation, "/", headers, params)

    def own(self, verb: str, **params: Any) -> dict[str, Any]:
        """The answer of one of the service's own routes, `POST /batchyard/v1/<verb>`; raises `BeyondAws` where there are none."""
        if self.place.kind == "aws":
            raise _beyond(self.place)
        return self._call("batchyard", verb, f"/batchyard/v1/{verb}", {"content-type": "application/json"}, params)

    def pages(self, operation: str, member: str, **params: Any) -> Iterator[dict[str, Any]]:
        """The elements of `member` of a paginated Batch operation, page after page, as they are asked for."""
        while True:
            answer = self.batch(operation, **params)
            yield from answer.get(member) or []
            token = answer.get("nextToken")
            if not token:
                return
            params["nextToken"] = token

    def _call(self, service: str, operation: str, path: str, headers: dict[str, str], params: dict[str, Any]) -> dict[str, Any]:
        is_read = operation.startswith(_READS) or (service == "batchyard" and operation in _OWN_READS)
        body = json.dumps(params).encode()
        give_up_at = time.monotonic() + self.patience_s
        tries = 0
        while True:
            tries += 1
            try:
                status, answer_headers, answer = self._send(service, path, headers, body, reuse=is_read)
            except Unreachable:
                if not is_read or time.monotonic() >= give_up_at:
                    raise
                time.sleep(_BACK_OFF_S)
                continue
            is_foreign = service == "batchyard" and not answer.lstrip().startswith(b"{")  # no service of ours: trying again is no use
            if status in _BUSY and tries < READ_TRIES and (is_read or status == 429) and not is_foreign:
                time.sleep(_BACK_OFF_S * 2 ** (tries - 1))
                continue
            return _decoded(self.place, service, operation, status, answer_headers, answer)

    def _send(
        self, service: str, path: str, headers: dict[str, str], body: bytes, *, reuse: bool
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """One request and its answer. Only reads use a connection again, and only they are sent once more when it had been closed:
        what changes something is never sent twice."""
        base = urlsplit(self.place.endpoint_of(service))
        url = f"{base.scheme}://{base.netloc}{base.path.rstrip('/')}{path}"
        signed = self._signed(service, url, headers, body)
        path_sent = url.removeprefix(f"{base.scheme}://{base.netloc}")
        at = (base.scheme, base.netloc)
        kept = self._connections.pop(at, None) if reuse else None
        try:
            if kept is not None:
                try:
                    return self._exchange(kept, at, path_sent, signed, body, keep=True)
                except _DROPPED:  # closed since the last call; a read may be sent again
                    pass
            return self._exchange(_connect(*at), at, path_sent, signed, body, keep=reuse)
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(self.place, base.netloc, error) from error

    def _exchange(
        self, connection: http.client.HTTPConnection, at: tuple[str, str], path: str, headers: dict[str, str], body: bytes, *, keep: bool
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        kept = False
        try:
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            kept = keep and not answer.will_close
        finally:
            if kept:
                self._connections[at] = connection
            else:
                connection.close()
        return answer.status, answer.headers, content

    def _signed(self, service: str, url: str, headers: dict[str, str], body: bytes) -> dict[str, str]:
        keys = self.place.keys()
        if keys is None:
            return headers
        from batchyard.wire.sigv4 import Credential, sign

        credential = Credential(keys.access_key_id, keys.secret_access_key, keys.token or None, account="", arn="", user_id="")
        return sign("POST", url, headers, body, credential, self.place.region, service, time.time())


def _connect(scheme: str, netloc: str) -> http.client.HTTPConnection:
    """A connection (not opened yet); https goes through HTTPS_PROXY and trusts AWS_CA_BUNDLE as other AWS clients do."""
    if scheme != "https":
        return http.client.HTTPConnection(netloc, timeout=TIMEOUT_S)
    import os
    import ssl
    from urllib.request import getproxies, proxy_bypass

    context = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE") or None)
    proxy = "" if proxy_bypass(netloc.partition(":")[0]) else getproxies().get("https", "")
    if not proxy:
        return http.client.HTTPSConnection(netloc, timeout=TIMEOUT_S, context=context)
    tunnel = urlsplit(proxy if "//" in proxy else f"http://{proxy}")
    connection = http.client.HTTPSConnection(tunnel.hostname or "", tunnel.port or 8080, timeout=TIMEOUT_S, context=context)
    host, _, port = netloc.partition(":")
    connection.set_tunnel(host, int(port or 443))
    return connection


def _unreachable(place: Place, netloc: str, error: Exception) -> Unreachable:
    what = "does not answer in time" if isinstance(error, TimeoutError) else "does not answer"
    detail = str(error) or type(error).__name__
    fix = place.start_hint or "Check the address and the network, then try again."
    return Unreachable(f"{place.name} {what} at {netloc} ({detail}).", fix, exit_code=EXIT_NO_SERVICE)


def _beyond(place: Place) -> BeyondAws:
    return BeyondAws(f"{place.name} cannot answer that: it is not a Batchyard service.", "Name one with --data DIR.", exit_code=EXIT_CANNOT)


def _decoded(place: Place, service: str, operation: str, status: int, headers: http.client.HTTPMessage, body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body) if body.strip() else {}
    except ValueError:
        answer = None
    if status < 300 and isinstance(answer, dict):
        return answer
    if not isinstance(answer, dict):
        if service == "batchyard":
            raise _beyond(place)
        text = body[:200].decode("utf-8", "replace").strip()
        raise Trouble(
            f"What answers at {urlsplit(place.endpoint_of(service)).netloc} is not AWS Batch: HTTP {status} to {operation}: {text}",
            "Check AWS_ENDPOINT_URL, or name a service with --data DIR.",
            exit_code=EXIT_NO_SERVICE,
            status=status,
        )
    code = str(headers.get("x-amzn-errortype") or answer.get("__type") or answer.get("code") or "").split(":")[0].rpartition("#")[2]
    message = str(answer.get("message") or answer.get("Message") or f"HTTP {status} without a message")
    if service == "batchyard" and status in (404, 501) and code in ("", "UnknownOperationException", "NotFound"):
        raise _beyond(place)
    fix, exit_code = _advice(place, code, status, message)
    raise Trouble(f"{operation} was refused: {message} ({code or f'HTTP {status}'})", fix, exit_code=exit_code, code=code, status=status)


_KEY_ADVICE = {
    "ExpiredTokenException": "The temporary credentials have expired: renew them (for example `aws sso login`) and try again.",
    "InvalidSignatureException": "The secret key is not the one of this service, or this machine's clock is off by more than 15 minutes.",
    "UnrecognizedClientException": 'The access key is unknown there: take the service\'s own (`eval "$(batchyard env --data DIR)"`).',
    "MissingAuthenticationTokenException": 'Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (`eval "$(batchyard env --data DIR)"`).',
    "AccessDeniedException": "Ask for the permission that the message names, or use other credentials.",
}
_KEY_CODES = {
    "ExpiredToken": "ExpiredTokenException",
    "RequestExpired": "InvalidSignatureException",
    "SignatureDoesNotMatch": "InvalidSignatureException",
    "RequestTimeTooSkewed": "InvalidSignatureException",
    "InvalidClientTokenId": "UnrecognizedClientException",
    "InvalidAccessKeyId": "UnrecognizedClientException",
    "IncompleteSignatureException": "MissingAuthenticationTokenException",
    "MissingAuthenticationToken": "MissingAuthenticationTokenException",
    "AccessDenied": "AccessDeniedException",
}


def _advice(place: Place, code: str, status: int, message: str) -> tuple[str, int]:
    known = _KEY_ADVICE.get(_KEY_CODES.get(code, code))
    if known:
        return known, EXIT_NO_KEYS
    if status == 429:
        return "Too many requests for now: wait a little and try again.", EXIT_FAILED
    if status >= 500:
        where = f" (its log is in {place.folder})" if place.folder else ""
        return f"That is a fault of the service, not of the request{where}: try again.", EXIT_FAILED
    if "queue" in message.lower():
        return "`batchyard queues` lists the queues.", EXIT_FAILED
    return "", EXIT_FAILED
