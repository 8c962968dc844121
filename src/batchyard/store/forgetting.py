"""Deletes finished jobs and all that belongs to them, in steps: an array may have ten thousand children.

A job and its specification go first, and with them everything is out of sight; the children that are left go bit by bit.
"""

from __future__ import annotations

from collections.abc import Iterable

import apsw

CHILDREN = 1000  # of one array, in one step


def ended_before(reader: apsw.Connection, at_ms: int, most: int) -> list[str]:
    """The jobs (arrays as a whole) that ended first, before `at_ms`, without those that an array follows child by child. The newest
    submission stays whatever its age: new ids go on from it."""
    select = (
        "SELECT id FROM jobs WHERE ended_at_ms < ? AND id < (SELECT max(id) FROM specifications)"
        " AND NOT EXISTS (SELECT 1 FROM followers WHERE leader = jobs.id) ORDER BY ended_at_ms LIMIT ?"
    )
    return [id for (id,) in reader.execute(select, (at_ms, most))]


def leftover(reader: apsw.Connection) -> str | None:
    """An array that is gone and has children left, if there is one."""
    return next((parent for (parent,) in list(reader.execute("SELECT parent FROM leftovers LIMIT 1"))), None)


def delete(writer: apsw.Connection, ids: Iterable[str]) -> None:
    """Delete jobs, their specifications, and what refers to them."""
    keys = [(id,) for id in ids]
    if not keys:
        return
    writer.executemany("INSERT OR IGNORE INTO leftovers SELECT ?1 WHERE EXISTS (SELECT 1 FROM jobs WHERE parent = ?1)", keys)
    writer.executemany("DELETE FROM jobs WHERE id = ?", keys)
    writer.executemany("DELETE FROM specifications WHERE id = ?", keys)
    writer.executemany("DELETE FROM consumers WHERE spec = ?", keys)
    writer.executemany("DELETE FROM followers WHERE follower = ?", keys)


def delete_children(writer: apsw.Connection, parent: str) -> None:
    """Delete some children of an array that is gone, and note when none is left."""
    writer.execute("DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE parent = ? LIMIT ?)", (parent, CHILDREN))
    writer.execute("DELETE FROM leftovers WHERE parent = ?1 AND NOT EXISTS (SELECT 1 FROM jobs WHERE parent = ?1)", (parent,))
