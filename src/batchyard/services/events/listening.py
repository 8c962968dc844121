"""The targets of enabled rules as listeners of the announcer, and their schedules as its timers."""

from __future__ import annotations

import functools
import hashlib
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchyard.core import event_inputs
from batchyard.core.event_patterns import Matches, compile_pattern
from batchyard.core.schedules import compile_schedule
from batchyard.services.announcing.happening import Happening, envelope
from batchyard.services.announcing.listeners import Listener, Notice, Refused, Send, Take
from batchyard.services.announcing.timers import Timer
from batchyard.services.announcing.webhooks import webhook
from batchyard.services.events.calling import Destinations, order_for
from batchyard.services.events.destinations import ARN as DESTINATION_ARN
from batchyard.services.events.names import PLACES, RULE, rule_arn
from batchyard.services.events.submitting import Submitter
from batchyard.services.events.targets import JOB_QUEUE, LOG_GROUP
from batchyard.store.logs_store import LogStore
from batchyard.store.shelf import Document, Place, Shelf

SCHEDULER = "aws.events"  # the source of firings; PutEvents takes no source of AWS's


Render = Callable[[Mapping[str, Any], Mapping[str, Any], str, str], str]
"""What a target is sent: of the target, the event, the rule's name and ARN."""


@dataclass(frozen=True, slots=True)
class Senders:
    """What the targets of rules are reached by. `secret` signs what is sent to plain URLs."""

    logs: LogStore
    secret: bytes
    submitter: Submitter
    destinations: Destinations


def listeners_of_rules(shelf: Shelf, senders: Senders) -> Mapping[str, Listener]:
    """One listener for each target of each enabled rule, by key."""
    found: dict[str, Listener] = {}
    for place, name, rule in _enabled(shelf):
        matches = compile_pattern(rule["pattern"]) if rule["pattern"] else None
        for target in rule["targets"]:
            key = f"rule/{place.account}/{place.region}/{name}/{target['Id']}"
            found[key] = _listener(key, place, name, matches, target, senders)
    return found


def timers_of_rules(shelf: Shelf) -> Mapping[str, Timer]:
    """One timer for each enabled rule with a schedule, by key."""
    found: dict[str, Timer] = {}
    for place, name, rule in _enabled(shelf):
        expression = rule.get("schedule")
        if expression:
            key = f"rule/{place.account}/{place.region}/{name}"
            found[key] = Timer(key, expression, compile_schedule(expression), functools.partial(_firing, place, name))
    return found


def _enabled(shelf: Shelf) -> Iterator[tuple[Place, str, Document]]:
    for place_name in shelf.look(PLACES, lambda drawer: drawer.names("place")):
        account, _, region = place_name.partition("/")
        place = Place("events", account, region)
        for name, rule in shelf.look(place, lambda drawer: drawer.entries(RULE)):
            if rule["state"] == "ENABLED":
                yield place, name, rule


def _listener(key: str, place: Place, rule_name: str, matches: Matches | None, target: Mapping[str, Any], senders: Senders) -> Listener:
    """How a target is told, and what."""
    arn: str = target["Arn"]
    render: Render = event_inputs.text_for
    send: Send | None = None
    take: Take | None = None
    if JOB_QUEUE.fullmatch(arn):
        render = _job_for
        take = functools.partial(senders.submitter.take, place, target, rule_name, key)
    elif DESTINATION_ARN.fullmatch(arn):
        render = order_for
        take = functools.partial(senders.destinations.take, place, target, rule_name)
    elif group := LOG_GROUP.fullmatch(arn):
        send = functools.partial(_log, senders.logs, place, group[3], rule_name)
    else:
        send = webhook(arn, senders.secret).send
    return Listener(key, functools.partial(_text, matches, render, target, place, rule_name), send, take, is_for_bus=matches is not None)


def _text(matches: Matches | None, render: Render, target: Mapping[str, Any], place: Place, rule_name: str, event: Happening) -> str | None:
    """What the target is sent of an event of the bus, or of a firing of the rule's own schedule."""
    if (event["account"], event["region"]) != (place.account, place.region):
        return None
    arn = rule_arn(place.account, place.region, rule_name)
    is_wanted = event["resources"] == [arn] if event["source"] == SCHEDULER else matches is not None and matches(event)
    return render(target, event, rule_name, arn) if is_wanted else None


def _job_for(target: Mapping[str, Any], event: Mapping[str, Any], rule_name: str, arn: str) -> str:
    """The whole event says nothing about the job that is to be submitted."""
    is_asked = target.get("Input") or target.get("InputPath") or target.get("InputTransformer")
    return event_inputs.text_for(target, event, rule_name, arn) if is_asked else "{}"


def _firing(place: Place, rule_name: str, at_ms: int) -> Happening:
    """What EventBridge sends when a schedule fires. The same firing has the same id."""
    arn = rule_arn(place.account, place.region, rule_name)
    id = str(uuid.UUID(bytes=hashlib.sha256(f"{arn}/{at_ms}".encode()).digest()[:16], version=4))
    return envelope(id, "Scheduled Event", SCHEDULER, place.account, place.region, at_ms, [arn], {})


def _log(logs: LogStore, place: Place, group: str, stream: str, notices: Sequence[Notice]) -> int:
    """Put them into the stream of a log group that is called as the rule is."""
    namespace = (place.account, place.region)
    if logs.group(namespace, group) is None:
        raise Refused(f"log group {group} does not exist")
    logs.create_stream(namespace, group, stream)
    if logs.put(namespace, group, stream, [(notice.at_ms, notice.text.encode()) for notice in notices]) is None:
        raise Refused(f"log group {group} does not exist")
    return len(notices)
