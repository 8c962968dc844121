"""Between XML elements and plain dicts in AWS spelling, for any shape of a model: what rest-xml and query share."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from batchyard.wire.servicemodel import Member, ServiceModel, Shape, namespace_uri
from batchyard.wire.timestamps import iso8601, iso8601_millis, parse_timestamp, rfc822
from batchyard.wire.xmltree import Element, escape, escape_attribute

Writer = Callable[[list[str], Any], None]


class BadValue(ValueError):
    """An element's text is not of its type: `path` says where, the message what was expected."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{message} at '{path}'")
        self.path = path


# ---- reading ----------------------------------------------------------------------------------------------------


def read_structure(model: ServiceModel, shape: Shape, element: Element, path: str = "") -> dict[str, Any]:
    """The members of `shape` found in `element`; what the model does not know is ignored, what is absent stays absent."""
    found: dict[str, Any] = {}
    by_name: dict[str, list[Element]] = {}
    for child in element.children:
        by_name.setdefault(child.name, []).append(child)
    for name, member in shape.members.items():
        if member.location is not None:
            continue
        member_shape = model.shapes[member.shape]
        inner_path = f"{path}.{name}" if path else name
        if member.xml_attribute:
            text = element.attributes.get(member.location_name or name)
            if text is not None:
                found[name] = text
            continue
        children = by_name.get(element_name(name, member, member_shape, model))
        if children is None:
            continue
        if member_shape.type == "list" and is_flattened(member, member_shape):
            found[name] = _read_items(model, member_shape, children, inner_path)
        elif member_shape.type == "map" and is_flattened(member, member_shape):
            found[name] = _read_entries(model, member_shape, children, inner_path)
        else:
            found[name] = read_value(model, member, children[0], inner_path)
    return found


def read_value(model: ServiceModel, member: Member, element: Element, path: str) -> Any:
    """What `element` holds, read as `member`'s shape. Raises `BadValue`."""
    shape = model.shapes[member.shape]
    if shape.type == "structure":
        return read_structure(model, shape, element, path)
    if shape.type == "list":
        assert shape.member is not None
        item_name = shape.member.location_name or "member"
        return _read_items(model, shape, [child for child in element.children if child.name == item_name], path)
    if shape.type == "map":
        return _read_entries(model, shape, [child for child in element.children if child.name == "entry"], path)
    return parse_scalar(shape.type, element.text, path)


def _read_items(model: ServiceModel, shape: Shape, elements: list[Element], path: str) -> list[Any]:
    member = shape.member
    assert member is not None
    return [read_value(model, member, element, f"{path}[{index}]") for index, element in enumerate(elements)]


def _read_entries(model: ServiceModel, shape: Shape, elements: list[Element], path: str) -> dict[str, Any]:
    assert shape.key is not None
    assert shape.value is not None
    entries: dict[str, Any] = {}
    for element in elements:
        key = element.child(shape.key.location_name or "key")
        value = element.child(shape.value.location_name or "value")
        if key is None or value is None:
            raise BadValue(path, "an entry needs a key and a value")
        entries[key.text] = read_value(model, shape.value, value, f"{path}.{key.text}")
    return entries


def parse_scalar(kind: str, text: str, path: str) -> Any:
    """`text` as a scalar of the model's type `kind`. Raises `BadValue`."""
    if kind in ("string", "character"):
        return text
    try:
        match kind:
            case "boolean":
                return _BOOLEANS[text.strip().lower()]
            case "integer" | "long":
                if len(text) > 24:
                    raise ValueError
                return int(text)
            case "float" | "double":
                return float(text)
            case "timestamp":
                return parse_timestamp(text)
            case "blob":
                return base64.b64decode(text, validate=False)
    except (ValueError, KeyError, binascii.Error) as error:
        raise BadValue(path, f"{text[:64]!r} is not a valid {kind}") from error
    raise BadValue(path, f"a {kind} cannot be given here")


_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}


def element_name(name: str, member: Member, member_shape: Shape, model: ServiceModel) -> str:
    """The element that carries member `name`: a flattened list is named by its items when they have a name of their own."""
    if member_shape.type == "list" and is_flattened(member, member_shape):
        item = member_shape.member
        assert item is not None
        return item.location_name or member.location_name or name
    return member.location_name or name


def is_flattened(member: Member, shape: Shape) -> bool:
    """Whether a list or map has no element of its own around its items."""
    return member.flattened or shape.flattened


# ---- writing ----------------------------------------------------------------------------------------------------


