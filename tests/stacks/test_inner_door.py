"""The door inside the house: the same answers and refusals as on the wire, and steps that act once however often they are repeated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stack_hands import ACCOUNT, REGION, Workbench

from batchyard.model.fault import Fault
from batchyard.services.repeating import Step, current_step, forget
from batchyard.store.shelf import Place


async def test_calls_reach_services_of_every_protocol(bench: Workbench) -> None:
    vpc = (await bench.hands.call("ec2", "CreateVpc", {"CidrBlock": "10.0.0.0/16"}))["Vpc"]
    assert vpc["VpcId"].startswith("vpc-")
    await bench.hands.call("ssm", "PutParameter", {"Name": "/a/b", "Value": "1", "Type": "String"})
    assert (await bench.hands.call("ssm", "GetParameter", {"Name": "/a/b"}))["Parameter"]["Value"] == "1"
    statement = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    role = await bench.hands.call("iam", "CreateRole", {"RoleName": "r", "AssumeRolePolicyDocument": trust})
    assert role["Role"]["RoleName"] == "r"


async def test_s3_goes_through_its_own_language(bench: Workbench) -> None:
    await bench.hands.call("s3", "CreateBucket", {"Bucket": "reads", "CreateBucketConfiguration": {"LocationConstraint": REGION}})
    rule = {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 3}}
    await bench.hands.call("s3", "PutBucketLifecycleConfiguration", {"Bucket": "reads", "LifecycleConfiguration": {"Rules": [rule]}})
    (kept,) = (await bench.hands.call("s3", "GetBucketLifecycleConfiguration", {"Bucket": "reads"}))["Rules"]
    assert kept["Expiration"] == {"Days": 3}
    await bench.hands.call("s3", "PutObject", {"Bucket": "reads", "Key": "a b/é", "Body": b"x"})
    assert [entry["Key"] for entry in (await bench.hands.call("s3", "ListObjectsV2", {"Bucket": "reads"}))["Contents"]] == ["a b/é"]
    with pytest.raises(Fault) as refused:
        await bench.hands.call("s3", "DeleteBucket", {"Bucket": "reads"})
    assert refused.value.code == "BucketNotEmpty"


async def test_a_refusal_is_the_one_of_the_wire(bench: Workbench) -> None:
    with pytest.raises(Fault) as refused:
        await bench.hands.call("ssm", "GetParameter", {"Name": "/not/there"})
    assert refused.value.code == "ParameterNotFound"
    with pytest.raises(Fault) as refused:
        await bench.hands.call("ssm", "PutParameter", {"Name": "/a", "Value": 3, "Type": "Strange"})
    assert "Type" in refused.value.message or "Value" in refused.value.message
    with pytest.raises(Fault) as refused:
        await bench.hands.call("ec2", "RunInstances", {"MinCount": 1, "MaxCount": 1})
    assert "RunInstances" in refused.value.message


async def test_a_repeated_step_acts_once(bench: Workbench, tmp_path: Path) -> None:
    async def step() -> list[str]:
        current_step.set(Step("7" * 32, ACCOUNT, bench.sealer))
        made = [(await bench.hands.call("ec2", "CreateVpc", {"CidrBlock": "10.0.0.0/16"}))["Vpc"]["VpcId"] for _ in range(2)]
        current_step.set(None)
        return made

    before = len((await bench.hands.call("ec2", "DescribeVpcs"))["Vpcs"])
    first = await step()
    assert await step() == first and len(set(first)) == 2
    assert len((await bench.hands.call("ec2", "DescribeVpcs"))["Vpcs"]) == before + 2
    place = Place("cloudformation", ACCOUNT, REGION)
    bench.shelf.change(place, lambda drawer: forget(drawer, "7" * 32)).result(60)
    assert await step() != first
