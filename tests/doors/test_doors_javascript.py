"""The AWS SDK for JavaScript, in a job without keys in its environment, finds its role's credentials by itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import client_tools
from yard import Yard, serving

SCRIPT = """
for (const name of ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]) delete process.env[name];
const { BatchClient, DescribeJobsCommand } = require(process.env.TOOLS + "/node_modules/@aws-sdk/client-batch");
const batch = new BatchClient();
batch.config.credentials().then(async (found) => {
  const { jobs } = await batch.send(new DescribeJobsCommand({ jobs: [process.env.AWS_BATCH_JOB_ID] }));
  console.log(JSON.stringify([found.accessKeyId.slice(0, 4), found.expiration > new Date(), jobs[0].jobName]));
});
"""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Yard]:
    with serving(tmp_path / "data", "--vcpus", "4", "--memory-mib", "4096") as yard:
        yield yard.with_queue()


@pytest.mark.timeout(client_tools.INSTALL_S + 100)
def test_the_sdk_for_javascript_finds_the_credentials_of_the_role(service: Yard) -> None:
    node = shutil.which("node")
    if node is None or not shutil.which("npm"):
        pytest.skip("needs node and npm")
    container = {
        "image": "node",
        "command": [node, "-e", SCRIPT],
        "jobRoleArn": "arn:aws:iam::123456789012:role/worker",
        "environment": [{"name": "TOOLS", "value": str(client_tools.node_tools("javascript"))}],
        "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "512"}],
    }
    service.batch.register_job_definition(jobDefinitionName="scripted", type="container", containerProperties=container)
    job = service.until(service.submit("scripted", name="by-name"))
    lines = service.logs(job)
    assert job["status"] == "SUCCEEDED", lines
    assert json.loads(lines[-1]) == ["ASIA", True, "by-name"]
