"""Joins the CRCs of parts into the CRC of the whole, without a look at the bytes."""

from __future__ import annotations

# reflected polynomials and widths in bits
_POLYNOMIALS = {"CRC32": (0xEDB88320, 32), "CRC32C": (0x82F63B78, 32), "CRC64NVME": (0x9A6C9329AC4BC9B5, 64)}


def combine(algorithm: str, first: int, second: int, second_size: int) -> int:
    """The CRC of A followed by B from the CRC of A, the CRC of B and the size of B in bytes."""
    polynomial, width = _POLYNOMIALS[algorithm]
    return _multiply(first, _shift(polynomial, width, second_size * 8), polynomial, width) ^ second


def _multiply(left: int, right: int, polynomial: int, width: int) -> int:
    """The product of two polynomials modulo `polynomial`, all reflected (the highest bit is the coefficient of x^0)."""
    product = 0
    top = 1 << (width - 1)
    while left:
        if left & top:
            product ^= right
        left = (left << 1) & ((1 << width) - 1)
        right = (right >> 1) ^ (polynomial if right & 1 else 0)
    return product


def _shift(polynomial: int, width: int, bits: int) -> int:
    """x^bits modulo `polynomial`, by repeated squaring."""
    result = 1 << (width - 1)
    square = 1 << (width - 2)
    while bits:
        if bits & 1:
            result = _multiply(result, square, polynomial, width)
        square = _multiply(square, square, polynomial, width)
        bits >>= 1
    return result
