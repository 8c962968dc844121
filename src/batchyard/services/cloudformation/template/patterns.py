"""AllowedPattern: Java's regular expressions, as Python understands them, anchored at both ends as AWS matches them."""

from __future__ import annotations

import re
import warnings
from functools import lru_cache

# Java's named classes as what stands within brackets.
_CLASSES = {
    "Lower": "a-z",
    "Upper": "A-Z",
    "Alpha": "a-zA-Z",
    "Digit": "0-9",
    "Alnum": "a-zA-Z0-9",
    "Punct": r"!-/:-@\[-`{-~",
    "XDigit": "0-9a-fA-F",
    "Space": r"\s",
    "Blank": r" \t",
    "ASCII": r"\x00-\x7f",
    "Graph": r"!-~",
    "Print": r" -~",
    "Cntrl": r"\x00-\x1f\x7f",
    "L": r"^\W\d_",
    "N": r"\d",
}
_TOKEN = re.compile(r"\\p\{(?:Is)?(\w+)\}|\\P\{(?:Is)?(\w+)\}|\\Q(.*?)(?:\\E|\Z)|\\.|\[\^?\]?|\]|\(\?<(?![=!])|.", re.S)


@lru_cache(maxsize=512)
def compiled(pattern: str) -> re.Pattern[str] | None:
    """The pattern, to be used with `match`. None when it cannot be said in Python, though it may be right in Java.

    Raises ValueError when it is right in neither.
    """
    translated, is_sayable = _translated(pattern)
    flags = re.match(r"\(\?([imsux]+)\)", translated)
    if flags is not None:
        translated = f"(?{flags[1].replace('u', '')}:{translated[flags.end() :]})" if flags[1] != "u" else translated[flags.end() :]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            re.compile(translated)  # alone first: an error then counts from its beginning
            return re.compile(rf"(?:{translated})\Z") if is_sayable else None
        except re.error as error:
            if is_sayable:
                raise ValueError(str(error)) from None
            return None


def _translated(pattern: str) -> tuple[str, bool]:
    """The pattern in Python's spelling, and whether all of it could be translated."""
    found: list[str] = []
    is_class, is_sayable = False, "&&" not in pattern
    for match in _TOKEN.finditer(pattern):
        text = match[0]
        if match[1] or match[2]:
            inner = _CLASSES.get(match[1] or match[2])
            is_plain = inner is not None and not inner.startswith("^")
            is_sayable &= inner is not None and (not is_class or (is_plain and match[1] is not None))
            if is_class:
                found.append(inner if inner is not None and is_plain else r"\w")
            else:
                found.append(f"[{'^' if match[2] else ''}{inner or ''}]" if is_plain else "[^\\W\\d_]" if match[1] == "L" else r"[\s\S]")
        elif text.startswith(r"\Q"):
            found.append(re.escape(match[3]))
        elif text == "(?<":
            found.append("(?P<")
        elif text == r"\z":
            found.append(r"\Z")
        elif text == r"\h":
            found.append(r" \t" if is_class else r"[ \t]")
        elif text.startswith("[") and is_class:
            is_sayable = False  # a union of classes
            found.append(text)
        else:
            is_class = True if text.startswith("[") else False if text == "]" else is_class
            found.append(r"\-" if text == "-" and is_class and found and found[-1] in (r"\w", r"\d", r"\s") else text)
    return "".join(found), is_sayable
