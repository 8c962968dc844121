"""What a change set does to permissions, in words: for whom has to say yes to a plan."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from batchyard.core.policy_patterns import matches, read_pattern
from batchyard.services.cloudformation.planning.changes import Change
from batchyard.services.cloudformation.template.functions import LATER

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Permission:
    """A change of who may do what. `is_wider` says that somebody may more than before."""

    logical_id: str
    sign: str  # "+", "-", "~"
    text: str
    is_wider: bool


class Grant(NamedTuple):
    """One cell of a policy: an action on a resource, for somebody, under a condition. "not X" is everything but X."""

    where: str  # which policy of the resource
    effect: str
    principal: str
    action: str
    resource: str
    condition: str


def permissions(changes: Sequence[Change]) -> list[Permission]:
    """The changes of permissions among the changes of a stack, by logical id, what is given before what is taken.

    Roles, users, groups and their policies, instance profiles, access keys, and the policies of buckets, keys, topics, queues,
    repositories, secrets and functions. A grant that takes the place of a narrower one is said to be widened.
    """
    return [found for change in changes if change.type in _READERS for found in _of(change)]


def _of(change: Change) -> Iterator[Permission]:
    read = _READERS[change.type]
    before = change.before["Properties"] if change.before is not None else {}
    after = change.after["Properties"] if change.after is not None else {}
    noun = _NOUNS.get(change.type, "")
    name = change.logical_id
    if noun and change.action in ("Add", "Import"):
        yield Permission(name, "+", f"{noun} is added" if change.action == "Add" else f"{noun} is taken over", is_wider=True)
    if noun and change.action == "Remove":
        kept = ", but stays in the account" if change.policy_action == "Retain" else ""
        yield Permission(name, "-", f"{noun} is removed{kept}", is_wider=False)
    if change.action == "Remove" and change.policy_action == "Retain":
        return
    if noun and change.replacement in ("True", "Conditional"):
        yield Permission(name, "~", f"{noun} {'is' if change.replacement == 'True' else 'may be'} replaced", is_wider=False)
    yield from _attached(name, before, after)
    yield from _granted(name, set(read(before)), set(read(after)))


def _attached(name: str, before: Body, after: Body) -> Iterator[Permission]:
    """What a role or user belongs to, and what bounds it."""
    for key, gained, lost in (
        ("ManagedPolicyArns", "gets the managed policy", "loses the managed policy"),
        ("Roles", "is given to the role", "is taken from the role"),
        ("Users", "is given to the user", "is taken from the user"),
        ("Groups", "goes with the group", "goes no longer with the group"),
    ):
        old, new = _list(before.get(key)), _list(after.get(key))
        yield from (Permission(name, "+", f"{gained} {_said(one)}", True) for one in new if one not in old)
        yield from (Permission(name, "-", f"{lost} {_said(one)}", False) for one in old if one not in new)
    bound, will_bound = before.get("PermissionsBoundary"), after.get("PermissionsBoundary")
    if will_bound and will_bound != bound:
        yield Permission(name, "~", f"is bounded by {_said(will_bound)}", is_wider=bool(bound))
    elif bound and after and not will_bound:
        yield Permission(name, "-", f"is no longer bounded by {_said(bound)}", is_wider=True)


def _granted(name: str, before: set[Grant], after: set[Grant]) -> Iterator[Permission]:
    gained, lost = after - before, before - after
    wider = {grant: [one for one in lost if _is_within(one, grant)] for grant in gained}
    narrower = {grant: [one for one in gained if _is_within(one, grant)] for grant in lost}
    replaced = {one for found in wider.values() for one in found}
    plain = [grant for grant in gained if not wider[grant] and not any(grant in found for found in narrower.values())]
    for text, group in _grouped(plain):
        yield Permission(name, "+", text, is_wider=group.effect == "Allow")
    for grant in sorted(gained):
        if wider[grant]:
            yield Permission(name, "~", f"{_text(grant)}, widened from {_cells(wider[grant])}", is_wider=grant.effect == "Allow")
    for grant in sorted(lost):
        if narrower[grant] and grant not in replaced:
            yield Permission(name, "~", f"{_text(grant)}, narrowed to {_cells(narrower[grant])}", is_wider=grant.effect != "Allow")
    for text, group in _grouped(grant for grant in lost if grant not in replaced and not narrower[grant]):
        yield Permission(name, "-", f"no longer {text}", is_wider=group.effect != "Allow")


def _is_within(inner: Grant, outer: Grant) -> bool:
    """Whether all that `inner` speaks of is in `outer` too."""
    if (inner.where, inner.effect) != (outer.where, outer.effect) or outer.condition not in ("", inner.condition):
        return False
    pairs = ((outer.principal, inner.principal), (outer.action.lower(), inner.action.lower()), (outer.resource, inner.resource))
    return all(wide == narrow or (not wide.startswith("not ") and _covers(wide, narrow)) for wide, narrow in pairs)


def _covers(wide: str, narrow: str) -> bool:
    """Whether a pattern matches all that another one does; False where that cannot be said simply ("?" against "*")."""
    if "?" in wide and "*" in narrow:
        return False
    return matches(read_pattern(wide, has_variables=False), narrow)


def _grouped(grants: Iterable[Grant]) -> Iterator[tuple[str, Grant]]:
    """Grants in few sentences: the actions that have the same resources together."""
    resources: dict[tuple[str, ...], list[str]] = {}
    for grant in sorted(grants):
        resources.setdefault((grant.where, grant.effect, grant.principal, grant.condition, grant.action), []).append(grant.resource)
    actions: dict[tuple[str, ...], list[str]] = {}
    for (where, effect, principal, condition, action), found in resources.items():
        actions.setdefault((where, effect, principal, condition, *found), []).append(action)
    for (where, effect, principal, condition, *found), together in actions.items():
        grant = Grant(where, effect, principal, ", ".join(together), ", ".join(map(_said, found)), condition)
        yield _text(grant), grant


def _text(grant: Grant) -> str:
    who = f" {grant.principal}" if grant.principal else ""
    verb = "allows" if grant.effect == "Allow" else "denies"
    on = f" on {_said(grant.resource)}" if grant.resource else ""
    under = f" when {grant.condition}" if grant.condition else ""
    return f"{grant.where}: {verb}{who} {grant.action}{on}{under}"


def _cells(grants: Sequence[Grant]) -> str:
    return "; ".join(" ".join(part for part in (g.principal, g.action, _said(g.resource), g.condition) if part) for g in sorted(grants))


def _said(value: Any) -> str:
    return str(value).replace(LATER, "(known after)")


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value] if value is not None else []


def _grants(where: str, document: Any) -> Iterator[Grant]:
    """The cells of a policy document; of one that cannot be read, none."""
    if isinstance(document, str):
        try:
            document = json.loads(document)
        except ValueError:
            return
    for one in _list(document.get("Statement") if isinstance(document, Mapping) else None):
        if not isinstance(one, Mapping):
            continue
        condition = json.dumps(one["Condition"], sort_keys=True, separators=(",", ":")) if one.get("Condition") else ""
        for principal in [*_principals(one.get("Principal"), ""), *_principals(one.get("NotPrincipal"), "not ")] or [""]:
            for action in [*map(str, _list(one.get("Action"))), *(f"not {a}" for a in _list(one.get("NotAction")))]:
                for resource in [*map(str, _list(one.get("Resource"))), *(f"not {r}" for r in _list(one.get("NotResource")))] or [""]:
                    yield Grant(where, str(one.get("Effect", "")), principal, action, resource, condition)


def _principals(value: Any, prefix: str) -> list[str]:
    if isinstance(value, Mapping):
        return [f"{prefix}{one}" for found in value.values() for one in _list(found)]
    return [f"{prefix}{one}" for one in _list(value)]


def _role(properties: Body) -> Iterator[Grant]:
    yield from _grants("trust policy", properties.get("AssumeRolePolicyDocument"))
    yield from _inline(properties)


def _inline(properties: Body) -> Iterator[Grant]:
    for policy in _list(properties.get("Policies")):
        if isinstance(policy, Mapping):
            yield from _grants(f"policy {policy.get('PolicyName', '')}".strip(), policy.get("PolicyDocument"))


def _document(key: str, where: str) -> Callable[[Body], Iterator[Grant]]:
    return lambda properties: _grants(where, properties.get(key))


def _permission(properties: Body) -> Iterator[Grant]:
    """AWS::Lambda::Permission, which is one statement."""
    if properties:
        source = str(properties.get("SourceArn") or properties.get("SourceAccount") or "")
        condition = f"called for {source}" if source else ""
        action, function = str(properties.get("Action", "")), str(properties.get("FunctionName", ""))
        yield Grant("permission", "Allow", str(properties.get("Principal", "")), action, function, condition)


def _nothing(properties: Body) -> Iterator[Grant]:
    return iter(())


_NOUNS = {
    "AWS::IAM::Role": "role",
    "AWS::IAM::User": "user",
    "AWS::IAM::Group": "group",
    "AWS::IAM::AccessKey": "access key",
    "AWS::IAM::InstanceProfile": "instance profile",
    "AWS::IAM::ServiceLinkedRole": "service-linked role",
    "AWS::IAM::OIDCProvider": "identity provider",
}
_READERS: dict[str, Callable[[Body], Iterator[Grant]]] = {
    "AWS::IAM::Role": _role,
    "AWS::IAM::User": _inline,
    "AWS::IAM::Group": _inline,
    **{name: _document("PolicyDocument", "policy") for name in (
        "AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::IAM::RolePolicy", "AWS::IAM::UserPolicy", "AWS::IAM::GroupPolicy",
        "AWS::S3::BucketPolicy", "AWS::SNS::TopicPolicy", "AWS::SQS::QueuePolicy",
    )},
    "AWS::KMS::Key": _document("KeyPolicy", "key policy"),
    "AWS::ECR::Repository": _document("RepositoryPolicyText", "repository policy"),
    "AWS::SecretsManager::ResourcePolicy": _document("ResourcePolicy", "policy"),
    "AWS::Lambda::Permission": _permission,
    "AWS::IAM::InstanceProfile": _nothing,
    "AWS::IAM::AccessKey": _nothing,
    "AWS::IAM::ServiceLinkedRole": _nothing,
    "AWS::IAM::OIDCProvider": _nothing,
}  # fmt: skip
