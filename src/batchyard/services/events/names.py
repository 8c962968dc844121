"""Names, ARNs and refusals of EventBridge; only the default bus is there."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.store.shelf import Document, Drawer, Place

RULE = "rule"
PLACES = Place("events", "", "")  # which accounts and regions have rules
MOST_RULES = 300
MOST_TARGETS = 5
URL_TEXT = re.compile(r"[\x21-\x7e]+")  # nothing that would have to be encoded first
NAME = re.compile(r"[.\-_A-Za-z0-9]{1,64}")


def refusal(message: str) -> Fault:
    """The request itself is wrong."""
    return Fault("ValidationException", message)


def require_name(name: str) -> None:
    """Names of rules, connections and API destinations."""
    if not NAME.fullmatch(name):
        raise refusal(f"1 validation error detected: Value '{name}' at 'name' failed to satisfy constraint: [\\.\\-_A-Za-z0-9]+")


def is_url(text: str) -> bool:
    """Whether a text is a URL that requests can be sent to."""
    try:
        parts = urlsplit(text)
        is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None and parts.port != 0
        return is_whole and URL_TEXT.fullmatch(text) is not None
    except ValueError:
        return False


def rule_arn(account: str, region: str, name: str) -> str:
    return f"arn:aws:events:{region}:{account}:rule/{name}"


def bus_arn(caller: Caller) -> str:
    return f"arn:aws:events:{caller.region}:{caller.account}:event-bus/default"


def require_bus(caller: Caller, params: Params, member: str = "EventBusName") -> None:
    """Only `default`, by name or ARN, is there."""
    asked = params.get(member) or "default"
    if asked not in ("default", bus_arn(caller)):
        raise Fault("ResourceNotFoundException", f"Event bus {asked} does not exist.")


def find_rule(drawer: Drawer, name: str) -> Document:
    """A rule's document; a Fault where there is none."""
    found = drawer.get(RULE, name)
    if found is None:
        raise Fault("ResourceNotFoundException", f"Rule {name} does not exist on EventBus default.")
    return found


def page(entries: list[Any], params: Params, member: str) -> Params:
    """One page of entries; the token is how many came before."""
    token = params.get("NextToken") or "0"
    if not (token.isascii() and token.isdigit() and len(token) < 10):
        raise refusal("NextToken is not valid.")
    first, limit = int(token), params.get("Limit") or 100
    answer: Params = {member: entries[first : first + limit]}
    if first + limit < len(entries):
        answer["NextToken"] = str(first + limit)
    return answer
