"""One deployment or deletion from its beginning to its end, with what is shown meanwhile and what came of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from batchyard.main.client import EXIT_FAILED, Trouble
from batchyard.main.commands.draw import pairs, say
from batchyard.main.commands.times import span
from batchyard.main.stacks import asking, watching
from batchyard.main.stacks.account import Account
from batchyard.main.stacks.asking import ChangeSet
from batchyard.main.stacks.drawing import progress, styled

GOOD = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "DELETE_COMPLETE")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an operation on a stack ended. `failures` are the events that say why, `kept` the resources that a deletion left in place."""

    status: str
    stack: dict[str, Any]
    failures: Sequence[watching.Event] = ()
    kept: Sequence[dict[str, Any]] = field(default_factory=list)
    took_s: float = 0.0
    has_changed: bool = True

    @property
    def is_good(self) -> bool:
        return self.status in GOOD

    @property
    def outputs(self) -> dict[str, str]:
        """The stack's outputs by their keys."""
        return {each["OutputKey"]: each["OutputValue"] for each in self.stack.get("Outputs") or []}


def carry_out(account: Account, proposed: ChangeSet, *, is_quiet: bool = False) -> Outcome:
    """Execute a change set and see it through. One without changes is thrown away: then the stack stands as it stood."""
    if not proposed.has_changes:
        asking.discard(account, proposed)
        stack = asking.required(account, proposed.stack_arn)
        return Outcome(str(stack["StackStatus"]), stack, has_changed=False)
    feed = watching.Feed(account, proposed.stack_arn)
    feed.skip()
    tree = watching.Tree(proposed.stack, proposed.stack_arn)
    tree.expect(proposed.changes)
    return _seen_through(account, feed, tree, lambda: asking.execute(account, proposed), is_quiet)


def take_down(account: Account, stack: dict[str, Any], *, retain: Sequence[str] = (), is_quiet: bool = False) -> Outcome:
    """Delete a stack and see it through."""
    arn, name = str(stack["StackId"]), str(stack["StackName"])
    there = {each["LogicalResourceId"]: each for each in asking.resources(account, arn)}
    feed = watching.Feed(account, arn)
    feed.skip()
    more = {"RetainResources": list(retain)} if retain else {}
    outcome = _seen_through(
        account,
        feed,
        watching.Tree(name, arn),
        lambda: account.ask("cloudformation", "delete_stack", StackName=arn, **more),
        is_quiet,
    )
    kept = [there[each["LogicalResourceId"]] for each in outcome.kept if each["LogicalResourceId"] in there]
    return replace(outcome, kept=kept)


def _seen_through(account: Account, feed: watching.Feed, tree: watching.Tree, begin: Any, is_quiet: bool) -> Outcome:
    began = time.monotonic()
    begin()
    try:
        with progress(tree, is_quiet=is_quiet) as show:
            status, events = watching.until_rest(feed, show)
    except KeyboardInterrupt:
        say(f"{tree.root.logical_id} goes on without this watch. See it: batchyard stack events {tree.root.logical_id} --follow")
        raise
    kept = [each for each in events if each["ResourceStatus"] == "DELETE_SKIPPED"]
    failed = () if status in GOOD else watching.failures(events)
    stack = asking.standing(account, feed.stack_arn) or {}
    return Outcome(status, stack, failed, kept, time.monotonic() - began)


def tell(name: str, outcome: Outcome, *, with_outputs: bool = True) -> None:
    """How it ended, on stderr, and the outputs, on stdout. Raises `Trouble` with the reasons when it ended badly."""
    if outcome.is_good or not outcome.has_changed:
        words = f"after {span(outcome.took_s * 1000)}" if outcome.has_changed else "(nothing to change)"
        say(f"{name}  {styled(outcome.status)} {words}")
        if with_outputs:
            pairs(outcome.outputs.items())
        return
    raise failed(name, outcome)


def failed(name: str, outcome: Outcome) -> Trouble:
    """What to say of an operation that ended badly: the first reasons, by resource."""
    reasons = [
        f"{each['LogicalResourceId']} ({each.get('ResourceType', '')}): {each.get('ResourceStatusReason', each['ResourceStatus'])}"
        for each in outcome.failures[:5]
    ]
    if len(outcome.failures) > 5:
        reasons.append(f"... and {len(outcome.failures) - 5} more: batchyard stack events {name}")
    own = str(outcome.stack.get("StackStatusReason") or "")
    return Trouble(f"{name} is in {outcome.status}.", "\n".join(reasons or ([own] if own else [])), exit_code=EXIT_FAILED)
