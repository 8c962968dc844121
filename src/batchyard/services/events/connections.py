"""Connections: how a receiver of HTTP requests is told who asks, by an API key or a name and password. What is secret is kept sealed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.desk import Sealing
from batchyard.services.events.names import page, refusal, require_name
from batchyard.store.shelf import Document, Drawer

CONNECTION = "connection"
MOST_CONNECTIONS = 3_000
_BLOCKS = {"BASIC": ("BasicAuthParameters", ("Username", "Password")), "API_KEY": ("ApiKeyAuthParameters", ("ApiKeyName", "ApiKeyValue"))}
_SECRETS = {"BasicAuthParameters": "Password", "ApiKeyAuthParameters": "ApiKeyValue"}
_LISTS = ("HeaderParameters", "QueryStringParameters", "BodyParameters")
OWN_HEADERS = frozenset(("connection", "content-length", "host", "transfer-encoding"))  # headers that the request has by itself
_OAUTH = "is not available in this version of Batchyard: use BASIC or API_KEY."


def create_connection(sealer: Sealing, drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, CreateConnection. It is authorized at once: nobody is asked."""
    name = params["Name"]
    require_name(name)
    if drawer.get(CONNECTION, name) is not None:
        raise Fault("ResourceAlreadyExistsException", f"Connection {name} already exists.")
    if drawer.count(CONNECTION) >= MOST_CONNECTIONS:
        raise Fault("LimitExceededException", f"The requested resource exceeds the maximum number allowed: {MOST_CONNECTIONS} connections.")
    _refuse_what_is_not_there(params)
    arn = f"arn:aws:events:{caller.region}:{caller.account}:connection/{name}/{uuid.uuid4()}"
    secrets = _merged({}, params["AuthorizationType"], params["AuthParameters"])
    return _put(sealer, drawer, name, {"arn": arn, "created_at_ms": drawer.now_ms}, params, secrets)


