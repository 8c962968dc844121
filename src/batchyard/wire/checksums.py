"""The checksums that S3 clients send along: zlib's and hashlib's, and the two CRCs that Python does not have.

CRC-32C and CRC-64/NVME run in pure Python at several hundred MB/s: blocks of a long message are folded into what follows them by
a sparse multiple of the polynomial (`FoldedCrc`), and what is left is cut into lanes of 64 bytes that step at once as byte planes
(`bytes.translate` looks up, big integers xor), whose neighbours are folded pairwise with tables that shift a CRC by a power of two.
The arithmetic is that of any table-driven CRC; only the order differs.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

_LANE = 64
_MAX_LANES = 2048
_MIN_LANES = 8

_BLOCK = 32 * 1024
_BLOCK_ONES = (1 << 8 * _BLOCK) - 1
# Exponents of sparse multiples of the two polynomials (and 1), found by comparing sums of powers of x; a test divides them.
_CRC64NVME_MULTIPLE = (814170, 551087, 297540, 294657)
_CRC32C_MULTIPLE = (264190, 1257, 236)


class Checksum(Protocol):
    """A running checksum."""

    def update(self, chunk: bytes, /) -> None:
        """Takes more bytes."""

    def digest(self) -> bytes:
        """The checksum of all bytes so far, big-endian as S3 writes it."""


class Crc32:
    """CRC-32 as in zlib."""

    def __init__(self) -> None:
        self._state = 0

    def update(self, chunk: bytes) -> None:
        """Takes more bytes."""
        self._state = zlib.crc32(chunk, self._state)

    def digest(self) -> bytes:
        """4 bytes, big-endian."""
        return self._state.to_bytes(4, "big")


class LaneCrc:
    """A reflected CRC of `width` bytes with all-ones initial value and final xor."""

    def __init__(self, polynomial: int, width: int) -> None:
        self._tables = _Tables.of(polynomial, width)
        self._ones = (1 << 8 * width) - 1
        self._state = self._ones

    def update(self, chunk: bytes) -> None:
        """Takes more bytes."""
        tables, state, at = self._tables, self._state, 0
        chunk = bytes(chunk)
        while (lanes := min((len(chunk) - at) // _LANE, _MAX_LANES)) >= _MIN_LANES:
            lanes = 1 << lanes.bit_length() - 1
            state = tables.block(state, chunk[at : at + lanes * _LANE], lanes)
            at += lanes * _LANE
        table = tables.table
        for byte in chunk[at:]:
            state = table[(state ^ byte) & 255] ^ (state >> 8)
        self._state = state

    def digest(self) -> bytes:
        """`width` bytes, big-endian."""
        return (self._state ^ self._ones).to_bytes(self._tables.width, "big")


class _Tables:
    """What one polynomial needs: the byte table, its planes, and the tables that shift a CRC over 64 * 2**n bytes."""

    def __init__(self, polynomial: int, width: int) -> None:
        self.width = width
        self.table = [_table_entry(polynomial, byte) for byte in range(256)]
        self.planes = [bytes(entry >> 8 * at & 255 for entry in self.table) for at in range(width)]
        self._shifts: list[list[list[bytes]]] = []
        # The effect of feeding one zero byte, by bit of the state; doubled up to a lane.
        self._operator = [self._zero_byte(1 << bit) for bit in range(8 * width)]
        for _ in range(_LANE.bit_length() - 1):
            self._operator = _squared(self._operator)

    @staticmethod
    @lru_cache(maxsize=4)
    def of(polynomial: int, width: int) -> _Tables:
        """The tables of a polynomial, made once."""
        return _Tables(polynomial, width)

    def _zero_byte(self, state: int) -> int:
        return self.table[state & 255] ^ (state >> 8)

    def block(self, state: int, block: bytes, lanes: int) -> int:
        """The state after `block`, which holds `lanes` (a power of two) lanes of 64 bytes."""
        width, planes = self.width, self.planes
        # One integer per byte of the CRC, holding that byte of every lane; the running state enters at the first lane.
        crc = [state >> 8 * at & 255 for at in range(width)]
        for step in range(_LANE):
            index = (crc[0] ^ int.from_bytes(block[step::_LANE], "little")).to_bytes(lanes, "little")
            for at in range(width - 1):
                crc[at] = crc[at + 1] ^ int.from_bytes(index.translate(planes[at]), "little")
            crc[-1] = int.from_bytes(index.translate(planes[-1]), "little")
        folded = [plane.to_bytes(lanes, "little") for plane in crc]
        for level in range(lanes.bit_length() - 1):
            folded = self._folded(folded, self._shift(level))
        return sum(plane[0] << 8 * at for at, plane in enumerate(folded))

    def _folded(self, planes: list[bytes], shift: list[list[bytes]]) -> list[bytes]:
        """Neighbouring lanes made one: the left one shifted over the right one's length, xor the right one."""
        left = [plane[0::2] for plane in planes]
        folded = []
        for out, plane in enumerate(planes):
            total = int.from_bytes(plane[1::2], "little")
            for at, part in enumerate(left):
                total ^= int.from_bytes(part.translate(shift[at][out]), "little")
            folded.append(total.to_bytes(len(plane) // 2, "little"))
        return folded

    def _shift(self, level: int) -> list[list[bytes]]:
        """`[in byte][out byte]` -> translation table of a shift over 64 * 2**level bytes."""
        while len(self._shifts) <= level:
            tables = []
            for at in range(self.width):
                images = [_apply(self._operator, byte << 8 * at) for byte in range(256)]
                tables.append([bytes(image >> 8 * out & 255 for image in images) for out in range(self.width)])
            self._shifts.append(tables)
            self._operator = _squared(self._operator)
        return self._shifts[level]


def _table_entry(polynomial: int, byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (polynomial if byte & 1 else 0)
    return byte


def _apply(operator: list[int], state: int) -> int:
    image = 0
    while state:
        low = state & -state
        image ^= operator[low.bit_length() - 1]
        state ^= low
    return image


def _squared(operator: list[int]) -> list[int]:
    return [_apply(operator, column) for column in operator]


class FoldedCrc:
    """The same as `LaneCrc`, several times as fast on long input.

    `exponents` are those of a sparse multiple of the polynomial, 1 + x^c + ... + x^a, so that x^a can be replaced by the few lower
    powers: a block of the message is not divided, but added (xor) a few times into what follows it, as one large integer each.
    That needs `exponents[0]` bits of message behind the block; what is left at the end is divided the slow way.
    """

    def __init__(self, polynomial: int, width: int, exponents: tuple[int, ...]) -> None:
        self._polynomial, self._width = polynomial, width
        top = exponents[0]
        self._shifts = [top - exponent - 8 * _BLOCK for exponent in (*exponents[1:], 0)]
        self._held_back = _BLOCK + (top + 7) // 8
        self._rest = bytearray()
        self._carry = (1 << 8 * width) - 1  # the initial value, as if it had been added into the first bits
        self._is_folded = False

    def update(self, chunk: bytes) -> None:
        """Takes more bytes."""
        rest = self._rest
        rest += chunk
        at = 0
        while len(rest) - at >= self._held_back:
            self._fold(int.from_bytes(memoryview(rest)[at : at + _BLOCK], "little"))
            at += _BLOCK
        if at:
            del rest[:at]
            self._is_folded = True

    def digest(self) -> bytes:
        """`width` bytes, big-endian."""
        crc = LaneCrc(self._polynomial, self._width)
        if not self._is_folded:
            crc.update(bytes(self._rest))
            return crc.digest()
        ones = (1 << 8 * self._width) - 1  # `LaneCrc` begins with these, which have long been carried on
        last = int.from_bytes(self._rest, "little") ^ self._carry ^ ones
        crc.update(last.to_bytes(len(self._rest), "little"))
        return crc.digest()

    def _fold(self, block: int) -> None:
        block ^= self._carry & _BLOCK_ONES
        carry = self._carry >> 8 * _BLOCK
        for shift in self._shifts:
            carry ^= block << shift
        self._carry = carry


def crc32c() -> FoldedCrc:
    """CRC-32C (Castagnoli), 4 bytes."""
    return FoldedCrc(0x82F63B78, 4, _CRC32C_MULTIPLE)


def crc64nvme() -> FoldedCrc:
    """CRC-64/NVME, 8 bytes."""
    return FoldedCrc(0x9A6C9329AC4BC9B5, 8, _CRC64NVME_MULTIPLE)


# S3's name -> how to make one. What S3 has besides (XXHASH64, XXHASH3, XXHASH128) is refused by name.
ALGORITHMS: dict[str, Callable[[], Checksum]] = {
    "crc32": Crc32,
    "crc32c": crc32c,
    "crc64nvme": crc64nvme,
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
    "md5": lambda: hashlib.md5(usedforsecurity=False),
}
SIZES = {"crc32": 4, "crc32c": 4, "crc64nvme": 8, "sha1": 20, "sha256": 32, "sha512": 64, "md5": 16}


def checksum_base64(algorithm: str, text: bytes) -> str:
    """The checksum of `text` as S3's headers carry it. `algorithm` is a key of `ALGORITHMS`."""
    checksum = ALGORITHMS[algorithm]()
    checksum.update(text)
    return base64.b64encode(checksum.digest()).decode()
