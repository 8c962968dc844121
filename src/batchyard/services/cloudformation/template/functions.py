"""What the functions of a template come to: one table, from a function's name to what it does."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from batchyard.services.cloudformation.template import addresses, parameters, syntax, words
from batchyard.services.cloudformation.template.model import Path, Template, TemplateFault
from batchyard.services.cloudformation.template.scope import LATER as LATER
from batchyard.services.cloudformation.template.scope import MAX_MADE, NO_VALUE
from batchyard.services.cloudformation.template.scope import Scope as Scope
from batchyard.services.cloudformation.template.scope import as_text as as_text
from batchyard.services.cloudformation.template.scope import is_later as is_later


def resolve(value: Any, scope: Scope, path: Path) -> Any:
    """`value` with its functions carried out; None when nothing is left of it. `path` is where it stands, for lines.

    AWS::NoValue leaves no trace: the member or element goes. Raises TemplateFault with AWS's words where they are known.
    """
    found = _value(value, replace(scope, room=[MAX_MADE]), path)
    return None if found is NO_VALUE else found


def output(value: Any, scope: Scope, path: Path) -> str:
    """What an output's Value comes to, a text. Raises TemplateFault with AWS's words when it is none."""
    found = _value(value, replace(scope, room=[MAX_MADE]), path)
    text = as_text(found)
    if text is None:
        raise TemplateFault(
            "Template format error: The Value field of every Outputs member must evaluate to a String.", scope.template.line(path)
        )
    return text


def imported(value: Any, scope: Scope, path: Path) -> frozenset[str]:
    """Names of the exports that `value` takes, of branches that are taken only. Names that are not known yet are left out."""
    names: set[str] = set()

    class Asked(Mapping[str, str]):
        def __getitem__(self, name: str) -> str:
            names.add(name)
            return scope.exports.get(name, LATER)

        def __iter__(self) -> Any:
            return iter(scope.exports)

        def __len__(self) -> int:
            return len(scope.exports)

        def __contains__(self, name: object) -> bool:
            return True

    _value(value, replace(scope, exports=Asked(), is_plan=True, room=[MAX_MADE]), path)
    return frozenset(names)


def _value(value: Any, scope: Scope, path: Path) -> Any:
    call = syntax.function(value)
    if call is not None:
        name, argument = call
        if name not in _TABLE:
            raise _fault(words.UNSUPPORTED.format(name), scope, path)
        found = _TABLE[name](argument, scope, (*path, name))
        if isinstance(found, str):
            _spend(len(found), scope, path)
        elif isinstance(found, list):
            _spend(sum(len(each) + 1 if isinstance(each, str) else 1 for each in found), scope, path)
        return found
    if isinstance(value, Mapping):
        members = ((key, _value(inner, scope, (*path, key))) for key, inner in value.items())
        return {key: inner for key, inner in members if inner is not NO_VALUE}
    if isinstance(value, list):
        elements = (_value(inner, scope, (*path, index)) for index, inner in enumerate(value))
        return [inner for inner in elements if inner is not NO_VALUE]
    return value


def _spend(count: int, scope: Scope, path: Path) -> None:
    """Take what a function makes off what may still be made. Raises TemplateFault when it is more."""
    scope.room[0] -= count
    if scope.room[0] < 0:
        raise _fault(f"functions may not make more than {MAX_MADE} characters of one value", scope, path)


def _fault(message: str, scope: Scope, path: Path) -> TemplateFault:
    return TemplateFault(f"Template error: {message}", scope.template.line(path))


def _ref(argument: Any, scope: Scope, path: Path) -> Any:
    if not isinstance(argument, str) or not argument:
        raise _fault("every Ref object must have a single String value.", scope, path)
    return _named(argument, scope, path)


def _named(name: str, scope: Scope, path: Path) -> Any:
    """What a name stands for: a pseudo parameter, a parameter, or a resource."""
    if name == syntax.NO_VALUE_NAME:
        return NO_VALUE
    if name in scope.pseudo:
        return scope.pseudo[name]
    if name in scope.parameters:
        return parameters.value(scope.template, name, scope.parameters[name])
    if name in scope.refs:
        return scope.refs[name]
    if scope.is_plan and name in scope.template.section("Resources"):
        return LATER
    raise _unresolved(name, scope.template, path)


def _unresolved(name: str, template: Template, path: Path) -> TemplateFault:
    block = path[0] if path and path[0] in ("Resources", "Outputs", "Conditions", "Rules") else "Resources"
    return TemplateFault(
        f"Template format error: Unresolved resource dependencies [{name}] in the {block} block of the template", template.line(path)
    )


def _get_att(argument: Any, scope: Scope, path: Path) -> Any:
    name, wanted = syntax.attribute(argument, scope.template, path)
    attribute = _text(wanted, scope, (*path, 1), words.GET_ATT)
    return _attribute(name, attribute, scope, path)


def _attribute(name: str, attribute: str, scope: Scope, path: Path) -> Any:
    if name not in scope.attributes:
        if name not in scope.template.section("Resources"):
            raise _fault(f"instance of Fn::GetAtt references undefined resource {name}", scope, path)
        if scope.is_plan:
            return LATER
        raise _unresolved(name, scope.template, path)
    known = scope.attributes[name]
    if attribute in known:
        return known[attribute]
    inner: Any = known
    for part in attribute.split("."):  # custom resources answer with nested objects
        inner = inner.get(part) if isinstance(inner, Mapping) else None
    if inner is not None:
        return inner
    if scope.is_plan:
        return LATER
    raise _fault(f"resource {name} does not support attribute type {attribute} in Fn::GetAtt", scope, path)


def _sub(argument: Any, scope: Scope, path: Path) -> Any:
    parts, variables = syntax.sub(argument, scope.template, path)
    given: dict[str, str] = {}
    for key, inner in variables.items():
        given[key] = _text(
            inner,
            scope,
            (*path, 1, key),
            words.SUB_VALUES,
        )
    texts = []
    for part in parts:
        texts.append(_variable(part.text, given, scope, path) if part.is_name else part.text)
        _spend(len(texts[-1]), scope, path)
    return "".join(texts)


def _variable(name: str, given: Mapping[str, str], scope: Scope, path: Path) -> str:
    if name in given:
        return given[name]
    if "." in name:
        resource, attribute = name.split(".", 1)
        found = _attribute(resource, attribute, scope, path)
    else:
        found = _named(name, scope, path)
    text = "" if found is NO_VALUE else as_text(found)
    if text is None:
        raise _fault(f"variable {name} in Fn::Sub expression does not resolve to a string", scope, path)
    return text


def _text(value: Any, scope: Scope, path: Path, refusal: str) -> str:
    """`value` as a text. Raises TemplateFault with `refusal` when it comes to no scalar."""
    text = as_text(_value(value, scope, path))
    if text is None:
        raise _fault(refusal, scope, path)
    return text


def _list(value: Any, scope: Scope, path: Path, refusal: str) -> list[Any] | None:
    """`value` as a list, None when it is not known yet. Raises TemplateFault with `refusal` when it comes to none."""
    found = _value(value, scope, path)
    if is_later(found):
        return None
    if not isinstance(found, list):
        raise _fault(refusal, scope, path)
    return found


def arguments(argument: Any, counts: range, refusal: str, template: Template, path: Path) -> list[Any]:
    """A function's arguments. Raises TemplateFault with `refusal` when they are no list or too few or many."""
    if not isinstance(argument, list) or len(argument) not in counts:
        raise TemplateFault(f"Template error: {refusal}", template.line(path))
    return argument


