"""A server that stops while an invocation is being begun: nobody is there later to end that one, so it ends at once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from function_code import archive

from batchyard.model.fault import Fault
from batchyard.services.lambda_functions.events import Functions
from batchyard.services.lambda_functions.rooms import rooms_of
from batchyard.services.lambda_functions.sandbox import Order, Sandbox


async def test_what_was_about_to_begin_when_the_server_stops_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = Sandbox(tmp_path)
    make_room = sandbox._make_room

    def made_and_stopped(order: Order) -> Any:
        room = make_room(order)
        sandbox.close()
        return room

    monkeypatch.setattr(sandbox, "_make_room", made_and_stopped)
    told = ("aws_request_id", "function_name", "function_version", "invoked_function_arn", "memory_limit_in_mb", "log_group_name")
    context = {name: name for name in (*told, "log_stream_name")}
    code = archive("import time\ndef handler(e, c):\n    time.sleep(800)\n")
    order = Order(code, "{}", "index.handler", {"PATH": "/usr/bin:/bin"}, context, 800, 128, 512)
    with pytest.raises(Fault, match="The service is being stopped"):
        await asyncio.wait_for(sandbox.run(order), 60)
    sandbox.leave()
    assert not rooms_of(tmp_path).exists()


async def test_what_a_server_that_was_killed_has_left_goes_with_the_next_one(tmp_path: Path) -> None:
    """Also if nobody calls a function there: its code would lie about for as long as the machine stands."""
    await Functions(tmp_path, "").close()
    left = rooms_of(tmp_path) / "0123" / "task"
    left.mkdir(parents=True)
    (left / "index.py").touch()
    await Functions(tmp_path, "").close()
    assert not rooms_of(tmp_path).exists()
