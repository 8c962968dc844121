"""EventBridge: rules on the default bus, whose targets are told of events of Batch and of one's own."""

from __future__ import annotations

from typing import Any

from batchyard.services import Caller, Handler, Params
from batchyard.services.events import putting, rules, targets
from batchyard.services.events.not_yet import NOT_YET
from batchyard.services.shelved import Act, reading, writing


def _switching(act: Act) -> Handler:
    """A change after which others may be told of events: the announcer looks again before it is answered."""
    write = writing("events", act)

    async def handler(desk: Any, caller: Caller, params: Params) -> Params:
        answer = await write(desk, caller, params)
        desk.announcer.refresh()
        return answer

    return handler


OPERATIONS: dict[str, Handler] = {
    "DeleteRule": _switching(rules.delete_rule),
    "DescribeEventBus": reading("events", rules.describe_event_bus),
    "DescribeRule": reading("events", rules.describe_rule),
    "DisableRule": _switching(rules.disable_rule),
    "EnableRule": _switching(rules.enable_rule),
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
}

__all__ = ["NOT_YET", "OPERATIONS"]
