"""Long computations beside the event loop: what a large template takes to read or to compare must not keep other requests waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

SMALL = 16_384  # characters of a template that is done with faster than a thread is asked

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


async def aside(text: str, act: Callable[Given, Answer], *args: Given.args, **kwargs: Given.kwargs) -> Answer:
    """What `act`, which has to do with a template of this `text`, answers; in a thread unless it is a small one."""
    if len(text) <= SMALL:
        return act(*args, **kwargs)
    return await asyncio.to_thread(act, *args, **kwargs)