class XmlWriter:
    """Writers compiled once per (shape, element name) of a model: a list of a thousand objects costs a few milliseconds."""

    def __init__(self, model: ServiceModel, millis: bool) -> None:
        self.model = model
        self._iso = iso8601_millis if millis else iso8601
        self._writers: dict[tuple[str, str, bool], Writer] = {}
        self._members: dict[str, list[tuple[str, Writer]]] = {}

    def members(self, shape: Shape, key: str) -> list[tuple[str, Writer]]:
        """(member name, writer) of everything of `shape` that travels in the body; `key` names the shape."""
        known = self._members.get(key)
        if known is None:
            known = self._members[key] = []
            for name, member in shape.members.items():
                if member.location is None and not member.xml_attribute:
                    tag = element_name(name, member, self.model.shapes[member.shape], self.model)
                    known.append((name, self.writer(member, tag)))
        return known

    def writer(self, member: Member, tag: str) -> Writer:
        """A function that appends one member as element `tag`."""
        shape = self.model.shapes[member.shape]
        flattened = is_flattened(member, shape)
        key = (member.shape, tag + (member.timestamp_format or "") + str(member.xml_namespace or ""), flattened)
        writer = self._writers.get(key)
        if writer is None:
            # A shape may hold itself: what is being built stands in the table before its parts are.
            self._writers[key] = lambda parts, value: self._writers[key](parts, value)
            writer = self._writers[key] = self._build(member, shape, tag, flattened)
        return writer

    def _build(self, member: Member, shape: Shape, tag: str, flattened: bool) -> Writer:
        if shape.type == "structure":
            return self._structure(member, shape, tag)
        if shape.type == "list":
            return self._list(shape, tag, flattened)
        if shape.type == "map":
            return self._map(shape, tag, flattened)
        return self._scalar(member, shape, tag)

    def _structure(self, member: Member, shape: Shape, tag: str) -> Writer:
        attributes = [(name, m.location_name or name) for name, m in shape.members.items() if m.xml_attribute]
        namespace = _xmlns(member.xml_namespace or shape.xml_namespace)
        close = f"</{tag}>"
        inner = self.members(shape, member.shape)

        def write(parts: list[str], value: Any) -> None:
            head = "".join(f' {name}="{escape_attribute(str(value[key]))}"' for key, name in attributes if key in value)
            parts.append(f"<{tag}{namespace}{head}>")
            for name, write_member in inner:
                item = value.get(name)
                if item is not None:
                    write_member(parts, item)
            parts.append(close)

        return write

    def _list(self, shape: Shape, tag: str, flattened: bool) -> Writer:
        assert shape.member is not None
        write_item = self.writer(shape.member, tag if flattened else shape.member.location_name or "member")

        def write_flat(parts: list[str], value: Any) -> None:
            for item in value:
                write_item(parts, item)

        def write(parts: list[str], value: Any) -> None:
            parts.append(f"<{tag}>")
            write_flat(parts, value)
            parts.append(f"</{tag}>")

        return write_flat if flattened else write

    def _map(self, shape: Shape, tag: str, flattened: bool) -> Writer:
        assert shape.key is not None
        assert shape.value is not None
        write_key = self.writer(shape.key, shape.key.location_name or "key")
        write_value = self.writer(shape.value, shape.value.location_name or "value")
        entry = tag if flattened else "entry"

        def write(parts: list[str], value: Any) -> None:
            if not flattened:
                parts.append(f"<{tag}>")
            for key, item in value.items():
                parts.append(f"<{entry}>")
                write_key(parts, key)
                write_value(parts, item)
                parts.append(f"</{entry}>")
            if not flattened:
                parts.append(f"</{tag}>")

        return write

    def _scalar(self, member: Member, shape: Shape, tag: str) -> Writer:
        text_of = self.scalar_text(member, shape)

        def write(parts: list[str], value: Any) -> None:
            parts.append(f"<{tag}>{text_of(value)}</{tag}>")

        return write

    def scalar_text(self, member: Member, shape: Shape) -> Callable[[Any], str]:
        """How a scalar is written between tags."""
        match shape.type:
            case "boolean":
                return lambda value: "true" if value else "false"
            case "timestamp":
                return _timestamp_text(member.timestamp_format or shape.timestamp_format, self._iso)
            case "blob":
                return lambda value: base64.b64encode(value).decode()
            case "string" | "character":
                return escape
        return str


def _timestamp_text(style: str | None, iso: Callable[[float], str]) -> Callable[[Any], str]:
    if style == "unixTimestamp":
        return lambda value: str(int(value))
    return rfc822 if style == "rfc822" else iso


def _xmlns(xml_namespace: Any) -> str:
    uri = namespace_uri(xml_namespace)
    if uri is None:
        return ""
    prefix = xml_namespace.get("prefix") if isinstance(xml_namespace, dict) else None
    return f' xmlns{":" + prefix if prefix else ""}="{escape_attribute(uri)}"'
