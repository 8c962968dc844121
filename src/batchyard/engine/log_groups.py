"""Whether the log group that a container names is there, where somebody asks (profile aws): else it does not start, as on AWS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from batchyard.core import loglines
from batchyard.engine.cannot_launch import CannotLaunch
from batchyard.model.capacity import Platform
from batchyard.store.logs import DEFAULT_GROUP

HasGroup = Callable[[str, str, str], bool]

_MISSING = "failed to create Cloudwatch log stream: ResourceNotFoundException: The specified log group does not exist."
_EXIT = "exit status 1"
_BY_DOCKER = f"CannotStartContainerError: Error response from daemon: failed to initialize logging driver: {_MISSING}"
_BY_FARGATE = (
    f"ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: {_MISSING} : exit status 1"
)


class NoLogGroup(CannotLaunch):
    """A container's log group is not there: the attempt does not start."""


def made_when_missing(account: str, region: str, group: str) -> bool:
    """Where nobody asks, a group that is missing is made with the first attempt."""
    return True


def check(container: Mapping[str, Any], account: str, region: str, platform: Platform, has_group: HasGroup) -> None:
    """Raise `NoLogGroup` if a container names a log group that is not there and is not to be made (`awslogs-create-group`).

    Batch's own group is always there. `has_group` is asked by account, region and name.
    """
    options = (container.get("logConfiguration") or {}).get("options") or {}
    group = str(options.get(loglines.GROUP) or DEFAULT_GROUP)
    if group == DEFAULT_GROUP or loglines.other_driver(container) or str(options.get(loglines.CREATE, "")).lower() == "true":
        return
    if not has_group(account, region, group):
        raise NoLogGroup(_BY_FARGATE if platform is Platform.FARGATE else _BY_DOCKER)
