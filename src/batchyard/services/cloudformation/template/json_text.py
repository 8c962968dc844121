"""JSON as CloudFormation reads it, with a line for everything; Python's own reader gives no lines and takes keys that stand twice."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from json import JSONDecodeError
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

from batchyard.services.cloudformation.template.model import Path, TemplateFault
from batchyard.services.cloudformation.template.yaml_text import MAX_DEPTH, MAX_DIGITS, null

_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"(-?(?:0|[1-9][0-9]*))(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_SURROGATE = re.compile("[\ud800-\udfff]")
_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None}


def parse(text: str) -> tuple[Any, dict[Path, int]]:
    """The value of `text` and the line of every key and element. Raises TemplateFault."""
    return _Reader(text).document()


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Path, int] = {}
        self.ends = [match.start() for match in re.finditer("\n", text)]

    def document(self) -> tuple[Any, dict[Path, int]]:
        self._space()
        value = self._value(())
        self._space()
        if self.at != len(self.text):
            raise self._malformed("something stands after the end")
        return value, self.lines

    def _space(self) -> str:
        """The character after the white space from here on, "" at the end."""
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.text[self.at : self.at + 1]

    def _line(self, at: int) -> int:
        return bisect_right(self.ends, at - 1) + 1

    def _malformed(self, why: str, at: int | None = None) -> TemplateFault:
        at = self.at if at is None else at
        line, column = self._line(at), at - self.text.rfind("\n", 0, at)
        return TemplateFault(f"Template format error: JSON not well-formed. (line {line}, column {column}): {why}", line)

    def _value(self, path: Path) -> Any:
        if len(path) > MAX_DEPTH:
            raise self._malformed(f"nested more than {MAX_DEPTH} levels deep")
        match self.text[self.at : self.at + 1]:
            case "{":
                return self._object(path)
            case "[":
                return self._array(path)
            case '"':
                return self._string()
        for word, value in _WORDS.items():
            if self.text.startswith(word, self.at):
                if value is None:
                    raise null(path, self._line(self.at))
                self.at += len(word)
                return value
        number = _NUMBER.match(self.text, self.at)
        if number is None:
            raise self._malformed("a value must stand here")
        self.at = number.end()
        whole, fraction, exponent = number.groups()
        if fraction is None and exponent is None:
            return int(whole) if len(whole.lstrip("-")) <= MAX_DIGITS else whole
        return float(number[0]) if math.isfinite(float(number[0])) else number[0]

    def _string(self) -> str:
        try:
            text, self.at = scanstring(self.text, self.at + 1, True)
        except JSONDecodeError as error:
            raise self._malformed(error.msg, error.pos) from None
        if _SURROGATE.search(text):
            raise self._malformed("half a surrogate pair is no character")
        return str(text)

    def _object(self, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self.at += 1
        if self._space() == "}":
            self.at += 1
            return found
        while True:
            if self._space() != '"':
                raise self._malformed("a key must stand here, in double quotes")
            start = self.at
            key = self._string()
            here = (*path, key)
            if key in found:
                raise self._malformed(f"the key {key} stands twice, first on line {self.lines[here]}", start)
            self.lines[here] = self._line(start)
            if self._space() != ":":
                raise self._malformed("a colon must stand here")
            self.at += 1
            self._space()
            found[key] = self._value(here)
            if self._more("}"):
                return found

    def _array(self, path: Path) -> list[Any]:
        found: list[Any] = []
        self.at += 1
        if self._space() == "]":
            self.at += 1
            return found
        while True:
            self._space()
            here = (*path, len(found))
            self.lines[here] = self._line(self.at)
            found.append(self._value(here))
            if self._more("]"):
                return found

    def _more(self, end: str) -> bool:
        """Whether `end` closes what stands here, rather than a comma leading on."""
        character = self._space()
        if character not in (",", end) or not character:
            raise self._malformed(f"a comma or {end} must stand here")
        self.at += 1
        return character == end
