"""What REST services put outside the body: path labels, query strings, headers and status codes."""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from urllib.parse import unquote

from batchyard.wire.http import HttpRequest
from batchyard.wire.servicemodel import Member, ServiceModel, Shape
from batchyard.wire.timestamps import iso8601, rfc822
from batchyard.wire.validation import Checker, Problems
from batchyard.wire.xmlshapes import BadValue, parse_scalar

_LABEL = re.compile(r"\{([^}+]+)(\+?)\}")


class Route(NamedTuple):
    """One operation's template: `needs` are the query parameters and headers that tell it from others on the same path."""

    operation: str
    labels: tuple[str, ...]
    literals: tuple[tuple[str, str], ...]
    parameters: tuple[str, ...]
    headers: tuple[str, ...]

    def fits(self, query: dict[str, list[str]], headers: dict[str, str]) -> bool:
        """Whether a request has everything that this operation is known by."""
        return (
            all(name in query and (not value or value in query[name]) for name, value in self.literals)
            and all(name in query for name in self.parameters)
            and all(name in headers for name in self.headers)
        )


class Router:
    """Finds the operation of a REST request: whole paths first, then templates; among several, the most demanding that fits, and
    a deprecated one only when nothing else does."""

    def __init__(self, model: ServiceModel) -> None:
        self._static: dict[tuple[str, str], list[Route]] = {}
        self._templates: list[tuple[str, re.Pattern[str], list[Route]]] = []
        by_template: dict[tuple[str, str], list[Route]] = {}
        for name, operation in sorted(model.operations.items(), key=lambda item: item[1].deprecated):
            path, _, literal = operation.http.request_uri.partition("?")
            route = _route(name, path, literal, model.input_shape(name))
            by_template.setdefault((operation.http.method, path), []).append(route)
        for (method, path), routes in by_template.items():
            routes.sort(key=lambda route: -len(route.literals) * 100 - len(route.parameters) - len(route.headers))
            if _LABEL.search(path):
                self._templates.append((method, _pattern(path), routes))
            else:
                self._static[method, path] = routes
        self._templates.sort(key=lambda template: -len(template[1].pattern))

    def match(self, request: HttpRequest) -> tuple[str, dict[str, str]] | None:
        """(operation, path labels decoded) or None."""
        routes = self._static.get((request.method, request.raw_path))
        if routes is not None:
            route = routes[0] if len(routes) == 1 else _chosen(routes, request)
            return (route.operation, {}) if route is not None else None
        for method, pattern, candidates in self._templates:
            if method == request.method and (found := pattern.fullmatch(request.raw_path)):
                route = _chosen(candidates, request)
                if route is not None:
                    labels = (unquote(text, errors="strict") for text in found.groups())
                    return route.operation, dict(zip(route.labels, labels, strict=True))
        return None


def _chosen(routes: list[Route], request: HttpRequest) -> Route | None:
    query = parse_query(request.raw_query)
    return next((route for route in routes if route.fits(query, request.headers)), None)


def _route(operation: str, path: str, literal: str, shape: Shape) -> Route:
    demanded = [shape.members[name] for name in shape.required]
    pairs = tuple((name, value) for name, _, value in (part.partition("=") for part in literal.split("&") if part))
    return Route(
        operation,
        tuple(name for name, _ in _LABEL.findall(path)),
        pairs,
        tuple(m.location_name for m in demanded if m.location == "querystring" and m.location_name),
        tuple(m.location_name.lower() for m in demanded if m.location == "header" and m.location_name),
    )


def _pattern(path: str) -> re.Pattern[str]:
    """The last label of a path takes slashes too: an ARN arrives with `%2F` from SDKs and with `/` from people."""
    pieces = _LABEL.split(path)
    pattern = re.escape(pieces[0])
    for at in range(1, len(pieces), 3):
        greedy, literal = pieces[at + 1], pieces[at + 2]
        is_last = at + 3 >= len(pieces) and not literal and path.count("/") > 1
        pattern += ("(.+)" if greedy or is_last else "([^/]+)") + re.escape(literal)
    return re.compile(pattern if greedy or is_last else pattern + "/?")


