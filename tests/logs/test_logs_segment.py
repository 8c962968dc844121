"""A segment gives back what was written, whatever it was and wherever a crash cut it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from batchyard.store import logs
from batchyard.store.logs_segment import Segment

NAMES = st.text(min_size=1, max_size=512)
MESSAGES = st.one_of(st.binary(max_size=40), st.binary(min_size=1, max_size=3).map(lambda part: part * 25_000))
EVENTS = st.lists(st.tuples(st.integers(0, 50), MESSAGES), max_size=30).map(lambda events: sorted(events, key=lambda event: event[0]))


@contextmanager
def segment(events: list[tuple[int, bytes]]) -> Iterator[tuple[Path, int, bytes]]:
    """(path, descriptor of the writer, the whole file's bytes)."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        descriptor = logs.open_segment(root, "1", "eu", "g", "s", 7)
        for timestamp_ms, message in events:
            os.write(descriptor, logs.frame(timestamp_ms, message))
        path = logs.segment_path(root, "1", "eu", "g", "s")
        yield path, descriptor, path.read_bytes()
        os.close(descriptor)


def read(path: Path, from_offset: int = 0) -> list[tuple[int, bytes]]:
    with logs.opened(path) as descriptor:
        return [(entry.timestamp_ms, entry.message) for entry in logs.entries(descriptor, from_offset)]


@given(NAMES)
def test_names_survive_as_file_names(name: str) -> None:
    encoded = logs.file_name(name)
    assert len(encoded.encode()) <= 200 and encoded.isascii() and "/" not in encoded and "\0" not in encoded
    assert encoded == encoded.lower() and not encoded.startswith(".")
    assert logs.plain_name(encoded) in (name, None)
    assert (logs.plain_name(encoded) is None) == encoded.startswith("~")


@given(NAMES, NAMES)
def test_different_names_have_different_files(one: str, other: str) -> None:
    assert (logs.file_name(one) == logs.file_name(other)) == (one == other)


@pytest.mark.parametrize(
    "name", ["..", ".", "../../etc/passwd", "/", "a" * 512, "A" * 512, "😀" * 512, "~x", "%41", "+a", ",", "a\0b", "é"]
)
def test_awkward_names_stay_in_the_folder(tmp_path: Path, name: str) -> None:
    os.close(logs.open_segment(tmp_path, "1", "eu", name, name, 7))
    path = logs.segment_path(tmp_path, "1", "eu", name, name)
    assert path.is_file() and path.resolve().is_relative_to(tmp_path.resolve())
    with logs.opened(path) as descriptor:
        about = logs.header(descriptor)
    assert about is not None and about[:3] == (name, name, 7)


@given(EVENTS)
@settings(max_examples=60, deadline=None)
def test_read_gives_what_was_written(events: list[tuple[int, bytes]]) -> None:
    with segment(events) as (path, _, _):
        assert read(path) == events
        with logs.opened(path) as descriptor:
            found = list(logs.entries(descriptor))
            about = logs.header(descriptor)
            assert about is not None
            assert list(logs.entries_back(descriptor, path.stat().st_size, about.end)) == found[::-1]
            for entry in found:
                assert list(logs.entries(descriptor, entry.offset))[:1] == [entry]
                assert next(logs.entries_back(descriptor, entry.end, about.end)) == entry


@given(EVENTS.filter(bool), st.data())
@settings(max_examples=60, deadline=None)
def test_a_torn_tail_is_ignored_and_cut_off(events: list[tuple[int, bytes]], data: st.DataObject) -> None:
    with segment(events) as (path, descriptor, whole):
        torn = whole[: data.draw(st.integers(0, len(whole) - 1))] + data.draw(st.binary(max_size=3))
        assume(not torn.startswith(whole))  # the bytes that come after may be the ones that were cut off
        os.truncate(path, 0)
        os.write(descriptor, torn)
        survivors = read(path)
        assert survivors == events[: len(survivors)] and len(survivors) < len(events)
        known = Segment(path)
        assert known.before(2**62, 100, 2**30) == known.after(0, 100, 2**30)[::-1]
        path.with_name("t.log").write_bytes(path.read_bytes())
        again = logs.open_segment(path.parents[3], "1", "eu", "g", "t", 8)
        os.write(again, logs.frame(99, b"after the crash"))
        os.close(again)
        assert read(path.with_name("t.log")) == [*survivors, (99, b"after the crash")]


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    first = logs.open_segment(tmp_path, "1", "eu", "g", "s", 7)
    with pytest.raises(BlockingIOError):
        logs.open_segment(tmp_path, "1", "eu", "g", "s", 7)
    os.close(first)
    os.close(logs.open_segment(tmp_path, "1", "eu", "g", "s", 7))


def test_a_message_has_a_limit() -> None:
    assert logs.frame(1, b"x" * logs.MESSAGE_BYTES_MAX)
    with pytest.raises(ValueError, match="1048550"):
        logs.frame(1, b"x" * (logs.MESSAGE_BYTES_MAX + 1))


def test_a_length_that_is_nonsense_ends_the_reading() -> None:
    with segment([(1, b"one")]) as (path, descriptor, _):
        os.write(descriptor, b"\xff" * 100_000)
        assert read(path) == [(1, b"one")]
        assert Segment(path).before(2**62, 10, 2**30)[0].message == b"one"


def test_a_file_that_is_no_segment_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    for content in (b"", b"batchyard-log 1 {", b"hello\n", b'batchyard-log 1 {"group": 1}\n', b"x" * 20_000):
        path.write_bytes(content)
        assert read(path) == []
        known = Segment(path)
        assert known.about() is None and known.span_ms() is None and known.end() == 0 and known.offset_at(5) == 0
        assert known.before(100, 10, 10) == [] and known.after(0, 10, 10) == []


@given(EVENTS, st.integers(0, 30), st.lists(st.integers(-1, 52), max_size=6))
@settings(max_examples=60, deadline=None)
def test_times_are_found_while_the_file_grows(events: list[tuple[int, bytes]], half: int, times: list[int]) -> None:
    with segment(events[:half]) as (path, descriptor, _):
        known = Segment(path)
        for now in (events[:half], events):
            for time_ms in times:
                expected = [event for event in now if event[0] >= time_ms]
                assert read(path, known.offset_at(time_ms)) == expected
            assert known.span_ms() == ((now[0][0], now[-1][0]) if now else None)
            assert known.end() == path.stat().st_size
            if now is not events:
                for timestamp_ms, message in events[half:]:
                    os.write(descriptor, logs.frame(timestamp_ms, message))


def test_a_long_segment_is_not_read_whole_for_a_time() -> None:
    events = [(number // 3, b"%d" % number) for number in range(30_000)]
    with segment([]) as (path, descriptor, _):
        os.write(descriptor, b"".join(logs.frame(*event) for event in events))
        known = Segment(path)
        for wanted in (9_000, 0, 4_321, 9_999, 10_000):
            assert read(path, known.offset_at(wanted)) == [event for event in events if event[0] >= wanted]


def test_a_replaced_or_emptied_file_is_looked_at_anew() -> None:
    with segment([(1, b"one"), (2, b"two")]) as (path, descriptor, whole):
        known = Segment(path)
        assert known.span_ms() == (1, 2)
        about = known.about()
        assert about is not None
        os.ftruncate(descriptor, about.end)
        assert known.span_ms() is None and known.before(2**62, 9, 9) == []
        os.write(descriptor, logs.frame(5, b"five"))
        assert known.span_ms() == (5, 5)
        other = path.with_suffix(".other")
        other.write_bytes(whole)
        other.rename(path)
        assert known.span_ms() == (1, 2)


def test_what_a_job_copied_from_a_segment_stays_one_message() -> None:
    inner = logs.frame(9, b"forged")
    with segment([(1, inner), (2, inner * 3 + b"x")]) as (path, _, _):
        assert read(path) == [(1, inner), (2, inner * 3 + b"x")]
        assert [entry.message for entry in Segment(path).before(2**62, 9, 2**20)] == [inner * 3 + b"x", inner]
