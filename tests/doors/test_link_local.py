"""When the addresses that programs have built in are refused, and by what a connection is known."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchyard.compute.local import knobs
from batchyard.compute.local.doors import callers, link_local, netlink
from batchyard.main.serve import serve
from batchyard.main.settings import Settings
from own_network import own_network, why_not

NO_NETWORK = why_not()
pytestmark = [
    pytest.mark.system("network namespaces"),
    pytest.mark.skipif(bool(NO_NETWORK), reason=NO_NETWORK or "there are"),
]


@pytest.fixture(autouse=True)
def network() -> Iterator[None]:
    with own_network():
        yield


@contextlib.contextmanager
def connected(family: int = socket.AF_INET) -> Iterator[tuple[socket.socket, netlink.Place, netlink.Place]]:
    """Our end of a connection, its place, and that of the other end."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(family) as own:
        own.connect((f"{'::ffff:' if family == socket.AF_INET6 else ''}127.0.0.1", server.getsockname()[1]))
        peer, place = server.accept()
        with peer:
            yield own, place, server.getsockname()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_the_kernel_says_whose_a_connection_is_as_long_as_it_is_open(family: int) -> None:
    with connected(family) as (own, place, target):
        held = netlink.held(place, target)
        assert held is not None
        assert (held.inode, held.uid) == (os.fstat(own.fileno()).st_ino, os.getuid())
        own.close()
        assert netlink.held(place, target) is None
        assert netlink.held(target, place) != held  # nor anybody's who only listens
        assert netlink.held(("127.0.0.1", 9), target) is None


@pytest.mark.skipif(knobs.own_place2() is None, reason="no cgroups of version 2 are mounted")
def test_it_says_in_which_cgroup_of_version_2_the_connection_was_made() -> None:
    place2 = knobs.own_place2()
    assert place2 is not None
    with connected() as (_, place, target):
        held = netlink.held(place, target)
        assert held is not None
        assert held.group == knobs.group_id(place2)


def test_a_search_ends_when_it_has_cost_enough(tmp_path: Path) -> None:
    with connected() as (own, _, _), contextlib.ExitStack() as opened:
        inode = os.fstat(own.fileno()).st_ino
        pids = [os.getpid()]
        assert callers._search(pids, inode, 10_000)[0]
        for number in range(200):
            opened.enter_context(open(tmp_path / str(number), "w"))
        found, spent = callers._search(pids, inode, 100)
        assert not found
        assert 100 < spent < 200
        assert callers._search([2**22 - 1, *pids], inode, 10_000)[0]


def test_both_addresses_are_taken_and_given_back(tmp_path: Path) -> None:
    before = netlink.addresses()
    assert link_local.why_not() == ""
    assert netlink.addresses() == before
    place = link_local.take(tmp_path)
    assert {each.address: each.label for each in netlink.addresses() if each not in before} == dict.fromkeys(
        link_local.ADDRESSES, link_local.LABEL
    )
    for each, address in zip(place.listening, link_local.ADDRESSES, strict=True):
        with socket.create_connection((address, 80), timeout=90):
            each.accept()[0].close()
        each.close()
    place.give_back()
    assert netlink.addresses() == before
    assert list(tmp_path.iterdir()) == []


def test_one_of_them_that_is_left_is_completed(tmp_path: Path) -> None:
    netlink.add_address(link_local.INSTANCES, link_local.LABEL)
    place = link_local.take(tmp_path)
    assert {each.address for each in netlink.addresses()} > set(link_local.ADDRESSES)
    for each in place.listening:
        each.close()
    place.give_back()


def test_what_is_not_ours_is_not_taken_away(tmp_path: Path) -> None:
    netlink.add_address(link_local.TASKS, "lo:agent")
    with pytest.raises(link_local.CannotTake, match=r"has the address 169\.254\.170\.2 already \(lo:agent\)"):
        link_local.take(tmp_path)
    (tmp_path / "link-local").touch()
    link_local.clear(tmp_path)
    assert netlink.Address(link_local.TASKS, "lo:agent") in netlink.addresses()
    assert list(tmp_path.iterdir()) == []


def test_a_server_on_port_80_of_all_addresses_is_named() -> None:
    with socket.socket() as server:
        server.bind(("0.0.0.0", 80))  # of the test's own network
        server.listen()
        assert "port 80 of 169.254.170.2 cannot be had: a server has port 80 on all addresses" in link_local.why_not()
    assert link_local.why_not() == ""


def test_who_answers_there_already_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.2", 0)) as server:
        monkeypatch.setattr(link_local, "ADDRESSES", ("127.0.0.3", "127.0.0.2"))
        monkeypatch.setattr(link_local, "PORT", server.getsockname()[1])
        assert "somebody answers at 127.0.0.2 already" in link_local.why_not()


def test_without_root_a_service_says_so_and_does_not_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    before = os.umask(0o077)  # which a service sets for itself
    try:
        assert serve(Settings(data=tmp_path / "data", runtime="process", scratch="directory", link_local="on")) == 1
    finally:
        os.umask(before)
    told = capsys.readouterr()
    assert told.out == ""
    assert "batchyard serve: --link-local on is not possible: it needs root" in told.err
    assert not (tmp_path / "data" / "node.lock").exists()
