"""The Range header on an object of known size: pure."""

from __future__ import annotations

import re

from batchyard.model.fault import Fault

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.IGNORECASE | re.ASCII)


def parse_range(text: str, size: int) -> tuple[int, int] | None:
    """(first byte, number of bytes) of a single range on an object of `size` bytes; None when the whole object is to be sent.

    Like S3, a header that is no single byte range is ignored. Raises `InvalidRange` (416) when it lies outside the object.
    """
    found = _RANGE.fullmatch(text.replace(" ", ""))
    if not found or found.group(1) == found.group(2) == "":
        return None
    first, last = found.groups()
    if not first:
        length = min(int(last), size)
        if length == 0:
            raise invalid_range(text, size)
        return size - length, length
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size:
        raise invalid_range(text, size)
    end = min(int(last), size - 1) if last else size - 1
    return start, end - start + 1


def parse_copy_range(text: str, size: int) -> tuple[int, int]:
    """(first byte, number of bytes) of an `x-amz-copy-source-range`, which must be `bytes=first-last` within the source."""
    found = _RANGE.fullmatch(text)
    if not found or not found.group(1) or not found.group(2):
        raise Fault(
            "InvalidArgument",
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the"
            " zero-based offsets of the first and last bytes to copy",
            ArgumentName="x-amz-copy-source-range",
            ArgumentValue=text,
        )
    first, last = int(found.group(1)), int(found.group(2))
    if last < first or last >= size:
        raise Fault(
            "InvalidArgument",
            f"Range specified is not valid for source object of size: {size}",
            ArgumentName="x-amz-copy-source-range",
            ArgumentValue=text,
        )
    return first, last - first + 1


def invalid_range(text: str, size: int) -> Fault:
    """S3's 416."""
    return Fault(
        "InvalidRange",
        "The requested range is not satisfiable",
        ActualObjectSize=str(size),
        RangeRequested=text,
    )
