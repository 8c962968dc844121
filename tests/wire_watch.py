"""Watches every service under test at the wire: each answer must fit AWS's model, and what was asked and answered is counted.

Tests in this process are watched by `install`; a service in a process of its own is started through this file, as
`python tests/wire_watch.py serve ...`, and then whoever calls it is watched: boto3, the AWS CLI, any client in any language.
Notes go to the folder named by BATCHYARD_WIRE_WATCH, one file per process, so that a `kill -9` loses nothing.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

FOLDER = "BATCHYARD_WIRE_WATCH"
# AWS's own answers that its model does not know.
_ALLOWED = {
    "GetBucketLocation.LocationConstraint: '' is not one of": "what S3 answers for us-east-1",
    "CreateVpcEndpoint.VpcEndpoint.State: 'available' is not one of": "small letters, which Terraform waits for",
    "DescribeVpcEndpoints.VpcEndpoints": "the same",
    "BatchGetSecretValue.SecretValues": "JSON has no bytes",
    "DescribeInternetGateways.InternetGateways": "attachments are 'available', which Terraform waits for",
}
# Shown as it was sent (decision 5), also in small letters, which AWS takes as well.
_IN_BASE64 = ": expected blob, got str"  # JSON has no bytes
_AS_SENT = re.compile(r"(evaluateOnExit\[\d+\]\.action|dependsOn\[\d+\]\.type): ")
# Docker's log driver that AWS Batch has no word for, shown as it was registered
_BEYOND_AWS = re.compile(r"logConfiguration\.logDriver: 'none' is not one of")
# A stack's own events have the stack's statuses, of which the model's list for resources lacks some.
_OF_A_STACK = re.compile(
    r"DescribeStackEvents\.StackEvents\[\d+\]\.ResourceStatus: '(UPDATE_(ROLLBACK_)?COMPLETE_CLEANUP|REVIEW)_IN_PROGRESS'"
)
_ANY = "*"  # stands for the keys of a map, which are the caller's own


class Note(msgspec.Struct, frozen=True, array_like=True):
    """In `test`, `operation` was asked for ("in") or answered ("out") with the member at `path`; "wrong": the answer does not fit."""

    test: str
    service: str
    operation: str
    direction: str
    path: str


class Watch:
    """Takes notes, each once per test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
        self._notes = open(folder / f"notes-{os.getpid()}", "ab", buffering=0)  # noqa: SIM115 - as long as the process lives
        self._seen: set[Note] = set()

    def close(self) -> None:
        self._notes.close()

    def test_is(self, name: str) -> None:
        """What is seen from now on belongs to this test."""
        place = self._folder / f"test-{self._worker}"
        place.with_suffix(".new").write_text(name)
        place.with_suffix(".new").replace(place)

    def note(self, service: str, operation: str, direction: str, paths: Iterator[str]) -> None:
        try:
            test = (self._folder / f"test-{self._worker}").read_text()
        except FileNotFoundError:
            test = ""
        for path in {"", *paths}:
            note = Note(test, service, operation, direction, path)
            if note not in self._seen:
                self._seen.add(note)
                self._notes.write(msgspec.json.encode(note) + b"\n")


def notes(folder: Path) -> Iterator[Note]:
    """All that was noted; the torn last line of a killed process is left out."""
    decoder = msgspec.json.Decoder(Note)
    for file in sorted(folder.glob("notes-*")):
        for line in file.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                yield decoder.decode(line)


def members(shapes: Any, shape: Any, value: Any, path: str = "") -> Iterator[str]:
    """The paths of all members that `value`, of `shape`, holds: `container.environment[].name`, `tags.*`."""
    if shape.type == "structure" and isinstance(value, dict):
        for name, inner in value.items():
            if inner is not None and name in shape.members:
                here = f"{path}.{name}" if path else name
                yield here
                yield from members(shapes, shapes[shape.members[name].shape], inner, here)
    elif shape.type == "list" and isinstance(value, list | tuple):
        for inner in value:
            yield from members(shapes, shapes[shape.member.shape], inner, f"{path}[]")
    elif shape.type == "map" and isinstance(value, dict):
        for inner in value.values():
            yield from members(shapes, shapes[shape.value.shape], inner, f"{path}.{_ANY}")


