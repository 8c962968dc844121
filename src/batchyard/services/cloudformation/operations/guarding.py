"""What guards a stack, and what is said to it from outside: stack policies, and signals to its resources."""

from __future__ import annotations

from typing import Any

from batchyard.services import Caller, Params
from batchyard.services.cloudformation.operations.requests import invalid, look, stack_named
from batchyard.services.cloudformation.planning import policies
from batchyard.services.cloudformation.running import signals
from batchyard.services.cloudformation.running.book import StackBook, place_of
from batchyard.services.cloudformation.running.fetching import fetch


async def given_policy(desk: Any, caller: Caller, params: Params, member: str = "StackPolicy") -> str:
    """The policy of a request, from its Body or its URL; "" for none. Raises ValidationError for one that is wrong."""
    body, url = params.get(f"{member}Body"), params.get(f"{member}URL")
    if body and url:
        raise invalid(f"You cannot specify both {member}Body and {member}URL.")
    text = await fetch(desk, caller, str(url)) if url else str(body or "")
    if text:
        policies.check(text)
    return text


async def set_stack_policy(desk: Any, caller: Caller, params: Params) -> Params:
    """SetStackPolicy: holds for every update that begins afterwards."""
    stack = stack_named(desk, caller, str(params["StackName"]))
    text = await given_policy(desk, caller, params)
    if not text:
        raise invalid("Either StackPolicyBody or StackPolicyURL must be specified.")
    run = desk.stacks.runs.get(stack.id)
    if run is not None:
        run.stack.policy = text
        await run.save()
        return {}

    def change(book: StackBook) -> None:
        now = book.require(stack.arn)
        now.policy = text
        book.put_stack(now)

    await desk.stacks.change(place_of(caller.account, caller.region), change)
    return {}


async def get_stack_policy(desk: Any, caller: Caller, params: Params) -> Params:
    """GetStackPolicy: as it was set; nothing where none was."""
    stack = stack_named(desk, caller, str(params["StackName"]))
    return {"StackPolicyBody": stack.policy} if stack.policy else {}


async def signal_resource(desk: Any, caller: Caller, params: Params) -> Params:
    """SignalResource: word for a resource that waits for it by its CreationPolicy. The first of each UniqueId counts."""
    stack = stack_named(desk, caller, str(params["StackName"]))
    logical_id = str(params["LogicalResourceId"])
    resource = look(desk, caller, lambda book: book.resources(stack.id)).get(logical_id)
    if resource is None:
        raise invalid(f"Resource {logical_id} does not exist for stack {stack.name}")
    if stack.operation is None or resource.status != "CREATE_IN_PROGRESS":
        raise invalid(f"Resource {logical_id} of stack {stack.name} is in {resource.status} state and can not be signaled.")
    said = {"Status": str(params["Status"]), "Reason": "", "Data": ""}
    await signals.put(desk, caller.account, signals.resource_token(stack.arn, logical_id), str(params["UniqueId"]), said)
    return {}
