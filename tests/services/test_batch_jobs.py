"""DescribeJobs, and how jobs look on their way; cancel and terminate (specification, sections 1.8, 1.9, 2.2-2.8)."""

from __future__ import annotations

from dataclasses import replace

from batch_bench import BATCH, Bench

from batchyard.model.messages import InstanceGone


def test_a_job_from_submission_to_its_end(ready: Bench) -> None:
    answer = ready.call("SubmitJob", jobName="align-1", jobQueue="queue", jobDefinition="job")
    job_id = answer["jobId"]
    assert answer == {"jobArn": f"{BATCH}:job/{job_id}", "jobName": "align-1", "jobId": job_id}

    waiting = ready.job(job_id)
    assert waiting["status"] == "RUNNABLE"
    assert waiting["jobQueue"] == f"{BATCH}:job-queue/queue"
    assert waiting["jobDefinition"] == f"{BATCH}:job-definition/job:1"
    assert waiting["createdAt"] == ready.world.now
    assert not {"startedAt", "stoppedAt", "arrayProperties", "timeout"} & waiting.keys()
    assert waiting["attempts"] == [] and waiting["dependsOn"] == [] and waiting["parameters"] == {}
    assert waiting["retryStrategy"] == {"attempts": 1, "evaluateOnExit": []}
    assert waiting["propagateTags"] is False and waiting["platformCapabilities"] == [] and waiting["tags"] == {}
    assert waiting["isCancelled"] is False and waiting["isTerminated"] is False
    for name in ("volumes", "environment", "mountPoints", "ulimits", "networkInterfaces", "secrets"):
        assert waiting["container"][name] == []

    ready.instances_up()
    starting = ready.job(job_id)
    assert starting["status"] == "STARTING"
    assert "taskArn" in starting["container"] and "logStreamName" not in starting["container"]

    ready.tick()
    ready.start(job_id)
    running = ready.job(job_id)
    assert running["status"] == "RUNNING" and running["startedAt"] == ready.world.now
    attempt = ready.attempt(job_id)
    assert running["container"]["logStreamName"] == f"job/default/{attempt}"
    cluster = ready.call("DescribeComputeEnvironments")["computeEnvironments"][0]["ecsClusterArn"].rpartition("/")[2]
    assert running["container"]["taskArn"] == f"arn:aws:ecs:eu-central-1:123456789012:task/{cluster}/{attempt}"

    ready.tick()
    ready.end(job_id, 0)
    ended = ready.job(job_id)
    assert ended["status"] == "SUCCEEDED" and ended["stoppedAt"] == ready.world.now
    assert ended["statusReason"] == "Essential container in task exited"
    assert ended["container"]["exitCode"] == 0 and "reason" not in ended["container"]
    (only,) = ended["attempts"]
    assert only["container"]["exitCode"] == 0 and only["container"]["logStreamName"] == f"job/default/{attempt}"
    assert (only["startedAt"], only["stoppedAt"]) == (ended["startedAt"], ended["stoppedAt"])
    assert only["statusReason"] == "Essential container in task exited"
    (instance,) = ready.engine.ledger.instances
    assert only["container"]["containerInstanceArn"].endswith(f"/{instance}")


def test_a_lost_host_leaves_no_exit_code(ready: Bench) -> None:
    job_id = ready.submit(retryStrategy={"attempts": 2, "evaluateOnExit": [{"action": "RETRY", "onStatusReason": "Host EC2*"}]})
    ready.start(job_id)
    instance = ready.lose_host(job_id)
    retried = ready.job(job_id)
    assert retried["status"] == "RUNNABLE"
    (lost,) = retried["attempts"]
    assert lost["statusReason"] == f"Host EC2 (instance {instance}) terminated."
    assert "exitCode" not in lost["container"] and "exitCode" not in retried["container"]
    assert retried["retryStrategy"] == {"attempts": 2, "evaluateOnExit": [{"action": "RETRY", "onStatusReason": "Host EC2*"}]}


def test_a_container_that_cannot_start_has_no_start_time(ready: Bench) -> None:
    job_id = ready.submit()
    ready.instances_up()
    ready.end(job_id, None, cause="not-started", reason="CannotPullContainerError: manifest for x not found")
    job = ready.job(job_id)
    assert job["status"] == "FAILED" and job["statusReason"] == "Task failed to start"
    assert "startedAt" not in job and "startedAt" not in job["attempts"][0] and "stoppedAt" in job
    assert job["container"]["reason"].startswith("CannotPullContainerError") and "exitCode" not in job["container"]


def test_describe_keeps_the_order_and_leaves_out_the_unknown(ready: Bench) -> None:
    a, b = ready.submit(), ready.submit()
    jobs = ready.call("DescribeJobs", jobs=[b, "gone", f"{BATCH}:job/{a}", "arn:aws:batch:us-east-1:1:job/x"])["jobs"]
    assert [job["jobId"] for job in jobs] == [b, a]
    assert ready.call("DescribeJobs", jobs=[])["jobs"] == []
    message = "Error executing request, Exception : Maximum number of jobs supported is 100"
    assert ready.refused("DescribeJobs", jobs=["x"] * 101) == message