def install() -> Watch | None:
    """Watch this process, if a folder for the notes is named."""
    if FOLDER not in os.environ:
        return None
    watch = Watch(Path(os.environ[FOLDER]))
    _watch_codecs(watch)
    _watch_s3(watch)
    return watch


def _watch_codecs(watch: Watch) -> None:
    from batchyard.wire import shapes

    decode, encode = shapes.Service.decode, shapes.Service.encode

    @functools.wraps(decode)
    def watched_decode(self: shapes.Service, operation: str, *rest: Any) -> dict[str, Any]:
        params = decode(self, operation, *rest)
        watch.note(self.name, operation, "in", members(self.model.shapes, self.model.input_shape(operation), params))
        return params

    @functools.wraps(encode)
    def watched_encode(self: shapes.Service, operation: str, result: dict[str, Any], request_id: str) -> Any:
        response = encode(self, operation, result, request_id)
        is_json = self.protocol in ("json", "rest-json") and self.model.output_shape(operation).payload is None
        shown = msgspec.json.decode(response.body) if is_json and response.body else result
        _judge(watch, self, operation, shown if isinstance(shown, dict) else result)
        return response

    shapes.Service.decode = watched_decode  # type: ignore[method-assign]
    shapes.Service.encode = watched_encode  # type: ignore[method-assign]


def _judge(watch: Watch, service: Any, operation: str, result: dict[str, Any]) -> None:
    from batchyard.wire import shapes

    present = {name: value for name, value in result.items() if value is not None}
    wrong = [
        what
        for what in shapes.check(service, operation, present)
        if not what.startswith(tuple(_ALLOWED))
        and not what.endswith(_IN_BASE64)
        and not _AS_SENT.search(what)
        and not _BEYOND_AWS.search(what)
        and not _OF_A_STACK.search(what)
    ]
    if wrong:
        watch.note(service.name, operation, "wrong", iter(wrong))
    watch.note(service.name, operation, "out", members(service.model.shapes, service.model.output_shape(operation), present))


def _watch_s3(watch: Watch) -> None:
    """S3 speaks through its own functions, because its bodies stream."""
    from batchyard.services import s3
    from batchyard.services.s3 import call
    from batchyard.wire import restxml, shapes

    match, encode_body, decode_body = s3.match, restxml.encode_body, restxml.decode_body

    def watched_match(request: Any) -> Any:
        target = match(request)
        service = shapes.load("s3")
        told = {**request.headers, **target.query}
        shape = service.model.input_shape(target.operation)
        bound = (name for name, member in shape.members.items() if (member.location_name or "").lower() in {k.lower() for k in told})
        watch.note("s3", target.operation, "in", bound)
        return target

    def watched_decode_body(service: Any, operation: str, body: bytes) -> dict[str, Any]:
        params: dict[str, Any] = decode_body(service, operation, body)
        watch.note("s3", operation, "in", members(service.model.shapes, service.model.input_shape(operation), params))
        return params

    def watched_encode_body(service: Any, operation: str, result: dict[str, Any]) -> bytes:
        body: bytes = encode_body(service, operation, result)
        if service.name == "s3":
            _judge(watch, service, operation, result)
        return body

    s3.match = watched_match  # type: ignore[attr-defined]
    call.restxml.decode_body = watched_decode_body  # type: ignore[attr-defined]
    call.restxml.encode_body = watched_encode_body  # type: ignore[attr-defined]


if __name__ == "__main__":
    sys.path[0] = ""  # as `python -m` has it, without the tests beside this file
    install()
    from batchyard.main.__main__ import main

    main()
