"""API destinations as targets: each event is a request with what its connection and its target add, no more a second than is asked for."""

from __future__ import annotations

import asyncio
import base64
import functools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from batchyard.core import event_inputs
from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.announcing.listeners import Notice, Refused, TryLater
from batchyard.services.announcing.webhooks import EVENT_ID, JSON, Call, call_all
from batchyard.services.events.connections import OWN_HEADERS, connection_of_arn
from batchyard.services.events.destinations import destination_of_arn
from batchyard.services.events.names import refusal
from batchyard.store.sealing import NotSealedHere, Sealer
from batchyard.store.shelf import Document, Drawer, Place, Shelf

Authorize = Callable[[Caller, str, str, Any], None]

USER_AGENT = "Amazon/EventBridge/ApiDestinations"
SENDERS = 4
_LATER = frozenset((401, 407, 409, 429))  # EventBridge User Guide, "API destinations": what is tried again, besides 5xx
_WITHOUT_BODY = frozenset(("GET", "HEAD", "OPTIONS"))


def check_http(target: Params) -> None:
    """Raise a Fault unless a target's HttpParameters can be sent."""
    for header in (target.get("HttpParameters") or {}).get("HeaderParameters") or {}:
        if header.lower() in OWN_HEADERS:
            raise refusal(f"Target {target['Id']}: HttpParameters: the header {header} cannot be set: the request has its own.")


def order_for(target: Mapping[str, Any], event: Mapping[str, Any], rule_name: str, rule_arn: str) -> str:
    """What is kept of an event for an API destination: the body, and what HttpParameters say, with paths into the event looked up."""
    asked = target.get("HttpParameters") or {}
    found = functools.partial(event_inputs.value_for, event)
    return json.dumps(
        {
            "body": event_inputs.text_for(target, event, rule_name, rule_arn),
            "path": [found(value) for value in asked.get("PathParameterValues", [])],
            "headers": {name: found(value) for name, value in (asked.get("HeaderParameters") or {}).items()},
            "query": {name: found(value) for name, value in (asked.get("QueryStringParameters") or {}).items()},
        }
    )


class Destinations:
    """One per server: it knows how soon each API destination may be asked again."""

    def __init__(self, shelf: Shelf, sealer: Sealer, authorize: Authorize) -> None:
        self._shelf = shelf
        self._sealer = sealer
        self._authorize = authorize
        self._free_at_s: dict[str, float] = {}
        self._pool = ThreadPoolExecutor(SENDERS, thread_name_prefix="destination")

    async def take(self, place: Place, target: Mapping[str, Any], rule_name: str, notices: Sequence[Notice]) -> int:
        """See `listeners.Take`: a few at a time, so that the destination's rate is kept."""
        arn, taken = target["Arn"], 0
        while taken < len(notices):
            destination, secrets = self._shelf.look(place, functools.partial(self._looked_up, arn))
            self._require_allowed(place, target, rule_name)
            part = notices[taken : taken + max(1, destination["rate"] // 10)]
            now_s = time.monotonic()
            begin_s = max(now_s, self._free_at_s.get(arn, 0.0))
            self._free_at_s[arn] = begin_s + len(part) / destination["rate"]
            await asyncio.sleep(begin_s - now_s)
            call_of = functools.partial(_call, destination, secrets)
            send = functools.partial(call_all, destination["endpoint"], call_of, _LATER, part)
            try:
                sent = await asyncio.get_running_loop().run_in_executor(self._pool, send)
            except (TryLater, Refused):
                if taken:
                    return taken
                raise
            taken += sent
            if sent < len(part):
                return taken
        return taken

    def close(self) -> None:
        """Let go of the threads; who is being asked is asked to the end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _looked_up(self, arn: str, drawer: Drawer) -> tuple[Document, Mapping[str, Any]]:
        destination = destination_of_arn(drawer, arn)
        if destination is None:
            raise Refused(f"{arn} does not exist")
        connection = connection_of_arn(drawer, destination["connection"])
        if connection is None or not connection["sealed"]:
            raise TryLater(f"the connection of {arn} is not authorized: UpdateConnection or UpdateApiDestination gives it one")
        try:
            return destination, json.loads(self._sealer.open(connection["sealed"], connection["arn"]))
        except NotSealedHere as trouble:
            raise TryLater(str(trouble)) from trouble

    def _require_allowed(self, place: Place, target: Mapping[str, Any], rule_name: str) -> None:
        caller = caller_of(place, target["RoleArn"], rule_name)
        try:
            self._authorize(caller, "events", "InvokeApiDestination", {"ApiDestinationArn": target["Arn"]})
        except Fault as fault:
            raise Refused(fault.message) from fault


def caller_of(place: Place, role_arn: str, rule_name: str, request_id: str = "") -> Caller:
    """Who asks when a rule does: a session of its target's role."""
    role = role_arn.rpartition("/")[2]
    arn = f"arn:aws:sts::{place.account}:assumed-role/{role}/{rule_name}"
    return Caller(place.account, place.region, "", arn, f"{role}:{rule_name}", request_id)


def _call(destination: Mapping[str, Any], secrets: Mapping[str, Any], notice: Notice) -> Call:
    """The request of one notice. Where a connection and a target name the same thing, the connection has the last word, as on AWS."""
    order = json.loads(notice.text)
    own = secrets.get("InvocationHttpParameters") or {}
    headers = {"Content-Type": JSON, "User-Agent": USER_AGENT, EVENT_ID: notice.id, **order["headers"], **_named(own, "HeaderParameters")}
    if "BasicAuthParameters" in secrets:
        name = secrets["BasicAuthParameters"]
        headers["Authorization"] = "Basic " + base64.b64encode(f"{name['Username']}:{name['Password']}".encode()).decode()
    else:
        key = secrets["ApiKeyAuthParameters"]
        headers[key["ApiKeyName"]] = key["ApiKeyValue"]
    parts = urlsplit(destination["endpoint"])
    path = parts.path or "/"
    for value in order["path"]:
        path = path.replace("*", quote(value, safe=""), 1)
    query = [*parse_qsl(parts.query, keep_blank_values=True), *{**order["query"], **_named(own, "QueryStringParameters")}.items()]
    body = None if destination["method"] in _WITHOUT_BODY else _body(order["body"], _named(own, "BodyParameters"))
    return Call(destination["method"], path + (f"?{urlencode(query)}" if query else ""), headers, body)


def _named(own: Mapping[str, Any], kind: str) -> dict[str, str]:
    return {one["Key"]: one.get("Value", "") for one in own.get(kind) or () if one.get("Key")}


def _body(text: str, added: Mapping[str, str]) -> bytes:
    if not added:
        return text.encode()
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise Refused("the connection has BodyParameters, but what the target is sent is no JSON object")
    return event_inputs.json_of({**body, **added}).encode()
