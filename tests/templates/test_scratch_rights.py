"""The role of instances may all that the daemon of scratch space does, and nothing with what is not its own: simulated by our own IAM."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from ec2_rights import HERE, OTHER, TAG, asked, is_allowed, policy_of_instances
from genomics_promises import SCRATCH
from genomics_stack import TEMPLATE

from batchyard.scratch.ebs import ACTIONS
from yard import Yard, serving

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scratch"))

from cloud import BTRFS, XFS, cloudy
from ground import needs

OWN, THEIRS, BARE = "vol-0000000000000own0", "vol-000000000000their", "vol-0000000000000bare"
TAGS = {OWN: {TAG: HERE, "Project": "genomics"}, THEIRS: {TAG: OTHER}, BARE: {"Name": "root"}}


def tagged(instance: str) -> list[dict[str, Any]]:
    return [{"ResourceType": "volume", "Tags": [{"Key": TAG, "Value": instance}, {"Key": "Name", "Value": "scratch"}]}]


DAEMON: list[tuple[str, dict[str, Any]]] = [
    ("DescribeVolumes", {}),
    ("DescribeVolumesModifications", {}),
    ("CreateVolume", {"TagSpecifications": tagged(HERE)}),
    ("AttachVolume", {"VolumeId": OWN, "InstanceId": HERE}),
    ("ModifyInstanceAttribute", {"InstanceId": HERE}),
    ("ModifyInstanceAttribute", {"InstanceId": HERE, "volumes": [OWN]}),
    ("ModifyVolume", {"VolumeId": OWN}),
    ("DetachVolume", {"VolumeId": OWN, "InstanceId": HERE}),
    ("DeleteVolume", {"VolumeId": OWN}),
]
NEIGHBOURS: list[tuple[str, dict[str, Any]]] = [
    ("CreateVolume", {}),
    ("CreateVolume", {"TagSpecifications": tagged(OTHER)}),
    ("CreateVolume", {"TagSpecifications": tagged("*")}),
    ("CreateTags", {"Resources": [THEIRS]}),
    ("CreateTags", {"Resources": [BARE]}),
    ("CreateTags", {"Resources": [OWN]}),
    ("AttachVolume", {"VolumeId": THEIRS, "InstanceId": HERE}),
    ("AttachVolume", {"VolumeId": BARE, "InstanceId": HERE}),
    ("AttachVolume", {"VolumeId": OWN, "InstanceId": OTHER}),
    ("DetachVolume", {"VolumeId": THEIRS, "InstanceId": OTHER}),
    ("DetachVolume", {"VolumeId": THEIRS, "InstanceId": HERE}),
    ("DetachVolume", {"VolumeId": BARE, "InstanceId": HERE}),
    ("ModifyInstanceAttribute", {"InstanceId": OTHER}),
    ("ModifyInstanceAttribute", {"InstanceId": HERE, "volumes": [THEIRS]}),
    ("ModifyVolume", {"VolumeId": THEIRS}),
    ("ModifyVolume", {"VolumeId": BARE}),
    ("DeleteVolume", {"VolumeId": THEIRS}),
    ("DeleteVolume", {"VolumeId": BARE}),
]


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with serving(tmp_path_factory.mktemp("rights") / "data") as found:
        yield found


@pytest.fixture(scope="module")
def iam(yard: Yard) -> Any:
    return yard.client("iam")


@pytest.fixture(scope="module")
def policy() -> str:
    return policy_of_instances(SCRATCH)


def test_the_policy_grants_the_actions_of_the_daemon_and_no_others(policy: str) -> None:
    granted: set[str] = set()
    for statement in json.loads(policy)["Statement"]:
        granted |= {statement["Action"]} if isinstance(statement["Action"], str) else set(statement["Action"])
    assert granted == {*ACTIONS, "s3:GetObject"}
    assert {f"ec2:{action}" for action, _ in DAEMON} | {"ec2:CreateTags"} == set(ACTIONS)


@pytest.mark.parametrize(("action", "params"), DAEMON)
def test_the_daemon_may_do_what_it_does(iam: Any, policy: str, action: str, params: dict[str, Any]) -> None:
    assert is_allowed(iam, policy, asked(action, params, TAGS))


@pytest.mark.parametrize(("action", "params"), NEIGHBOURS)
def test_what_is_not_its_own_is_out_of_its_reach(iam: Any, policy: str, action: str, params: dict[str, Any]) -> None:
    assert not is_allowed(iam, policy, asked(action, params, TAGS))


@pytest.mark.parametrize(("action", "params"), [case for case in DAEMON if not case[0].startswith("Describe")])
def test_another_instance_with_the_same_role_may_not(iam: Any, policy: str, action: str, params: dict[str, Any]) -> None:
    assert not is_allowed(iam, policy, asked(action, params, TAGS, by=OTHER))


def test_the_package_may_be_fetched_and_nothing_beside_it(iam: Any, policy: str) -> None:
    def decision(key: str) -> str:
        arn = f"arn:aws:s3:::our-packages/batchyard/{key}"
        answer = iam.simulate_custom_policy(PolicyInputList=[policy], ActionNames=["s3:GetObject"], ResourceArns=[arn])
        return str(answer["EvaluationResults"][0]["EvalDecision"])

    assert [decision(key) for key in ("batchyard-0.1.0.tar.gz", "other.tar.gz")] == ["allowed", "implicitDeny"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"Scratch": "auto"}, "Scratch needs ScratchPackage"),
        ({"ScratchVolumeType": "io2"}, "ScratchVolumeType io2 needs ScratchIops"),
        ({"ScratchVolumeType": "st1", "ScratchIops": "3000"}, "The IOPS of st1 volumes are not for choice"),
        (
            {"ScratchVolumeType": "io2", "ScratchIops": "4000", "ScratchThroughputMiB": "250"},
            "ScratchThroughputMiB is for ScratchVolumeType gp3",
        ),
    ],
)
def test_what_no_instance_could_come_up_with_is_refused_when_it_is_deployed(yard: Yard, given: dict[str, str], says: str) -> None:
    ec2 = yard.client("ec2")
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    subnet = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"][0]["SubnetId"]
    parameters = [{"ParameterKey": key, "ParameterValue": value} for key, value in {"VpcId": vpc, "SubnetIds": subnet, **given}.items()]
    with pytest.raises(ClientError, match=says):
        yard.client("cloudformation").create_stack(
            StackName="refused", TemplateBody=TEMPLATE.read_text(), Parameters=parameters, Capabilities=["CAPABILITY_IAM"]
        )


@pytest.mark.parametrize(
    "backend", [pytest.param(BTRFS, marks=needs("mkfs.btrfs", "btrfs-progs")), pytest.param(XFS, marks=needs("mkfs.xfs", "xfsprogs"))]
)
def test_every_call_that_the_daemon_really_makes_is_allowed(iam: Any, policy: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made, grown, given back and taken away against the double of EC2, whose calls are then asked of IAM one by one."""
    with cloudy(monkeypatch) as place:
        ground = place.backend(backend)
        ground.ensure()
        ground.grow(1 << 30)
        if backend == BTRFS:
            ground.shrink(1)
        ground.retire()
        ground.close()
        calls, here = list(place.double.calls), place.double.instance_id
        tags = {disk.id: disk.tags for disk in place.double.volumes.values()}
    made = {call["action"] for call in calls}
    assert made >= {"CreateVolume", "AttachVolume", "ModifyInstanceAttribute", "DetachVolume", "DeleteVolume", "DescribeVolumes"}
    assert ("ModifyVolume" in made) == (backend == XFS)
    seen: set[str] = set()
    for call in calls:
        questions = asked(call["action"], call["params"], tags, by=here)
        if (shape := json.dumps([call["action"], call["params"]], sort_keys=True)) in seen:
            continue
        seen.add(shape)
        assert is_allowed(iam, policy, questions), call
