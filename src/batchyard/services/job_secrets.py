"""Resolves the secrets of jobs from Secrets Manager and Parameter Store, with the rights of the job's execution role."""

from __future__ import annotations

import json

from batchyard.core.policies import Question, Verdict, context_of, decide_within
from batchyard.engine.job_secrets import UNABLE, SecretsUnavailable, Wanted
from batchyard.model.fault import Fault
from batchyard.services.desk import Sealing, Shelf
from batchyard.services.iam.standing import NOBODY, standing_of
from batchyard.services.secretsmanager.secret_values import shown_value
from batchyard.services.ssm.records import arn_of, find, text_of
from batchyard.store.sealing import NotSealedHere
from batchyard.store.shelf import NO_REGION, Drawer, Place

_RETRIED = "service call has been retried 1 time(s): "


class SecretResolver:
    """Called with what a container wants; gives the text. Raises `SecretsUnavailable` with the reason that the container shows."""

    def __init__(self, shelf: Shelf, sealer: Sealing, *, is_enforced: bool) -> None:
        self._shelf = shelf
        self._sealer = sealer
        self._is_enforced = is_enforced

    def __call__(self, wanted: Wanted) -> str:
        is_secret = wanted.value_from.startswith("arn:") and wanted.value_from.split(":")[2:3] == ["secretsmanager"]
        service = "secretsmanager" if is_secret else "ssm"
        parts = wanted.value_from.split(":")
        region = parts[3] if wanted.value_from.startswith("arn:") and len(parts) > 5 else wanted.region
        place = Place(service, wanted.account, region)
        look = self._secret if is_secret else self._parameter
        try:
            return self._shelf.look(place, lambda drawer: look(drawer, wanted))
        except NotSealedHere as damaged:
            raise SecretsUnavailable(f"{UNABLE}{damaged}") from None

    # --- Secrets Manager ---

    def _secret(self, drawer: Drawer, wanted: Wanted) -> str:
        """`arn:...:secret:name-abcdef[:json-key:version-stage:version-id]`."""
        parts = wanted.value_from.split(":")
        arn, (key, stage, version_id) = ":".join(parts[:7]), [*parts[7:10], "", "", ""][:3]
        failed = f"{UNABLE}unable to retrieve secret from asm: {_RETRIED}failed to fetch secret {arn} from secrets manager: "
        self._require(drawer, wanted, "secretsmanager:GetSecretValue", arn, failed)
        try:
            found = shown_value(self._sealer, drawer, arn, version_id, stage)
        except Fault as fault:
            raise SecretsUnavailable(f"{failed}{fault.code}: {fault.message}") from None
        text = found.get("SecretString")
        if text is None:
            raise SecretsUnavailable(f"{UNABLE}retrieved secret from Secrets Manager {arn} is binary: only text can be a variable")
        return str(text) if not key else _member(str(text), key, arn)

    # --- Parameter Store ---

    def _parameter(self, drawer: Drawer, wanted: Wanted) -> str:
        """A parameter's ARN, or its name in the job's region."""
        failed = f"{UNABLE}unable to retrieve secrets from ssm: {_RETRIED}"
        name = wanted.value_from
        arn = name if name.startswith("arn:") else arn_of(wanted.account, drawer.place.region, name)
        self._require(drawer, wanted, "ssm:GetParameters", arn, failed)
        try:
            found = find(drawer, name)
        except Fault:
            found = None
        if found is None:
            raise SecretsUnavailable(f"{failed}invalid ssm parameters: {name}")
        return text_of(self._sealer, drawer, found.document, found.version)

    def _require(self, drawer: Drawer, wanted: Wanted, action: str, resource: str, failed: str) -> None:
        """With IAM enforced, the execution role must be allowed to read it."""
        if not self._is_enforced:
            return
        iam = drawer.elsewhere(Place("iam", wanted.account, NO_REGION))
        standing = (standing_of(iam, wanted.role_arn) if wanted.role_arn else None) or NOBODY
        context = context_of({"aws:PrincipalArn": wanted.role_arn, "aws:RequestedRegion": drawer.place.region})
        if decide_within(standing.identity, Question(action, resource, context), standing.boundary) is not Verdict.ALLOWED:
            role = wanted.role_arn.rpartition("/")[2] or "batchyard-job"
            user = f"arn:aws:sts::{wanted.account}:assumed-role/{role}/{wanted.attempt}"
            raise SecretsUnavailable(
                f"{failed}AccessDeniedException: User: {user} is not authorized to perform: {action} on resource: {resource} because no "
                f"identity-based policy allows the {action} action"
            )


def _member(text: str, key: str, arn: str) -> str:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise SecretsUnavailable(f"{UNABLE}retrieved secret from Secrets Manager {arn} is no JSON object: there is no key {key} in it")
    if key not in document:
        raise SecretsUnavailable(f"{UNABLE}retrieved secret from Secrets Manager did not contain json key {key}")
    value = document[key]
    return value if isinstance(value, str) else json.dumps(value)
