"""The page on the environment of a job names every variable that a job finds, and no other."""

from __future__ import annotations

import re

import pages
from yard import Yard

PAGE = (pages.ROOT / "docs" / "reference" / "job-environment.md").read_text()
OPTIONAL = {"LANG", "LC_ALL", "LC_CTYPE", "TZ"}
ADDED_BY_THE_SHELL = {"_", "OLDPWD", "SHLVL"}


def test_variables_are_those_of_the_page(yard: Yard) -> None:
    container = {
        "image": "busybox",
        "command": ["env"],
        "jobRoleArn": "arn:aws:iam::123456789012:role/worker",
        "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}],
    }
    promised = {"batchyard:scratch-gib": "0.01"}
    yard.batch.register_job_definition(jobDefinitionName="env-of-a-role", type="container", containerProperties=container, tags=promised)
    parent = yard.submit("env-of-a-role", "urgent", arrayProperties={"size": 2})
    assert yard.until(parent)["status"] == "SUCCEEDED"
    found = {line.partition("=")[0] for line in yard.logs(yard.job(f"{parent}:0"))} - ADDED_BY_THE_SHELL
    rows = [line for line in pages.section(PAGE, "## Variables").splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`([A-Z][A-Z0-9_]+)`", row.split("|")[1])}
    assert found - OPTIONAL == named - OPTIONAL
    assert named >= OPTIONAL


def test_a_jobs_own_variables_win_and_its_own_keys_stand_alone(yard: Yard) -> None:
    yard.definition_of("env", "env")
    own = [{"name": n, "value": "mine"} for n in ("PATH_OF_MINE", "HOME", "AWS_ACCESS_KEY_ID", "BATCHYARD_VCPUS", "AWS_REGION")]
    job = yard.until(yard.submit("env", "urgent", containerOverrides={"environment": own, "command": ["/usr/bin/env"]}))
    said = dict(line.split("=", 1) for line in yard.logs(job) if "=" in line)
    assert {n: said[n] for n in ("PATH_OF_MINE", "HOME", "AWS_ACCESS_KEY_ID", "AWS_REGION")} == dict.fromkeys(
        ("PATH_OF_MINE", "HOME", "AWS_ACCESS_KEY_ID", "AWS_REGION"), "mine"
    )
    assert said["BATCHYARD_VCPUS"] == "1"
    assert "AWS_SESSION_TOKEN" not in said
