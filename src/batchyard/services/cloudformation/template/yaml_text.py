"""YAML as CloudFormation reads it: its short tags, YAML 1.1's booleans, dates and long digits as they stand, a line for everything.

The parser is libyaml's; what is built of its events is ours, so that nothing is resolved that CloudFormation does not resolve, and no
text can blow up: aliases are refused as AWS refuses them, and nesting has a bound.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from batchyard.services.cloudformation.template import syntax
from batchyard.services.cloudformation.template.model import Path, TemplateFault

MAX_DEPTH = 100
MAX_DIGITS = 18  # of an integer; one with more stays a text, lest digits are lost
_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# Short tags and what they stand for: every function has one but Fn::ForEach.
TAGS = {f"!{name.removeprefix('Fn::')}": name for name in syntax.KNOWN if name != "Fn::ForEach"}
_OWN = "tag:yaml.org,2002:"
_KNOWN = frozenset({"bool", "float", "int", "map", "null", "seq", "str"})
_SCALAR_TAGS = {"!", "tag:yaml.org,2002:str"}
_INTEGER = re.compile(rf"[-+]?(?:0|[1-9][0-9]{{0,{MAX_DIGITS - 1}}})\Z")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?\Z")
_LINE_END = re.compile("\r\n|[\r\n]")
_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_BOOLEANS = {
    **{word: True for name in ("yes", "true", "on") for word in (name, name.title(), name.upper())},
    **{word: False for name in ("no", "false", "off") for word in (name, name.title(), name.upper())},
}
_NULLS = {"", "~", "null", "Null", "NULL"}


def parse(text: str) -> tuple[Any, dict[Path, int]]:
    """The one document of `text` and the line of every key and element. Raises TemplateFault."""
    return _Builder(text).document()


def malformed(line: int, column: int, why: str) -> TemplateFault:
    """AWS's refusal of YAML that it cannot read, and why."""
    return TemplateFault(f"Template format error: YAML not well-formed. (line {line}, column {column}): {why}", line)


class _Builder:
    def __init__(self, text: str) -> None:
        self.text = text
        self.lines: dict[Path, int] = {}
        self.count = max(1, len(_LINE_END.findall(text.rstrip("\r\n"))) + 1)
        try:
            self.parser = _PARSER(text)
        except yaml.YAMLError as error:
            raise self._unreadable(error) from None
        except UnicodeEncodeError as error:
            line = text.count("\n", 0, error.start) + 1
            raise malformed(line, error.start - text.rfind("\n", 0, error.start), "half a surrogate pair is no character") from None

    def document(self) -> tuple[Any, dict[Path, int]]:
        event = self._next()
        while isinstance(event, yaml.StreamStartEvent | yaml.DocumentStartEvent):
            event = self._next()
        if isinstance(event, yaml.StreamEndEvent):
            raise TemplateFault("Template format error: unsupported structure.", 1)
        content = self._node(event, ())
        self._next()  # the end of the document
        end = self._next()
        if not isinstance(end, yaml.StreamEndEvent):
            raise self._at(end, "a template is one document")
        return content, self.lines

    def _next(self) -> Any:
        try:
            return self.parser.get_event()
        except yaml.YAMLError as error:
            raise self._unreadable(error) from None

    def _node(self, event: Any, path: Path) -> Any:
        if len(path) > MAX_DEPTH:
            raise self._at(event, f"nested more than {MAX_DEPTH} levels deep")
        if isinstance(event, yaml.AliasEvent):
            line = self._line(event.start_mark)
            raise TemplateFault("Template error: YAML aliases are not allowed in CloudFormation templates", line)
        name = self._function(event)
        if name is not None:
            self.lines[(*path, name)] = self._line(event.start_mark)
            return {name: self._argument(name, self._plain(event, (*path, name)))}
        return self._plain(event, path)

    def _function(self, event: Any) -> str | None:
        """The function that a node's tag stands for, None for a node without a tag of ours."""
        tag = event.tag
        if tag is None or tag in _SCALAR_TAGS:
            return None
        if tag.startswith(_OWN):
            if tag.removeprefix(_OWN) in _KNOWN:
                return None
            raise self._at(event, f"CloudFormation does not support the tag !!{tag.removeprefix(_OWN)}")
        if tag not in TAGS:
            raise self._at(event, f"unknown tag {tag}")
        return TAGS[tag]

    @staticmethod
    def _argument(name: str, value: Any) -> Any:
        """`!GetAtt A.B.C` is of resource A the attribute B.C."""
        if name == "Fn::GetAtt" and isinstance(value, str) and "." in value:
            return value.split(".", 1)
        return value

    def _plain(self, event: Any, path: Path) -> Any:
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        return self._scalar(event, path)

    def _mapping(self, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self._at(event, "a key must be a string")
            key, line = event.value, self._line(event.start_mark)
            if key == "<<" and not event.style:
                raise self._at(event, "CloudFormation does not support merging with <<")
            if key in found:
                raise self._at(event, f"the key {key} stands twice, first on line {self.lines[(*path, key)]}")
            self.lines[(*path, key)] = line
            found[key] = self._node(self._next(), (*path, key))
        return found

    def _sequence(self, path: Path) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            here = (*path, len(found))
            self.lines[here] = self._line(event.start_mark)
            found.append(self._node(event, here))
        return found

    def _scalar(self, event: Any, path: Path) -> Any:
        text: str = event.value
        if event.style or event.tag in _SCALAR_TAGS or (event.tag or "").startswith("!"):
            return text  # quoted, a block of text, or a function's argument
        if text in _NULLS:
            raise null(path, self._line(event.start_mark))
        if text in _BOOLEANS:
            return _BOOLEANS[text]
        if _INTEGER.match(text):
            return int(text)
        return float(text) if _FLOAT.match(text) and math.isfinite(float(text)) else text

    def _line(self, mark: Any) -> int:
        """The line of a mark; YAML 1.1 ends lines at more characters than editors do, so not beyond the last."""
        return min(int(mark.line) + 1, self.count)

    def _at(self, event: Any, why: str) -> TemplateFault:
        return malformed(self._line(event.start_mark), event.start_mark.column + 1, why)

    def _unreadable(self, error: yaml.YAMLError) -> TemplateFault:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        if mark is None:  # a character that YAML does not allow: PyYAML gives its position
            position = getattr(error, "position", 0)
            line = self.text.count("\n", 0, position) + 1
            return malformed(line, position - self.text.rfind("\n", 0, position), "a character that YAML does not allow")
        lines = _BREAK.split(self.text)
        number = min(mark.line, len(lines) - 1, self.count - 1)
        indentation = re.match(r"\s*", lines[number])
        if indentation is not None and "\t" in indentation[0]:
            return malformed(number + 1, indentation[0].index("\t") + 1, "tabs cannot indent, use spaces")
        why = str(getattr(error, "problem", "") or "cannot be read")
        if context := getattr(error, "context", None):
            begins = error.context_mark.line + 1 if getattr(error, "context_mark", None) else 0
            why = f"{context}{f' that begins on line {begins}' if begins else ''}, {why}"
        column = mark.column + 1 if number == mark.line else len(lines[number]) + 1
        return malformed(number + 1, column, why)


def null(path: Path, line: int) -> TemplateFault:
    """AWS's refusal of a null, in YAML also of a key with nothing after it."""
    return TemplateFault(f"[/{'/'.join(map(str, path))}] 'null' values are not allowed in templates", line)