def test_an_array_and_its_children(ready: Bench) -> None:
    parent = ready.submit(arrayProperties={"size": 3}, tags={"who": "me"})
    shown = ready.job(parent)
    assert shown["status"] == "PENDING" and shown["attempts"] == [] and shown["tags"] == {"who": "me"}
    assert shown["arrayProperties"]["size"] == 3
    zeros = dict.fromkeys(("SUBMITTED", "PENDING", "STARTING", "RUNNING", "SUCCEEDED", "FAILED"), 0)
    assert shown["arrayProperties"]["statusSummary"] == {**zeros, "RUNNABLE": 3}
    child = ready.job(f"{parent}:2")
    assert child["arrayProperties"] == {"statusSummary": {}, "index": 2} and child["jobArn"] == f"{BATCH}:job/{parent}:2"
    assert child["tags"] == {} and child["status"] == "RUNNABLE" and child["jobName"] == "j"
    assert ready.call("DescribeJobs", jobs=[f"{parent}:3", f"{parent}:x"])["jobs"] == []

    ready.instances_up()
    for index, code in ((0, 0), (1, 1), (2, 0)):
        ready.start(f"{parent}:{index}")
        ready.end(f"{parent}:{index}", code)
    shown = ready.job(parent)
    assert (shown["status"], shown["statusReason"]) == ("FAILED", "Array Child Job failed")
    assert shown["arrayProperties"]["statusSummary"]["SUCCEEDED"] == 2 and shown["arrayProperties"]["statusSummary"]["FAILED"] == 1
    assert "exitCode" not in shown["container"] and "startedAt" not in shown
    assert ready.job(f"{parent}:1")["container"]["exitCode"] == 1


def test_a_job_outlives_its_environment(ready: Bench) -> None:
    job_id = ready.submit()
    ready.start(job_id)
    ready.end(job_id, 0)
    before = ready.job(job_id)
    ready.call("UpdateJobQueue", jobQueue="queue", computeEnvironmentOrder=[{"order": 1, "computeEnvironment": ready.environment("other")}])
    ready.call("UpdateComputeEnvironment", computeEnvironment="ce", state="DISABLED")
    ready.call("DeleteComputeEnvironment", computeEnvironment="ce")
    ready.report(*(InstanceGone(instance, ready.world.now) for instance in list(ready.desk.read.instances)))
    assert ready.call("DescribeComputeEnvironments", computeEnvironments=["ce"])["computeEnvironments"] == []
    assert ready.job(job_id) == before


def test_cancel_and_terminate(ready: Bench) -> None:
    job_id = ready.submit()
    assert ready.call("CancelJob", jobId=job_id, reason="not needed") == {}
    job = ready.job(job_id)
    assert (job["status"], job["statusReason"], job["isCancelled"]) == ("FAILED", "not needed", True)
    assert ready.call("TerminateJob", jobId=job_id, reason="again") == {}
    assert ready.job(job_id)["statusReason"] == "not needed"

    running = ready.submit()
    ready.start(running)
    ready.call("CancelJob", jobId=running, reason="too late")
    assert ready.job(running)["status"] == "RUNNING"
    ready.call("TerminateJob", jobId=running, reason="stop it")
    assert ready.job(running)["isTerminated"] is True
    ready.end(running, 143, cause="stopped")
    job = ready.job(running)
    assert (job["status"], job["statusReason"], job["container"]["exitCode"]) == ("FAILED", "stop it", 143)

    for operation in ("CancelJob", "TerminateJob"):
        assert ready.call(operation, jobId="11111111-1111-4111-8111-111111111111", reason="x") == {}
        assert "reason" in ready.refused(operation, jobId=job_id, reason="")
        assert "jobId" in ready.refused(operation, jobId="", reason="x")
        assert "1024" in ready.refused(operation, jobId=job_id, reason="x" * 1025)


def test_ending_many(ready: Bench) -> None:
    a, b = ready.submit(), ready.submit()
    answer = ready.call("TerminateJobs", jobs=[a, "unknown", ""], reason="enough")
    assert answer["successful"] == [a, "unknown"]
    (error,) = answer["errors"]
    assert (error["job"], error["code"]) == ("", "ClientException") and error["message"]
    assert ready.job(a)["statusReason"] == "enough"
    assert ready.call("CancelJobs", jobs=[b], reason="too") == {"successful": [b], "errors": []}
    assert ready.job(b)["status"] == "FAILED"
    assert "50" in ready.refused("CancelJobs", jobs=["x"] * 51, reason="r")
    assert "50" in ready.refused("CancelJobs", jobs=[], reason="r")


def test_a_job_of_another_account_is_not_seen(ready: Bench) -> None:
    job_id = ready.submit()
    stranger = replace(ready.caller, account="999999999999")
    assert ready.call("DescribeJobs", caller=stranger, jobs=[job_id])["jobs"] == []
    ready.call("TerminateJob", caller=stranger, jobId=job_id, reason="mine")
    assert ready.job(job_id)["status"] == "RUNNABLE"


def test_waiting_jobs_say_why(ready: Bench) -> None:
    big = ready.submit(containerOverrides={"resourceRequirements": [{"type": "MEMORY", "value": "9999999"}]})
    assert ready.job(big)["statusReason"].startswith("MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT")


def test_the_record_says_that_the_image_is_not_used(ready: Bench) -> None:
    job = ready.job(ready.submit())
    assert job["container"]["image"] == "busybox"
    assert job["container"]["runtimePlatform"] == {"operatingSystemFamily": "LINUX (process: image not used)"}


def test_log_group_and_stream_prefix(ready: Bench) -> None:
    log = {"logDriver": "awslogs", "options": {"awslogs-group": "mine", "awslogs-stream-prefix": "pre"}}
    ready.definition("logged", containerProperties={"logConfiguration": log})
    job_id = ready.submit(jobDefinition="logged")
    ready.start(job_id)
    assert ready.job(job_id)["container"]["logStreamName"] == f"pre/default/{ready.attempt(job_id)}"
    assert ready.job(job_id)["container"]["logConfiguration"] == log
    assert ready.engine.ledger.specifications[job_id].log_group == "mine"
