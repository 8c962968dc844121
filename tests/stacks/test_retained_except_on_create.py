"""DeletionPolicy RetainExceptOnCreate: what a creation made goes when the creation fails, and stays ever after."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stack_world import World, template

BUCKET = {"Type": "AWS::S3::Bucket", "DeletionPolicy": "RetainExceptOnCreate", "Properties": {"BucketName": "kept"}}
GROUP = {"Type": "AWS::Logs::LogGroup"}
FAILS = {"Type": "AWS::SSM::Parameter", "DependsOn": "First", "Properties": {"Type": "String", "Name": "aws-not-allowed", "Value": "x"}}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    made.desk.settings = replace(made.desk.settings, template_urls=(("https://inner/", f"file:{tmp_path}/"),))
    (tmp_path / "inner.json").write_text(template({"Bucket": BUCKET}))
    yield made
    await made.leave()


async def buckets(world: World) -> list[str]:
    return [bucket["Name"] for bucket in (await world.hands.call("s3", "ListBuckets", {})).get("Buckets", [])]


async def status(world: World) -> str:
    return str((await world.stack("s") or {})["StackStatus"])


@pytest.mark.parametrize(("on_failure", "ends_as"), [("ROLLBACK", "ROLLBACK_COMPLETE"), ("DELETE", "DELETE_COMPLETE")])
@pytest.mark.parametrize("is_nested", [False, True])
async def test_it_goes_with_a_creation_that_fails(world: World, on_failure: str, ends_as: str, is_nested: bool) -> None:
    nested = {"Type": "AWS::CloudFormation::Stack", "Properties": {"TemplateURL": "https://inner/inner.json"}}
    body = template({"First": nested if is_nested else BUCKET, "Second": FAILS})
    await world.do("CreateStack", StackName="s", TemplateBody=body, OnFailure=on_failure)
    assert (await status(world), await buckets(world)) == (ends_as, [])


async def test_it_goes_with_the_update_that_made_it_and_failed(world: World) -> None:
    await world.do("CreateStack", StackName="s", TemplateBody=template({"Group": GROUP}))
    await world.do("UpdateStack", StackName="s", TemplateBody=template({"Group": GROUP, "First": BUCKET, "Second": FAILS}))
    assert (await status(world), await buckets(world)) == ("UPDATE_ROLLBACK_COMPLETE", [])


@pytest.mark.parametrize("is_nested", [False, True])
async def test_it_stays_when_an_update_lets_go_of_it(world: World, is_nested: bool) -> None:
    nested = {"Type": "AWS::CloudFormation::Stack", "Properties": {"TemplateURL": "https://inner/inner.json"}}
    first: dict[str, Any] = nested if is_nested else BUCKET
    await world.do("CreateStack", StackName="s", TemplateBody=template({"Group": GROUP, "First": first}))
    await world.do("UpdateStack", StackName="s", TemplateBody=template({"Group": GROUP}))
    assert (await status(world), await buckets(world)) == ("UPDATE_COMPLETE", ["kept"])


@pytest.mark.parametrize("is_nested", [False, True])
async def test_it_stays_when_the_stack_is_deleted(world: World, is_nested: bool) -> None:
    nested = {"Type": "AWS::CloudFormation::Stack", "Properties": {"TemplateURL": "https://inner/inner.json"}}
    await world.do("CreateStack", StackName="s", TemplateBody=template({"First": nested if is_nested else BUCKET}))
    await world.do("DeleteStack", StackName="s")
    assert (await status(world), await buckets(world)) == ("DELETE_COMPLETE", ["kept"])
