"""Which host user a job may be: never one that owns the machine or another job, unless the operator said so."""

from __future__ import annotations

import os

from batchyard.compute.local.spawn import CannotStart, Identity

NOBODY = 65534
_ORDINARY_FROM = 1000


def identity(wanted: str, slot_uid: int | None, reserved: range, allow_any: bool) -> Identity | None:
    """The identity for a job that asks for the user `wanted` ("", "uid", "uid:gid", "name", "name:group"); None: as the node itself.

    CannotStart if it may not be had: as root, uid and gid 0 and system accounts (below 1000, but for nobody) own too much of the
    machine, and ids of `reserved` belong to other jobs; without root there is no other user than our own.
    """
    if not wanted:
        return Identity(slot_uid, slot_uid) if slot_uid is not None else None
    uid, gid = _numbers(wanted)
    if os.geteuid() != 0:
        if uid == os.geteuid():
            return None
        raise _refusal(wanted, "without root, jobs can only run as the user that started Batchyard: leave `user` out")
    if not allow_any:
        for number in (uid, gid):
            if number < _ORDINARY_FROM and number != NOBODY:
                raise _refusal(wanted, f"id {number} owns parts of this machine: name another user, or none")
    if uid in reserved:
        raise _refusal(wanted, f"the ids {reserved.start} to {reserved.stop - 1} are kept for jobs that name no user")
    return Identity(uid, gid, (), shared=True)


def _numbers(wanted: str) -> tuple[int, int]:
    import grp
    import pwd

    user, _, group = wanted.partition(":")
    try:
        if user.isdecimal():
            uid = int(user)
            gid = uid
        else:
            entry = pwd.getpwnam(user)
            uid, gid = entry.pw_uid, entry.pw_gid
    except KeyError:
        raise _refusal(wanted, "no matching entries in passwd file") from None
    try:
        if group:
            gid = int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise _refusal(wanted, "no matching entries in group file") from None
    if not (0 <= uid < 2**32 - 1 and 0 <= gid < 2**32 - 1):
        raise _refusal(wanted, "user and group ids are below 4294967295")
    return uid, gid


def _refusal(wanted: str, why: str) -> CannotStart:
    return CannotStart(f'CannotStartContainerError: unable to find user "{wanted}": {why}'[:255])
