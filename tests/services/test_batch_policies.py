"""Scheduling policies, fair-share queues and UNMANAGED environments as callers see them (specification, sections 1.5, 3.4, 3.6, 4.1)."""

from __future__ import annotations

from typing import Any

import pytest
from batch_bench import BATCH, Bench

ARN = f"{BATCH}:scheduling-policy/fair"
ROLE = "arn:aws:iam::123456789012:role/batch"
ONLYBE = "Job with shareIdentifier or schedulingPriority can onlybe submitted to job queue with fair share scheduling policy."


@pytest.fixture
def fair(ready: Bench) -> Bench:
    """The bench of `ready` with a fair-share queue `fair`."""
    ready.call("CreateSchedulingPolicy", name="fair")
    ready.queue("fair", schedulingPolicyArn=ARN)
    return ready


def shown(bench: Bench, arn: str = ARN) -> dict[str, Any]:
    (policy,) = bench.call("DescribeSchedulingPolicies", arns=[arn])["schedulingPolicies"]
    return dict(policy)


def share(bench: Bench, share: str = "a", priority: int = 1, queue: str = "fair", **more: Any) -> str:
    return bench.submit(jobQueue=queue, shareIdentifier=share, schedulingPriorityOverride=priority, **more)


# --- policies ---


def test_a_policy_is_shown_as_it_was_sent(bench: Bench) -> None:
    distribution = [{"shareIdentifier": "UserA*", "weightFactor": 0.5}, {"shareIdentifier": "B"}]
    sent = {"shareDecaySeconds": 3600, "computeReservation": 25, "shareDistribution": distribution}
    answer = bench.call("CreateSchedulingPolicy", name="fair", fairsharePolicy=sent, tags={"a": "b"})
    assert answer == {"name": "fair", "arn": ARN}
    assert shown(bench) == {"name": "fair", "arn": ARN, "fairsharePolicy": sent, "tags": {"a": "b"}}
    assert bench.refused("CreateSchedulingPolicy", name="fair") == "Object already exists"


def test_a_policy_without_members_has_awss_defaults(bench: Bench) -> None:
    bench.call("CreateSchedulingPolicy", name="fair")
    defaults = {"shareDecaySeconds": 0, "computeReservation": 0, "shareDistribution": []}
    assert shown(bench)["fairsharePolicy"] == defaults
    bench.call("UpdateSchedulingPolicy", arn=ARN, fairsharePolicy={"computeReservation": 7, "shareDecaySeconds": 9})
    bench.call("UpdateSchedulingPolicy", arn=ARN)
    assert shown(bench)["fairsharePolicy"] == {**defaults, "computeReservation": 7, "shareDecaySeconds": 9}
    bench.call("UpdateSchedulingPolicy", arn=ARN, fairsharePolicy={"shareDecaySeconds": 5})
    assert shown(bench)["fairsharePolicy"] == {**defaults, "shareDecaySeconds": 5}, "replaced as a whole"


def weights(*names: str, **more: Any) -> dict[str, Any]:
    return {"shareDistribution": [{"shareIdentifier": name, **more} for name in names]}


@pytest.mark.parametrize(
    ("policy", "part"),
    [
        (weights("UserA*", "UserA1"), "UserA* covers UserA1"),
        (weights("UserA1", "UserA*"), "UserA* covers UserA1"),
        (weights("User*", "UserA*"), "User* covers UserA*"),
        (weights("User", "User*"), "User* covers User"),
        (weights("*", "a"), "* covers a"),
        (weights("a", "a"), "more than once"),
        (weights("a-b"), "shareDistribution[0].shareIdentifier must be 1 to 255 letters and digits"),
        (weights("a*b"), "shareDistribution[0].shareIdentifier"),
        (weights("x" * 256), "shareDistribution[0].shareIdentifier"),
        (weights("a", weightFactor=0.00001), "weightFactor must be between 0.0001 and 999.9999"),
        (weights("a", weightFactor=1000), "weightFactor must be between"),
        ({"shareDecaySeconds": -1}, "shareDecaySeconds must be between 0 and 604800"),
        ({"shareDecaySeconds": 604_801}, "shareDecaySeconds must be between"),
        ({"computeReservation": 100}, "computeReservation must be between 0 and 99"),
        ({"computeReservation": -1}, "computeReservation must be between"),
    ],
)
def test_policies_that_are_refused(bench: Bench, policy: dict[str, Any], part: str) -> None:
    assert part in bench.refused("CreateSchedulingPolicy", name="fair", fairsharePolicy=policy)
    bench.call("CreateSchedulingPolicy", name="fair")
    assert part in bench.refused("UpdateSchedulingPolicy", arn=ARN, fairsharePolicy=policy)


