"""Item 12 of the acceptance list, as far as it can be seen at once: the reason on the head, and the actions as boto3 sees them."""

from __future__ import annotations

from typing import Any

import pytest

from yard import Yard

REASON = "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"


def test_a_head_that_is_too_large_says_so_and_the_queue_shows_its_actions(yard: Yard, name: str) -> None:
    actions = [{"reason": REASON, "state": "RUNNABLE", "maxTimeSeconds": 600, "action": "CANCEL"}]
    yard.environment_of(name)
    yard.queue_of(name, name, jobStateTimeLimitActions=actions)
    (queue,) = yard.batch.describe_job_queues(jobQueues=[name])["jobQueues"]
    assert queue["jobStateTimeLimitActions"] == actions
    needs: dict[str, Any] = {"resourceRequirements": [{"type": "MEMORY", "value": "99999999"}]}
    job = yard.job(yard.submit("true", queue=name, containerOverrides=needs))
    assert job["status"] == "RUNNABLE"
    assert job["statusReason"] == (
        f"{REASON} - The job resource requirement (vCPU/memory/GPU) is higher than that can be met by the CE(s) attached to the job queue."
    )
    yard.batch.cancel_job(jobId=job["jobId"], reason="seen")
    with pytest.raises(yard.batch.exceptions.ClientException, match="between 600 and 86400"):
        yard.batch.update_job_queue(jobQueue=name, jobStateTimeLimitActions=[{**actions[0], "maxTimeSeconds": 60}])
