"""Secrets of containers: looked up when an attempt is launched, so that they stand in no record, and what happens when they cannot be."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from batchyard.engine.cannot_launch import CannotLaunch

UNABLE = "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: "


class SecretsUnavailable(CannotLaunch):
    """A secret cannot be had: the attempt does not start."""


class Wanted(NamedTuple):
    """A secret that a job's container wants: `value_from` as its definition has it, `role_arn` on whose behalf ("" for no role)."""

    account: str
    region: str
    value_from: str
    role_arn: str
    attempt: str


Resolve = Callable[[Wanted], str]


def no_secrets(wanted: Wanted) -> str:
    """Where there is nobody to ask."""
    raise SecretsUnavailable(f"{UNABLE}{wanted.value_from}: there are no secrets here")


def secret_variables(container: Mapping[str, Any], resolve: Resolve, about: Wanted) -> dict[str, str]:
    """The variables that a container's `secrets` become. Raises `SecretsUnavailable` for the first that cannot be had."""
    role = container.get("executionRoleArn") or about.role_arn
    return {
        entry["name"]: resolve(about._replace(value_from=entry["valueFrom"], role_arn=role))
        for entry in container.get("secrets") or ()
        if entry.get("name") and entry.get("valueFrom")
    }


def registry_auth(container: Mapping[str, Any], image: str, resolve: Resolve, about: Wanted) -> str:
    """What a container's `repositoryCredentials` become: the Engine API's X-Registry-Auth; "" without them.

    The secret is named by its ARN or, as with ECS, by its name in the job's region; it is JSON with `username` and `password`.
    Raises `SecretsUnavailable` if it cannot be had or is another thing.
    """
    arn = (container.get("repositoryCredentials") or {}).get("credentialsParameter")
    if not arn:
        return ""
    if not arn.startswith("arn:"):
        arn = f"arn:aws:secretsmanager:{about.region}:{about.account}:secret:{arn}"
    text = resolve(about._replace(value_from=arn, role_arn=container.get("executionRoleArn") or about.role_arn))
    try:
        told = json.loads(text)
        names = {"username": str(told["username"]), "password": str(told["password"])}
    except (ValueError, KeyError, TypeError):
        raise SecretsUnavailable(f"{UNABLE}secret {arn} must be JSON with username and password") from None
    first = image.partition("/")[0]
    host = first if "/" in image and ("." in first or ":" in first or first == "localhost") else "https://index.docker.io/v1/"
    return base64.urlsafe_b64encode(json.dumps({**names, "serveraddress": host}).encode()).decode()