def _join(argument: Any, scope: Scope, path: Path) -> Any:
    delimiter, wanted = arguments(argument, range(2, 3), words.JOIN, scope.template, path)
    if not isinstance(delimiter, str):
        raise _fault(words.JOIN, scope, path)
    elements = _list(wanted, scope, (*path, 1), words.JOIN)
    if elements is None:
        return LATER
    texts = [as_text(element) for element in elements]
    if None in texts:
        raise _fault(words.JOIN, scope, path)
    _spend(len(delimiter) * len(texts) + sum(len(text) for text in texts if text is not None), scope, path)
    return delimiter.join(text for text in texts if text is not None)


def _split(argument: Any, scope: Scope, path: Path) -> Any:
    delimiter, source = arguments(argument, range(2, 3), words.SPLIT, scope.template, path)
    if not isinstance(delimiter, str) or not delimiter:
        raise _fault(words.SPLIT, scope, path)
    text = _text(source, scope, (*path, 1), words.SPLIT)
    return LATER if is_later(text) else text.split(delimiter)


def _select(argument: Any, scope: Scope, path: Path) -> Any:
    index, wanted = arguments(argument, range(2, 3), words.SELECT, scope.template, path)
    number = _text(index, scope, (*path, 0), words.SELECT)
    elements = _list(wanted, scope, (*path, 1), words.SELECT)
    if is_later(number) or elements is None:
        return LATER
    if not number.strip().lstrip("-").isdecimal():
        raise _fault(words.SELECT, scope, path)
    if not 0 <= int(number) < len(elements):
        raise _fault(f"Fn::Select cannot select nonexistent value at index {int(number)}", scope, path)
    return elements[int(number)]


