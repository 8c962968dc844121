"""What EC2 asks IAM before it does what the daemon of scratch space wants: action, resources and context of each call.

Resources and keys by the service authorization reference of EC2. The user id of a role's session on an instance is `ROLE:INSTANCE`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from genomics_stack import ACCOUNT, REGION, Stack, load_template, resolve

TAG = "batchyard:scratch-instance"
HERE, OTHER = "i-0123456789abcdef0", "i-0fedcba9876543210"
_ROLE = "AROAEXAMPLEEXAMPLEEXA"


@dataclass(frozen=True)
class Question:
    """One of the questions; all those of a call must be allowed."""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)


def volume_arn(volume: str) -> str:
    return f"arn:aws:ec2:{REGION}:{ACCOUNT}:volume/{volume}"


def asked(action: str, params: Mapping[str, Any], tags: Mapping[str, Mapping[str, str]], *, by: str = HERE) -> list[Question]:
    """The questions of one call with `params` by instance `by`. `tags` are those of each volume."""
    who = {"aws:userid": f"{_ROLE}:{by}"}

    def on_volume(volume: str) -> Question:
        found = {f"aws:ResourceTag/{key}": value for key, value in tags[volume].items()}
        return Question(f"ec2:{action}", volume_arn(volume), who | found)

    def on_instance(instance: str) -> Question:
        return Question(f"ec2:{action}", f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/{instance}", who | {"ec2:InstanceID": instance})

    match action:
        case "DescribeVolumes" | "DescribeVolumesModifications":
            return [Question(f"ec2:{action}", "*", who)]
        case "CreateVolume":
            told = {f"aws:RequestTag/{tag['Key']}": tag["Value"] for part in params.get("TagSpecifications", []) for tag in part["Tags"]}
            made = Question("ec2:CreateVolume", volume_arn("*"), who | told)
            tagged = Question("ec2:CreateTags", volume_arn("*"), who | told | {"ec2:CreateAction": "CreateVolume"})
            return [made, tagged] if told else [made]
        case "CreateTags":
            return [Question("ec2:CreateTags", volume_arn(volume), on_volume(volume).context) for volume in params["Resources"]]
        case "AttachVolume" | "DetachVolume":
            return [on_volume(params["VolumeId"]), on_instance(params["InstanceId"])]
        case "ModifyInstanceAttribute":
            return [on_instance(params["InstanceId"]), *(on_volume(volume) for volume in params.get("volumes", []))]
        case "ModifyVolume" | "DeleteVolume":
            return [on_volume(params["VolumeId"])]
    raise AssertionError(f"nobody said what EC2 asks IAM for {action}")


def policy_of_instances(given: Mapping[str, str]) -> str:
    """The policy that the template adds to the role of instances."""
    stack: Stack = resolve(load_template(), dict(given))
    (policy,) = stack.properties("InstanceRole")["Policies"]
    return json.dumps(policy["PolicyDocument"])


def is_allowed(iam: Any, policy: str, questions: Iterable[Question]) -> bool:
    """Whether all of `questions` are, by SimulateCustomPolicy of the service behind `iam`."""
    decisions = []
    for question in questions:
        entries = [
            {"ContextKeyName": name, "ContextKeyValues": [value], "ContextKeyType": "string"} for name, value in question.context.items()
        ]
        answer = iam.simulate_custom_policy(
            PolicyInputList=[policy], ActionNames=[question.action], ResourceArns=[question.resource], ContextEntries=entries
        )
        decisions += [result["EvalDecision"] for result in answer["EvaluationResults"]]
    assert decisions
    return set(decisions) == {"allowed"}
