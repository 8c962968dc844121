"""The stacks that something is being done to: begins operations, takes them up again after a start, and ends with the server."""

from __future__ import annotations

import asyncio
import logging
import secrets
import uuid
from collections.abc import Callable
from typing import Any

import apsw

from batchyard.model.fault import Fault
from batchyard.services import Caller
from batchyard.services.cloudformation.running import phases
from batchyard.services.cloudformation.running.aside import aside
from batchyard.services.cloudformation.running.book import SERVICE, StackBook, place_of
from batchyard.services.cloudformation.running.preparing import read, target_of
from batchyard.services.cloudformation.running.records import Actor, Failure, Operation, Resource, Stack
from batchyard.services.cloudformation.running.run import Run
from batchyard.services.cloudformation.running.target import Target
from batchyard.services.cloudformation.running.telling import Teller
from batchyard.store.objects_ledger import LedgerClosed
from batchyard.store.shelf import Place

GRACE_S = 3.0
TRIES = 3  # of an operation that a mistake of ours interrupts again and again at one place
RETRY_FIRST_S, RETRY_LAST_S = 0.1, 30.0
BEGINNING_S = 0.5  # what the shelf may still need for an operation's first record when the server ends

log = logging.getLogger(__name__)


class Stacks:
    """The runs under way, by stack id. One for a server, as `desk.stacks`."""

    def __init__(self, desk: Any) -> None:
        self._desk = desk
        self.runs: dict[str, Run] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._teller = Teller(desk)
        self._beginnings: set[asyncio.Task[str | None]] = set()

    async def start(self) -> None:
        """Take up what a stop or a crash has interrupted, in every region."""
        self._teller.start()
        for place in self._desk.shelf.places(SERVICE):
            for stack, resources in self.look(place, _interrupted):
                self.launch(stack, resources)

    async def close(self) -> None:
        """Let go; what is under way is taken up at the next start."""
        if self._beginnings:
            await asyncio.wait(self._beginnings, timeout=BEGINNING_S)
        tasks: list[asyncio.Task[Any]] = [*self._beginnings, *self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._teller.close()

    def launch(self, stack: Stack, resources: dict[str, Resource]) -> Run:
        """Drive a stack's operation from where it is."""
        run = Run(self._desk, stack, resources, self._target_of)
        self.runs[stack.id] = run
        self._tasks[stack.id] = asyncio.create_task(self._drive(run))
        return run

    async def ended(self, stack_id: str, patience_s: float | None = None) -> None:
        """Until nothing is being done to a stack, or `patience_s` has passed.

        Handlers answer `GRACE_S` later than they must: clients look at once, and then only every thirty seconds, and most stacks are done
        in a moment.
        """
        task = self._tasks.get(stack_id)
        if task is not None:
            await asyncio.wait([task], timeout=patience_s)

    async def begin(self, stack: Stack, resources: dict[str, Resource], change: Callable[[StackBook], str | None]) -> str | None:
        """Write an operation down with `change`, and drive it, unless `change` answers which stack it is already. Who asked for it may
        go away in between: what is written down is driven."""
        assert stack.actor is not None
        place = place_of(stack.actor.account, stack.actor.region)

        async def both() -> str | None:
            there: str | None = await self.change(place, change)
            if there is None:
                self.launch(stack, resources)
            return there

        beginning = asyncio.create_task(both())
        self._beginnings.add(beginning)
        beginning.add_done_callback(self._beginnings.discard)
        return await asyncio.shield(beginning)

    def look(self, place: Place, ask: Callable[[StackBook], Any]) -> Any:
        """On a snapshot of a place's stacks."""
        sealer = self._desk.sealer
        return self._desk.shelf.look(place, lambda drawer: ask(StackBook(drawer, sealer)))

    async def change(self, place: Place, change: Callable[[StackBook], Any]) -> Any:
        """One transaction on a place's stacks."""
        sealer = self._desk.sealer
        answer = await asyncio.wrap_future(self._desk.shelf.change(place, lambda drawer: change(StackBook(drawer, sealer))))
        self._teller.wake(place)
        return answer

    async def _drive(self, run: Run) -> None:
        """Drive an operation to its end. What keeps it from going on is waited for when it may go away (a full disk); from anything else
        the operation turns back, and ends as failed when it cannot: no stack hangs in progress."""
        id, tries, pause_s, is_known = run.stack.id, 0, RETRY_FIRST_S, True
        try:
            while not is_known or run.stack.operation is not None:
                events = run.stack.events
                try:
                    if not is_known:
                        run, is_known = await self._anew(run), True
                    if tries > TRIES:
                        await phases.give_up(run, "Internal Failure: the log of the service has more about it")
                        tries = 0
                    await phases.drive(run)
                except LedgerClosed:
                    return  # the server ends: the next start goes on
                except Exception as error:
                    log.exception("the operation on stack %s was interrupted, and is taken up again in %.1f s", run.stack.name, pause_s)
                    may_pass = run.stack.events != events or isinstance(error, apsw.Error | OSError)
                    tries, is_known = 0 if may_pass else tries + 1, False
                    await asyncio.sleep(pause_s)
                    pause_s = min(pause_s * 2, RETRY_LAST_S)
        finally:
            self.runs.pop(id, None)
            self._tasks.pop(id, None)

    async def _anew(self, run: Run) -> Run:
        """The run as its records are, whatever of it was not written down; read as a change, after all that was on its way there."""

        def records(book: StackBook) -> tuple[Stack | None, dict[str, Resource]]:
            return book.stack(run.stack.id), book.resources(run.stack.id)

        stack, resources = await self.change(run.place, records)
        self.runs[stack.id] = again = Run(self._desk, stack, resources, self._target_of)
        return again

    async def target_now(self, stack: Stack) -> Target:
        """The template and parameters that a stack, to which nothing is being done, was last made from."""
        return await self._target_of(stack, stack.template)

    async def _target_of(self, stack: Stack, number: int) -> Target:
        assert stack.actor is not None
        operation = stack.operation
        place = place_of(stack.actor.account, stack.actor.region)
        is_new = operation is not None and number == operation.template
        if operation is None or is_new:
            parameters, tags = (
                (operation.parameters | operation.looked_up, operation.tags)
                if operation
                else (stack.parameters | stack.looked_up, stack.tags)
            )
        else:
            parameters, tags = operation.old_parameters | operation.old_looked_up, operation.old_tags
        text = self.look(place, lambda book: book.template(stack.id, number))
        template = await aside(text, read, text, parameters)
        return await target_of(self._desk, stack, template, parameters, tags)


def _interrupted(book: StackBook) -> list[tuple[Stack, dict[str, Resource]]]:
    return [(stack, book.resources(stack.id)) for stack in book.stacks() if stack.operation is not None]


def new_stack(caller: Caller, name: str, role_arn: str = "") -> Stack:
    """A stack that is not begun yet; its actor is the caller, or the role."""
    id = str(uuid.uuid4())
    arn = f"arn:aws:cloudformation:{caller.region}:{caller.account}:stack/{name}/{id}"
    return Stack(
        id=id, name=name, arn=arn, status="REVIEW_IN_PROGRESS", actor=actor_of(caller, role_arn, name), role_arn=role_arn, root_arn=""
    )


def actor_of(caller: Caller, role_arn: str, stack_name: str) -> Actor:
    """Whose rights the steps have."""
    if not role_arn:
        return Actor(caller.account, caller.region, caller.access_key_id, caller.arn, caller.user_id, caller.is_job, caller.session_policy)
    role = role_arn.rpartition("/")[2]
    arn = f"arn:aws:sts::{caller.account}:assumed-role/{role}/AWSCloudFormation"
    return Actor(caller.account, caller.region, caller.access_key_id, arn, f"{role}:AWSCloudFormation")


def new_token() -> str:
    return secrets.token_hex(8)


def busy(stack: Stack) -> Fault:
    """AWS's refusal of an operation on a stack that is not in a state for it."""
    return Fault("ValidationError", f"Stack:{stack.arn} is in {stack.status} state and can not be updated.")


def refuse_other(book: StackBook, as_read: Stack) -> None:
    """Raises Fault unless a stack is still as a request has read it. What was decided of another state (its resources, its parameters,
    its protection) must not be written over what somebody has made of it meanwhile."""
    now = book.stack(as_read.id)
    if now is None:
        raise Fault("ValidationError", f"Stack with id {as_read.arn} does not exist")
    if now.operation is not None or now.status != as_read.status:
        raise busy(now)
    if now != as_read:
        raise Fault("ValidationError", f"Stack:{now.arn} was changed while this request was looking at it: try again.")


def began(stack: Stack, operation: Operation, book: StackBook, status: str, reason: str = "", *, now_ms: int) -> None:
    """Note that an operation begins: its first event and the stack's record."""
    stack.operation, stack.status, stack.reason, stack.drift = operation, status, reason, {}
    operation.began_ms = now_ms
    event = {
        "LogicalResourceId": stack.name,
        "PhysicalResourceId": stack.arn,
        "ResourceType": "AWS::CloudFormation::Stack",
        "ResourceStatus": status,
        "TimestampMs": now_ms,
    }
    if reason:
        event["ResourceStatusReason"] = reason
    if operation.client_token:
        event["ClientRequestToken"] = operation.client_token
    book.add_event(stack, event)
    book.put_stack(stack)


def cancel(run: Run, reason: str) -> None:
    """Have an operation turn back at the next step."""
    operation = run.stack.operation
    if operation is not None and operation.failure is None:
        operation.failure = Failure([], reason)
