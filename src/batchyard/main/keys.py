"""Who holds which keys: the folder's root key, and the credentials of each running attempt.

An attempt's credentials are derived from the root secret and the attempt's id, so nothing needs to be stored, and they are good only
while the attempt is held by the yard: they die with it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable

from batchyard.engine.dispatch import LaunchOrder
from batchyard.engine.launching import AttemptKeys
from batchyard.main.settings import Identity
from batchyard.wire.sigv4 import Credential

_TOKEN = "BY1"


class KeyRing:
    """`job_of` gives the job that a live attempt belongs to, None when it has ended."""

    def __init__(self, identity: Identity, job_of: Callable[[str], str | None]) -> None:
        self._identity = identity
        self._job_of = job_of
        self._root = Credential(
            access_key_id=identity.access_key_id,
            secret_access_key=identity.secret_access_key,
            session_token=None,
            account=identity.account,
            arn=f"arn:aws:iam::{identity.account}:root",
            user_id=identity.account,
            is_job=False,
        )

    def lookup(self, access_key_id: str, token: str | None) -> Credential | None:
        """The credential of a request's key, None if there is none (any more)."""
        if access_key_id == self._identity.access_key_id:
            return self._root if not token else None
        if not token:
            return None
        attempt = token.split(".")[1] if token.count(".") == 2 else ""
        job_id = self._job_of(attempt)
        keys = self._keys(attempt)
        if job_id is None or not hmac.compare_digest(keys.session_token, token) or keys.access_key_id != access_key_id:
            return None
        return Credential(
            access_key_id=access_key_id,
            secret_access_key=keys.secret_access_key,
            session_token=token,
            account=self._identity.account,
            arn=f"arn:aws:sts::{self._identity.account}:assumed-role/batchyard-job/{job_id.replace(':', '-')}",
            user_id=f"AROABATCHYARDJOB:{job_id}",
            is_job=True,
        )

    def mint(self, order: LaunchOrder) -> AttemptKeys:
        return self._keys(order.attempt.id)

    def _keys(self, attempt: str) -> AttemptKeys:
        return AttemptKeys(
            "ASIA" + base64.b32encode(self._derive("key", attempt)[:10]).decode(),
            base64.b64encode(self._derive("secret", attempt)[:30]).decode(),
            f"{_TOKEN}.{attempt}.{self._derive('token', attempt).hex()}",
        )

    def _derive(self, what: str, attempt: str) -> bytes:
        return hmac.digest(self._identity.secret_access_key.encode(), f"{what}:{attempt}".encode(), hashlib.sha256)
