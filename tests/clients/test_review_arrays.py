"""Arrays seen from outside: what a child says that never ran, and that its last word stays its last word."""

from __future__ import annotations

from typing import Any

from yard import Yard, until

WORDS = ("status", "statusReason", "startedAt", "stoppedAt", "isCancelled", "isTerminated")
ONE_FAILS = '[ "$AWS_BATCH_JOB_ARRAY_INDEX" = 1 ] && exit 1; sleep 600'


def words(yard: Yard, job_id: str) -> dict[str, Any]:
    """What a job says about its end."""
    job = yard.job(job_id)
    return {name: job[name] for name in WORDS if name in job}


def test_a_child_whose_leader_failed_has_ended_while_its_array_lives_on_and_says_so_for_good(yard: Yard, name: str) -> None:
    yard.definition_of(name, "sh", "-c", ONE_FAILS)
    leader = yard.submit(name, arrayProperties={"size": 3})
    follower = yard.submit("true", arrayProperties={"size": 3}, dependsOn=[{"jobId": leader, "type": "N_TO_N"}])
    third = yard.submit("true", arrayProperties={"size": 3}, dependsOn=[{"jobId": follower, "type": "N_TO_N"}])
    failed = yard.until(f"{leader}:1")
    doomed = yard.until(f"{follower}:1")
    assert yard.job(follower)["status"] == "PENDING"
    assert (doomed["statusReason"], doomed["attempts"]) == ("Dependent Job failed", [])
    assert doomed["stoppedAt"] == max(failed["stoppedAt"], doomed["createdAt"])
    assert "startedAt" not in doomed
    said = words(yard, f"{follower}:1")
    last = yard.until(f"{third}:1")
    assert last["stoppedAt"] == max(failed["stoppedAt"], last["createdAt"]), "all that follow it ended with it, or at once"
    listed = yard.batch.list_jobs(arrayJobId=follower, jobStatus="FAILED")["jobSummaryList"]
    assert [(j["jobId"], j["stoppedAt"]) for j in listed] == [(f"{follower}:1", doomed["stoppedAt"])]

    yard.batch.cancel_job(jobId=follower, reason="changed my mind")
    assert yard.until(follower)["statusReason"] == "changed my mind"
    assert words(yard, f"{follower}:1") == said, "final states are final"
    cancelled = words(yard, f"{follower}:0")
    assert (cancelled["statusReason"], cancelled["isCancelled"], cancelled["isTerminated"]) == ("changed my mind", True, False)
    assert cancelled["stoppedAt"] >= failed["stoppedAt"]
    yard.batch.terminate_job(jobId=leader, reason="enough")
    yard.until(leader)
    assert words(yard, f"{follower}:1") == said


def test_the_children_behind_a_broken_chain_ended_with_the_one_that_broke_it(yard: Yard, name: str) -> None:
    yard.definition_of(name, "sh", "-c", '[ "$AWS_BATCH_JOB_ARRAY_INDEX" != 1 ]')
    parent = yard.submit(name, arrayProperties={"size": 5}, dependsOn=[{"type": "SEQUENTIAL"}])
    yard.until(parent)
    broken = yard.job(f"{parent}:1")
    for index in (2, 4):
        assert words(yard, f"{parent}:{index}")["stoppedAt"] == broken["stoppedAt"]


def test_cancelled_children_have_ended_although_their_array_goes_on(yard: Yard) -> None:
    parent = yard.submit("sleep", arrayProperties={"size": 40})
    until(lambda: yard.job(parent)["arrayProperties"]["statusSummary"]["RUNNING"] or None, "children to run")
    yard.batch.cancel_job(jobId=f"{parent}:38", reason="this one first")
    yard.batch.cancel_job(jobId=parent, reason="no more")
    assert yard.job(parent)["status"] == "PENDING"
    last, one = words(yard, f"{parent}:39"), words(yard, f"{parent}:38")
    assert (last["status"], last["statusReason"], last["isCancelled"]) == ("FAILED", "no more", True)
    assert last["stoppedAt"] > 0
    assert (one["statusReason"], one["isCancelled"]) == ("this one first", True)
    yard.batch.terminate_job(jobId=parent, reason="the end")
    parent_said = yard.until(parent)
    assert (parent_said["isCancelled"], parent_said["isTerminated"]) == (True, True)
    assert words(yard, f"{parent}:39") == last, "final states are final"
    assert words(yard, f"{parent}:38") == one
    assert words(yard, f"{parent}:0")["statusReason"] == "the end"


def test_of_two_leaders_the_one_that_failed_counts(yard: Yard, name: str) -> None:
    yard.definition_of(name, "sh", "-c", '[ "$AWS_BATCH_JOB_ARRAY_INDEX" != 1 ]')
    good = yard.submit("true", arrayProperties={"size": 2})
    yard.until(good)
    bad = yard.submit(name, arrayProperties={"size": 2})
    needs = [{"jobId": good, "type": "N_TO_N"}, {"jobId": bad, "type": "N_TO_N"}, {"type": "SEQUENTIAL"}]
    both = yard.submit("true", arrayProperties={"size": 2}, dependsOn=needs)
    assert yard.until(both)["statusReason"] == "Array Child Job failed"
    assert [yard.job(f"{both}:{i}")["status"] for i in range(2)] == ["SUCCEEDED", "FAILED"]
    ended = yard.job(f"{both}:1")
    assert ended["stoppedAt"] == max(yard.job(f"{bad}:1")["stoppedAt"], ended["createdAt"])


def test_children_of_an_array_that_waited_in_vain_end_with_it(yard: Yard) -> None:
    first = yard.submit("false")
    array = yard.submit("true", arrayProperties={"size": 3}, dependsOn=[{"jobId": first}])
    follower = yard.submit("true", arrayProperties={"size": 3}, dependsOn=[{"jobId": array, "type": "N_TO_N"}])
    yard.until(follower)
    ended = words(yard, array)
    assert (ended["statusReason"], ended["isCancelled"]) == ("Dependent Job failed", False)
    for child in (f"{array}:2", f"{follower}:0"):
        said = yard.job(child)
        assert (said["statusReason"], said["stoppedAt"]) == ("Dependent Job failed", max(ended["stoppedAt"], said["createdAt"]))
