"""Jobs that mean harm: what they do to the node, to what it does as root, and to who comes after them."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_bombs import KINDS, PYTHON

from exec_client import run as execute
from yard import Yard, serving, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="users of their own for jobs take root")
KEY_CALLS = {"x86_64": (248, 250), "aarch64": (217, 219)}  # add_key, keyctl
FOREVER = "while :; do sleep 1; done"


@pytest.fixture(scope="module", params=KINDS)
def yard(request: pytest.FixtureRequest) -> Iterator[Yard]:
    """A service on processes whose folder other users may pass through."""
    with tempfile.TemporaryDirectory(prefix="hostile-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        with serving(Path(folder) / "data", "--runtime", "process", "--bubblewrap", request.param) as yard:
            yield yard.with_queue()


def begun(yard: Yard, script: str, **options: Any) -> str:
    """A job that runs a shell script."""
    id = yard.submit(yard.definition_of("script", "sh", "-c", script, **options))
    yard.until(id, "RUNNING", "SUCCEEDED", "FAILED")
    return id


def ended(yard: Yard, id: str) -> None:
    yard.batch.terminate_job(jobId=id, reason="over")
    yard.until(id)


def test_nothing_is_run_as_root_with_what_a_job_put_into_its_environment(yard: Yard) -> None:
    """The dynamic linker writes down who runs what; the job's namespaces are its own, and no reason to run anything as root in them."""
    trace = "export LD_DEBUG=libs LD_DEBUG_OUTPUT=$HOME/trace"
    id = begun(yard, f"{trace}; unshare -U true && exec unshare -U sh -c 'echo > in; {FOREVER}'; echo > in; {FOREVER}")
    waiting = "until test -e in; do sleep 0.1; done; id -u; stat -c %u trace.* | sort -u"
    inside = until(lambda: seen if (seen := execute(yard, id, "--", "sh", "-c", waiting)).returncode == 0 else None, "a look inside")
    uid, *owners = inside.stdout.decode().split()
    assert uid != "0"
    assert owners == [uid]
    ended(yard, id)


def test_nobody_gets_a_directory_that_another_job_has_set_flags_of(yard: Yard) -> None:
    """Whatever is made in a directory with S is written synchronously, to be felt by whoever has it next."""
    attributes = "lsattr -d $HOME | cut -c1-20 | tr -d '-'"
    usual, set_, next_ = (
        yard.logs(yard.until(begun(yard, script))) for script in (attributes, f"chattr +S $HOME 2>/dev/null; {attributes}", attributes)
    )
    assert next_ == usual, set_


@pytest.mark.skipif(platform.machine() not in KEY_CALLS, reason="what these system calls are called on this processor is not known here")
def test_what_the_kernel_keeps_for_a_user_is_not_there_for_jobs(yard: Yard) -> None:
    """User ids go from job to job, and the session from whoever started the service to all."""
    script = """
import ctypes
c = ctypes.CDLL(None, use_errno=True)
for ring in (-3, -4, -5):
    for number, words in ((ADD, (b"user", b"key", b"secret", ctypes.c_size_t(6), ring)), (KEYCTL, (0, ring, 1))):
        assert c.syscall(number, *words) == -1 and ctypes.get_errno() == 1, (number, ring)
print("closed")
"""
    add, control = KEY_CALLS[platform.machine()]
    script = script.replace("ADD", str(add)).replace("KEYCTL", str(control))
    job = yard.until(yard.submit(yard.definition_of("keys", PYTHON, "-c", script)))
    assert (job["status"], yard.logs(job)) == ("SUCCEEDED", ["closed"])


def test_a_volume_shows_a_job_what_it_may_see_and_opens_nothing(yard: Yard) -> None:
    with tempfile.TemporaryDirectory(prefix="host-") as host:
        Path(host).chmod(0o755)
        paths = [Path(host) / "open", Path(host) / "closed" / "below"]
        for path in paths:
            path.mkdir(parents=True)
            (path / "file").write_text(f"{path.name}\n")
        (Path(host) / "closed").chmod(0o700)
        container = {
            "image": "none",
            "command": ["sh", "-c", " ; ".join(f"cat {path}/file" for path in paths)],
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}],
            "volumes": [{"name": path.name, "host": {"sourcePath": str(path)}} for path in paths],
        }
        arn = yard.batch.register_job_definition(jobDefinitionName="host", type="container", containerProperties=container)[
            "jobDefinitionArn"
        ]
        seen, refused = yard.logs(yard.until(yard.submit(arn)))
        assert (seen, refused.startswith("cat: ")) == ("open", True)
