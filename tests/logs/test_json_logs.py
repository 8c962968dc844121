"""The files of the log driver json-file: in Docker's form, rotated by size, read on from where one stopped."""

from __future__ import annotations

import json
import os
import resource
import signal
from pathlib import Path

import pytest

from batchyard.store import json_logs
from batchyard.store.json_logs import LINE_BYTES_MAX, SIZE_BYTES_LEAST, JsonLog, Limits, limits_of, path_of, read, remove_before

AT_MS = 1_790_000_000_123
ATTEMPT = "0123456789abcdef0123456789abcdef"


def opened(root: Path, size_bytes: int = 0, files: int = 1) -> JsonLog:
    return JsonLog(root, ATTEMPT, "", Limits(size_bytes, files), AT_MS)


def texts(root: Path) -> list[str]:
    """All that can be read, page by page."""
    position, found = "", []
    while True:
        page = read(root, ATTEMPT, "", position)
        found += [text for _, text in page.events]
        position = page.position
        if page.is_all:
            return found


def test_lines_are_kept_in_dockers_form(tmp_path: Path) -> None:
    log = opened(tmp_path)
    log.feed(b'one\n\n"two"\t\xc3\xa4\nthr', AT_MS)
    log.feed(b"ee\nlast", AT_MS + 1000)
    log.finish(AT_MS + 2000)
    records = [json.loads(line) for line in path_of(tmp_path, ATTEMPT, "").read_text().splitlines()]
    assert [record["log"] for record in records] == ["one\n", "\n", '"two"\tä\n', "three\n", "last"]
    assert {record["stream"] for record in records} == {"stdout"}
    assert records[0]["time"] == "2026-09-21T14:13:20.123Z"
    assert read(tmp_path, ATTEMPT, "", "").events == [
        (AT_MS, "one"),
        (AT_MS, ""),
        (AT_MS, '"two"\tä'),
        (AT_MS + 1000, "three"),
        (AT_MS + 2000, "last"),
    ]
    assert path_of(tmp_path, ATTEMPT, "").stat().st_mode & 0o777 == 0o600


def test_what_is_no_text_stays_readable(tmp_path: Path) -> None:
    log = opened(tmp_path)
    log.feed(bytes(range(256)) + b"\n", AT_MS)
    log.finish(AT_MS)
    assert len(texts(tmp_path)) == 2  # the newline among the bytes, and the one behind them


def test_a_long_line_is_cut_and_read_as_one(tmp_path: Path) -> None:
    line = "ä" * 40_000
    log = opened(tmp_path)
    for start in range(0, 80_000, 7777):
        log.feed(line.encode()[start : start + 7777], AT_MS)
    log.feed(b"\nnext\n", AT_MS)
    log.finish(AT_MS)
    records = [json.loads(record)["log"] for record in path_of(tmp_path, ATTEMPT, "").read_text().splitlines()]
    assert all(len(record.encode()) <= LINE_BYTES_MAX for record in records)
    assert texts(tmp_path) == [line, "next"]


@pytest.mark.parametrize(("files", "kept"), [(1, 1), (3, 3)])
def test_full_files_move_on_and_the_oldest_goes(tmp_path: Path, files: int, kept: int) -> None:
    log = opened(tmp_path, SIZE_BYTES_LEAST, files)
    lines = [f"line {number:06}" for number in range(10_000)]
    for start in range(0, 10_000, 100):
        log.feed("".join(f"{line}\n" for line in lines[start : start + 100]).encode(), AT_MS)
    log.finish(AT_MS)
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == kept
    assert max(sizes) <= SIZE_BYTES_LEAST
    found = texts(tmp_path)
    assert found == lines[-len(found) :]
    assert len(found) > 700 * (files - 1)


def test_a_reader_goes_on_across_rotations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_logs, "READ_BYTES", 10_000)
    log = opened(tmp_path, SIZE_BYTES_LEAST, 5)
    position, found = "", []
    for number in range(3000):
        log.feed(f"line {number}\n".encode(), AT_MS)
        if number % 50 == 0:
            page = read(tmp_path, ATTEMPT, "", position)
            found += [text for _, text in page.events]
            position = page.position
    log.finish(AT_MS)
    while True:
        page = read(tmp_path, ATTEMPT, "", position)
        found += [text for _, text in page.events]
        position = page.position
        if page.is_all:
            break
    assert found == [f"line {number}" for number in range(3000)]
    assert read(tmp_path, ATTEMPT, "", position) == ([], position, True)


