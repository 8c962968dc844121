"""API destinations: URLs that rules send events to, with the authorization of a connection."""

from __future__ import annotations

import re
import uuid

from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.events.connections import connection_of_arn
from batchyard.services.events.names import is_url, page, refusal, require_name
from batchyard.store.shelf import Document, Drawer

DESTINATION = "api-destination"
ARN = re.compile(r"arn:aws:events:([a-z0-9-]+):([0-9]{12}):api-destination/([.\-_A-Za-z0-9]{1,64})/[0-9a-f-]{36}")
MOST_DESTINATIONS = 3_000
METHODS = ("POST", "GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE")
DEFAULT_RATE = 300  # requests per second


def create_api_destination(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, CreateApiDestination. Unlike on AWS the endpoint may be plain HTTP."""
    name = params["Name"]
    require_name(name)
    if drawer.get(DESTINATION, name) is not None:
        raise Fault("ResourceAlreadyExistsException", f"An api-destination '{name}' already exists.")
    if drawer.count(DESTINATION) >= MOST_DESTINATIONS:
        raise Fault(
            "LimitExceededException", f"The requested resource exceeds the maximum number allowed: {MOST_DESTINATIONS} API destinations."
        )
    arn = f"arn:aws:events:{caller.region}:{caller.account}:api-destination/{name}/{uuid.uuid4()}"
    return _put(drawer, name, {"arn": arn, "created_at_ms": drawer.now_ms}, params)


def update_api_destination(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, UpdateApiDestination: what is not given stays as it is."""
    return _put(drawer, params["Name"], find_destination(drawer, params["Name"]), params)


def _put(drawer: Drawer, name: str, before: Document, params: Params) -> Params:
    document: Document = {
        "arn": before["arn"],
        "description": params.get("Description", before.get("description", "")),
        "connection": params.get("ConnectionArn", before.get("connection", "")),
        "endpoint": params.get("InvocationEndpoint", before.get("endpoint", "")),
        "method": params.get("HttpMethod", before.get("method", "")),
        "rate": params.get("InvocationRateLimitPerSecond", before.get("rate", DEFAULT_RATE)),
        "created_at_ms": before["created_at_ms"],
        "changed_at_ms": drawer.now_ms,
    }
    if not is_url(document["endpoint"]):
        raise refusal(f"Parameter InvocationEndpoint is not valid. Reason: {document['endpoint']} is no URL of https or http.")
    if document["method"] not in METHODS:
        raise refusal(f"Parameter HttpMethod is not valid. Reason: it must be one of {', '.join(METHODS)}.")
    if connection_of_arn(drawer, document["connection"]) is None:
        raise Fault("ResourceNotFoundException", f"Connection '{document['connection']}' does not exist.")
    drawer.put(DESTINATION, name, document)
    summary = _summary(drawer, document)
    return {member: summary[member] for member in ("ApiDestinationArn", "ApiDestinationState", "CreationTime", "LastModifiedTime")}


def find_destination(drawer: Drawer, name: str) -> Document:
    """An API destination's document; a Fault where there is none."""
    found = drawer.get(DESTINATION, name)
    if found is None:
        raise Fault("ResourceNotFoundException", f"Failed to describe the api-destination(s). An api-destination '{name}' does not exist.")
    return found


def destination_of_arn(drawer: Drawer, arn: str) -> Document | None:
    """The API destination that an ARN names, None when that one is gone."""
    matched = ARN.fullmatch(arn)
    found = drawer.get(DESTINATION, matched[3]) if matched else None
    return found if found is not None and found["arn"] == arn else None


def _summary(drawer: Drawer, destination: Document) -> Params:
    connection = connection_of_arn(drawer, destination["connection"])
    return {
        "ApiDestinationArn": destination["arn"],
        "ApiDestinationState": "ACTIVE" if connection is not None and connection["state"] == "AUTHORIZED" else "INACTIVE",
        "ConnectionArn": destination["connection"],
        "InvocationEndpoint": destination["endpoint"],
        "HttpMethod": destination["method"],
        "InvocationRateLimitPerSecond": destination["rate"],
        "CreationTime": destination["created_at_ms"] / 1000,
        "LastModifiedTime": destination["changed_at_ms"] / 1000,
    }


def describe_api_destination(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DescribeApiDestination."""
    destination = find_destination(drawer, params["Name"])
    shown = {**_summary(drawer, destination), "Name": params["Name"]}
    return shown | ({"Description": destination["description"]} if destination["description"] else {})


def list_api_destinations(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, ListApiDestinations."""
    entries = drawer.entries(DESTINATION, prefix=params.get("NamePrefix", ""))
    wanted = params.get("ConnectionArn")
    return page(
        [{**_summary(drawer, d), "Name": name} for name, d in entries if wanted in (None, d["connection"])], params, "ApiDestinations"
    )


def delete_api_destination(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DeleteApiDestination. What waits for it is dropped."""
    find_destination(drawer, params["Name"])
    drawer.delete(DESTINATION, params["Name"])
    return {}