def test_limits_that_are_just_allowed(bench: Bench) -> None:
    distribution = [{"shareIdentifier": "x" * 255 + "*", "weightFactor": 0.0001}, {"shareIdentifier": "a", "weightFactor": 999.9999}]
    sent = {"shareDecaySeconds": 604_800, "computeReservation": 99, "shareDistribution": distribution}
    bench.call("CreateSchedulingPolicy", name="fair", fairsharePolicy=sent)
    assert shown(bench)["fairsharePolicy"] == sent


def test_quota_shares_are_refused_in_clear_words(bench: Bench) -> None:
    quota = {"idleResourceAssignmentStrategy": "FIFO"}
    both = bench.refused("CreateSchedulingPolicy", name="q", quotaSharePolicy=quota, fairsharePolicy={"computeReservation": 1})
    assert both == "Only one of fairsharePolicy and quotaSharePolicy can be set."
    assert "quota shares cannot be used yet" in bench.refused("CreateSchedulingPolicy", name="q", quotaSharePolicy=quota)
    assert "1 to 128 letters" in bench.refused("CreateSchedulingPolicy", name="a b")


def test_policies_are_found_by_arn_only_and_unknown_ones_are_left_out(bench: Bench) -> None:
    bench.call("CreateSchedulingPolicy", name="fair")
    bench.call("CreateSchedulingPolicy", name="other")
    elsewhere = ARN.replace("123456789012", "210987654321")
    found = bench.call("DescribeSchedulingPolicies", arns=[f"{BATCH}:scheduling-policy/other", "fair", elsewhere, ARN, ARN])
    assert [policy["name"] for policy in found["schedulingPolicies"]] == ["other", "fair"]
    assert "at most 100" in bench.refused("DescribeSchedulingPolicies", arns=["a"] * 101)
    for operation in ("UpdateSchedulingPolicy", "DeleteSchedulingPolicy"):
        assert bench.refused(operation, arn="fair") == "SchedulingPolicy fair does not exist"


def test_the_list_has_arns_in_pages(bench: Bench) -> None:
    names = [f"p{number}" for number in range(5)]
    for name in reversed(names):
        bench.call("CreateSchedulingPolicy", name=name)
    listed: list[str] = []
    token: str | None = ""
    while token is not None:
        answer = bench.call("ListSchedulingPolicies", maxResults=2, **({"nextToken": token} if token else {}))
        listed += [policy["arn"] for policy in answer["schedulingPolicies"]]
        token = answer.get("nextToken")
    assert listed == [f"{BATCH}:scheduling-policy/{name}" for name in names]
    assert "nextToken" in bench.refused("ListSchedulingPolicies", nextToken="x")


def test_a_policy_goes_when_no_queue_uses_it(fair: Bench) -> None:
    assert "found existing JobQueue relationship" in fair.refused("DeleteSchedulingPolicy", arn=ARN)
    fair.call("UpdateJobQueue", jobQueue="fair", state="DISABLED")
    fair.call("DeleteJobQueue", jobQueue="fair")
    assert fair.call("DeleteSchedulingPolicy", arn=ARN) == {}
    assert fair.call("DescribeSchedulingPolicies", arns=[ARN]) == {"schedulingPolicies": []}
    assert fair.refused("DeleteSchedulingPolicy", arn=ARN) == f"SchedulingPolicy {ARN} does not exist"


# --- queues ---


