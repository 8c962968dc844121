"""Names, ARNs and refusals that the operations on logs share, and their way off the event loop."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import apsw

from batchyard.model.fault import Fault
from batchyard.services import Caller, Handler, Params
from batchyard.store.logs_book import LogGroup, Namespace
from batchyard.store.logs_store import LogStore
from batchyard.store.logs_stream import Stream
from batchyard.store.opening import is_for_want_of_room

Work = Callable[[LogStore, Caller, Params], Params]

_ARN = re.compile(r"arn:[\w-]+:logs:([\w-]+):(\d{12}):log-group:([^:]+)(:\*)?")


def off_loop(work: Work) -> Handler:
    """A handler that does `work` in the log store's own pool of threads: files and full syncs must not hold up the event loop."""

    async def handler(desk: Any, caller: Caller, params: Params) -> Params:
        try:
            return await asyncio.get_running_loop().run_in_executor(desk.logs.pool, work, desk.logs, caller, params)
        except (apsw.Error, OSError) as error:
            if not is_for_want_of_room(error):
                raise
            raise disk_full() from None

    return handler


def disk_full() -> Fault:
    """SDKs try again, and then show the message."""
    return Fault("ServiceUnavailableException", "The disk of the logs is full: free some space and try again.")


def namespace_of(caller: Caller) -> Namespace:
    return caller.account, caller.region


def group_arn(caller: Caller, name: str) -> str:
    """The ARN of a log group as tags use it; the older form has `:*` behind it."""
    return f"arn:{_partition(caller.region)}:logs:{caller.region}:{caller.account}:log-group:{name}"


def stream_arn(caller: Caller, group: str, stream: str) -> str:
    return f"{group_arn(caller, group)}:log-stream:{stream}"


def _partition(region: str) -> str:
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def refusal(message: str) -> Fault:
    """A mistake in a parameter."""
    return Fault("InvalidParameterException", message)


def no_such_group() -> Fault:
    return Fault("ResourceNotFoundException", "The specified log group does not exist.")


def no_such_stream() -> Fault:
    return Fault("ResourceNotFoundException", "The specified log stream does not exist.")


def name_in_arn(caller: Caller, arn: str) -> str:
    """The group's name in `arn`. Faults: not the ARN of a log group (InvalidParameter), not of this account and region (NotFound)."""
    parts = _ARN.fullmatch(arn)
    if parts is None:
        raise refusal(
            f"'{arn}' is not the ARN of a log group: it must look like arn:aws:logs:{caller.region}:{caller.account}:log-group:NAME"
        )
    if (parts[2], parts[1]) != namespace_of(caller):
        raise no_such_group()
    return parts[3]


def identified(caller: Caller, identifier: str) -> str:
    """The name of the group that a logGroupIdentifier (a name or an ARN) means."""
    return name_in_arn(caller, identifier) if identifier.startswith("arn:") else identifier


def group_asked_for(logs: LogStore, caller: Caller, params: Params) -> LogGroup:
    """The group that `logGroupName` or `logGroupIdentifier` names; exactly one of them must be given, and the group be there."""
    name, identifier = params.get("logGroupName"), params.get("logGroupIdentifier")
    if name is not None and identifier is not None:
        raise refusal("LogGroup name and LogGroup ARN are mutually exclusive parameters.")
    if name is None and identifier is None:
        raise refusal("Either logGroupName or logGroupIdentifier must be given.")
    group = logs.group(namespace_of(caller), name if name is not None else identified(caller, str(identifier)))
    if group is None:
        raise no_such_group()
    return group


def stream_asked_for(logs: LogStore, caller: Caller, group: LogGroup, name: str) -> Stream:
    """The stream of that name in `group`."""
    stream = logs.stream(namespace_of(caller), group.name, name)
    if stream is None:
        raise no_such_stream()
    return stream
