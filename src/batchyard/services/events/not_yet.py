"""Operations of EventBridge that are not there, and why."""

from __future__ import annotations

_WHY = {
    "event buses other than the default one are not there": (
        "CreateEventBus", "DeleteEventBus", "UpdateEventBus", "PutPermission", "RemovePermission",
    ),
    "archives and replays are not there": (
        "CreateArchive", "DeleteArchive", "DescribeArchive", "ListArchives", "UpdateArchive",
        "CancelReplay", "DescribeReplay", "ListReplays", "StartReplay",
    ),
    "global endpoints are not there": ("CreateEndpoint", "DeleteEndpoint", "DescribeEndpoint", "ListEndpoints", "UpdateEndpoint"),
    "partner event sources are not there": (
        "ActivateEventSource", "CreatePartnerEventSource", "DeactivateEventSource", "DeletePartnerEventSource", "DescribeEventSource",
        "DescribePartnerEventSource", "ListEventSources", "ListPartnerEventSourceAccounts", "ListPartnerEventSources", "PutPartnerEvents",
    ),
}  # fmt: skip
NOT_YET: dict[str, str] = {operation: why for why, operations in _WHY.items() for operation in operations}