def test_a_queues_policy_can_be_replaced_but_neither_removed_nor_added(fair: Bench) -> None:
    other = fair.call("CreateSchedulingPolicy", name="other")["arn"]
    fair.call("UpdateJobQueue", jobQueue="fair", priority=5)
    assert fair.call("DescribeJobQueues", jobQueues=["fair"])["jobQueues"][0]["schedulingPolicyArn"] == ARN
    fair.call("UpdateJobQueue", jobQueue="fair", schedulingPolicyArn=other)
    assert fair.call("DescribeJobQueues", jobQueues=["fair"])["jobQueues"][0]["schedulingPolicyArn"] == other
    assert "can be replaced, but not removed" in fair.refused("UpdateJobQueue", jobQueue="fair", schedulingPolicyArn="")
    assert "gone does not exist" in fair.refused("UpdateJobQueue", jobQueue="fair", schedulingPolicyArn="arn:gone")
    assert "none can be added" in fair.refused("UpdateJobQueue", jobQueue="queue", schedulingPolicyArn=ARN)
    fair.call("UpdateJobQueue", jobQueue="queue", schedulingPolicyArn="")
    assert "schedulingPolicyArn" not in fair.call("DescribeJobQueues", jobQueues=["queue"])["jobQueues"][0]


# --- submissions ---


def test_what_a_submission_must_say_follows_from_its_queue(fair: Bench) -> None:
    job = {"jobName": "j", "jobDefinition": "job"}
    for member in ({"shareIdentifier": "a"}, {"schedulingPriorityOverride": 0}):
        assert fair.refused("SubmitJob", **job, jobQueue="queue", **member) == ONLYBE
    needed = fair.refused("SubmitJob", **job, jobQueue="fair", schedulingPriorityOverride=3)
    assert needed == "shareIdentifier is required: job queue fair has a fair-share scheduling policy."
    assert fair.refused("SubmitJob", **job, jobQueue="fair", shareIdentifier="a") == (
        "Either schedulingPriority in job definition or schedulingPriorityOverride should be specified."
    )
    assert "between 0 and 9999" in fair.refused("SubmitJob", **job, jobQueue="fair", shareIdentifier="a", schedulingPriorityOverride=10_000)
    assert "letters and digits" in fair.refused("SubmitJob", **job, jobQueue="fair", shareIdentifier="a b", schedulingPriorityOverride=1)


def test_share_and_priority_are_shown(fair: Bench) -> None:
    fair.definition("ranked", schedulingPriority=7)
    first = share(fair, "UserA*", 9)
    second = fair.submit(jobQueue="fair", shareIdentifier="b", jobDefinition="ranked")
    third = share(fair, "b", 0, jobDefinition="ranked", arrayProperties={"size": 2})
    seen = [(fair.job(id)["shareIdentifier"], fair.job(id)["schedulingPriority"]) for id in (first, second, third, f"{third}:1")]
    assert seen == [("UserA*", 9), ("b", 7), ("b", 0), ("b", 0)]
    listed = fair.call("ListJobs", jobQueue="fair", filters=[{"name": "SHARE_IDENTIFIER", "values": ["b"]}])["jobSummaryList"]
    assert [(job["jobId"], job["shareIdentifier"]) for job in listed] == [(third, "b"), (second, "b")]
    plain = fair.submit(jobDefinition="ranked")
    assert fair.job(plain)["schedulingPriority"] == 7 and "shareIdentifier" not in fair.job(plain)


def test_the_filter_for_a_share_goes_together_with_a_status(fair: Bench) -> None:
    jobs = [share(fair, name) for name in ("a", "b", "a")]
    fair.start(jobs[0])
    filters = [{"name": "SHARE_IDENTIFIER", "values": ["a"]}]
    for status, wanted in (("RUNNING", [jobs[0]]), ("STARTING", [jobs[2]]), ("FAILED", []), (None, [jobs[2], jobs[0]])):
        asked = {"jobStatus": status} if status else {}
        found = fair.call("ListJobs", jobQueue="fair", filters=filters, **asked)["jobSummaryList"]
        assert [job["jobId"] for job in found] == wanted
    assert fair.call("ListJobs", jobQueue="queue", filters=filters)["jobSummaryList"] == []


def test_the_five_hundred_and_first_active_share_is_refused(fair: Bench) -> None:
    first, *_ = [share(fair, f"s{number}") for number in range(500)]
    refusal = fair.refused(
        "SubmitJob", jobName="j", jobQueue="fair", jobDefinition="job", shareIdentifier="more", schedulingPriorityOverride=1
    )
    assert "500 active share identifiers" in refusal
    share(fair, "s3")
    fair.call("TerminateJob", jobId=first, reason="enough")
    fair.instances_up()
    fair.call("CancelJob", jobId=first, reason="enough")
    if fair.job(first)["status"] != "FAILED":
        fair.end(first, 143, cause="stopped")
    fair.tick(601)
    share(fair, "more")


