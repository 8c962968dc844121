"""Keeps jobs from the kernel's keyrings: those of a user outlive a job, and the user id is another job's next; those of a session are
handed down from whoever started the node, to all jobs alike. Container runtimes do the same, by the same means, a filter of system calls.
"""

from __future__ import annotations

import ctypes
import struct
import sys

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
# add_key, request_key and keyctl stand in a row: the first number of each processor's, compatible ones too, by its AUDIT_ARCH.
_FIRST = {
    0xC000003E: 248,  # x86_64
    0x40000003: 286,  # i386
    0xC00000B7: 217,  # aarch64
    0x40000028: 309,  # arm
    0xC00000F3: 217,  # riscv64
    0xC0000015: 269,  # ppc64le
    0x80000016: 278,  # s390x
}
_X32 = 0x40000000  # a flag in the numbers of x86_64's calls with small pointers
_LOAD, _AND, _EQUAL, _AT_LEAST, _ABOVE, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x25, 0x06
_NUMBER_AT, _PROCESSOR_AT = 0, 4
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050001  # with EPERM, as Docker's filter


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def close() -> bool:
    """From now on neither we nor who is started by us has keyrings. False where the system cannot see to it.

    For who has renounced privileges, or the filter would not be taken.
    """
    if not sys.platform.startswith("linux"):
        return False
    steps = _filter()
    program = _Program(len(steps) // 8, steps)
    return not ctypes.CDLL(None).prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0)


def _filter() -> bytes:
    """Classic BPF: for each processor, whether the call is one of the three."""
    steps = [(_LOAD, 0, 0, _PROCESSOR_AT)]
    for processor, first in _FIRST.items():
        steps += [
            (_EQUAL, 0, 6, processor),
            (_LOAD, 0, 0, _NUMBER_AT),
            (_AND, 0, 0, ~_X32 & 0xFFFFFFFF),
            (_AT_LEAST, 0, 1, first),
            (_ABOVE, 0, 1, first + 2),
            (_RETURN, 0, 0, _ALLOW),
            (_RETURN, 0, 0, _REFUSE),
        ]
    steps.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
