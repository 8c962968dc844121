"""Parameters: which types there are, what a caller may give, and what they then are. Values stay strings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from batchyard.services.cloudformation.template import matching, patterns
from batchyard.services.cloudformation.template.model import Template, TemplateFault

MAX_LENGTH = 4096  # of a value, in bytes
SINGLE = frozenset(
    {
        "AWS::EC2::AvailabilityZone::Name",
        "AWS::EC2::Image::Id",
        "AWS::EC2::Instance::Id",
        "AWS::EC2::KeyPair::KeyName",
        "AWS::EC2::SecurityGroup::GroupName",
        "AWS::EC2::SecurityGroup::Id",
        "AWS::EC2::Subnet::Id",
        "AWS::EC2::Volume::Id",
        "AWS::EC2::VPC::Id",
        "AWS::Route53::HostedZone::Id",
    }
)
SSM_NAME = "AWS::SSM::Parameter::Name"
_LISTS = frozenset({"CommaDelimitedList", "List<String>", "List<Number>"} | {f"List<{each}>" for each in SINGLE})
_SSM_VALUES = frozenset({"String", "CommaDelimitedList", "List<String>"} | SINGLE | {f"List<{each}>" for each in SINGLE})
TYPES = frozenset({"String", "Number", SSM_NAME} | SINGLE | _LISTS | {f"AWS::SSM::Parameter::Value<{each}>" for each in _SSM_VALUES})
_SSM_VALUE = re.compile(r"AWS::SSM::Parameter::Value<(.+)>\Z")
_NUMBER = re.compile(r"\s*[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?\s*\Z")


def settle(template: Template, given: Mapping[str, str]) -> dict[str, str]:
    """The value of every parameter: what is given, else its default. Raises TemplateFault in AWS's words.

    What types of AWS and of SSM name is not looked up here: see `existing` and `looked_up`.
    """
    declared = template.section("Parameters")
    if given and not declared:
        raise TemplateFault("Parameter values specified for a template which does not require them.")
    settled = {name: _default(parts) if name not in given else given[name] for name, parts in declared.items()}
    if missing := [name for name, each in settled.items() if each is None]:
        raise TemplateFault(f"Parameters: [{', '.join(missing)}] must have values")
    if unknown := [name for name in given if name not in declared]:
        raise TemplateFault(f"Parameters: [{', '.join(unknown)}] do not exist in the template")
    found = {name: each for name, each in settled.items() if each is not None}
    for name, each in found.items():
        refusal = problem(name, declared[name], each)
        if refusal is not None:
            raise TemplateFault(refusal, template.line(("Parameters", name)))
    return found


def placeholders(template: Template) -> dict[str, str]:
    """A made-up value for each parameter without a default, so that loops over it can be looked at before there is one."""
    declared = template.section("Parameters")
    return {name: "Element" for name, parts in declared.items() if isinstance(parts, Mapping) and parts.get("Default") is None}


def value(template: Template, name: str, text: str) -> str | list[str]:
    """What Ref gives for a parameter whose settled value is `text`: the text, or the elements of a list."""
    return elements(text) if is_list(str(template.section("Parameters").get(name, {}).get("Type"))) else text


def is_list(type_name: str) -> bool:
    """Whether a parameter of this type is a list of strings."""
    inner = _SSM_VALUE.match(type_name)
    return (inner[1] if inner else type_name) in _LISTS


def elements(text: str) -> list[str]:
    """The elements of a list's value: "a, b" is a and b. No text at all is one empty element, as for AWS."""
    return [element.strip() for element in text.split(",")]


def looked_up(template: Template, settled: Mapping[str, str]) -> dict[str, str]:
    """Parameter -> name of the SSM parameter whose value it takes. Of type AWS::SSM::Parameter::Value<...>."""
    declared = template.section("Parameters")
    return {name: text for name, text in settled.items() if _SSM_VALUE.match(str(declared.get(name, {}).get("Type")))}


