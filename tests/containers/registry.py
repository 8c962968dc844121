"""A registry for tests: serves the busybox image under any name, holds layers back if told to, and counts what it is asked."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from containers.engines import root_tar

HELD_MOST_S = 100.0
USER, PASSWORD = "reader", "let me in"
TOKEN = "good-for-an-hour"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_MANIFEST = re.compile(r"/v2/(.+)/manifests/(.+)")
_BLOB = re.compile(r"/v2/.+/blobs/(sha256:[0-9a-f]{64})")


class Registry:
    """Names that begin with `missing` are not there, names that begin with `secret` are not for us. One that `is_private` talks to nobody
    but `USER` with `PASSWORD`; with `gives_tokens` to nobody but who shows a token that these were given, as the registries of clouds do.

    While `open` is not set, layers are held back, and `held` of them are being waited for.
    """

    def __init__(self, *, is_private: bool = False, gives_tokens: bool = False) -> None:
        self._is_private, self._gives_tokens = is_private, gives_tokens
        self.open = threading.Event()
        self.open.set()
        self.held = 0
        self.refused: set[str] = set()  # images that are gone from now on
        self.manifests_asked: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._blobs: dict[str, bytes] = {}
        self._manifests: dict[str, bytes] = {}
        self._renewed: set[str] = set()
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                registry._answer(self)

            do_HEAD = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Registry:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def name(self, image: str) -> str:
        return f"127.0.0.1:{self.port}/{image}"

    def renew(self, image: str) -> None:
        """From now on there is another image under this name."""
        with self._lock:
            self._renewed.add(image)
            self._manifests.pop(image, None)

    def _answer(self, call: BaseHTTPRequestHandler) -> None:
        blob, manifest = _BLOB.fullmatch(call.path), _MANIFEST.fullmatch(call.path)
        if self._gives_tokens and call.path.startswith("/token") and _is_reader(call):
            _send(call, 200, json.dumps({"token": TOKEN, "access_token": TOKEN}).encode(), "application/json")
        elif self._is_private and not (_has_token(call) if self._gives_tokens else _is_reader(call)):
            content = json.dumps({"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}).encode()
            token = f'Bearer realm="http://127.0.0.1:{self.port}/token",service="registry"'
            _send(call, 401, content, "application/json", {"WWW-Authenticate": token if self._gives_tokens else 'Basic realm="registry"'})
        elif manifest:
            self._manifest(call, *manifest.groups())
        elif blob and blob[1] in self._blobs:
            content = self._blobs[blob[1]]
            if len(content) > 10_000:
                self._hold()
            _send(call, 200, content, "application/octet-stream")
        elif call.path in ("/v2/", "/v2"):
            _send(call, 200, b"{}", "application/json")
        else:
            _refuse(call, 404, "BLOB_UNKNOWN", "blob unknown to registry")

    def _hold(self) -> None:
        if not self.open.is_set():
            with self._lock:
                self.held += 1
            self.open.wait(HELD_MOST_S)
            with self._lock:
                self.held -= 1

    def _manifest(self, call: BaseHTTPRequestHandler, image: str, tag: str) -> None:
        if image.startswith("missing") or image in self.refused:
            _refuse(call, 404, "MANIFEST_UNKNOWN", "manifest unknown")
        elif image.startswith("secret"):
            _refuse(call, 403, "DENIED", "requested access to the resource is denied")
        else:
            with self._lock:
                self.manifests_asked[image] += 1
                made = self._made(image)
            digest = _digest(made)
            _send(call, 200, made, MANIFEST, {"Docker-Content-Digest": digest})

    def _made(self, image: str) -> bytes:
        """An image of its own for each name: a layer that no other has, so that it is fetched."""
        if image not in self._manifests:
            says = f"I am {image}" + (", renewed" if image in self._renewed else "")
            plain = root_tar() + image.encode().ljust(1024, b"\0")  # behind the end of the archive
            layer = gzip.compress(plain, 1, mtime=0)
            config = json.dumps(
                {
                    "architecture": "amd64",
                    "os": "linux",
                    "config": {"Env": ["FROM_IMAGE=yes"], "Cmd": ["echo", says]},
                    "rootfs": {"type": "layers", "diff_ids": [_digest(plain)]},
                    "history": [{"created": "2020-01-01T00:00:00Z"}],
                }
            ).encode()
            self._blobs.update({_digest(layer): layer, _digest(config): config})
            self._manifests[image] = json.dumps(
                {
                    "schemaVersion": 2,
                    "mediaType": MANIFEST,
                    "config": {
                        "mediaType": "application/vnd.docker.container.image.v1+json",
                        "size": len(config),
                        "digest": _digest(config),
                    },
                    "layers": [
                        {"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": len(layer), "digest": _digest(layer)}
                    ],
                }
            ).encode()
        return self._manifests[image]


def _is_reader(call: BaseHTTPRequestHandler) -> bool:
    kind, _, told = call.headers.get("Authorization", "").partition(" ")
    return kind == "Basic" and base64.b64decode(told) == f"{USER}:{PASSWORD}".encode()


def _has_token(call: BaseHTTPRequestHandler) -> bool:
    return call.headers.get("Authorization") == f"Bearer {TOKEN}"


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _refuse(call: BaseHTTPRequestHandler, status: int, code: str, message: str) -> None:
    _send(call, status, json.dumps({"errors": [{"code": code, "message": message}]}).encode(), "application/json")


def _send(call: BaseHTTPRequestHandler, status: int, content: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
    call.send_response(status)
    for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **(headers or {})}.items():
        call.send_header(name, value)
    call.end_headers()
    if call.command != "HEAD":
        call.wfile.write(content)
