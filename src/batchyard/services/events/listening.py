"""The targets of enabled rules as listeners of the announcer."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from batchyard.core import event_inputs
from batchyard.core.event_patterns import Matches, compile_pattern
from batchyard.services.announcing.happening import Happening
from batchyard.services.announcing.listeners import Listener, Notice, Refused
from batchyard.services.announcing.webhooks import webhook
from batchyard.services.events.names import PLACES, RULE, rule_arn
from batchyard.services.events.targets import LOG_GROUP
from batchyard.store.logs_store import LogStore
from batchyard.store.shelf import Place, Shelf


def listeners_of_rules(shelf: Shelf, logs: LogStore, secret: bytes) -> Mapping[str, Listener]:
    """One listener for each target of each enabled rule, by key."""
    found: dict[str, Listener] = {}
    for name in shelf.look(PLACES, lambda drawer: drawer.names("place")):
        account, _, region = name.partition("/")
        place = Place("events", account, region)
        for rule_name, rule in shelf.look(place, lambda drawer: drawer.entries(RULE)):
            if rule["state"] != "ENABLED":
                continue
            matches = compile_pattern(rule["pattern"])
            for target in rule["targets"]:
                key = f"rule/{account}/{region}/{rule_name}/{target['Id']}"
                wants = functools.partial(_text, matches, target, place, rule_name)
                group = LOG_GROUP.fullmatch(target["Arn"])
                send = functools.partial(_log, logs, place, group[3], rule_name) if group else webhook(target["Arn"], secret).send
                found[key] = Listener(key, wants, send)
    return found


def _text(matches: Matches, target: Mapping[str, Any], place: Place, rule_name: str, event: Happening) -> str | None:
    if (event["account"], event["region"]) != (place.account, place.region) or not matches(event):
        return None
    return event_inputs.text_for(target, event, rule_name, rule_arn(place.account, place.region, rule_name))


def _log(logs: LogStore, place: Place, group: str, stream: str, notices: Sequence[Notice]) -> int:
    """Put them into the stream of a log group that is called as the rule is."""
    namespace = (place.account, place.region)
    if logs.group(namespace, group) is None:
        raise Refused(f"log group {group} does not exist")
    logs.create_stream(namespace, group, stream)
    if logs.put(namespace, group, stream, [(notice.at_ms, notice.text.encode()) for notice in notices]) is None:
        raise Refused(f"log group {group} does not exist")
    return len(notices)