def _find_in_map(argument: Any, scope: Scope, path: Path) -> Any:
    counts = range(3, 5) if syntax.has_extensions(scope.template) else range(3, 4)
    wanted = arguments(argument, counts, words.FIND, scope.template, path)
    keys = [_text(key, scope, (*path, index), words.FIND) for index, key in enumerate(wanted[:3])]
    has_default = len(wanted) == 4 and isinstance(wanted[3], Mapping) and "DefaultValue" in wanted[3]
    if any(is_later(key) for key in keys):
        return LATER
    mappings = scope.template.section("Mappings")
    found = mappings.get(keys[0], {}).get(keys[1], {}).get(keys[2])
    if found is not None:
        return found
    if has_default:
        return _value(wanted[3]["DefaultValue"], scope, (*path, 3, "DefaultValue"))
    if keys[0] not in mappings:
        raise _fault(f"Mapping named '{keys[0]}' is not present in the 'Mappings' section of template.", scope, path)
    raise _fault(f"Unable to get mapping for {'::'.join(keys)}", scope, path)


def _if(argument: Any, scope: Scope, path: Path) -> Any:
    name, *branches = arguments(argument, range(3, 4), words.IF, scope.template, path)
    if not isinstance(name, str):
        raise _fault(words.IF, scope, path)
    if name not in scope.conditions:
        raise _fault(f"unresolved condition dependency {name} in Fn::If", scope, path)
    chosen = 0 if scope.conditions[name] else 1
    return _value(branches[chosen], scope, (*path, 1 + chosen))


def _base64(argument: Any, scope: Scope, path: Path) -> Any:
    text = _text(argument, scope, path, words.BASE64)
    return LATER if is_later(text) else base64.b64encode(text.encode()).decode()


def _zones(argument: Any, scope: Scope, path: Path) -> Any:
    region = _text(argument, scope, path, words.ZONES)
    if is_later(region):
        return LATER
    return list(scope.zones.get(region or "", ()))


def _cidr(argument: Any, scope: Scope, path: Path) -> Any:
    wanted = arguments(argument, range(2, 4), words.CIDR, scope.template, path)
    texts = [_text(each, scope, (*path, index), words.CIDR).strip() for index, each in enumerate(wanted)]
    if any(is_later(text) for text in texts):
        return LATER
    try:
        return addresses.blocks(texts[0], *(int(text) for text in texts[1:]))
    except ValueError as error:
        raise _fault(f"{words.CIDR}: {error}", scope, path) from None


def _import(argument: Any, scope: Scope, path: Path) -> Any:
    name = _text(argument, scope, path, words.IMPORT)
    if is_later(name):
        return LATER
    if name not in scope.exports:
        raise TemplateFault(f"No export named {name} found", scope.template.line(path))
    return scope.exports[name]


def _stack_output(argument: Any, scope: Scope, path: Path) -> Any:
    """Of a stack of the same region and under the stack's own role: which others there are, nobody here can know."""
    if not isinstance(argument, Mapping):
        raise _fault(words.STACK_OUTPUT, scope, path)
    given = {key: _value(each, scope, (*path, key)) for key, each in argument.items()}
    stack, output = as_text(given.get("StackName")), as_text(given.get("OutputName"))
    if stack is None or output is None:
        raise _fault(words.STACK_OUTPUT, scope, path)
    if is_later(stack) or is_later(output):
        return LATER
    region = given.get("Region", NO_VALUE)
    if given.get("RoleArn", NO_VALUE) is not NO_VALUE or region not in (NO_VALUE, scope.pseudo.get("AWS::Region")):
        raise _fault("Fn::GetStackOutput of another Region, or with a RoleArn, is not there yet", scope, path)
    if stack not in scope.outputs:
        raise _fault(f"Stack with id {stack} does not exist", scope, path)
    if output not in scope.outputs[stack]:
        raise _fault(f"Stack {stack} has no output {output}", scope, path)
    return scope.outputs[stack][output]


def _length(argument: Any, scope: Scope, path: Path) -> Any:
    elements = _list(argument, scope, path, words.LENGTH)
    return LATER if elements is None else len(elements)


def _to_json(argument: Any, scope: Scope, path: Path) -> Any:
    found = _value(argument, scope, path)
    if not isinstance(found, Mapping | list):
        raise _fault("every Fn::ToJsonString object requires an object or a list", scope, path)
    return json.dumps(found, separators=(",", ":"), ensure_ascii=False)


_TABLE: dict[str, Callable[[Any, Scope, Path], Any]] = {
    "Ref": _ref,
    "Fn::Base64": _base64,
    "Fn::Cidr": _cidr,
    "Fn::FindInMap": _find_in_map,
    "Fn::GetAtt": _get_att,
    "Fn::GetAZs": _zones,
    "Fn::GetStackOutput": _stack_output,
    "Fn::If": _if,
    "Fn::ImportValue": _import,
    "Fn::Join": _join,
    "Fn::Length": _length,
    "Fn::Select": _select,
    "Fn::Split": _split,
    "Fn::Sub": _sub,
    "Fn::ToJsonString": _to_json,
}
