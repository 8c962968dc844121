"""The transform AWS::LanguageExtensions: Fn::ForEach is written out before anything else looks at the template."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from batchyard.services.cloudformation.template import functions, parameters, references, syntax
from batchyard.services.cloudformation.template.model import Path, Template, TemplateFault

LOOP = "Fn::ForEach::"
MAX_NESTING = 5
MAX_WRITTEN = 20_000  # members that loops may write; far more than a template may have of anything
_SECTIONS = ("Resources", "Outputs", "Conditions")


def expanded(template: Template, given: Mapping[str, str] | None = None) -> Template:
    """The template with its loops written out; itself, when it does not declare the transform.

    `given` are parameters' values, for loops over a list parameter; where none is given the default counts. Each line is the one that it
    was written on. Raises TemplateFault for a loop that is not [identifier, collection, {key: value}].
    """
    if not syntax.has_extensions(template):
        return template
    values = {name: parameters.as_text(parts["Default"]) for name, parts in _declared(template) if parts.get("Default") is not None}
    values.update(given or {})
    lines = dict(template.lines)
    writer = _Writer(functions.Scope(template=template, parameters=values), lines)
    content = {
        key: writer.written(section, (key,), (key,), {}) if key in _SECTIONS else section for key, section in template.content.items()
    }
    return Template(content=content, text=template.text, lines=lines)


def _declared(template: Template) -> list[tuple[str, Mapping[str, Any]]]:
    return [(name, parts) for name, parts in template.section("Parameters").items() if isinstance(parts, Mapping)]


class _Writer:
    def __init__(self, scope: functions.Scope, lines: dict[Path, int]) -> None:
        self.scope = scope
        self.source = scope.template.lines
        self.lines = lines
        self.count = 0

    def written(self, value: Any, source: Path, target: Path, bound: Mapping[str, str]) -> Any:
        """`value` with its loops written out and `bound` identifiers filled in; `source` and `target` are its old and new places."""
        if source in self.source:
            self.lines[target] = self.source[source]
        if isinstance(value, str):
            return _filled(value, bound)
        if isinstance(value, list):
            return [self.written(each, (*source, index), (*target, index), bound) for index, each in enumerate(value)]
        if not isinstance(value, Mapping):
            return value
        if value.keys() == {"Ref"} and isinstance(value["Ref"], str) and value["Ref"] in bound:
            return bound[value["Ref"]]
        found: dict[str, Any] = {}
        for key, inner in value.items():
            if key.startswith(LOOP):
                self._loop(inner, (*source, key), target, bound, found)
                continue
            name = _filled(key, bound)
            self._add(found, name, self.written(inner, (*source, key), (*target, name), bound), (*source, key))
        return self._plain(found, target)

    def _loop(self, loop: Any, source: Path, target: Path, bound: Mapping[str, str], found: dict[str, Any]) -> None:
        is_right = isinstance(loop, list) and len(loop) == 3 and isinstance(loop[0], str) and isinstance(loop[2], Mapping)
        if not is_right or len(bound) >= MAX_NESTING:
            raise self._fault(
                f"every {source[-1]} object requires an identifier, a collection and a map, at most {MAX_NESTING} deep", source
            )
        identifier, collection, body = loop
        if identifier in bound or identifier in self.scope.template.section("Parameters"):
            raise self._fault(f"the identifier {identifier} of {source[-1]} is taken already", source)
        for element in self._elements(collection, (*source, 1), bound):
            self._bounded(source)
            for key, inner in body.items():
                here = (*source, 2, key)
                inside = {**bound, identifier: element}
                if key.startswith(LOOP):
                    self._loop(inner, here, target, inside, found)
                    continue
                name = _filled(key, inside)
                self._add(found, name, self.written(inner, here, (*target, name), inside), here)

    def _elements(self, collection: Any, source: Path, bound: Mapping[str, str]) -> list[str]:
        written = self.written(collection, source, source, bound)
        names = [each.name for each in references.references(written, self.scope.template, source)]
        if missing := [name for name in names if name in self.scope.template.section("Parameters") and name not in self.scope.parameters]:
            raise TemplateFault(f"Parameters: [{', '.join(missing)}] must have values", self.scope.template.line(source))
        if later := [name for name in names if parameters.is_looked_up(self.scope.template, name)]:
            raise self._fault(f"Fn::ForEach over {later[0]}, whose value is looked up in SSM, is not there yet", source)
        wanted = functions.resolve(written, self.scope, source)
        texts = [functions.as_text(each) for each in wanted] if isinstance(wanted, list) else [None]
        if None in texts:
            raise self._fault("the collection of a Fn::ForEach must be a list of strings", source)
        return [text for text in texts if text is not None]

    def _bounded(self, source: Path) -> None:
        self.count += 1
        if self.count > MAX_WRITTEN:
            raise self._fault(f"Fn::ForEach writes more than {MAX_WRITTEN} members", source)

    def _add(self, found: dict[str, Any], name: str, value: Any, source: Path) -> None:
        self._bounded(source)
        if name in found:
            raise self._fault(f"Fn::ForEach gives {name} twice", source)
        found[name] = value

    def _plain(self, value: dict[str, Any], target: Path) -> Any:
        """{"Ref": {"Fn::Sub": ...}}, and the same in Fn::GetAtt: where a name must stand, a function that gives one is carried out."""
        call = syntax.function(value)
        if call is None or call[0] not in ("Ref", "Fn::GetAtt"):
            return value
        name, argument = call
        if name == "Ref" and syntax.function(argument) is not None:
            return {name: functions.resolve(argument, self.scope, target)}
        if isinstance(argument, list) and argument and syntax.function(argument[0]) is not None:
            return {name: [functions.resolve(argument[0], self.scope, target), *argument[1:]]}
        return value

    def _fault(self, message: str, source: Path) -> TemplateFault:
        return TemplateFault(f"Template error: {message}", self.scope.template.line(source))


def _filled(text: str, bound: Mapping[str, str]) -> str:
    """`text` with ${Identifier}, and &{Identifier} for its letters and digits only, filled in."""
    for identifier, element in bound.items():
        text = text.replace("${" + identifier + "}", element).replace("&{" + identifier + "}", re.sub(r"[^A-Za-z0-9]", "", element))
    return text