def parse_query(raw_query: str) -> dict[str, list[str]]:
    """Every parameter of a query string with its values in order. Raises `ValueError` for bytes that are not UTF-8."""
    query: dict[str, list[str]] = {}
    for pair in raw_query.split("&"):
        if pair:
            name, _, value = pair.partition("=")
            query.setdefault(unquote(name, errors="strict"), []).append(unquote(value, errors="strict"))
    return query


class Bindings:
    """The members of one service's inputs and outputs that travel outside the body."""

    def __init__(self, model: ServiceModel, checker: Checker) -> None:
        self._model = model
        self._checker = checker

    def decode(self, shape: Shape, request: HttpRequest, labels: dict[str, str], problems: Problems) -> dict[str, Any]:
        """What path, query and headers say of `shape`'s members. Raises `BadValue`; bounds missed go to `problems`."""
        found: dict[str, Any] = {}
        query = parse_query(request.raw_query)
        for name, member in shape.members.items():
            if member.location is None:
                continue
            value = self._bound(name, member, request, labels, query)
            if value is None:
                if name in shape.required:
                    problems.violations.append(f"Value null at '{name}' failed to satisfy constraint: Member must not be null")
                continue
            found[name] = self._checker.check_member(self._model.shapes[member.shape], value, name, problems)
        return found

    def _bound(self, name: str, member: Member, request: HttpRequest, labels: dict[str, str], query: dict[str, list[str]]) -> Any:
        shape = self._model.shapes[member.shape]
        wire_name = member.location_name or name
        if member.location == "uri":
            text = labels.get(wire_name)
            return None if text is None else parse_scalar(shape.type, text, name)
        if member.location == "querystring":
            return self._from_query(shape, query.get(wire_name), query, name)
        if member.location == "headers":
            prefix = wire_name.lower()
            return {key[len(prefix) :]: text for key, text in request.headers.items() if key.startswith(prefix)}
        if member.location == "header":
            text = request.headers.get(wire_name.lower())
            if text is None:
                return None
            if shape.type == "list" and shape.member is not None:
                kind = self._model.shapes[shape.member.shape].type
                return [parse_scalar(kind, item.strip(), name) for item in text.split(",")]
            return parse_scalar(shape.type, text, name)
        return None

    def _from_query(self, shape: Shape, values: list[str] | None, query: dict[str, list[str]], name: str) -> Any:
        if shape.type == "map":
            return {key: items[-1] for key, items in query.items()}
        if values is None:
            return None
        if shape.type == "list" and shape.member is not None:
            kind = self._model.shapes[shape.member.shape].type
            return [parse_scalar(kind, text, name) for text in values]
        return parse_scalar(shape.type, values[-1], name)

    def encode(self, shape: Shape, result: dict[str, Any]) -> tuple[int | None, dict[str, str], dict[str, Any]]:
        """(status if a member sets it, headers, the members that remain for the body)."""
        status: int | None = None
        headers: dict[str, str] = {}
        rest: dict[str, Any] = {}
        for name, value in result.items():
            member = shape.members.get(name)
            if member is None or member.location is None:
                rest[name] = value
            elif member.location == "statusCode":
                status = int(value)
            elif member.location == "headers":
                headers.update({(member.location_name or "").lower() + key: text for key, text in value.items()})
            elif value is not None:
                headers[(member.location_name or name).lower()] = self._header_text(member, value)
        return status, headers, rest

    def _header_text(self, member: Member, value: Any) -> str:
        shape = self._model.shapes[member.shape]
        if shape.type == "boolean":
            return "true" if value else "false"
        if shape.type == "timestamp":
            style = member.timestamp_format or shape.timestamp_format
            return iso8601(value) if style == "iso8601" else rfc822(value)
        if shape.type == "list":
            return ",".join(str(item) for item in value)
        return str(value)


__all__ = ["BadValue", "Bindings", "Router", "parse_query"]
