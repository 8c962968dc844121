"""A few words for tests of stacks over the wire: deploy, wait for the end, and what the events say."""

from __future__ import annotations

import json
from typing import Any

from yard import Yard, until


def note(value: Any = "v", **more: Any) -> dict[str, Any]:
    """The quickest resource there is."""
    return {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": value}, **more}


def broken() -> dict[str, Any]:
    """One whose creation fails, and no check beforehand can tell."""
    return {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "v", "AllowedPattern": "none"}}


def body(resources: dict[str, Any], **sections: Any) -> str:
    return json.dumps({"Resources": resources, **sections})


class Stacks:
    """A region's stacks."""

    def __init__(self, yard: Yard, **options: Any) -> None:
        self.yard = yard
        self.client = yard.client("cloudformation", **options)

    def one(self, name: str) -> dict[str, Any]:
        return self.client.describe_stacks(StackName=name)["Stacks"][0]  # type: ignore[no-any-return]

    def over(self, name: str) -> dict[str, Any]:
        """The stack once nothing is done to it."""
        return until(lambda: None if (s := self.one(name))["StackStatus"].endswith("_IN_PROGRESS") else s, f"{name} to come to rest", 150)

    def create(self, name: str, template: str, **options: Any) -> dict[str, Any]:
        arn = self.client.create_stack(StackName=name, TemplateBody=template, **options)["StackId"]
        return self.over(arn)

    def update(self, name: str, template: str | None = None, **options: Any) -> dict[str, Any]:
        given = {"TemplateBody": template} if template else {}
        self.client.update_stack(StackName=name, **given, **options)
        return self.over(name)

    def delete(self, name: str, **options: Any) -> dict[str, Any]:
        arn = self.one(name)["StackId"]
        self.client.delete_stack(StackName=name, **options)
        return self.over(arn)

    def events(self, name: str) -> list[tuple[str, str, str]]:
        """(logical id, status, reason), the oldest first."""
        events = self.client.describe_stack_events(StackName=name)["StackEvents"]
        return [(e["LogicalResourceId"], e["ResourceStatus"], e.get("ResourceStatusReason", "")) for e in reversed(events)]

    def reason(self, name: str, logical_id: str, status: str) -> str:
        """The reason of the last event of a resource with that status."""
        return [why for id, what, why in self.events(name) if (id, what) == (logical_id, status)][-1]

    def under_way(self, name: str, logical_id: str, status: str) -> None:
        """Until a resource has come to a status."""
        until(lambda: any(event[:2] == (logical_id, status) for event in self.events(name)) or None, f"{logical_id} to be {status}")