def is_looked_up(template: Template, name: str) -> bool:
    """Whether a parameter takes the value of an SSM parameter."""
    parts = template.section("Parameters").get(name)
    return isinstance(parts, Mapping) and _SSM_VALUE.match(str(parts.get("Type"))) is not None


def existing(template: Template, settled: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """(parameter, type, id) of what must exist: AWS::EC2::*, AWS::Route53::HostedZone::Id, AWS::SSM::Parameter::Name.

    The elements of lists one by one. With values looked up before, also those of AWS::SSM::Parameter::Value<AWS::EC2::...>.
    """
    found = []
    for name, text in settled.items():
        declared = str(template.section("Parameters").get(name, {}).get("Type"))
        inner = _SSM_VALUE.match(declared)
        plain = inner[1] if inner else declared
        single = plain.removeprefix("List<").removesuffix(">")
        if single in SINGLE or single == SSM_NAME:
            found += [(name, single, each) for each in (elements(text) if plain != single else [text])]
    return found


def constraint(parts: Mapping[str, Any], key: str) -> float | None:
    """A bound of a parameter's declaration as a number, None where there is none. Raises ValueError when it is no number."""
    return None if parts.get(key) is None else float(parts[key])


def as_text(scalar: Any) -> str:
    """A scalar of a declaration as the text that a value is compared with."""
    return ("true" if scalar else "false") if isinstance(scalar, bool) else str(scalar)


def problem(name: str, parts: Mapping[str, Any], text: str) -> str | None:
    """Why a parameter cannot have this value, in AWS's words; None when it can.

    A ConstraintDescription stands in for AWS's own words, as it does there.
    """
    declared = str(parts.get("Type"))
    if len(text.encode()) > MAX_LENGTH:
        return f"Parameter '{name}' length is greater than {MAX_LENGTH}."
    several = elements(text) if is_list(declared) and not _SSM_VALUE.match(declared) else [text]
    if text in [as_text(each) for each in parts.get("AllowedValues", ())]:
        several = [text] if not is_list(declared) else []  # a list may also be allowed as a whole
    for each in several:
        refusal = _refusal(name, parts, declared, each)
        if refusal is not None:
            described = parts.get("ConstraintDescription")
            return f"Parameter {name} failed to satisfy constraint: {as_text(described)}" if described is not None else refusal
    return None


def _default(parts: Mapping[str, Any]) -> str | None:
    return None if parts.get("Default") is None else as_text(parts["Default"])


def _refusal(name: str, parts: Mapping[str, Any], declared: str, text: str) -> str | None:
    allowed = parts.get("AllowedValues")
    if isinstance(allowed, list) and text not in [as_text(each) for each in allowed]:
        return f"Parameter '{name}' must be one of AllowedValues"
    if declared in ("Number", "List<Number>"):
        return _number_refusal(name, parts, text)
    lowest, highest = constraint(parts, "MinLength"), constraint(parts, "MaxLength")
    if lowest is not None and len(text) < lowest:
        return f"Parameter '{name}' must contain at least {lowest:g} characters"
    if highest is not None and len(text) > highest:
        return f"Parameter '{name}' must contain at most {highest:g} characters"
    pattern = parts.get("AllowedPattern")
    if isinstance(pattern, str):
        try:
            expression = patterns.compiled(pattern)
        except ValueError:
            return f"Parameter '{name}' AllowedPattern must be a valid regular expression."
        try:
            if expression is not None and not matching.matches(expression, text):
                return f"Parameter '{name}' must match pattern {pattern}"
        except matching.TooHard as error:
            return f"Parameter '{name}' cannot be held against its AllowedPattern, {error}: write it without repetitions in repetitions."
    return None


def _number_refusal(name: str, parts: Mapping[str, Any], text: str) -> str | None:
    if not _NUMBER.match(text):
        return f"Parameter '{name}' must be a number."
    lowest, highest = constraint(parts, "MinValue"), constraint(parts, "MaxValue")
    if lowest is not None and float(text) < lowest:
        return f"Parameter '{name}' must be a number not less than {lowest:g}"
    if highest is not None and float(text) > highest:
        return f"Parameter '{name}' must be a number not greater than {highest:g}"
    return None
