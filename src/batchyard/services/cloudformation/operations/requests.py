"""What requests have in common: where the template is, which parameters and tags are meant, and the stack that is named."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.cloudformation.running.book import StackBook, place_of
from batchyard.services.cloudformation.running.fetching import fetch
from batchyard.services.cloudformation.running.records import Resource, Stack
from batchyard.services.events.names import is_url
from batchyard.services.paging import page_of

NAME = re.compile(r"[a-zA-Z][-a-zA-Z0-9]{0,127}")
BODY_LIMIT = 51_200
PAGE = 100
HIDDEN = "****"


def invalid(message: str) -> Fault:
    return Fault("ValidationError", message)


def check_name(name: str) -> None:
    """Raises AWS's refusal of a name that no stack may have."""
    if not NAME.fullmatch(name):
        raise invalid(
            f"1 validation error detected: Value '{name}' at 'stackName' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*"
        )


async def template_text(desk: Any, caller: Caller, params: Params, previous: str = "") -> str:
    """The template that a request means: its body, what is at its URL, or the previous one."""
    body, url = params.get("TemplateBody"), params.get("TemplateURL")
    if params.get("UsePreviousTemplate"):
        if body or url:
            raise invalid("You cannot specify both usePreviousTemplate and Template Body/Template URL.")
        return previous
    if body and url:
        raise invalid("You cannot specify both Template Body and Template URL.")
    if url:
        return await fetch(desk, caller, str(url))
    if not body:
        raise invalid("Either Template URL or Template Body must be specified.")
    if desk.settings.profile == "aws" and len(body.encode()) > BODY_LIMIT:
        raise invalid(
            f"1 validation error detected: Value at 'templateBody' failed to satisfy constraint: "
            f"Member must have length less than or equal to {BODY_LIMIT}"
        )
    return str(body)


def given_parameters(params: Params, previous: dict[str, str] | None = None) -> dict[str, str]:
    """Parameter -> value, those with UsePreviousValue from `previous`."""
    given: dict[str, str] = {}
    for entry in params.get("Parameters", []):
        key = str(entry.get("ParameterKey", ""))
        if entry.get("UsePreviousValue"):
            if previous is None or key not in previous:
                words = "Cannot specify usePreviousValue as true for a parameter key not in the previous template"
                raise invalid(f"Invalid input for parameter key {key}. {words}")
            given[key] = previous[key]
        else:
            given[key] = str(entry.get("ParameterValue", ""))
    return given


def given_tags(params: Params) -> dict[str, str]:
    """Tags as a map; refused as AWS does when there are too many or reserved ones."""
    tags: dict[str, str] = {}
    for tag in params.get("Tags", []):
        key = str(tag["Key"])
        if key.lower().startswith("aws:"):
            raise invalid(f"Tag key {key!r} is reserved: keys must not begin with aws:")
        tags[key] = str(tag["Value"])
    if len(tags) > 50:
        raise invalid(f"Too many tags: {len(tags)}, at most 50")
    return tags


def given_notifications(params: Params) -> list[str]:
    """Where the events of a stack are to be sent. On AWS topics of SNS, which is not there: here URLs, which get each event by POST."""
    given = [str(one) for one in params.get("NotificationARNs") or ()]
    for one in given:
        if not is_url(one):
            raise invalid(
                f"NotificationARNs: {one} cannot be notified: there is no SNS in Batchyard. Give a URL (http, https), which gets each event"
                " by POST, or leave it out and make a rule of EventBridge for the source aws.cloudformation."
            )
    return given


def paged(items: Sequence[Params], params: Params) -> tuple[list[Params], str]:
    """A page of a list, and the token of the next or ""."""
    numbered = [(f"{n:08d}", item) for n, item in enumerate(items)]
    asked = {name: value for name, value in params.items() if name not in ("NextToken", "MaxResults")}
    refusal = invalid("The NextToken is not one of this list")
    found, token = page_of(
        numbered, lambda entry: entry[0], limit=PAGE, token=params.get("NextToken"), purpose=(str(sorted(asked.items())),), invalid=refusal
    )
    return [item for _, item in found], token


def look(desk: Any, caller: Caller, ask: Any) -> Any:
    """The answer of `ask` on a snapshot of the caller's stacks."""
    sealer = desk.sealer
    return desk.shelf.look(place_of(caller.account, caller.region), lambda drawer: ask(StackBook(drawer, sealer)))


def stack_named(desk: Any, caller: Caller, name: str) -> Stack:
    """The stack of a request. Raises AWS's refusal."""
    found: Stack = look(desk, caller, lambda book: book.require(name))
    return found


async def resources_of(desk: Any, caller: Caller, stack: Stack) -> dict[str, Resource]:
    """A stack's resources by logical id; hundreds of them take a while to unseal, beside the event loop."""
    return await asyncio.to_thread(look, desk, caller, lambda book: book.resources(stack.id))
