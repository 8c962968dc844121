"""Puts values in the place of `Ref::name`, so that one job definition serves many submissions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from batchyard.model.fault import client_fault

MARK = "Ref::"
_WHOLE = re.compile(r"Ref::([A-Za-z0-9_.\-]+)")
_NAME = re.compile(r"[A-Za-z0-9_]+")


def has_references(command: Sequence[str]) -> bool:
    """Whether any element of a command holds a placeholder."""
    return any(MARK in element for element in command)


def substitute(command: Sequence[str], parameters: Mapping[str, str]) -> list[str]:
    """The command with every placeholder replaced by its parameter's value; values are not looked into again.

    An element that is nothing but `Ref::key` takes all of the rest as the key (keys may hold dots and dashes). Inside a longer
    element the longest parameter name that follows the mark is meant. Raises a Fault with AWS's words when there is no value.
    """
    return [_element(element, parameters) if MARK in element else element for element in command]


def _element(element: str, parameters: Mapping[str, str]) -> str:
    if element.startswith(MARK) and element[len(MARK) :] in parameters:
        return parameters[element[len(MARK) :]]
    whole = _WHOLE.fullmatch(element)
    if whole:
        raise _no_value(whole[1])
    first, *rest = element.split(MARK)
    return first + "".join(_embedded(text, parameters) for text in rest)


def _embedded(text: str, parameters: Mapping[str, str]) -> str:
    """`text` is what follows a mark up to the next one. A mark that no name follows is ordinary text."""
    known = max((name for name in parameters if name and text.startswith(name)), key=len, default=None)
    if known is not None:
        return parameters[known] + text[len(known) :]
    name = _NAME.match(text)
    if name:
        raise _no_value(name[0])
    return MARK + text


def _no_value(name: str) -> Exception:
    return client_fault(f"Unable to substitute value. No parameter found for reference {name}")
