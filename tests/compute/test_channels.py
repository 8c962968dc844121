"""The descriptors of a session, which end in every way that there is while much waits to be written or read."""

from __future__ import annotations

import os
import socket

import pytest

from batchyard.compute.local.loop import Loop
from batchyard.compute.local.sessions.channel import Channel

MUCH = b"x" * 1_000_000  # more than a pipe or a socket takes


@pytest.fixture
def loop() -> Loop:
    return Loop(lambda: None)


def test_what_waits_for_a_reader_is_given_up_when_that_one_goes(loop: Loop) -> None:
    reading, writing = os.pipe()
    emptied: list[bool] = []
    channel = Channel(loop, writing, emptied=lambda: emptied.append(True))
    channel.write(MUCH)
    assert channel.is_full and not emptied
    os.close(reading)
    loop.once()
    assert emptied and not channel.is_full
    channel.close()


def test_that_a_client_goes_is_seen_while_it_is_not_read(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    read: list[bytes] = []
    ended: list[bool] = []
    channel = Channel(loop, ours.detach(), read.append, lambda: ended.append(True), is_a_client=True)
    channel.pause(True)
    theirs.send(b"more")
    theirs.close()
    loop.once()
    assert ended and not read and not channel.is_open


def test_what_is_paused_is_read_when_it_goes_on(loop: Loop) -> None:
    reading, writing = os.pipe()
    read: list[bytes] = []
    ended: list[bool] = []
    channel = Channel(loop, reading, read.append, lambda: ended.append(True))
    channel.pause(True)
    os.write(writing, b"said")
    os.close(writing)
    channel.pause(False)
    while not ended:
        loop.once()
    assert read == [b"said"]
