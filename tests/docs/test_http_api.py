"""The page on our own routes: each answer has the members that it shows, and the figures have the names that it says."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
from typing import Any
from urllib.parse import urlsplit

import pytest

import pages
from yard import Yard

PAGE = (pages.ROOT / "docs" / "reference" / "http-api.md").read_text()
pytestmark = pytest.mark.timeout(pages.COMMAND_LIMIT_S + 200)  # the commands have a limit of their own, and fail by that


def get(yard: Yard, path: str) -> str:
    connection = http.client.HTTPConnection(urlsplit(yard.url).netloc)
    connection.request("GET", path)
    text = connection.getresponse().read().decode()
    connection.close()
    return text


def members(answer: Any) -> Any:
    """The shape of an answer: names all the way down."""
    if isinstance(answer, dict):
        return {name: members(value) for name, value in answer.items()}
    return [members(value) for value in answer[:1]] if isinstance(answer, list) else None


def shown(heading: str) -> Any:
    (block,) = (block for block in pages.blocks(pages.section(PAGE, heading)) if block.language == "json")
    return members(json.loads(block.text))


def own(yard: Yard, verb: str, **params: Any) -> Any:
    return members(ask(yard, verb, **params))


def ask(yard: Yard, verb: str, **params: Any) -> Any:
    from batchyard.main.client import Client
    from batchyard.main.commands.place import from_folder

    with Client(from_folder(yard.data)) as client:
        return client.own(verb, **params)


def test_answers_look_as_shown(yard: Yard) -> None:
    yard.definition_of("hog", "sleep", "600", vcpus=4)
    yard.definition_of("short", "true")
    ended = yard.until(yard.submit("short", "urgent"))
    running = yard.submit("hog", "default")
    yard.until(running, "RUNNING")
    waiting = yard.submit("hog", "default")
    explained = own(yard, "explain", jobId=waiting)
    assert explained == shown("### explain")
    assert "position" not in own(yard, "explain", jobId=running)
    assert own(yard, "cost", jobId=ended["jobId"]) == shown("### cost")
    instance = yard.job(running)["container"]["containerInstanceArn"].rpartition("/")[2]
    instances = [i for i in ask(yard, "instances")["instances"] if i["id"] == instance]
    assert members({"instances": instances}) == shown("### instances")
    assert own(yard, "machine") == shown("### machine")
    assert own(yard, "reclaim", instance=instance, noticeSeconds=600) == shown("### reclaim")
    assert own(yard, "down") == shown("### down")
    assert yard.process is not None
    yard.process.wait(90)


def test_health_and_figures_are_named_as_they_are(yard: Yard) -> None:
    assert all(f"`{name}`" in PAGE for name in json.loads(get(yard, "/healthz")))
    named = set(re.findall(r"`(batchyard_\w+)`", PAGE))
    figures = {name for name, _kind in kinds(get(yard, "/metrics"))}
    assert named == figures


def kinds(figures: str) -> list[tuple[str, str]]:
    """(name, kind) of each figure; those that only say when another one began are left out."""
    return [found for found in re.findall(r"^# TYPE (\w+) (\w+)$", figures, re.MULTILINE) if not found[0].endswith("_created")]


def test_curl_can_ask(yard: Yard) -> None:
    """The command of the page, where there is a curl that signs."""
    (step,) = pages.steps(PAGE)
    version = subprocess.run([shutil.which("curl") or "false", "--help", "all"], capture_output=True, text=True, check=False).stdout
    if "--aws-sigv4" in version:
        (said,) = pages.run([step], yard.data.parent, yard.environment)
        assert json.loads(said.output) == {"instances": []}
    else:
        assert "aws:amz:$AWS_REGION:batchyard" in step.block.text  # nothing to run it with
