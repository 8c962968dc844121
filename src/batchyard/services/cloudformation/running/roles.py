"""The role that a stack's steps act as, held against IAM before anything is begun under its name."""

from __future__ import annotations

from typing import Any

from batchyard.core.policies import Question, Verdict, decide
from batchyard.model.fault import Fault
from batchyard.services.iam.records import ROLE, find
from batchyard.services.iam.standing import trust_of
from batchyard.store.shelf import NO_REGION, Place

PRINCIPAL = ("Service", "cloudformation.amazonaws.com")


def refuse_unusable(desk: Any, account: str, arn: str) -> None:
    """Where roles count (profile aws, IAM enforced) a stack's must be there under the whole of its ARN, and trust CloudFormation.

    The whole ARN: with its last part alone, who may pass a role of one path could name a role of another one. Raises ValidationError.
    """
    if not arn or (desk.settings.profile != "aws" and not desk.settings.enforce_iam):
        return
    role = desk.shelf.look(Place("iam", account, NO_REGION), lambda drawer: find(drawer, ROLE, arn.rpartition("/")[2]))
    asked = Question("sts:AssumeRole", principals=frozenset({PRINCIPAL}))
    if role is None or role["arn"] != arn or decide(trust_of(role["trust"]), asked) is not Verdict.ALLOWED:
        raise Fault("ValidationError", f"Role {arn} is invalid or cannot be assumed")
