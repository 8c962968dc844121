"""What roles, users and groups of a stack have alike: inline policies, attached ones, a permissions boundary, tags."""

from __future__ import annotations

from urllib.parse import unquote

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources.acts import (
    Steps,
    call_if_there,
    change_tags,
    document_of,
    document_text,
    listed,
)
from batchyard.services.cloudformation.resources.type import Asked, Hands, Kept, Properties

SERVICE = "iam"


class Bearer:
    """The acts on one kind: `title` is Role, User or Group."""

    def __init__(self, title: str) -> None:
        self.title = title

    def named(self, name: str, **members: object) -> Properties:
        """Parameters that name the bearer."""
        return {f"{self.title}Name": name, **members}

    async def give(self, steps: Steps, name: str, properties: Properties) -> None:
        """Attach and put what the properties of a new one say."""
        for arn in _arns(properties):
            await steps.call(f"Attach{self.title}Policy", self.named(name, PolicyArn=arn))
            steps.undo(f"Detach{self.title}Policy", self.named(name, PolicyArn=arn))
        for policy, text in _inline(properties).items():
            await steps.call(f"Put{self.title}Policy", self.named(name, PolicyName=policy, PolicyDocument=text))
            steps.undo(f"Delete{self.title}Policy", self.named(name, PolicyName=policy))

    async def change(self, steps: Steps, name: str, before: Properties, after: Properties) -> None:
        """Attach, detach, put and delete what differs, and nothing else. What goes makes room first: quotas count both."""
        title, old, new = self.title, _inline(before), _inline(after)
        for arn in _arns(before):
            if arn not in _arns(after) and await steps.call_if_there(f"Detach{title}Policy", self.named(name, PolicyArn=arn)):
                steps.undo(f"Attach{title}Policy", self.named(name, PolicyArn=arn))
        for policy, text in old.items():
            if policy not in new and await steps.call_if_there(f"Delete{title}Policy", self.named(name, PolicyName=policy)):
                steps.undo(f"Put{title}Policy", self.named(name, PolicyName=policy, PolicyDocument=text))
        for arn in _arns(after):
            if arn not in _arns(before):
                await steps.call(f"Attach{title}Policy", self.named(name, PolicyArn=arn))
                steps.undo(f"Detach{title}Policy", self.named(name, PolicyArn=arn))
        for policy, text in new.items():
            if old.get(policy) != text:
                await steps.call(f"Put{title}Policy", self.named(name, PolicyName=policy, PolicyDocument=text))
                if policy in old:
                    steps.undo(f"Put{title}Policy", self.named(name, PolicyName=policy, PolicyDocument=old[policy]))
                else:
                    steps.undo(f"Delete{title}Policy", self.named(name, PolicyName=policy))

    async def change_boundary(self, steps: Steps, name: str, before: Properties, after: Properties) -> None:
        """Another permissions boundary, or none."""
        old, new = before.get("PermissionsBoundary"), after.get("PermissionsBoundary")
        put, delete = f"Put{self.title}PermissionsBoundary", f"Delete{self.title}PermissionsBoundary"
        if old == new:
            return
        if new:
            await steps.call(put, self.named(name, PermissionsBoundary=new))
        else:
            await steps.call_if_there(delete, self.named(name))
        if old:
            steps.undo(put, self.named(name, PermissionsBoundary=old))
        else:
            steps.undo(delete, self.named(name))

    async def change_tags(self, steps: Steps, name: str, asked: Asked, kept: Kept) -> None:
        """The tags that differ."""
        await change_tags(
            steps,
            asked,
            kept,
            put=lambda tags: (f"Tag{self.title}", self.named(name, Tags=listed(tags))),
            take=lambda keys: (f"Untag{self.title}", self.named(name, TagKeys=keys)),
        )

    async def take(self, hands: Hands, name: str, properties: Properties) -> None:
        """Detach and delete what the stack itself gave: what others gave keeps the bearer from being deleted, as on AWS."""
        for arn in _arns(properties):
            await call_if_there(hands, SERVICE, f"Detach{self.title}Policy", self.named(name, PolicyArn=arn))
        for policy in _inline(properties):
            await call_if_there(hands, SERVICE, f"Delete{self.title}Policy", self.named(name, PolicyName=policy))

    async def read(self, hands: Hands, kept: Kept) -> Properties:
        """Of the policies that the resource names, those that it has, as its properties. Others may be another resource's."""
        name, found = kept.physical_id, Properties()
        if _arns(kept.properties):
            attached = await hands.call(SERVICE, f"ListAttached{self.title}Policies", self.named(name))
            arns = [one["PolicyArn"] for one in attached["AttachedPolicies"]]
            found["ManagedPolicyArns"] = [arn for arn in _arns(kept.properties) if arn in arns]
        if _inline(kept.properties):
            names = (await hands.call(SERVICE, f"List{self.title}Policies", self.named(name)))["PolicyNames"]
            found["Policies"] = [
                {"PolicyName": policy, "PolicyDocument": await read_inline(hands, self.title, name, policy)}
                for policy in _inline(kept.properties)
                if policy in names
            ]
        return found


async def read_inline(hands: Hands, title: str, name: str, policy: str) -> object:
    """An inline policy's document."""
    answer = await hands.call(SERVICE, f"Get{title}Policy", {f"{title}Name": name, "PolicyName": policy})
    return document_of(unquote(answer["PolicyDocument"]))


def _arns(properties: Properties) -> list[str]:
    return list(dict.fromkeys(properties.get("ManagedPolicyArns") or []))


def _inline(properties: Properties) -> dict[str, str]:
    policies = properties.get("Policies") or []
    found = {policy["PolicyName"]: document_text(policy["PolicyDocument"]) for policy in policies}
    if len(found) != len(policies):
        raise Fault("InvalidRequest", "Policies: each inline policy must have a name of its own.")
    return found


ROLE, USER, GROUP = Bearer("Role"), Bearer("User"), Bearer("Group")
