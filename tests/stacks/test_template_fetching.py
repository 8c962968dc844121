"""Templates by URL: from buckets and from where the operator leads URLs to, and from nowhere else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from stack_hands import REGION, ROOT
from stack_world import World

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.running.fetching import fetch

HOST = "https://templates.example/"


@pytest.fixture
def world(tmp_path: Path) -> World:
    folder = tmp_path / "templates"
    (folder / "inner").mkdir(parents=True)
    (tmp_path / "templates-of-others").mkdir()
    for place in (folder / "root.yaml", folder / "inner" / "part.yaml", tmp_path / "secret.yaml", tmp_path / "templates-of-others" / "a"):
        place.write_text(f"Description: {place.name}\n")
    (folder / "latin.yaml").write_bytes(b"a: b\nDescription: \xe9\n")
    made = World(tmp_path)
    urls = ((HOST, f"file:{folder}/"), ("https://plain.example", f"file:{folder}"), ("https://one.example/t", f"file:{folder}/root.yaml"))
    made.desk.settings = replace(made.desk.settings, template_urls=urls)
    return made


async def test_urls_lead_to_the_operators_files(world: World) -> None:
    assert await fetch(world.desk, ROOT, f"{HOST}root.yaml") == "Description: root.yaml\n"
    assert await fetch(world.desk, ROOT, f"{HOST}inner/part.yaml?versionId=1") == "Description: part.yaml\n"
    assert await fetch(world.desk, ROOT, "https://one.example/t") == "Description: root.yaml\n"
    await world.leave()


@pytest.mark.parametrize(
    "url",
    [
        f"{HOST}../secret.yaml",
        f"{HOST}inner/../../secret.yaml",
        f"{HOST}/etc/hostname/../../../secret.yaml",
        "https://plain.example/../secret.yaml",
        "https://plain.example-of-others/a",
        "https://one.example/t/../../secret.yaml",
        f"{HOST}root.yaml\0",
        "file:/etc/hostname",
    ],
)
async def test_nothing_leads_out_of_their_folder(world: World, url: str) -> None:
    with pytest.raises(Fault) as raised:
        await fetch(world.desk, ROOT, url)
    assert raised.value.code == "ValidationError"
    assert raised.value.message.startswith("TemplateURL must be a supported URL.")
    await world.leave()


async def test_what_is_no_text_is_refused_with_its_line(world: World) -> None:
    words = "Template format error: the template is not UTF-8. (line 2)"
    await world.hands.call("s3", "CreateBucket", {"Bucket": "bbb", "CreateBucketConfiguration": {"LocationConstraint": REGION}})
    await world.hands.call("s3", "PutObject", {"Bucket": "bbb", "Key": "bbb/t", "Body": b"a: b\n\xff"})
    await world.hands.call("s3", "PutObject", {"Bucket": "bbb", "Key": "t", "Body": b"other"})
    for url in (f"{HOST}latin.yaml", "https://s3.amazonaws.com/bbb/bbb/t", "s3://bbb/bbb/t"):
        with pytest.raises(Fault) as raised:
            await fetch(world.desk, ROOT, url)
        assert (raised.value.code, raised.value.message) == ("ValidationError", words)
    await world.leave()


async def test_a_huge_object_is_no_template(world: World) -> None:
    await world.hands.call("s3", "CreateBucket", {"Bucket": "bbb", "CreateBucketConfiguration": {"LocationConstraint": REGION}})
    await world.hands.call("s3", "PutObject", {"Bucket": "bbb", "Key": "t", "Body": b"x" * 9_000_000})
    with pytest.raises(Fault) as raised:
        await fetch(world.desk, ROOT, "s3://bbb/t")
    assert raised.value.code == "ValidationError" and "larger than" in raised.value.message
    await world.leave()
