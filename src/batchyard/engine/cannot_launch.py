"""Why an attempt that was placed cannot be launched, known before a provider is asked."""

from __future__ import annotations


class CannotLaunch(Exception):
    """The message is the container's reason, in ECS's words. `container` names the one of a task of several, "" where there is but one."""

    container = ""
