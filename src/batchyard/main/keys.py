"""Who holds which keys: the folder's root key, users' keys, sessions of roles, and the credentials of each running attempt.

An attempt's credentials and a session's are derived from the root secret and what the token says: nothing needs to be stored. Those of an
attempt are good only while it is held by the yard: they die with it. Those of a session die at the time in its token.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from batchyard.engine.dispatch import LaunchOrder
from batchyard.engine.launching import AttemptKeys
from batchyard.main.settings import Identity
from batchyard.model.fault import Fault
from batchyard.server.identity import job_arn, root_credential
from batchyard.services.authorization import JOB_ROLE
from batchyard.services.iam.records import KEY, ROLE, USER, find
from batchyard.store.sealing import Sealer
from batchyard.store.shelf import NO_REGION, Drawer, Place, Shelf
from batchyard.wire.sigv4 import Credential

_TOKEN = "BY1"
_SESSION_TOKEN = "BY2"


class HeldAttempt(NamedTuple):
    """Whose an attempt's credentials are: its job, and the role that the job's definition names ("" for none)."""

    job_id: str
    role_arn: str = ""


class Session(msgspec.Struct, array_like=True):
    """What a session's token says."""

    account: str
    arn: str
    user_id: str
    expires_s: int
    policy: str
    nonce: bytes


class KeyRing:
    """`held` gives what a live attempt belongs to, None when it has ended; `shelf` holds users and their keys."""

    def __init__(self, identity: Identity, held: Callable[[str], HeldAttempt | None], shelf: Shelf, sealer: Sealer) -> None:
        self._identity = identity
        self._held = held
        self._shelf = shelf
        self._sealer = sealer
        self._users: dict[str, Credential | None] = {}
        self._users_at = -1
        self._root = root_credential(identity.access_key_id, identity.secret_access_key, identity.account)

    def lookup(self, access_key_id: str, token: str | None) -> Credential | None:
        """The credential of a request's key, None if there is none (any more). ExpiredTokenException for a session that is over."""
        if access_key_id == self._identity.access_key_id:
            return self._root if not token else None
        if not token:
            return self._user(access_key_id)
        if token.startswith(_SESSION_TOKEN + "."):
            return self._session(access_key_id, token)
        attempt = token.split(".")[1] if token.count(".") == 2 else ""
        held = self._held(attempt)
        keys = self._keys(attempt)
        if held is None or not hmac.compare_digest(keys.session_token.encode(), token.encode()) or keys.access_key_id != access_key_id:
            return None
        role, role_id = self._role(held.role_arn)
        return Credential(
            access_key_id=access_key_id,
            secret_access_key=keys.secret_access_key,
            session_token=token,
            account=self._identity.account,
            arn=job_arn(self._identity.account, role, held.job_id.replace(":", "-").replace("#", "-")),
            user_id=f"{role_id}:{held.job_id}",
            is_job=True,
        )

    def mint(self, order: LaunchOrder) -> AttemptKeys:
        return self._keys(order.attempt.id)

    def mint_session(self, account: str, arn: str, user_id: str, expires_s: int, policy: str) -> tuple[str, str, str]:
        """(access key id, secret, session token) that are `arn`'s until `expires_s`, narrowed by `policy` unless that is empty."""
        session = Session(account, arn, user_id, expires_s, policy, os.urandom(8))
        text = base64.urlsafe_b64encode(msgspec.msgpack.encode(session)).decode().rstrip("=")
        return (*self._session_keys(text), f"{_SESSION_TOKEN}.{text}.{self._derive('session', text).hex()}")

    def _session(self, access_key_id: str, token: str) -> Credential | None:
        parts = token.split(".")
        if len(parts) != 3 or not hmac.compare_digest(self._derive("session", parts[1]).hex().encode(), parts[2].encode()):
            return None
        key_id, secret = self._session_keys(parts[1])
        if key_id != access_key_id:
            return None
        session = msgspec.msgpack.decode(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)), type=Session)
        if session.expires_s <= time.time():
            raise Fault("ExpiredTokenException", "The security token included in the request is expired")
        return Credential(key_id, secret, token, session.account, session.arn, session.user_id, session_policy=session.policy)

    def _session_keys(self, text: str) -> tuple[str, str]:
        key_id = "ASIA" + base64.b32encode(self._derive("session-key", text)[:10]).decode()
        return key_id, base64.b64encode(self._derive("session-secret", text)[:30]).decode()

    # --- users and roles ---

    def _user(self, access_key_id: str) -> Credential | None:
        """The credential of a user's access key; kept until something on the shelf changes."""
        version = self._shelf.version
        if self._users_at != version or len(self._users) > 1000:
            self._users, self._users_at = {}, version
        if access_key_id not in self._users:
            place = Place("iam", self._identity.account, NO_REGION)
            self._users[access_key_id] = self._shelf.look(place, lambda drawer: self._user_key(drawer, access_key_id))
        return self._users[access_key_id]

    def _user_key(self, drawer: Drawer, access_key_id: str) -> Credential | None:
        key = drawer.get(KEY, access_key_id)
        user = find(drawer, USER, key["user"]) if key is not None else None
        if key is None or user is None or key["status"] != "Active":
            return None
        secret = self._sealer.open(key["secret"], f"iam {access_key_id}").decode()
        return Credential(access_key_id, secret, None, self._identity.account, user["arn"], user["id"])

    def _role(self, role_arn: str) -> tuple[str, str]:
        """(name, unique id) of the role that a job runs as."""
        if not role_arn:
            return JOB_ROLE, "AROABATCHYARDJOB"
        name = role_arn.rpartition("/")[2]
        role = self._shelf.look(Place("iam", self._identity.account, NO_REGION), lambda drawer: find(drawer, ROLE, name))
        return name, role["id"] if role else "AROABATCHYARDJOB"

    def _keys(self, attempt: str) -> AttemptKeys:
        return AttemptKeys(
            "ASIA" + base64.b32encode(self._derive("key", attempt)[:10]).decode(),
            base64.b64encode(self._derive("secret", attempt)[:30]).decode(),
            f"{_TOKEN}.{attempt}.{self._derive('token', attempt).hex()}",
        )

    def _derive(self, what: str, attempt: str) -> bytes:
        return hmac.digest(self._identity.secret_access_key.encode(), f"{what}:{attempt}".encode(), hashlib.sha256)
