"""AWS::CloudFormation::Stack: a stack within a stack."""

from __future__ import annotations

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.operations import changing, describing
from batchyard.services.cloudformation.resources.type import Asked, Hands, Kept, Made, NameRule, Properties, ResourceType
from batchyard.services.cloudformation.running import stacks
from batchyard.services.cloudformation.running.book import StackBook, place_of
from batchyard.services.cloudformation.running.records import Stack
from batchyard.services.cloudformation.template.functions import as_text

CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]  # acknowledged for the parent


async def create(hands: Hands, asked: Asked) -> Made:
    """Creates the inner stack and waits for it. Ref is its ARN. One that fails is taken away again."""
    stack = _find(hands, asked.name)
    if stack is None:
        parent = _find(hands, asked.stack_id)
        timeout_min = int(asked.properties.get("TimeoutInMinutes") or 0)
        arn = await changing.begin_creation(
            hands.desk,
            hands.caller,
            asked.name,
            asked.inner_template,
            _parameters(asked.properties),
            _tags(asked),
            {
                "Capabilities": CAPABILITIES,
                "NotificationARNs": asked.properties.get("NotificationARNs", []),
                "TimeoutInMinutes": timeout_min,
            },
            parent_arn=asked.stack_id,
            root_arn=(parent.root_arn if parent is not None else "") or asked.stack_id,
        )
    else:
        arn = stack.arn
    stack = await _ended(hands, arn)
    if stack.status != "CREATE_COMPLETE":
        why = _failure(hands, stack)
        await _remove(hands, arn)
        raise Fault("NotStabilized", f"Embedded stack {arn} was not successfully created: {why}")
    return _made(stack)


async def update(hands: Hands, asked: Asked, before: Kept) -> Made:
    """Updates the inner stack, unless nothing changes in it."""
    stack = await _ended(hands, before.physical_id)
    if not asked.is_repeat or stack.status in ("CREATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "UPDATE_COMPLETE"):
        try:
            await changing.change_stack(
                hands.desk,
                hands.caller,
                before.physical_id,
                asked.inner_template,
                _parameters(asked.properties),
                _tags(asked),
                {"Capabilities": CAPABILITIES},
            )
        except Fault as fault:
            if fault.message != changing.NO_UPDATES:
                raise Fault(
                    "NotStabilized", f"Embedded stack {before.physical_id} was not successfully updated: {fault.message}"
                ) from fault
            return _made(stack)
    stack = await _ended(hands, before.physical_id)
    if stack.status != "UPDATE_COMPLETE":
        raise Fault("NotStabilized", f"Embedded stack {stack.arn} was not successfully updated: {_failure(hands, stack)}")
    return _made(stack)


async def delete(hands: Hands, kept: Kept) -> None:
    """Deletes the inner stack and waits until it is gone."""
    await _remove(hands, kept.physical_id)


async def read(hands: Hands, kept: Kept) -> Properties | None:
    """Parameters as the inner stack has them; None when it is gone."""
    stack = _find(hands, kept.physical_id)
    if stack is None or stack.status == "DELETE_COMPLETE":
        return None
    return {**kept.properties, **({"Parameters": stack.parameters} if "Parameters" in kept.properties else {})}


def _find(hands: Hands, name: str) -> Stack | None:
    found: Stack | None = hands.desk.stacks.look(place_of(hands.account, hands.region), lambda book: book.find(name))
    return found


def _parameters(properties: Properties) -> dict[str, str]:
    """Lists go to the inner stack as texts with commas."""
    given: dict[str, str] = {}
    for name, value in (properties.get("Parameters") or {}).items():
        given[name] = ",".join(as_text(item) or "" for item in value) if isinstance(value, list) else as_text(value) or ""
    return given


def _tags(asked: Asked) -> dict[str, str]:
    own = {str(tag["Key"]): str(tag["Value"]) for tag in asked.properties.get("Tags", [])}
    return {**asked.tags, **own}


async def _ended(hands: Hands, arn: str) -> Stack:
    """The stack once nothing is done to it. When the parent gives up, so does it."""
    id = arn.rpartition("/")[2]
    while (run := hands.desk.stacks.runs.get(id)) is not None:
        await hands.desk.stacks.ended(id, 0.2)
        if hands.cancelled() and run.stack.status.startswith(("CREATE_IN", "UPDATE_IN")):
            stacks.cancel(run, "Resource creation cancelled")
    stack = _find(hands, arn)
    if stack is None:
        raise Fault("ValidationError", f"Stack with id {arn} does not exist")
    return stack


async def _remove(hands: Hands, arn: str) -> None:
    stack = _find(hands, arn)
    if stack is None or stack.status == "DELETE_COMPLETE":
        return
    if stack.status != "DELETE_IN_PROGRESS":
        await _ended(hands, arn)
        await changing.delete_stack(hands.desk, hands.caller, {"StackName": arn})
    stack = await _ended(hands, arn)
    if stack.status != "DELETE_COMPLETE":
        raise Fault("NotStabilized", f"Embedded stack {arn} was not successfully deleted: {stack.reason}")


def _failure(hands: Hands, stack: Stack) -> str:
    """Which resources failed first, and why."""

    def words(book: StackBook) -> str:
        failed = [event for event in reversed(book.events(stack.id)) if str(event["ResourceStatus"]).endswith("_FAILED")]
        own = [event for event in failed if event["PhysicalResourceId"] != stack.arn]
        told = [f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}" for event in own[:3]]
        return "; ".join(told) or stack.reason

    found: str = hands.desk.stacks.look(place_of(hands.account, hands.region), words)
    return found


def _made(stack: Stack) -> Made:
    return Made(
        stack.arn, {f"Outputs.{output['OutputKey']}": output["OutputValue"] for output in describing.shown_stack(stack).get("Outputs", [])}
    )


TYPES: tuple[ResourceType, ...] = (
    ResourceType("AWS::CloudFormation::Stack", create, update, delete, read, named=NameRule("", 128), has_stack_tags=True),
)
