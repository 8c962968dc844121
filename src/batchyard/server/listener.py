"""How the door listens: uvicorn as we want it, and a connection that must say what it wants within a minute."""

from __future__ import annotations

import asyncio
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_TIMEOUT_S = 60.0
KEEP_ALIVE_S = 75


class DoorProtocol(HttpToolsProtocol):
    """uvicorn's connection, closed when the head of its first request takes too long: silent connections would pile up."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection begins, and so does the time for the head of its first request."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._give_up)

    def on_headers_complete(self) -> None:
        """The head is there."""
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over."""
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        super().connection_lost(exc)

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


def listener_config(app: Any, **options: Any) -> uvicorn.Config:
    """uvicorn's configuration for the door: uvloop where there is one, httptools, no log lines and no headers of its own.

    `options` are uvicorn's: `host` and `port`, `fd` or `uds`, `timeout_graceful_shutdown` ...
    """
    settings: dict[str, Any] = {
        "loop": "auto",
        "http": DoorProtocol,
        "ws": "none",
        "lifespan": "off",
        "access_log": False,
        "log_config": None,
        "server_header": False,
        "proxy_headers": False,
        "timeout_keep_alive": KEEP_ALIVE_S,
        "backlog": 2048,
    }
    return uvicorn.Config(app, **(settings | options))
