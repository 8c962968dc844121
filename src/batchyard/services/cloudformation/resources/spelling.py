"""From CloudFormation's spelling of properties to an API's and back, led by the API's own model, so that no member is guessed.

CloudFormation writes members with a capital first letter where APIs begin with a small one; the keys of maps (tags, parameters,
options of a log driver, labels) are a user's own and stay as they are. Which is which, the model says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchyard.model.fault import Fault
from batchyard.wire.servicemodel import ServiceModel, Shape, read_model

# Members whose name in CloudFormation is not the API's with a capital letter.
_SPELT_IN_CLOUDFORMATION = {"s3filesVolumeConfiguration": "S3FilesVolumeConfiguration"}


def sent(service: str, operation: str, properties: Mapping[str, Any], *path: str) -> dict[str, Any]:
    """Properties as `operation` takes them, or as the member at `path` of its input does.

    Raises a Fault that names a property which the API does not have: nothing is dropped.
    """
    model = read_model(service)
    answer = _sent(model, _shape_at(model, model.input_shape(operation), path), properties, "")
    return dict(answer)


def shown(service: str, operation: str, answer: Mapping[str, Any], *path: str) -> dict[str, Any]:
    """What `operation` answered (or the member at `path` of its answer; `[]` goes into a list), as CloudFormation spells it."""
    model = read_model(service)
    result = _shown(model, _shape_at(model, model.output_shape(operation), path), answer)
    return dict(result)


def members(service: str, operation: str) -> frozenset[str]:
    """The names of what an operation takes."""
    return frozenset(read_model(service).input_shape(operation).members)


def _shape_at(model: ServiceModel, shape: Shape, path: tuple[str, ...]) -> Shape:
    for name in path:
        member = shape.member if name == "[]" else shape.members[name]
        assert member is not None
        shape = model.shapes[member.shape]
    return shape


def _sent(model: ServiceModel, shape: Shape, value: Any, where: str) -> Any:
    if shape.type == "structure" and isinstance(value, Mapping):
        known = {name.lower(): name for name in shape.members}
        result = {}
        for name, inner in value.items():
            member = known.get(name.lower())
            if member is None:
                raise Fault("ValidationException", f"Encountered unsupported property {where}{name}")
            if inner is not None:
                result[member] = _sent(model, model.shapes[shape.members[member].shape], inner, f"{where}{name}.")
        return result
    if shape.type == "list" and isinstance(value, list) and shape.member is not None:
        of = model.shapes[shape.member.shape]
        return [_sent(model, of, inner, f"{where}{number}.") for number, inner in enumerate(value)]
    if shape.type == "map" and isinstance(value, Mapping) and shape.value is not None:
        of = model.shapes[shape.value.shape]
        return {key: _sent(model, of, inner, f"{where}{key}.") for key, inner in value.items()}
    if shape.type in ("integer", "long") and isinstance(value, float) and value.is_integer():
        return int(value)  # what a schema calls a number
    return value


def _shown(model: ServiceModel, shape: Shape, value: Any) -> Any:
    if shape.type == "structure" and isinstance(value, Mapping):
        return {
            _SPELT_IN_CLOUDFORMATION.get(name) or name[:1].upper() + name[1:]: (
                _shown(model, model.shapes[shape.members[name].shape], inner) if name in shape.members else inner
            )
            for name, inner in value.items()
        }
    if shape.type == "list" and isinstance(value, list) and shape.member is not None:
        of = model.shapes[shape.member.shape]
        return [_shown(model, of, inner) for inner in value]
    return value


def without_fillers(found: Any, known: Any) -> Any:
    """What was found without the empty lists and maps that services fill in and a template (`known`) never wrote."""
    if isinstance(found, Mapping):
        inside = known if isinstance(known, Mapping) else {}
        return {name: without_fillers(value, inside.get(name)) for name, value in found.items() if not _is_filler(value) or name in inside}
    if isinstance(found, list):
        inside_list = known if isinstance(known, list) and len(known) == len(found) else [None] * len(found)
        return [without_fillers(value, entry) for value, entry in zip(found, inside_list, strict=True)]
    return found


def essence(value: Any) -> Any:
    """A value without what is empty in it, to compare what was asked for with what a service shows of it."""
    if isinstance(value, Mapping):
        return {name: essence(inner) for name, inner in value.items() if not _is_filler(essence(inner))}
    if isinstance(value, list):
        return [essence(inner) for inner in value]
    return value


def _is_filler(value: Any) -> bool:
    return value is None or (isinstance(value, Mapping | list) and not value)
