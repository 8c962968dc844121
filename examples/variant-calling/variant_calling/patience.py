"""A call to a service that may be restarted under it: wait and ask again, but never do twice what may be done once."""

from __future__ import annotations

import time
import typing

import botocore.config
import botocore.exceptions

if typing.TYPE_CHECKING:
    import collections.abc

PATIENCE_S = 60.0
"""How long a service may be away before its client gives up."""
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 1.0
AWAY = (
    botocore.exceptions.ConnectionError,
    botocore.exceptions.HTTPClientError,
    botocore.exceptions.IncompleteReadError,
    botocore.exceptions.ResponseStreamingError,
    ConnectionError,
)
"""What botocore raises when the service is not there, or went away in the middle of an answer."""
ONE_TRY = botocore.config.Config(retries={"mode": "standard", "total_max_attempts": 1}, connect_timeout=5)
"""For clients whose calls go through `patiently`: botocore itself shall not repeat anything."""

Answer = typing.TypeVar("Answer")


def is_away(problem: BaseException) -> bool:
    """Whether asking again later can help: no connection, a broken answer, a server fault, or too many requests."""
    if isinstance(problem, botocore.exceptions.ClientError):
        status = problem.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return bool(status >= 500 or status == 429)
    return isinstance(problem, AWAY)


def patiently(
    call: collections.abc.Callable[[], Answer],
    *,
    already: collections.abc.Callable[[], Answer | None] | None = None,
    patience_s: float = PATIENCE_S,
) -> Answer:
    """The answer of `call`, which is tried until the service is back or `patience_s` is over.

    A call that was sent but not answered may have been carried out. Where that matters, `already` looks whether it
    was, and what it returns is taken as the answer; None means that nothing was done. Raises the last problem.
    """
    deadline = time.monotonic() + patience_s
    pause_s = FIRST_PAUSE_S
    attempt: collections.abc.Callable[[], Answer | None] = call
    while True:
        try:
            answer = attempt()
            if attempt is call:
                return typing.cast("Answer", answer)
            if answer is not None:
                return answer
            attempt = call
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, ConnectionError) as problem:
            if not is_away(problem) or time.monotonic() > deadline:
                raise
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            attempt = already or call
