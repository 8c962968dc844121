"""kill -9 at commit after commit of the 2018 environment, stacks in stacks and Batch and all: it ends as if nothing had happened.

Every twenty-fifth commit by default; KILL_EVERY=1 takes them all.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import botocore.exceptions
import pytest
from test_original_templates import HOST, KEY, ORIGINALS, body, ended, parameters, residue

from yard import Yard, until

NAME = "aws-genomics-root-novpc.template.yaml"
STRIDE = int(os.environ.get("KILL_EVERY", "25"))
GONE = (botocore.exceptions.EndpointConnectionError, botocore.exceptions.ConnectionClosedError, botocore.exceptions.ReadTimeoutError)


class Killed:
    """A service that can be told when to die."""

    def __init__(self, folder: Path) -> None:
        self.wish = folder / "wish"
        self.yard = Yard(folder / "data", "--template-url", f"{HOST}=file:{ORIGINALS}/")
        self.yard.program = (str(Path(__file__).with_name("killed_serve.py")),)

    def arm(self, commit: int) -> None:
        """Die before this commit from now on; of 0, only count."""
        self.commit = commit
        self.wish.write_text(str(commit))

    def disarm(self) -> int:
        """How many commits there have been since. It dies no more, unless it has come to its last one already."""
        with open(self.wish.with_suffix(".lock"), "w") as lock:
            until(lambda: _is_held(lock) or None, "the commit under way to be counted")
            self.wish.unlink()
        count = self.wish.with_suffix(".count")
        return int(count.read_text()) if count.exists() else 0

    def start_again(self) -> None:
        """It dies no more; where it did (also after the end, while others were told of it), it is started."""
        assert self.yard.process is not None
        if self.disarm() >= self.commit:
            self.yard.process.wait(60)
            self.yard.start()


def _is_held(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@pytest.fixture
def killed(tmp_path: Path) -> Iterator[Killed]:
    made = Killed(tmp_path)
    os.environ["KILL_AT"] = str(made.wish)
    try:
        made.yard.start()
        made.yard.client("ec2").import_key_pair(KeyName="somebody", PublicKeyMaterial=KEY.encode())
        yield made
    finally:
        made.yard.down()
        del os.environ["KILL_AT"]


def wish_of(yard: Yard, *, bid: str = "100") -> dict[str, Any]:
    given = parameters(yard, NAME) | {"SpotBidPercentage": bid}
    entries = [{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()]
    return {"StackName": "s", "TemplateBody": body(NAME), "Parameters": entries, "Capabilities": ["CAPABILITY_IAM"]}


def asked(killed: Killed, operation: str, params: dict[str, Any]) -> bool:
    """Ask, and follow to the end; False when the service died meanwhile."""
    try:
        getattr(killed.yard.client("cloudformation"), operation)(**params)
        ended(killed.yard, _arn(killed.yard))
    except GONE:
        return False
    return True


def _arn(yard: Yard) -> str:
    found = [entry for entry in yard.client("cloudformation").list_stacks()["StackSummaries"] if entry["StackName"] == "s"]
    return str(found[0]["StackId"])


def status(yard: Yard) -> str:
    """Of the last stack of that name; "" for none."""
    found = [entry for entry in yard.client("cloudformation").list_stacks()["StackSummaries"] if entry["StackName"] == "s"]
    return str(ended(yard, found[0]["StackId"])["StackStatus"]) if found else ""


def sizes(yard: Yard) -> dict[str, int]:
    """How much there is of everything."""
    return {key: value if isinstance(value, int) else len(value) for key, value in residue(yard).items()}


@pytest.mark.timeout(1200)  # it starts the service some eighty times
def test_every_commit_of_the_environment_may_be_the_last(killed: Killed) -> None:
    yard = killed.yard
    empty = sizes(yard)
    operations = [
        ("create_stack", wish_of(yard), "CREATE_COMPLETE"),
        ("update_stack", wish_of(yard, bid="50"), "UPDATE_COMPLETE"),
        ("delete_stack", {"StackName": "s"}, "DELETE_COMPLETE"),
    ]
    counts: list[int] = []
    expected = []
    for operation, params, _ in operations:
        killed.arm(0)
        assert asked(killed, operation, params)
        counts.append(killed.disarm() - sum(counts))
        expected.append(sizes(yard))
    assert all(count > 10 for count in counts) and sizes(yard) == empty
    longest = max(counts)
    for first in range(1, longest + 1, STRIDE):
        for (operation, params, wanted), count, there in zip(operations, counts, expected, strict=True):
            killed.yard.stop()  # counts anew
            killed.wish.with_suffix(".count").unlink(missing_ok=True)
            killed.yard.start()
            before = status(yard)
            commit = min(first, count)
            killed.arm(commit)
            asked(killed, operation, params)
            killed.start_again()
            if status(yard) in (before, "") and before != wanted:
                # It died before anything was acknowledged: the client asks again.
                assert asked(killed, operation, params), f"{operation}, commit {commit}"
            assert status(yard) == wanted, f"{operation}, commit {commit} of {count}"
            assert sizes(yard) == there, f"{operation}, commit {commit} of {count}"
