"""What answers each operation of this service: read with the first request for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from batchyard.services import Caller, Handler, Params
from batchyard.services.desk import Sealing
from batchyard.services.events import connections, destinations, putting, rules, targets
from batchyard.services.events.not_yet import NOT_YET
from batchyard.services.shelved import Act, changed, place_of, reading, writing
from batchyard.store.shelf import Drawer


def _switching(act: Act) -> Handler:
    """A change after which others may be told of events: the announcer looks again before it is answered."""
    write = writing("events", act)

    async def handler(desk: Any, caller: Caller, params: Params) -> Params:
        answer = await write(desk, caller, params)
        desk.announcer.refresh()
        return answer

    return handler


def _sealing(act: Callable[[Sealing, Drawer, Caller, Params], Params]) -> Handler:
    """A change that seals secrets."""

    async def handler(desk: Any, caller: Caller, params: Params) -> Params:
        return await changed(desk, place_of("events", caller), lambda drawer: act(desk.sealer, drawer, caller, params))  # type: ignore[no-any-return]

    return handler


OPERATIONS: dict[str, Handler] = {
    "CreateApiDestination": writing("events", destinations.create_api_destination),
    "CreateConnection": _sealing(connections.create_connection),
    "DeauthorizeConnection": writing("events", connections.deauthorize_connection),
    "DeleteApiDestination": writing("events", destinations.delete_api_destination),
    "DeleteConnection": writing("events", connections.delete_connection),
    "DeleteRule": _switching(rules.delete_rule),
    "DescribeApiDestination": reading("events", destinations.describe_api_destination),
    "DescribeConnection": reading("events", connections.describe_connection),
    "DescribeEventBus": reading("events", rules.describe_event_bus),
    "DescribeRule": reading("events", rules.describe_rule),
    "DisableRule": _switching(rules.disable_rule),
    "EnableRule": _switching(rules.enable_rule),
    "ListApiDestinations": reading("events", destinations.list_api_destinations),
    "ListConnections": reading("events", connections.list_connections),
    "ListEventBuses": reading("events", rules.list_event_buses),
    "ListRuleNamesByTarget": reading("events", targets.list_rule_names_by_target),
    "ListRules": reading("events", rules.list_rules),
    "ListTagsForResource": reading("events", rules.list_tags_for_resource),
    "ListTargetsByRule": reading("events", targets.list_targets_by_rule),
    "PutEvents": putting.put_events,
    "PutRule": _switching(rules.put_rule),
    "PutTargets": _switching(targets.put_targets),
    "RemoveTargets": _switching(targets.remove_targets),
    "TagResource": writing("events", rules.tag_resource),
    "TestEventPattern": putting.test_event_pattern,
    "UntagResource": writing("events", rules.untag_resource),
    "UpdateApiDestination": writing("events", destinations.update_api_destination),
    "UpdateConnection": _sealing(connections.update_connection),
}

__all__ = ["NOT_YET", "OPERATIONS"]
