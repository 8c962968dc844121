"""The query protocol (STS, IAM, CloudFormation) and EC2's variant of it: members flattened into a form, answers in XML."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_plus

from batchyard.wire.servicemodel import Member, ServiceModel, Shape, namespace_uri
from batchyard.wire.xmlshapes import BadValue, XmlWriter, is_flattened, parse_scalar
from batchyard.wire.xmltree import can_hold

MAX_FIELDS = 20_000
# No member of any model lies deeper; what does is unknown, and unknown fields are ignored.
MAX_DEPTH = 40


def parse_form(form: bytes | str) -> dict[str, str]:
    """Fields of a form or query string; of a repeated one the last counts. Raises `ValueError` for bytes that are not UTF-8
    or more than 20,000 fields."""
    text = form.decode() if isinstance(form, bytes) else form
    if text.count("&") >= MAX_FIELDS:
        raise ValueError(f"more than {MAX_FIELDS} fields")
    fields: dict[str, str] = {}
    for pair in text.split("&"):
        if pair:
            name, _, value = pair.partition("=")
            fields[unquote_plus(name, errors="strict")] = unquote_plus(value, errors="strict")
    return fields


def decode_query(model: ServiceModel, operation: str, fields: dict[str, str]) -> dict[str, Any]:
    """The members of `operation`'s input in `fields`. Unknown fields are ignored. Raises `BadValue`."""
    tree: dict[str, Any] = {}
    for name, text in fields.items():
        if name.count(".") > MAX_DEPTH:
            continue
        node = tree
        for part in name.split("."):
            inner = node.get(part)
            if inner is None:
                inner = node[part] = {}
            node = inner
        node[""] = text
    return _structure(model, model.input_shape(operation), tree, "")


def _structure(model: ServiceModel, shape: Shape, node: dict[str, Any], path: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, member in shape.members.items():
        inner = node.get(_field_name(model, name, member))
        if inner is not None:
            found[name] = _value(model, member, inner, f"{path}.{name}" if path else name)
    return found


def _is_ec2(model: ServiceModel) -> bool:
    """EC2 has rules of its own: names begin with a capital, and lists are never wrapped."""
    return model.metadata.protocol == "ec2"


def _field_name(model: ServiceModel, name: str, member: Member) -> str:
    if _is_ec2(model):
        if member.query_name:
            return member.query_name
        written = member.location_name or name
        return written[0].upper() + written[1:]
    shape = model.shapes[member.shape]
    if shape.type == "list" and is_flattened(member, shape) and shape.member is not None and shape.member.location_name:
        return shape.member.location_name
    return member.location_name or name


def _value(model: ServiceModel, member: Member, node: dict[str, Any], path: str) -> Any:
    shape = model.shapes[member.shape]
    if shape.type == "structure":
        return _structure(model, shape, node, path)
    if shape.type == "list":
        assert shape.member is not None
        items = node if _is_ec2(model) or is_flattened(member, shape) else node.get(shape.member.location_name or "member", {})
        item_member = shape.member
        return [_value(model, item_member, item, f"{path}[{at}]") for at, item in enumerate(_numbered(items, path))]
    if shape.type == "map":
        assert shape.key is not None
        assert shape.value is not None
        entries = node if is_flattened(member, shape) else node.get("entry", {})
        key_name, value_name = shape.key.location_name or "key", shape.value.location_name or "value"
        pairs: dict[str, Any] = {}
        for entry in _numbered(entries, path):
            key, value = entry.get(key_name), entry.get(value_name)
            if key is None or value is None:
                raise BadValue(path, "an entry needs a key and a value")
            pairs[_shown(key, path)] = _value(model, shape.value, value, path)
        return pairs
    return parse_scalar(shape.type, _shown(node, path), path)


def _shown(node: dict[str, Any], path: str) -> str:
    """The text of a field. One that no answer could show again, because XML cannot hold it, is refused."""
    text: str = node.get("", "")
    if not can_hold(text):
        raise BadValue(path, "a control character that XML cannot hold")
    return text


def _numbered(node: dict[str, Any], path: str) -> list[dict[str, Any]]:
    """Items `1`, `2`, ... in order; gaps do not matter."""
    numbers = [part for part in node if part]
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in numbers):
        raise BadValue(path, "items are numbered from 1")
    return [node[part] for part in sorted(numbers, key=int)]


def encode_query(model: ServiceModel, writer: XmlWriter, operation: str, result: dict[str, Any], request_id: str) -> bytes:
    """`<OperationResponse>` around the result and the request id."""
    ref = model.operations[operation].output
    parts = [f'<{operation}Response xmlns="{namespace_uri(model.metadata.xml_namespace) or ""}">']
    if _is_ec2(model):
        parts.append(f"<requestId>{request_id}</requestId>")
    if ref is not None:
        wrapper = ref.result_wrapper
        if wrapper:
            parts.append(f"<{wrapper}>")
        for name, write in writer.members(model.shapes[ref.shape], ref.shape):
            value = result.get(name)
            if value is not None:
                write(parts, value)
        if wrapper:
            parts.append(f"</{wrapper}>")
    if _is_ec2(model):
        return "".join([*parts, f"</{operation}Response>"]).encode()
    parts.append(f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{operation}Response>")
    return "".join(parts).encode()
