"""Sizes as people read them."""

from __future__ import annotations

_GIB = 1024


def size(mib: float | None) -> str:
    """`12 MiB`, from 1 GiB on `3.4 GiB`; empty for None."""
    if mib is None:
        return ""
    return f"{mib:.0f} MiB" if mib < _GIB else f"{mib / _GIB:.1f} GiB"