def update_connection(sealer: Sealing, drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, UpdateConnection: what is not given stays as it is."""
    connection = find_connection(drawer, params["Name"])
    _refuse_what_is_not_there(params)
    kind = params.get("AuthorizationType") or connection["type"]
    before = json.loads(sealer.open(connection["sealed"], connection["arn"])) if connection["sealed"] else {}
    kept = {name: value for name, value in before.items() if name not in _SECRETS or name == _block_of(kind)[0]}
    secrets = _merged(kept, kind, params.get("AuthParameters") or {})
    return {
        **_put(sealer, drawer, params["Name"], connection, {**params, "AuthorizationType": kind}, secrets),
        "LastAuthorizedTime": drawer.now_ms / 1000,
    }


def _put(sealer: Sealing, drawer: Drawer, name: str, before: Document, params: Params, secrets: Mapping[str, Any]) -> Params:
    document: Document = {
        "arn": before["arn"],
        "type": params["AuthorizationType"],
        "description": params.get("Description", before.get("description", "")),
        "state": "AUTHORIZED",
        "shown": _shown_of(secrets),
        "sealed": sealer.seal(json.dumps(secrets).encode(), before["arn"]),
        "created_at_ms": before["created_at_ms"],
        "changed_at_ms": drawer.now_ms,
        "authorized_at_ms": drawer.now_ms,
    }
    drawer.put(CONNECTION, name, document)
    return {name: value for name, value in _summary(document).items() if name != "LastAuthorizedTime"}


def _refuse_what_is_not_there(params: Params) -> None:
    if params.get("AuthorizationType") == "OAUTH_CLIENT_CREDENTIALS":
        raise refusal(f"AuthorizationType OAUTH_CLIENT_CREDENTIALS {_OAUTH}")
    asked = params.get("AuthParameters") or {}
    if asked.get("OAuthParameters"):
        raise refusal(f"AuthParameters.OAuthParameters {_OAUTH}")
    for where, value in (
        ("InvocationConnectivityParameters", params.get("InvocationConnectivityParameters")),
        ("AuthParameters.ConnectivityParameters", asked.get("ConnectivityParameters")),
        ("KmsKeyIdentifier", params.get("KmsKeyIdentifier")),
    ):
        if value:
            raise refusal(f"{where} is not available in this version of Batchyard: leave it out.")


def _block_of(kind: str) -> tuple[str, tuple[str, ...]]:
    if kind not in _BLOCKS:
        raise refusal(f"AuthorizationType {kind} is not known: it must be BASIC or API_KEY.")
    return _BLOCKS[kind]


def _merged(before: Mapping[str, Any], kind: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """All that a connection knows after a request; a Fault where something is missing."""
    block, members = _block_of(kind)
    for other in _SECRETS.keys() - {block}:
        if asked.get(other):
            raise refusal(f"AuthParameters.{other} is not for AuthorizationType {kind}: give AuthParameters.{block}.")
    found = {**before, block: {**(before.get(block) or {}), **(asked.get(block) or {})}}
    missing = [member for member in members if not found[block].get(member)]
    if missing:
        raise refusal(f"Parameter(s) AuthParameters.{block}.{missing[0]} must be specified for AuthorizationType {kind}.")
    if "InvocationHttpParameters" in asked:
        found["InvocationHttpParameters"] = asked["InvocationHttpParameters"]
    headers = [one.get("Key", "") for one in (found.get("InvocationHttpParameters") or {}).get("HeaderParameters", [])]
    for header in [*headers, found[block].get("ApiKeyName", "")]:
        if header.lower() in OWN_HEADERS:
            raise refusal(f"AuthParameters: the header {header} cannot be set: the request has its own.")
    return found


def _shown_of(secrets: Mapping[str, Any]) -> Params:
    """What may be seen: names, but of no secret its value."""
    shown: Params = {}
    for block, content in secrets.items():
        if block in _SECRETS:
            shown[block] = {name: value for name, value in content.items() if name != _SECRETS[block]}
        else:
            shown[block] = {kind: [_without_secret(one) for one in content[kind]] for kind in _LISTS if content.get(kind)}
    return shown


def _without_secret(parameter: Mapping[str, Any]) -> Params:
    return {name: value for name, value in parameter.items() if name != "Value" or not parameter.get("IsValueSecret")}


def find_connection(drawer: Drawer, name: str) -> Document:
    """A connection's document; a Fault where there is none."""
    found = drawer.get(CONNECTION, name)
    if found is None:
        raise Fault("ResourceNotFoundException", f"Failed to describe the connection(s). Connection '{name}' does not exist.")
    return found


def connection_of_arn(drawer: Drawer, arn: str) -> Document | None:
    """The connection that an ARN names, None when that one is gone."""
    found = drawer.get(CONNECTION, arn.rpartition(":")[2].split("/")[1]) if arn.count("/") == 2 else None
    return found if found is not None and found["arn"] == arn else None


def _summary(connection: Document) -> Params:
    shown = {
        "ConnectionArn": connection["arn"],
        "ConnectionState": connection["state"],
        "CreationTime": connection["created_at_ms"] / 1000,
        "LastModifiedTime": connection["changed_at_ms"] / 1000,
    }
    return shown | ({"LastAuthorizedTime": connection["authorized_at_ms"] / 1000} if connection["sealed"] else {})


def describe_connection(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DescribeConnection."""
    connection = find_connection(drawer, params["Name"])
    shown = {**_summary(connection), "Name": params["Name"], "AuthorizationType": connection["type"], "AuthParameters": connection["shown"]}
    return shown | ({"Description": connection["description"]} if connection["description"] else {})


def list_connections(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, ListConnections."""
    entries = drawer.entries(CONNECTION, prefix=params.get("NamePrefix", ""))
    wanted = params.get("ConnectionState")
    shown = [{**_summary(c), "Name": name, "AuthorizationType": c["type"]} for name, c in entries if wanted in (None, c["state"])]
    return page(shown, params, "Connections")


def deauthorize_connection(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DeauthorizeConnection: what was secret is forgotten. UpdateConnection authorizes it again."""
    connection = find_connection(drawer, params["Name"])
    answer = {**_summary(connection), "ConnectionState": "DEAUTHORIZING"}
    document = {**connection, "state": "DEAUTHORIZED", "shown": {}, "sealed": b"", "changed_at_ms": drawer.now_ms}
    drawer.put(CONNECTION, params["Name"], document)
    return answer


def delete_connection(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DeleteConnection. API destinations that use it become INACTIVE."""
    connection = find_connection(drawer, params["Name"])
    drawer.delete(CONNECTION, params["Name"])
    return {**_summary(connection), "ConnectionState": "DELETING"}
