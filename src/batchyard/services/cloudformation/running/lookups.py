"""What a template refers to outside itself: dynamic references, SSM parameters, availability zones."""

from __future__ import annotations

import json
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services import Caller
from batchyard.services.cloudformation.running.fetching import fetch
from batchyard.services.cloudformation.template import dynamic


class Lookups:
    """Looks up as `caller`."""

    def __init__(self, desk: Any, caller: Caller) -> None:
        self._desk = desk
        self._caller = caller

    async def filled(self, properties: dict[str, Any]) -> dict[str, Any]:
        """Properties with every `{{resolve:...}}` replaced. Raises Fault for one that cannot be."""
        wanted = dynamic.found(properties)
        if not wanted:
            return properties
        values = {text: await self._value(text) for text in sorted(wanted)}
        filled: dict[str, Any] = dynamic.filled(properties, values)
        return filled

    async def parameter(self, name: str) -> str:
        """The value of an SSM parameter."""
        return await self._parameter(name, is_secure=False)

    async def template(self, url: str) -> str:
        """The text of a template."""
        return await fetch(self._desk, self._caller, url)

    async def zones(self) -> list[str]:
        """The availability zones of the caller's region."""
        answer = await self._call("ec2", "DescribeAvailabilityZones", {})
        return sorted(zone["ZoneName"] for zone in answer["AvailabilityZones"])

    async def _call(self, service: str, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        return await self._desk.calls(self._caller, service, operation, params)  # type: ignore[no-any-return]

    async def _value(self, text: str) -> str:
        reference = dynamic.parse(text)
        if reference.service == "secretsmanager":
            return await self._secret(reference)
        name = f"{reference.name}:{reference.version}" if reference.version else reference.name
        return await self._parameter(name, is_secure=reference.service == "ssm-secure")

    async def _parameter(self, name: str, *, is_secure: bool) -> str:
        try:
            answer = await self._call("ssm", "GetParameter", {"Name": name, "WithDecryption": is_secure})
        except Fault as fault:
            if fault.code not in ("ParameterNotFound", "ParameterVersionNotFound"):
                raise
            raise Fault("ValidationError", f"Unable to fetch parameters [{name}] from parameter store for this account.") from None
        return str(answer["Parameter"]["Value"])

    async def _secret(self, reference: dynamic.Reference) -> str:
        asked = {"SecretId": reference.name}
        if reference.stage:
            asked["VersionStage"] = reference.stage
        if reference.version:
            asked["VersionId"] = reference.version
        try:
            secret = str((await self._call("secretsmanager", "GetSecretValue", asked)).get("SecretString", ""))
        except Fault as fault:
            raise Fault("ValidationError", f"Secrets Manager can't find the specified secret {reference.name}: {fault.message}") from None
        if not reference.key:
            return secret
        try:
            return str(json.loads(secret)[reference.key])
        except (ValueError, KeyError, TypeError):
            raise Fault("ValidationError", f"Could not find a value for the key {reference.key} in {reference.name}.") from None
