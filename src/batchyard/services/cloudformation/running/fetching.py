"""Fetches templates by URL, from our own object store whatever form the URL has."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from batchyard.model.fault import Fault
from batchyard.services import Caller

LIMIT = 1_048_576
_VIRTUAL = re.compile(r"(.+)\.s3(?:[.-][a-z0-9-]+)*\.amazonaws\.com(?:\.cn)?")
_PATH_STYLE = re.compile(r"s3(?:[.-][a-z0-9-]+)*\.amazonaws\.com(?:\.cn)?")


async def fetch(desk: Any, caller: Caller, url: str) -> str:
    """The text of the template at `url`. Raises ValidationError in AWS's words."""
    for prefix, instead in desk.settings.template_urls:
        if url.startswith(prefix):
            rest = url.removeprefix(prefix)
            if instead.startswith("file:"):
                return _text(await asyncio.to_thread(_file, instead.removeprefix("file://").removeprefix("file:"), rest))
            url = instead + rest
            break
    if url.startswith("file:"):
        raise Fault("ValidationError", "TemplateURL must be a supported URL. Only the operator may lead URLs to files: --template-url")
    bucket, key, version = object_of(url)
    asked = {"Bucket": bucket, "Key": key} | ({"VersionId": version} if version else {})
    try:
        answer = await desk.calls(caller, "s3", "GetObject", asked)
    except Fault as fault:
        raise Fault("ValidationError", f"S3 error: {fault.message}") from None
    return _text(answer["Body"])


def _text(body: bytes) -> str:
    if len(body) > LIMIT:
        raise Fault("ValidationError", f"Template may not exceed {LIMIT} bytes in size.")
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise Fault("ValidationError", f"Template format error: the template is not UTF-8. (line {line})") from None


def _file(place: str, rest: str) -> bytes:
    """The file at `place`, the operator's, or what a caller names in that folder: nothing that is written there leads out of it."""
    path, rest = Path(place + rest.partition("?")[0]), rest.partition("?")[0]
    is_out = Path(place).is_dir() and not Path(os.path.normpath(path)).is_relative_to(os.path.normpath(place))
    if is_out or ".." in rest.split("/") or "\0" in rest:
        raise Fault("ValidationError", "TemplateURL must be a supported URL.")
    try:
        with path.open("rb") as file:
            return file.read(LIMIT + 1)
    except OSError as error:
        raise Fault("ValidationError", f"The template at {path.name} cannot be read: {error.strerror}") from None


def object_of(url: str) -> tuple[str, str, str]:
    """(bucket, key, version or "") that a URL names: virtual-host or path style, of AWS or of this service. Raises ValidationError."""
    parts = urlsplit(url)
    version = parse_qs(parts.query).get("versionId", [""])[0]
    host, path = parts.hostname or "", unquote(parts.path).lstrip("/")
    if parts.scheme == "s3":
        return host, path, version
    if parts.scheme not in ("http", "https") or not path:
        raise Fault("ValidationError", "TemplateURL must be a supported URL.")
    virtual = _VIRTUAL.fullmatch(host)
    if virtual and not _PATH_STYLE.fullmatch(host):
        return virtual[1], path, version
    bucket, _, key = path.partition("/")
    if not key:
        raise Fault("ValidationError", "TemplateURL must reference a valid S3 object to which you have access.")
    return bucket, key, version
