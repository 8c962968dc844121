"""One resource at a time: its creation, update or removal, begun durably and noted when done, so that either may be repeated."""

from __future__ import annotations

import logging
import secrets
from typing import Any, Protocol

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources.inert import INERT
from batchyard.services.cloudformation.resources.type import Asked, Kept, Made, ResourceType
from batchyard.services.cloudformation.running.hands import StackHands
from batchyard.services.cloudformation.running.names import physical_name
from batchyard.services.cloudformation.running.records import Doing, Physical, Resource, Stack
from batchyard.services.cloudformation.schemas.checking import problems, told
from batchyard.services.cloudformation.schemas.reading import schema
from batchyard.services.cloudformation.schemas.typing import typed
from batchyard.services.repeating import Step, current_step

log = logging.getLogger(__name__)


class StepFailed(Exception):
    """A step that did not come to its end; `reason` is the resource's status reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Noting(Protocol):
    """Where steps note what they do (see `run.Run`)."""

    stack: Stack
    desk: Any

    async def note(
        self, resource: Resource, *events: tuple[str, str], about: Physical | None = None, forget: str = "", fails: bool = False
    ) -> None:
        """Write a resource with events (status, reason) about it; durable when it returns. With `fails` the operation turns back for it."""
        ...

    def type_of(self, physical: Physical) -> ResourceType: ...

    async def filled(self, properties: dict[str, Any]) -> dict[str, Any]:
        """Properties with their dynamic references looked up."""
        ...

    def is_cancelled(self) -> bool: ...


async def create(run: Noting, resource: Resource, wanted: Physical, verb: str = "CREATE", reason: str = "") -> None:
    """Make it. `resource.current` is the new one afterwards. Raises StepFailed, and then nothing of it is there.

    A current one that stands in its way goes first, within the same step; `resource.before` then says that it is gone.
    """
    doing, is_repeat = resource.doing, resource.doing is not None
    former = resource.current if _is_in_the_way(resource.current, wanted) else None
    if doing is None:
        rule = run.type_of(wanted).named
        name = physical_name(run.stack.name, resource.logical_id, rule)
        doing = resource.doing = Doing(verb="create", token=secrets.token_hex(16), wanted=wanted, name=name)
        resource.type = wanted.type
        if former is not None and resource.before is not None:
            resource.before.is_gone = True
        await run.note(resource, (f"{verb}_IN_PROGRESS", reason))

    async def act(hands: StackHands, asked: Asked) -> Made:
        if former is not None:
            await run.type_of(former).delete(hands, await _kept(run, resource, former, doing, is_repeat))
            resource.current = None
        return await run.type_of(doing.wanted).create(hands, asked)

    try:
        made = await _act(run, doing, act, resource, is_repeat)
    except StepFailed as failed:
        resource.doing = None
        if former is not None and resource.current is not None and resource.before is not None:
            resource.before.is_gone = False
        await run.note(resource, (f"{verb}_FAILED", failed.reason), forget=doing.token, fails=True)
        raise
    resource.current, resource.doing, resource.drift = _made(doing.wanted, made), None, {}
    events = [(f"{verb}_IN_PROGRESS", "Resource creation Initiated"), (f"{verb}_COMPLETE", INERT if doing.wanted.is_inert else "")]
    await run.note(resource, *events, forget=doing.token)


def _is_in_the_way(current: Physical | None, wanted: Physical) -> bool:
    """Whether a resource must go before the one that replaces it can be made: the published schema says so."""
    if current is None or current.is_inert or current.type != wanted.type:
        return False
    published = schema(wanted.type)
    return published is not None and published.is_deleted_first


async def update(run: Noting, resource: Resource, wanted: Physical, *, undoes: bool = False) -> None:
    """Change it in place. Raises StepFailed; what it then is made of, is what was wanted, as far as that came."""
    doing, is_repeat = resource.doing, resource.doing is not None
    before = resource.current
    assert before is not None
    if doing is None:
        doing = resource.doing = Doing(verb="update", token=secrets.token_hex(16), wanted=wanted, undoes=undoes)
        await run.note(resource, ("UPDATE_IN_PROGRESS", ""))
    change = run.type_of(before).update
    if change is None:
        resource.doing = None
        await run.note(
            resource, ("UPDATE_FAILED", f"Resource type {before.type} cannot be updated in place"), forget=doing.token, fails=True
        )
        raise StepFailed(resource.reason)

    async def act(hands: StackHands, asked: Asked) -> Made:
        return await change(hands, asked, await _kept(run, resource, before, doing, is_repeat))

    try:
        made = await _act(run, doing, act, resource, is_repeat)
    except StepFailed as failed:
        resource.doing = None
        if not doing.undoes:  # a way back that failed is still to be gone
            before.properties, before.tags = doing.wanted.properties, doing.wanted.tags
        await run.note(resource, ("UPDATE_FAILED", failed.reason), forget=doing.token, fails=True)
        raise
    resource.current, resource.doing, resource.drift = _made(doing.wanted, made), None, {}
    await run.note(resource, ("UPDATE_COMPLETE", ""), forget=doing.token)


async def delete(run: Noting, resource: Resource, physical: Physical, policy: str) -> None:
    """Take `physical` away, or leave it where `policy` is Retain. Raises StepFailed."""
    if policy == "Retain":
        resource.doing = None
        _drop(resource, physical)
        await run.note(resource, ("DELETE_SKIPPED", ""), about=physical)
        return
    doing, is_repeat = resource.doing, resource.doing is not None
    if doing is None:
        doing = resource.doing = Doing(verb="delete", token=secrets.token_hex(16), wanted=physical)
        await run.note(resource, ("DELETE_IN_PROGRESS", ""))

    async def act(hands: StackHands, _: Asked) -> Made:
        await run.type_of(physical).delete(hands, await _kept(run, resource, physical, doing, is_repeat))
        return Made(physical.physical_id)

    try:
        await _act(run, doing, act, resource, is_repeat)
    except StepFailed as failed:
        resource.doing = None
        await run.note(resource, ("DELETE_FAILED", failed.reason), about=physical, forget=doing.token)
        raise
    resource.doing = None
    _drop(resource, physical)
    await run.note(resource, ("DELETE_COMPLETE", ""), about=physical, forget=doing.token)


def _drop(resource: Resource, physical: Physical) -> None:
    if resource.current is physical:
        resource.current, resource.last_id = None, physical.physical_id
    else:
        resource.leftovers = [kept for kept in resource.leftovers if kept is not physical]


def _made(wanted: Physical, made: Made) -> Physical:
    wanted.physical_id, wanted.ref, wanted.attributes = made.physical_id, made.ref, dict(made.attributes)
    wanted.keeps_former = made.keeps_former
    return wanted


async def _act(run: Noting, doing: Doing, act: Any, resource: Resource, is_repeat: bool) -> Made:
    """Carry out an act of a resource type as a step that acts once."""
    stack = run.stack
    assert stack.actor is not None
    is_deletion = doing.verb == "delete"
    hands = StackHands(run.desk, stack.actor.caller(), (lambda: False) if is_deletion or doing.undoes else run.is_cancelled)
    mark = current_step.set(Step(doing.token, stack.actor.account, run.desk.sealer))
    try:
        asked = Asked(
            stack_id=stack.arn,
            stack_name=stack.name,
            logical_id=resource.logical_id,
            type=doing.wanted.type,
            properties={} if is_deletion else await _settled(run, resource, doing),
            tags=doing.wanted.tags,
            system_tags={
                "aws:cloudformation:stack-name": stack.name,
                "aws:cloudformation:stack-id": stack.arn,
                "aws:cloudformation:logical-id": resource.logical_id,
            },
            name=doing.name,
            token=doing.token,
            is_repeat=is_repeat,
            is_undoing=doing.undoes,
            creation_policy=doing.wanted.creation_policy,
            inner_template=doing.wanted.inner_template,
        )
        made: Made = await act(hands, asked)
    except Fault as fault:
        raise StepFailed(reason_of(fault, doing.wanted.type)) from fault
    except Exception as error:
        # A mistake of ours in one resource type must end as a failed resource, not as a stack that hangs for ever.
        log.exception("%s of %s (%s) in stack %s failed", doing.verb, resource.logical_id, doing.wanted.type, stack.name)
        raise StepFailed(f"Internal Failure ({type(error).__name__})") from error
    finally:
        current_step.reset(mark)
    return made


async def _settled(run: Noting, resource: Resource, doing: Doing) -> dict[str, Any]:
    """The properties as the handler gets them: looked up, typed, and held against the schema. Raises Fault with what is wrong."""
    wanted = doing.wanted
    properties = await run.filled(wanted.properties)
    if wanted.is_inert:
        return properties
    properties = typed(wanted.type, properties)
    found = [] if doing.undoes else problems(wanted.type, properties, is_resolved=True)  # what stood once may stand again
    if found:
        raise Fault("ValidationError", told(resource.logical_id, found))
    return properties


async def _kept(run: Noting, resource: Resource, physical: Physical, doing: Doing, is_repeat: bool) -> Kept:
    try:
        properties = await run.filled(physical.properties)
        properties = properties if physical.is_inert else typed(physical.type, properties)
    except Fault:
        properties = physical.properties  # a secret that is gone must not keep its user from being taken away
    return Kept(
        stack_id=run.stack.arn,
        stack_name=run.stack.name,
        logical_id=resource.logical_id,
        type=physical.type,
        physical_id=physical.physical_id,
        properties=properties,
        attributes=physical.attributes,
        tags=physical.tags,
        token=doing.token,
        is_repeat=is_repeat,
    )


def reason_of(fault: Fault, type_name: str) -> str:
    """A status reason as resource handlers of AWS write it."""
    if fault.code in ("NotStabilized", "ValidationError", "AlreadyExists"):
        return fault.message
    service = type_name.split("::")[1] if type_name.count("::") > 1 else "CloudFormation"
    return f"{fault.message} (Service: {service}, Status Code: 400, Error Code: {fault.code})"
