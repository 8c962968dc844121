"""All that a server does again and again beside the answering of requests: what is over is forgotten, logs are delivered."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Awaitable, Callable

from batchyard.engine import retention
from batchyard.main.desk import ServerDesk
from batchyard.services import s3
from batchyard.services.cloudformation.running import forgetting as stacks_forgetting
from batchyard.services.lambda_functions import events as function_events
from batchyard.store import json_logs, logs_retention

log = logging.getLogger(__name__)

_RETRY_S = 60.0


def begin(desk: ServerDesk, kept: retention.Retention, access_logs: s3.AccessLogs) -> asyncio.Future[list[None]]:
    """Begin them all; to be ended by `end`."""
    in_threads = (
        functools.partial(logs_retention.run_once, desk.logs),
        functools.partial(s3.carry_out_lifecycles, desk.objects, access_logs),
        access_logs.deliver,
        functools.partial(_forget_logs, desk, kept),
    )
    tasks: list[Callable[[int], Awaitable[float]]] = [functools.partial(asyncio.to_thread, task) for task in in_threads]
    tasks.append(functools.partial(retention.run_once, desk.driver.ask, kept))
    tasks.append(functools.partial(function_events.run_once, desk))
    tasks.append(functools.partial(stacks_forgetting.run_once, desk))
    return asyncio.gather(*(_again_and_again(task, desk.now_ms) for task in tasks))


def _forget_logs(desk: ServerDesk, kept: retention.Retention, now_ms: int) -> float:
    """Remove the log files of jobs that have been forgotten. Seconds until the next time."""
    if kept.jobs_s is not None:
        json_logs.remove_before(
            desk.json_logs, now_ms - int(kept.jobs_s * 1000), lambda attempt: attempt in desk.driver.engine.yard.attempts
        )
    return retention.EVERY_S


async def end(chores: asyncio.Future[list[None]]) -> None:
    """Cancel them and take in that they were, so that nobody logs it as an error that nobody asked about."""
    chores.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await chores


async def _again_and_again(run_once: Callable[[int], Awaitable[float]], now_ms: Callable[[], int]) -> None:
    """Run a chore now and whenever it wants to be run again; one that fails (the disk is full) is told of and tried again."""
    while True:
        try:
            pause_s = await run_once(now_ms())
        except Exception:
            log.exception("the chore %s failed; it is tried again", run_once)
            pause_s = _RETRY_S
        await asyncio.sleep(pause_s)
