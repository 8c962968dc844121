"""Seals secrets before they are stored, so that a copy of the store alone tells none of them.

Encrypt-then-MAC from the standard library's HMAC-SHA256, because no cipher library belongs to the installation: the text is combined
with the stream HMAC(key, nonce, 0), HMAC(key, nonce, 1) ..., and a tag over nonce, context and sealed text guards all of it. The key
lies beside the store in a file of its own that only the owner can read: who can read that file reads the secrets as well.
"""

from __future__ import annotations

import hmac
import os
from pathlib import Path

from batchyard.store.folders import sync_folder
from batchyard.store.opening import UnusableStore

KEY_BYTES = 32
NONCE_BYTES = 16
TAG_BYTES = 32


class NotSealedHere(Exception):
    """What is to be opened was sealed with another key or for another purpose, or has changed since."""


class Sealer:
    """Seals with the key in the file `path`, which is made (mode 0600, synced) when missing."""

    def __init__(self, path: Path) -> None:
        key = _kept_key(path)
        self._stream_key = hmac.digest(key, b"stream", "sha256")
        self._tag_key = hmac.digest(key, b"tag", "sha256")

    def seal(self, text: bytes, context: str) -> bytes:
        """`text` sealed for `context` (who it belongs to): it opens for the same context only."""
        nonce = os.urandom(NONCE_BYTES)
        hidden = self._combine(text, nonce)
        return nonce + hidden + self._tag(nonce, hidden, context)

    def open(self, sealed: bytes, context: str) -> bytes:
        """The text again. Raises `NotSealedHere`."""
        nonce, hidden, tag = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:-TAG_BYTES], sealed[-TAG_BYTES:]
        if len(sealed) < NONCE_BYTES + TAG_BYTES or not hmac.compare_digest(tag, self._tag(nonce, hidden, context)):
            raise NotSealedHere("a stored secret cannot be opened: its key file is another one, or it was damaged")
        return self._combine(hidden, nonce)

    def digest(self, text: str) -> bytes:
        """32 bytes that only this key makes of `text`: what a URL may be known by."""
        return hmac.digest(self._tag_key, b"digest" + text.encode(), "sha256")

    def _combine(self, text: bytes, nonce: bytes) -> bytes:
        blocks = range((len(text) + 31) // 32)
        stream = b"".join(hmac.digest(self._stream_key, nonce + block.to_bytes(8), "sha256") for block in blocks)[: len(text)]
        return (int.from_bytes(text) ^ int.from_bytes(stream)).to_bytes(len(text))

    def _tag(self, nonce: bytes, hidden: bytes, context: str) -> bytes:
        named = context.encode()
        return hmac.digest(self._tag_key, nonce + len(named).to_bytes(8) + named + hidden, "sha256")


def _kept_key(path: Path) -> bytes:
    if not path.exists():
        partial = path.with_name(path.name + ".partial")
        partial.unlink(missing_ok=True)
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(os.urandom(KEY_BYTES))
            out.flush()
            os.fsync(out.fileno())
        partial.rename(path)
        sync_folder(path.parent)
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise UnusableStore(
            f"{path} holds no key of {KEY_BYTES} bytes: restore it from a copy, for what was sealed with it cannot be opened"
        )
    return key
