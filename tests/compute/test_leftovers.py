"""The little that a job leaves is known by what it takes to remove it, and what links lead to stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from batchyard.compute.local.leftovers import FEW, are_little, first_names, opened, remove


def is_little(place: Path) -> bool:
    descriptor = opened(str(place))
    try:
        return are_little(first_names(descriptor, FEW + 1), descriptor)
    finally:
        os.close(descriptor)


def test_what_is_little_is_removed_and_what_links_lead_to_stays(tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    (home / "a/b/c").mkdir(parents=True)
    other.mkdir()
    (other / "kept").write_text("x")
    (home / "a/link").symlink_to(other)
    (home / "a/b/file").write_text("x")
    os.link(other / "kept", home / "a/b/c/same")
    os.mkfifo(home / "pipe")
    assert is_little(home)
    descriptor = opened(str(home))
    remove(first_names(descriptor, FEW), descriptor)
    os.close(descriptor)
    assert not list(home.iterdir()) and (other / "kept").read_text() == "x"


def test_neither_many_entries_nor_large_files_are_little(tmp_path: Path) -> None:
    deep = tmp_path / "/".join("d" * 3)
    deep.mkdir(parents=True)
    for number in range(FEW - 3):
        (deep / str(number)).touch()
    assert is_little(tmp_path)
    (tmp_path / "one more").touch()
    assert not is_little(tmp_path)
    (tmp_path / "one more").unlink()
    (deep / "0").write_bytes(os.urandom(3_000_000))
    assert not is_little(tmp_path)


def test_a_link_to_a_directory_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/")
    with pytest.raises(OSError, match="link"):
        opened(str(tmp_path / "link"))