def test_the_snapshot_counts_what_each_share_holds(fair: Bench) -> None:
    one, two = share(fair, "a"), share(fair, "b", containerOverrides={"resourceRequirements": [{"type": "VCPU", "value": "3"}]})
    fair.start(one)
    fair.start(two)
    usage = fair.call("GetJobQueueSnapshot", jobQueue="fair")["queueUtilization"]
    assert usage["totalCapacityUsage"] == [{"capacityUnit": "VCPU", "quantity": 4.0}]
    assert usage["fairshareUtilization"] == {
        "activeShareCount": 2,
        "topCapacityUtilization": [
            {"shareIdentifier": "b", "capacityUsage": [{"capacityUnit": "VCPU", "quantity": 3.0}]},
            {"shareIdentifier": "a", "capacityUsage": [{"capacityUnit": "VCPU", "quantity": 1.0}]},
        ],
    }
    assert "fairshareUtilization" not in fair.call("GetJobQueueSnapshot", jobQueue="queue")["queueUtilization"]
    fair.end(two)
    after = fair.call("GetJobQueueSnapshot", jobQueue="fair")["queueUtilization"]["fairshareUtilization"]
    assert (after["activeShareCount"], len(after["topCapacityUtilization"])) == (1, 1), "those that use capacity now, as AWS counts"


def test_the_front_of_a_queue_is_in_the_order_of_fair_share(fair: Bench) -> None:
    fair.call("UpdateComputeEnvironment", computeEnvironment="ce", computeResources={"maxvCpus": 1})
    hog = share(fair, "a")
    fair.start(hog)
    waiting = [share(fair, "a", 1), share(fair, "a", 5), share(fair, "b"), share(fair, "b")]
    front = [job["jobArn"].rpartition("/")[2] for job in fair.call("GetJobQueueSnapshot", jobQueue="fair")["frontOfQueue"]["jobs"]]
    assert front == [waiting[2], waiting[1], waiting[3], waiting[0]]


# --- UNMANAGED environments ---


def test_the_life_of_an_unmanaged_environment(bench: Bench) -> None:
    create = {"computeEnvironmentName": "mine", "type": "unmanaged", "serviceRole": ROLE}
    arn = bench.call("CreateComputeEnvironment", **create)["computeEnvironmentArn"]
    (seen,) = bench.call("DescribeComputeEnvironments")["computeEnvironments"]
    assert (seen["type"], seen["state"], seen["status"], seen["serviceRole"]) == ("UNMANAGED", "ENABLED", "VALID", ROLE)
    assert seen["ecsClusterArn"].startswith("arn:aws:ecs:") and "computeResources" not in seen and "unmanagedvCpus" not in seen
    bench.call("UpdateComputeEnvironment", computeEnvironment="mine", unmanagedvCpus=64)
    assert bench.call("DescribeComputeEnvironments")["computeEnvironments"][0]["unmanagedvCpus"] == 64
    only = "computeResources is only for compute environments of type MANAGED."
    assert bench.refused("UpdateComputeEnvironment", computeEnvironment="mine", computeResources={"maxvCpus": 3}) == only
    bench.call("UpdateComputeEnvironment", computeEnvironment=arn, state="DISABLED")
    bench.call("DeleteComputeEnvironment", computeEnvironment=arn)
    assert bench.call("DescribeComputeEnvironments")["computeEnvironments"] == []


def test_jobs_of_an_unmanaged_environment_wait_and_say_for_what(bench: Bench) -> None:
    bench.call("CreateComputeEnvironment", computeEnvironmentName="mine", type="UNMANAGED", serviceRole=ROLE)
    bench.environment()
    bench.definition()
    bench.queue(environments=["mine"])
    job_id = bench.submit()
    assert bench.job(job_id)["status"] == "RUNNABLE" and not bench.pending
    assert "is UNMANAGED: nothing is started for it" in bench.job(job_id)["statusReason"]
    (why,) = bench.desk.read.explain(job_id).reasons
    assert "ECS cluster AWSBatch-mine-" in why.shortfall and "register container instances" in why.fix
    order = [{"order": 1, "computeEnvironment": "mine"}, {"order": 2, "computeEnvironment": "ce"}]
    bench.call("UpdateJobQueue", jobQueue="queue", computeEnvironmentOrder=order)
    bench.start(job_id)
    assert bench.job(job_id)["status"] == "RUNNING", "a managed environment beside it takes the job"
