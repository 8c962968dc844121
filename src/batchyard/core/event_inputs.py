"""What a target of a rule is sent of an event: all of it, a part (InputPath), a fixed text (Input), or a template (InputTransformer)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_PATH = re.compile(r"\$((?:\.[A-Za-z0-9_-]+|\['[^']*'\]|\[[0-9]+\])*)")
_STEP = re.compile(r"\.([A-Za-z0-9_-]+)|\['([^']*)'\]|\[([0-9]+)\]")
_VARIABLE = re.compile(r"<([A-Za-z0-9_.-]+)>")
_ABSENT = object()


class BadInput(Exception):
    """What was asked for cannot be made; the message says why."""


def check(target: Mapping[str, Any]) -> None:
    """Raise `BadInput` unless a target's Input, InputPath or InputTransformer (one of them at most) means something."""
    given = [name for name in ("Input", "InputPath", "InputTransformer") if target.get(name)]
    if len(given) > 1:
        raise BadInput(f"Only one of Input, InputPath, or InputTransformer must be provided for target {target['Id']}.")
    if "Input" in given:
        try:
            json.loads(target["Input"])
        except (ValueError, RecursionError):
            raise BadInput(f"JSON syntax error in input for target {target['Id']}.") from None
    transformer = target.get("InputTransformer") or {}
    for path in [target.get("InputPath") or "$", *(transformer.get("InputPathsMap") or {}).values()]:
        if not _PATH.fullmatch(path):
            raise BadInput(f"InputPath for target {target['Id']} is invalid: {path} must look like $.detail.status.")
    if transformer:
        known = {*(transformer.get("InputPathsMap") or {})}
        unknown = [v for v in _VARIABLE.findall(transformer["InputTemplate"]) if v not in known and not v.startswith("aws.events.")]
        if unknown:
            raise BadInput(f"InputTemplate for target {target['Id']} contains placeholder {unknown[0]} that InputPathsMap does not name.")


def text_for(target: Mapping[str, Any], event: Mapping[str, Any], rule_name: str, rule_arn: str) -> str:
    """What a target is sent."""
    if target.get("Input"):
        return str(target["Input"])
    if target.get("InputPath"):
        found = _at(event, target["InputPath"])
        return json_of(None if found is _ABSENT else found)
    transformer = target.get("InputTransformer")
    if transformer:
        return _filled(transformer, event, rule_name, rule_arn)
    return json_of(event)


def value_for(event: Mapping[str, Any], text: str) -> str:
    """A text that may be a path into the event (`$.detail.status`): then what is there, "" where nothing is."""
    if not text.startswith("$.") or not _PATH.fullmatch(text):
        return text
    found = _at(event, text)
    return "" if found is _ABSENT else found if isinstance(found, str) else json_of(found)


def json_of(value: Any) -> str:
    """A value as it is sent: JSON without blanks."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _at(event: Any, path: str) -> Any:
    for name, quoted, index in _STEP.findall(path):
        if index:
            event = event[int(index)] if isinstance(event, list) and int(index) < len(event) else _ABSENT
        else:
            event = event.get(name or quoted, _ABSENT) if isinstance(event, dict) else _ABSENT
        if event is _ABSENT:
            return _ABSENT
    return event


def _filled(transformer: Mapping[str, Any], event: Mapping[str, Any], rule_name: str, rule_arn: str) -> str:
    """The template with its variables: within a JSON text they stand as they are, elsewhere as JSON. What is not there is empty."""
    values = {name: _at(event, path) for name, path in (transformer.get("InputPathsMap") or {}).items()}
    values |= {
        "aws.events.rule-name": rule_name,
        "aws.events.rule-arn": rule_arn,
        "aws.events.event.ingestion-time": event.get("time", ""),
        "aws.events.event": {name: value for name, value in event.items() if name != "detail"},
        "aws.events.event.json": event,
    }
    template = transformer["InputTemplate"]
    pieces: list[str] = []
    at, quoted = 0, False
    for found in _VARIABLE.finditer(template):
        before = template[at : found.start()]
        pieces.append(before)
        quoted ^= len(re.findall(r'(?<!\\)"', before)) % 2 == 1
        value = values.get(found[1], _ABSENT)
        pieces.append("" if value is _ABSENT else _within(value) if quoted else json_of(value))
        at = found.end()
    return "".join([*pieces, template[at:]])


def _within(value: Any) -> str:
    """A value as a part of a text in quotes."""
    return json.dumps(value if isinstance(value, str) else json_of(value), ensure_ascii=False)[1:-1]
