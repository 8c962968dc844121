"""Groups and streams made, listed and deleted by several hands at once."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import apsw
import pytest
from logs_yard import NOW_MS, Yard

from batchyard.store.logs import group_path, make_group, open_segment, segment_path
from batchyard.store.logs_store import LogStore
from batchyard.store.opening import NewerStore

NAMESPACE, GROUP = ("123456789012", "eu-west-1"), "/aws/batch/job"


def test_streams_with_long_names_are_listed_by_their_headers(yard: Yard) -> None:
    names = ["s" * 512, "😀" * 500, "plain"]
    for name in names:
        yard.write(name, [])
    assert yard.logs.stream_names(NAMESPACE, GROUP) == sorted(names)
    torn = segment_path(yard.root, *NAMESPACE, GROUP, names[0])
    torn.unlink()  # an old listing holds until the directory changes
    torn.write_bytes(b"")
    assert yard.logs.stream_names(NAMESPACE, GROUP) == sorted(names[1:])


def test_an_old_listing_is_kept_until_the_directory_changes(yard: Yard) -> None:
    yard.write("a", [])
    directory = group_path(yard.root, *NAMESPACE, GROUP)
    os.utime(directory, (1_000_000_000, 1_000_000_000))
    first = yard.logs._segment_files(directory)
    assert yard.logs._segment_files(directory) is first
    yard.write("b", [])
    assert yard.logs.stream_names(NAMESPACE, GROUP) == ["a", "b"]
    yard.logs.delete_stream(NAMESPACE, GROUP, "a")
    assert [stream.name for stream in yard.logs.streams(NAMESPACE, GROUP)] == ["b"]


def test_a_group_is_made_once(yard: Yard) -> None:
    directory = group_path(yard.root, *NAMESPACE, "g")
    make_group(directory, "g", 1)
    make_group(directory, "g", 2)
    group = yard.logs.group(NAMESPACE, "g")
    assert group is not None and group.created_at_ms == 1
    assert [path.name for path in directory.parent.iterdir()] == ["g"]
    file = directory.with_name("file")
    file.write_text("")
    with pytest.raises(OSError, match="file"):
        make_group(file, "file", 1)


def test_jobs_start_while_their_group_is_deleted(yard: Yard) -> None:
    failures: list[BaseException] = []

    def start(number: int) -> None:
        try:
            for turn in range(60):
                os.close(open_segment(yard.root, *NAMESPACE, "g", f"{number}.{turn}", NOW_MS))
        except BaseException as failure:
            failures.append(failure)
            raise

    starting = [threading.Thread(target=start, args=(number,)) for number in range(3)]
    for thread in starting:
        thread.start()
    while any(thread.is_alive() for thread in starting):
        yard.logs.delete_group(NAMESPACE, "g")
        yard.logs.groups(NAMESPACE)
        yard.logs.streams(NAMESPACE, "g")
    assert failures == []
    yard.logs.delete_group(NAMESPACE, "g")
    assert yard.logs.group(NAMESPACE, "g") is None


def test_a_newer_book_is_refused(tmp_path: Path) -> None:
    LogStore(tmp_path).close()
    connection = apsw.Connection(str(tmp_path / "logs.sqlite"))
    connection.pragma("user_version", 2)
    connection.close()
    with pytest.raises(NewerStore, match="Use a newer Batchyard"):
        LogStore(tmp_path)
