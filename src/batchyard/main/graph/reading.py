"""Where an environment that is drawn comes from: a template in a file with its nested ones beside it, or a stack that is there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchyard.main.client import Trouble
from batchyard.main.graph.elements import Element, Source, elements
from batchyard.main.graph.environment import Environment, environment
from batchyard.services.cloudformation.template.model import Template, TemplateFault
from batchyard.services.cloudformation.template.reading import read

if TYPE_CHECKING:
    from batchyard.main.stacks.account import Account

_REMOTE = ("http://", "https://", "s3://")


def of_file(path: Path, name: str, parameters: Mapping[str, str]) -> Environment:
    """What the template at `path` would make, as a stack called `name`. Raises `Trouble` with the line where it cannot be worked out."""
    source = _source_of_file(path, name, parameters)
    unknown = sorted(parameters.keys() - source.template.section("Parameters").keys())
    if unknown:
        raise Trouble(f"{path} has no parameter {', '.join(unknown)}.", exit_code=2)
    return environment(_elements(source, str(path)))


def of_stack(account: Account, name: str) -> Environment:
    """What a stack has made. Raises `Trouble` where there is none, or its template cannot be worked out."""
    from batchyard.main.stacks import asking

    found = asking.required(account, name)
    return environment(_elements(_source_of_stack(account, found, asking.resources(account, str(found["StackId"]))), name))


def _elements(source: Source, what: str) -> list[Element]:
    try:
        return elements(source)
    except TemplateFault as fault:
        raise Trouble(f"{what}: {fault.message}") from None


def _source_of_file(path: Path, name: str, parameters: Mapping[str, str]) -> Source:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Trouble(f"The template {path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None

    def inner(logical_id: str, url: str) -> Source | None:
        if url.startswith(_REMOTE):
            return None  # somebody else's: it stays a stack, which is not drawn
        return _source_of_file(path.parent / url.removeprefix("file://").removeprefix("file:"), logical_id, {})

    return Source(name, _read(text, str(path)), inner, dict(parameters))


def _source_of_stack(account: Account, found: Mapping[str, Any], resources: list[dict[str, Any]]) -> Source:
    arn = str(found["StackId"])
    body = account.ask("cloudformation", "get_template", StackName=arn, TemplateStage="Processed")["TemplateBody"]
    physical = {str(one["LogicalResourceId"]): str(one.get("PhysicalResourceId") or "") for one in resources}
    nested = {str(one["LogicalResourceId"]): one["Resources"] for one in resources if "Resources" in one}

    def inner(logical_id: str, _: str) -> Source | None:
        from batchyard.main.stacks import asking

        if logical_id not in nested:
            return None
        return _source_of_stack(account, asking.required(account, physical[logical_id]), nested[logical_id])

    given = {
        str(one["ParameterKey"]): str(one.get("ResolvedValue") or one.get("ParameterValue", "")) for one in found.get("Parameters") or []
    }
    text = body if isinstance(body, str) else json.dumps(body)  # botocore reads JSON by itself
    template = _read(text, str(found["StackName"]))
    return Source(str(found["StackName"]), template, inner, given, physical, account.region, account.id)


def _read(text: str, what: str) -> Template:
    try:
        return read(text)
    except TemplateFault as fault:
        raise Trouble(f"{what}: {fault.message}") from None
