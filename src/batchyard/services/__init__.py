"""What the AWS calls do: one function per operation, gathered in an OPERATIONS table per service."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the identity that the door established, and the namespace (account, region) that the request works in."""

    account: str
    region: str
    access_key_id: str
    arn: str
    user_id: str
    request_id: str
    is_job: bool = False
    session_policy: str = ""  # narrows what a session of a role may do
    via: str = ""  # the service that asks on the caller's behalf: "cloudformation" for the steps of a stack

    @property
    def is_root(self) -> bool:
        """Whether it is the account's root identity, who may do everything."""
        return self.arn == f"arn:aws:iam::{self.account}:root"


def module_of(service: str) -> str:
    """The name in this package of a service that botocore calls `service`."""
    return {"lambda": "lambda_functions"}.get(service, service)  # a word of Python's own cannot be imported


def later(package: str) -> Callable[[str], Any]:
    """A package's `__getattr__`, which imports its OPERATIONS and NOT_YET out of its `table` when somebody asks for them: what is imported
    before the server is ready is waited for at every start, and takes memory, whether anybody asks this service or not."""

    def read(name: str) -> Any:
        if name not in ("OPERATIONS", "NOT_YET"):
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(import_module(f"{package}.table"), name)
        setattr(sys.modules[package], name, found)
        return found

    return read


Params = dict[str, Any]
Handler = Callable[[Any, Caller, Params], Awaitable[Params]]
