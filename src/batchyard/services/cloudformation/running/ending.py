"""Tells who wants to know that an operation on a stack has ended: topics of NotificationARNs that are URLs or queues of events."""

from __future__ import annotations

from typing import Any

from batchyard.services.cloudformation.running.records import Stack


async def announce(desk: Any, stack: Stack) -> None:
    """Puts the event "CloudFormation Stack Status Change" on the account's bus, where rules take it to webhooks."""
