"""Dynamic references: {{resolve:ssm:...}}, {{resolve:ssm-secure:...}} and {{resolve:secretsmanager:...}} in values that are resolved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batchyard.services.cloudformation.template.model import TemplateFault

_REFERENCE = re.compile(r"\{\{resolve:[^{}]*\}\}")
_SERVICES = ("ssm", "ssm-secure", "secretsmanager")
_VERSION = re.compile(r"[0-9]+\Z")


@dataclass(frozen=True, slots=True)
class Reference:
    """What a reference asks for. Of a parameter `version` (""= the newest); of a secret the `key` in its JSON ("" = all of its text),
    the `stage` (AWSCURRENT where none of both is given) or the `version`."""

    text: str
    service: str
    name: str
    version: str = ""
    key: str = ""
    stage: str = ""


def found(value: Any) -> frozenset[str]:
    """All references in a resolved value, each with its braces."""
    if isinstance(value, str):
        return frozenset(_REFERENCE.findall(value)) if "{{resolve:" in value else frozenset()
    if isinstance(value, Mapping):
        return frozenset().union(*(found(inner) for inner in value.values()))
    return frozenset().union(*(found(inner) for inner in value)) if isinstance(value, list) else frozenset()


def parse(text: str) -> Reference:
    """What a reference, with its braces, asks for. Raises TemplateFault when it is none of CloudFormation's."""
    service, _, rest = text.removeprefix("{{resolve:").removesuffix("}}").partition(":")
    if service not in _SERVICES or not rest.strip():
        raise _refusal(text)
    if service == "secretsmanager":
        return _secret(text, rest)
    name, _, version = rest.partition(":")
    if name.startswith("arn"):  # an ARN has colons of its own
        head, _, tail = rest.rpartition(":")
        name, version = (head, tail) if _VERSION.match(tail) and head.count(":") >= 5 else (rest, "")
    if not name or (version and not _VERSION.match(version)):
        raise _refusal(text)
    return Reference(text, service, name, version)


def _secret(text: str, rest: str) -> Reference:
    pieces = rest.split(":")
    if pieces[0] == "arn":
        if len(pieces) < 7:
            raise _refusal(text)
        pieces = [":".join(pieces[:7]), *pieces[7:]]
    name, kind, key, stage, version, *more = [*pieces, "", "", "", ""][: max(5, len(pieces))]
    if more or not name or kind not in ("", "SecretString") or (stage and version):
        raise _refusal(text)
    return Reference(text, "secretsmanager", name, version, key, stage or ("" if version else "AWSCURRENT"))


def filled(value: Any, values: Mapping[str, str]) -> Any:
    """`value` with every reference that `values` knows, by its whole text, replaced."""
    if isinstance(value, str):
        return _REFERENCE.sub(lambda match: values.get(match[0], match[0]), value) if "{{resolve:" in value else value
    if isinstance(value, Mapping):
        return {key: filled(inner, values) for key, inner in value.items()}
    return [filled(inner, values) for inner in value] if isinstance(value, list) else value


def _refusal(text: str) -> TemplateFault:
    return TemplateFault(f"Incorrect format is used in the following dynamic reference: {text}")