def test_a_reader_whose_file_is_gone_begins_with_what_is_kept(tmp_path: Path) -> None:
    log = opened(tmp_path, SIZE_BYTES_LEAST)
    log.feed(b"first\n", AT_MS)
    position = read(tmp_path, ATTEMPT, "", "").position
    log.feed(b"x" * 60_000 + b"\n", AT_MS)
    log.feed(b"y" * 60_000 + b"\n", AT_MS)
    log.finish(AT_MS)
    assert set("".join(texts(tmp_path))) == {"y"}
    assert read(tmp_path, ATTEMPT, "", position).events
    for wrong in ("nonsense", "1-2-3", "-", f"{position}x"):
        assert read(tmp_path, ATTEMPT, "", wrong).events


def test_a_full_disk_loses_lines_and_says_how_many(tmp_path: Path) -> None:
    log = opened(tmp_path)
    log.feed(b"before\n", AT_MS)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, limits[1]))
    try:
        log.feed(b"lost one\nlost two\nlost three\n", AT_MS)
        log.feed(b"lost four\n" * 10, AT_MS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    log.feed(b"after\n", AT_MS)
    log.finish(AT_MS)
    assert texts(tmp_path) == ["before", "[batchyard] 13 lines were lost here: File too large", "after"]


def test_a_note_of_the_node_stands_on_a_line_of_its_own(tmp_path: Path) -> None:
    log = opened(tmp_path)
    log.feed(b"unfinished", AT_MS)
    log.finish(AT_MS, "it could not be started")
    assert texts(tmp_path) == ["unfinished", "it could not be started"]


def test_containers_of_a_task_have_files_of_their_own(tmp_path: Path) -> None:
    for name in ("One", "two"):
        log = JsonLog(tmp_path, ATTEMPT, name, Limits(), AT_MS)
        log.feed(name.encode() + b"\n", AT_MS)
        log.finish(AT_MS)
    assert read(tmp_path, ATTEMPT, "One", "").events == [(AT_MS, "One")]
    with pytest.raises(FileNotFoundError):
        read(tmp_path, ATTEMPT, "", "")


def test_logs_of_forgotten_jobs_go_and_those_of_running_ones_stay(tmp_path: Path) -> None:
    root = tmp_path / "logs"
    assert remove_before(root, AT_MS, lambda attempt: False) == 0
    for attempt in ("aa", "bb", "cc"):
        JsonLog(root, attempt, "", Limits(), AT_MS).finish(AT_MS)
    for attempt in ("aa", "bb"):
        os.utime(path_of(root, attempt, ""), (1000, 1000))
    assert remove_before(root, 2_000_000, {"bb"}.__contains__) == 1
    assert sorted(path.name for path in root.iterdir()) == ["bb.json", "cc.json"]


@pytest.mark.parametrize(
    ("options", "limits"),
    [({}, Limits(0, 1)), ({"max-size": "10m", "max-file": "3"}, Limits(10 * 1024**2, 3)), ({"max-size": "1G"}, Limits(1024**3, 1))],
)
def test_options_are_those_of_docker(options: dict[str, str], limits: Limits) -> None:
    assert limits_of(options) == limits


@pytest.mark.parametrize(
    ("limits", "most", "wanted"),
    [
        (Limits(), 0, Limits()),
        (Limits(), 1024**3, Limits(512 * 1024**2, 2)),
        (Limits(0, 4), 1024**3, Limits(256 * 1024**2, 4)),
        (Limits(1024**2, 3), 1024**3, Limits(1024**2, 3)),
        (Limits(1024**3, 4), 1024**3, Limits(256 * 1024**2, 4)),
        (Limits(1024**3, 100), 1024**2, Limits(SIZE_BYTES_LEAST, 16)),
    ],
)
def test_all_files_together_stay_below_the_limit_of_logs(limits: Limits, most: int, wanted: Limits) -> None:
    assert json_logs.bounded(limits, most) == wanted


@pytest.mark.parametrize("options", [{"max-size": "-1"}, {"max-size": "10x"}, {"max-size": "1k"}, {"max-file": "0"}, {"max-file": "two"}])
def test_options_that_say_nothing_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="is not valid"):
        limits_of(options)
