"""Signals from outside to a step that waits: responses of custom resources, of wait conditions, and of SignalResource.

A waiting step hands out a URL; whoever has it may answer, once for each UniqueId. The URL's key is a digest under the folder's own key, so
nobody can make one up. Answers are kept durably, and taken away with the step.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from typing import Any

import msgspec

from batchyard.model.fault import Fault
from batchyard.store.shelf import NO_REGION, Drawer, Place

PATH = "/_cloudformation/response/"
SIGNAL = "signal"
MOST = 1000  # answers under one URL: whoever was given it may not fill the disk
BODY_LIMIT = 4096  # what CloudFormation takes of a custom resource's response


def url_of(desk: Any, account: str, token: str) -> str:
    """Where answers to a step (or a wait condition's handle) are taken."""
    return f"{desk.functions.endpoint_url}{PATH}{account}/{token}/{_mark(desk, account, token)}"


def token_in(url: str) -> str:
    """The token of a URL made by `url_of`; "" for another one."""
    parts = url.partition(PATH)[2].split("/")
    return parts[1] if len(parts) == 3 else ""


def resource_token(stack_arn: str, logical_id: str) -> str:
    """Under what SignalResource leaves its signals."""
    return f"{stack_arn.rpartition('/')[2]}.{logical_id}"


async def take(desk: Any, path: str, body: bytes) -> None:
    """Keep the answer that was put to `path`. Raises Fault when it is not one, or the path is none of ours."""
    parts = path.removeprefix(PATH).split("/")
    if len(parts) != 3 or not hmac.compare_digest(parts[2].encode(), _mark(desk, parts[0], parts[1]).encode()):
        raise Fault("AccessDenied", "This is not a URL that a response is waited for at.")
    if len(body) > BODY_LIMIT:
        raise Fault("EntityTooLarge", f"Response object is too long: at most {BODY_LIMIT} bytes.")
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Fault("MalformedRequest", f"The response is not JSON: {error}") from None
    if not isinstance(said, dict) or said.get("Status") not in ("SUCCESS", "FAILED", "FAILURE"):
        raise Fault("MalformedRequest", "The response must be an object with a Status of SUCCESS, FAILED or FAILURE.")
    await put(desk, parts[0], parts[1], str(said.get("UniqueId") or "response"), said)


async def put(desk: Any, account: str, token: str, unique_id: str, said: dict[str, Any]) -> None:
    """Keep an answer under a token; the first of each UniqueId counts."""
    sealed = desk.sealer.seal(msgspec.json.encode(said), f"signal {token}")

    def change(drawer: Drawer) -> None:
        name = f"{token}/{unique_id}"
        if drawer.get(SIGNAL, name) is None:
            if len(drawer.entries(SIGNAL, prefix=f"{token}/", limit=MOST)) == MOST:
                raise Fault("SlowDown", f"At most {MOST} answers are kept for one step.")
            drawer.put(SIGNAL, name, {"sealed": sealed})

    await asyncio.wrap_future(desk.shelf.change(_place(account), change))


def taken(desk: Any, account: str, token: str) -> dict[str, dict[str, Any]]:
    """UniqueId -> what was said, so far."""
    entries = desk.shelf.look(_place(account), lambda drawer: drawer.entries(SIGNAL, prefix=f"{token}/"))
    return {name.partition("/")[2]: msgspec.json.decode(desk.sealer.open(kept["sealed"], f"signal {token}")) for name, kept in entries}


async def forget(desk: Any, account: str, token: str) -> None:
    """Nothing waits for a token any more."""

    def change(drawer: Drawer) -> None:
        for name, _ in drawer.entries(SIGNAL, prefix=f"{token}/"):
            drawer.delete(SIGNAL, name)

    await asyncio.wrap_future(desk.shelf.change(_place(account), change))


def _place(account: str) -> Place:
    return Place("cloudformation-signals", account, NO_REGION)


def _mark(desk: Any, account: str, token: str) -> str:
    key: bytes = desk.sealer.digest(f"signal {account} {token}")
    return hashlib.sha256(key).hexdigest()[:40]
