"""Runs a handler as AWS Lambda's Python runtime does, and tells the cell what came of it: by now this process owns nothing but its room."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import io
import json
import logging
import os
import sys
import time
import traceback
import types
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

LONGEST_RESPONSE_BYTES = 6 * 1024 * 1024 + 100


def run(order: dict[str, Any], writing: int) -> None:
    """Unpack, import, call, and send either the response or the error as JSON to `writing`."""
    started_s = time.monotonic()
    root = Path.cwd()
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), "utf-8", "replace", line_buffering=True, write_through=True)
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), "utf-8", "replace", line_buffering=True, write_through=True)
    sys.dont_write_bytecode = True
    sys.argv = ["bootstrap"]
    _set_up_logging(order["context"]["aws_request_id"])
    try:
        with zipfile.ZipFile(io.BytesIO(order.pop("zip"))) as archive:
            archive.extractall(root)
        sys.path.insert(0, str(root))
        _offer_libraries(order["packages"])
        _offer_cfnresponse(order["cfnresponse"], root)
        handler = _handler(order["handler"])
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever a function raises is its answer
        _fail(writing, order, error, root)
        return
    os.write(writing, b"B")
    context = Context(order["context"], time.monotonic() + order["timeout_s"], started_s)
    try:
        response = handler(json.loads(order["event"]), context)
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever a function raises is its answer
        _fail(writing, order, error, root)
        return
    try:
        text = json.dumps(response)
    except (TypeError, ValueError, RecursionError) as error:
        _send(writing, b"E", {**_told(order, "Runtime.MarshalError", f"Unable to marshal response: {error}"), "stackTrace": []})
        return
    if len(text.encode()) > LONGEST_RESPONSE_BYTES:
        words = f"Response payload size exceeded maximum allowed payload size ({LONGEST_RESPONSE_BYTES} bytes)."
        _send(writing, b"E", _told(order, "Function.ResponseSizeTooLarge", words))
        return
    _send(writing, b"R", text)


class Context:
    """The second argument of a handler: what it may know about its invocation."""

    def __init__(self, told: Mapping[str, Any], ends_s: float, started_s: float) -> None:
        self.aws_request_id: str = told["aws_request_id"]
        self.function_name: str = told["function_name"]
        self.function_version: str = told["function_version"]
        self.invoked_function_arn: str = told["invoked_function_arn"]
        self.memory_limit_in_mb: str = told["memory_limit_in_mb"]
        self.log_group_name: str = told["log_group_name"]
        self.log_stream_name: str = told["log_stream_name"]
        self.identity = types.SimpleNamespace(cognito_identity_id=None, cognito_identity_pool_id=None)
        self.client_context = _client_context(told.get("client_context"))
        self._ends_s = ends_s

    def get_remaining_time_in_millis(self) -> int:
        """What is left until the function's time-out."""
        return max(0, int((self._ends_s - time.monotonic()) * 1000))

    def log(self, message: object) -> None:
        """Write to the function's log."""
        sys.stdout.write(str(message))

    def __repr__(self) -> str:
        return f"LambdaContext([aws_request_id={self.aws_request_id},function_name={self.function_name}])"


def _client_context(told: Any) -> Any:
    if not told:
        return None
    return types.SimpleNamespace(custom=told.get("custom"), env=told.get("env"), client=types.SimpleNamespace(**(told.get("client") or {})))


class _RuntimeFault(Exception):
    """The handler cannot be had; `kind` is AWS's name for why."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def _handler(name: str) -> Callable[[Any, Any], Any]:
    place, dot, function = name.rpartition(".")
    if not dot:
        raise _RuntimeFault("Runtime.MalformedHandlerName", f"Bad handler '{name}': not enough values to unpack (expected 2, got 1)")
    module_name = place.replace("/", ".")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise _RuntimeFault("Runtime.ImportModuleError", f"Unable to import module '{module_name}': {error}") from error
    except SyntaxError as error:
        raise _RuntimeFault("Runtime.UserCodeSyntaxError", f"Syntax error in module '{module_name}': {error}") from error
    if not hasattr(module, function):
        raise _RuntimeFault("Runtime.HandlerNotFound", f"Handler '{function}' missing on module '{module_name}'")
    return getattr(module, function)  # type: ignore[no-any-return]


class _Offered(importlib.abc.MetaPathFinder):
    """Finds the AWS SDK, as far as it is installed beside the server, and nothing else from there."""

    def __init__(self, packages: Mapping[str, str]) -> None:
        self._packages = packages

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        folder = self._packages.get(fullname)
        return importlib.machinery.PathFinder.find_spec(fullname, [folder]) if folder else None


def _offer_libraries(packages: Mapping[str, str]) -> None:
    sys.meta_path.append(_Offered(packages))


def _offer_cfnresponse(source: str, root: Path) -> None:
    """The module that CloudFormation adds to inline code, unless the function brings its own."""
    if (root / "cfnresponse.py").exists():
        return
    module = types.ModuleType("cfnresponse")
    exec(compile(source, "cfnresponse.py", "exec"), module.__dict__)
    sys.modules["cfnresponse"] = module


def _set_up_logging(request_id: str) -> None:
    """Functions count on a handler that is there already: they only set a level."""
    handler = logging.StreamHandler(sys.stdout)
    form = f"[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t{request_id}\t%(message)s"
    formatter = logging.Formatter(form, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.getLogger().addHandler(handler)


def _told(order: Mapping[str, Any], kind: str, message: str) -> dict[str, Any]:
    return {"errorMessage": message, "errorType": kind, "requestId": order["context"]["aws_request_id"]}


def _fail(writing: int, order: Mapping[str, Any], error: BaseException, root: Path) -> None:
    """Send the error as AWS shows it, and write it to the log."""
    if isinstance(error, _RuntimeFault):
        kind, trace = error.kind, []
    else:
        kind, trace = type(error).__name__, _trace(error, root)
    told = {**_told(order, kind, str(error)), "stackTrace": trace}
    lines = "Traceback (most recent call last):\n" + "".join(trace) if trace else "Traceback (most recent call last):"
    sys.stdout.write(f"[ERROR] {kind}: {error}\n{lines.rstrip()}\n")
    _send(writing, b"E", told)


def _trace(error: BaseException, root: Path) -> list[str]:
    """The frames from the function's own first one on."""
    frames = traceback.extract_tb(error.__traceback__)
    own = next((at for at, frame in enumerate(frames) if frame.filename.startswith(str(root))), len(frames))
    return traceback.format_list(frames[own:])


def _send(writing: int, kind: bytes, message: Any) -> None:
    content = message.encode() if isinstance(message, str) else json.dumps(message).encode()
    sys.stdout.flush()
    sys.stderr.flush()
    content = kind + len(content).to_bytes(8) + content
    while content:
        content = content[os.write(writing, content) :]
