"""How the door listens: uvicorn as we want it, and connections that must say what they want within bounds."""

from __future__ import annotations

import asyncio
import resource
import sys
from functools import cache
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from batchyard.server.exchange import BODY_IS_HERE

HEAD_TIMEOUT_S = 60.0
MAX_HEAD_BYTES = 256 * 1024
KEEP_ALIVE_S = 75

SPARE_DESCRIPTORS = 256  # that are not for connections: the store, logs, objects, the node
FULL = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


@cache
def most_connections() -> int:
    """As many as the process may have descriptors for, but for some. What comes beyond is refused with a 503, and the others are served."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if soft == resource.RLIM_INFINITY else max(soft - SPARE_DESCRIPTORS, soft // 2)


def allow_many_connections() -> None:
    """Raise this process's bound of open files as far as it may by itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if sys.platform.startswith("linux") else min(hard, 10240)
    if soft != wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class DoorProtocol(HttpToolsProtocol):
    """uvicorn's connection with bounds on the head of a request, which the parser itself has none of: how long it may take to
    come, and how large it may be. Otherwise silent or endless connections would pile up."""

    _head_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _is_in_head = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection begins, and so does the time for its first request."""
        super().connection_made(transport)
        if len(self.connections) > most_connections():
            transport.write(FULL)
            transport.close()
            return
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._give_up)

    def data_received(self, data: bytes) -> None:
        """Bytes came. Only a head that is not complete with them costs anything here."""
        super().data_received(data)
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.transport.write(_TOO_LARGE)
                self.transport.close()
            elif self._head_timer is None:
                self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._give_up)

    def on_message_begin(self) -> None:
        """A head begins."""
        self._is_in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._is_in_head = False
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The whole request is there. Mostly that is so before anybody looks at it, who then need not watch the clock."""
        self.scope["state"][BODY_IS_HERE] = True
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over."""
        self._stop_timer()
        super().connection_lost(exc)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

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
