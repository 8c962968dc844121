"""Puts values in the place of `Ref::name`, so that one job definition serves many submissions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from batchyard.model.fault import client_fault

MARK = "Ref::"
MAX_PLACEHOLDERS = 5000
MAX_CHARACTERS = 1024 * 1024  # of the whole command: systems start programs with little more
MAX_EMBEDDED_NAME = 255  # longer names are found only as a whole element
_WHOLE = re.compile(r"Ref::([A-Za-z0-9_.\-]+)")
_NAME = re.compile(r"[A-Za-z0-9_]+")


def has_references(command: Sequence[str]) -> bool:
    """Whether any element of a command holds a placeholder."""
    return any(MARK in element for element in command)


def substitute(command: Sequence[str], parameters: Mapping[str, str]) -> list[str]:
    """The command with every placeholder replaced by its parameter's value; values are not looked into again.

    An element that is nothing but `Ref::key` takes all of the rest as the key (keys may hold dots and dashes). Inside a longer
    element the longest parameter name that follows the mark is meant. Raises a Fault with AWS's words when there is no value, and
    one of our own when there are more placeholders, or longer values, than any program could be started with.
    """
    placeholders = sum(element.count(MARK) for element in command)
    if placeholders > MAX_PLACEHOLDERS:
        raise client_fault(f"The command holds {placeholders} placeholders (Ref::name); at most {MAX_PLACEHOLDERS} can be filled in.")
    lengths = sorted({len(name) for name in parameters if 0 < len(name) <= MAX_EMBEDDED_NAME}, reverse=True)
    filled: list[str] = []
    room = MAX_CHARACTERS
    for element in command:
        if MARK in element:
            element = _element(element, parameters, lengths, room)
        room -= len(element)
        filled.append(element)
    return filled


def _element(element: str, parameters: Mapping[str, str], lengths: Sequence[int], room: int) -> str:
    if element.startswith(MARK) and element[len(MARK) :] in parameters:
        pieces: Iterable[str] = (parameters[element[len(MARK) :]],)
    else:
        whole = _WHOLE.fullmatch(element)
        if whole:
            raise _no_value(whole[1])
        first, *rest = element.split(MARK)
        pieces = chain((first,), (_embedded(text, parameters, lengths) for text in rest))
    kept: list[str] = []
    for piece in pieces:
        room -= len(piece)
        if room < 0:
            raise client_fault(f"With its parameters filled in, the command is longer than {MAX_CHARACTERS} characters.")
        kept.append(piece)
    return "".join(kept)


def _embedded(text: str, parameters: Mapping[str, str], lengths: Sequence[int]) -> str:
    """`text` is what follows a mark up to the next one. A mark that no name follows is ordinary text."""
    for length in lengths:
        value = parameters.get(text[:length])
        if value is not None and length <= len(text):
            return value + text[length:]
    name = _NAME.match(text)
    if name:
        raise _no_value(name[0])
    return MARK + text


def _no_value(name: str) -> Exception:
    return client_fault(f"Unable to substitute value. No parameter found for reference {name}")
