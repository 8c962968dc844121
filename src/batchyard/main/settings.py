"""What the operator decides, and what stays decided: a folder's port, account, region and keys are sticky, so that jobs that run
across a restart keep their endpoint."""

from __future__ import annotations

import json
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from batchyard.core.quotas import DAY_S, PROFILES
from batchyard.engine.retention import Retention
from batchyard.model.capacity import Resources
from batchyard.store.folders import sync_folder

DEFAULT_DATA = Path(".batchyard")
LOOPBACK = ("127.0.0.1", "::1", "localhost")
# Some memory of the machine is left to the system and the server itself.
KEPT_MEMORY_PART = 0.1
KEPT_MEMORY_MIB = 512
_REGION = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class SettingsError(Exception):
    """A setting that cannot be; the message names it and the fix."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What was given on the command line; None means: as it was before in this folder, else the default."""

    data: Path = DEFAULT_DATA
    host: str = "127.0.0.1"
    port: int | None = None
    auth: str = "sigv4"
    vcpus: float | None = None
    memory_mib: int | None = None
    profile: str = "open"
    region: str | None = None
    account: str | None = None
    spot_notice_s: float = 120.0
    idle_s: float = 60.0
    retention_days: float | None = None  # None: as the profile says
    runtime: str = "auto"
    container_socket: Path | None = None
    pull: str = "missing"
    container_network: str = "host"
    image_cache_gib: float | None = None  # None: no bound
    cpu: str = "shares"
    bubblewrap: str = "auto"
    expose: tuple[str, ...] = ()
    pids_limit: int = 4096
    log_limit_mib: int = 1024
    link_local: str = "off"
    container_scratch: str = "on"
    scratch: str = "auto"
    scratch_gib: float | None = None  # None: as before in this folder, else most of what its disk has free
    scratch_initial_gib: float | None = None
    enforce_iam: bool | None = None  # None: with profile aws
    webhooks: tuple[str, ...] = ()
    log_delivery_s: float = 60.0
    template_urls: tuple[tuple[str, str], ...] = ()  # what URLs of templates begin with, and what they are read from instead

    @property
    def is_iam_enforced(self) -> bool:
        """Whether IAM's policies decide what users, roles and jobs may do."""
        return self.profile == "aws" if self.enforce_iam is None else self.enforce_iam

    def retention(self) -> Retention:
        """How long finished jobs and INACTIVE job definitions are kept."""
        quotas = PROFILES[self.profile]
        if self.retention_days is None:
            return Retention(quotas.job_retention_s, quotas.definition_retention_s)
        kept_s = self.retention_days * DAY_S
        return Retention(kept_s, quotas.definition_retention_s or kept_s)

    def host_room(self) -> Resources:
        """What jobs may have of this machine in all."""
        memory_mib = self.memory_mib or _usable_memory_mib()
        return Resources(self.vcpus or os.cpu_count() or 1, memory_mib)

    def check(self) -> None:
        """Refuse what would be unsafe or could not work."""
        loopback = self.host in LOOPBACK
        if self.scratch.startswith("loop-") and os.geteuid() != 0:
            raise SettingsError(f"--scratch {self.scratch} needs root, for loop devices and mounts: take --scratch auto or directory")
        if None not in (self.scratch_gib, self.scratch_initial_gib) and (self.scratch_initial_gib or 0) > (self.scratch_gib or 0):
            raise SettingsError(
                f"--scratch-initial-gib {self.scratch_initial_gib:g} must not be more than --scratch-gib {self.scratch_gib:g}"
            )
        for url in self.webhooks:
            _check_webhook(url)
        for _, instead in self.template_urls:
            if not instead.startswith(("file:", "s3://", "https://", "http://")):
                raise SettingsError(f"--template-url ...={instead} must lead to file:FOLDER/, s3://BUCKET/PREFIX or a URL of this service")
        if self.auth == "off" and not loopback:
            raise SettingsError(
                f"--auth off is for tests on this machine only: use --host 127.0.0.1, or --auth sigv4 with --host {self.host}"
            )
        if not loopback and os.geteuid() != 0:
            raise SettingsError(
                "Without root all jobs run as the user of the server and can read its keys, so it listens on 127.0.0.1 only:"
                " leave --host out, or run as root"
            )
        least_days = (PROFILES[self.profile].job_retention_s or 0) / DAY_S
        if self.retention_days is not None and self.retention_days < least_days:
            raise SettingsError(f"--retention-days {self.retention_days:g} must be {least_days:g} or more with --profile {self.profile}")
        if self.account is not None and not (self.account.isdigit() and len(self.account) == 12):
            raise SettingsError(f"--account {self.account} must be 12 digits")
        if self.region is not None and not _REGION.fullmatch(self.region):
            raise SettingsError(f"--region {self.region} must look like us-east-1: small letters, digits and hyphens")


def _check_webhook(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None or not url.isascii():
        raise SettingsError(f"--webhook {url} must look like https://host:port/path, without a user name")


@dataclass(frozen=True, slots=True)
class Identity:
    """What sticks to a folder. `port` is 0 until one was bound."""

    account: str
    region: str
    access_key_id: str
    secret_access_key: str
    port: int


def identity_of(settings: Settings) -> Identity:
    """The folder's identity: read, or made and kept on first use. What the command line says wins and sticks; a port of 0 takes the one
    that the folder had, so that jobs that run across a restart keep their endpoint, or else a free one."""
    kept = _kept_identity(settings.data / "identity.json")
    identity = Identity(
        account=settings.account or kept.get("account") or "000000000000",
        region=settings.region or kept.get("region") or "us-east-1",
        access_key_id=kept.get("access_key_id") or "AKIA" + "".join(secrets.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(16)),
        secret_access_key=kept.get("secret_access_key") or secrets.token_urlsafe(30),
        port=settings.port or int(kept.get("port") or 0),
    )
    keep_identity(settings.data, identity)
    return identity


def _kept_identity(path: Path) -> dict[str, Any]:
    try:
        kept = json.loads(path.read_text()) if path.exists() else {}
    except ValueError:
        kept = None
    if not isinstance(kept, dict):
        raise SettingsError(
            f"{path} holds no JSON object: restore it from a copy; or remove it, and start with the --account and --region that it had"
            " and with new keys"
        )
    return kept


def keep_identity(data: Path, identity: Identity) -> None:
    write_private(
        data / "identity.json",
        {
            "account": identity.account,
            "region": identity.region,
            "access_key_id": identity.access_key_id,
            "secret_access_key": identity.secret_access_key,
            "port": identity.port,
        },
    )


def write_private(path: Path, document: dict[str, Any]) -> None:
    """Write JSON that only the owner can read, all or nothing and synced: a crash or power cut leaves the old one or the new one."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        json.dump(document, out, indent=1)
        out.write("\n")
        out.flush()
        os.fsync(out.fileno())
    partial.rename(path)
    sync_folder(path.parent)


def _usable_memory_mib() -> int:
    whole_mib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    return max(256, int(whole_mib - max(KEPT_MEMORY_MIB, whole_mib * KEPT_MEMORY_PART)))
