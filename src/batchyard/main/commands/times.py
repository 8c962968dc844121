"""Times as people read and write them."""

from __future__ import annotations

import re
from datetime import datetime

from batchyard.main.client import EXIT_CANNOT, Trouble

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def span(milliseconds: float | None) -> str:
    """`850 ms`, `12 s`, `3 min 05 s`, `2 h 07 min`, `4 d 3 h`; empty for None."""
    if milliseconds is None:
        return ""
    if milliseconds < 1000:
        return f"{max(0, round(milliseconds))} ms"
    seconds = int(milliseconds // 1000)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def brief(milliseconds: float | None) -> str:
    """`span` for the cells of a table: `850ms`, `12s`, `3m05s`, `2h07m`, `4d3h`."""
    return span(milliseconds).replace("min", "m").replace(" m", "m").replace(" ", "")


def moment(milliseconds: int | None) -> str:
    """Local date and time to the second; empty for None."""
    if not milliseconds:
        return ""
    return datetime.fromtimestamp(milliseconds / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def stamp(milliseconds: int) -> str:
    """Local date and time to the millisecond, with the offset from UTC, as ISO 8601 has it."""
    return datetime.fromtimestamp(milliseconds / 1000).astimezone().isoformat(timespec="milliseconds")


def since(text: str, now_ms: int) -> int:
    """Milliseconds since the epoch of `10m` ago (s, m, h, d, w), of an ISO 8601 time, or of milliseconds as they are."""
    ago = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", text.strip())
    if ago:
        return now_ms - int(float(ago[1]) * _UNITS_S[ago[2]] * 1000)
    if text.strip().isdigit() and len(text.strip()) >= 12:
        return int(text)
    try:
        return int(datetime.fromisoformat(text.strip()).timestamp() * 1000)
    except ValueError:
        fix = "Write how long ago (90s, 10m, 2h, 1d) or a time (2026-01-31T12:00)."
        raise Trouble(f"{text!r} is no time.", fix, exit_code=EXIT_CANNOT) from None
