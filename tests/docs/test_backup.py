"""Back up and restore as the page says: the copy is whole, and beside the original it harms nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

import pages
import reader
from yard import Yard, open_to_jobs, quiet_port

PAGE = pages.ROOT / "docs" / "how-to" / "back-up-and-upgrade.md"
pytestmark = pytest.mark.timeout(pages.COMMAND_LIMIT_S + 200)  # the commands have a limit of their own, and fail by that


def test_a_copy_is_whole_and_harms_nobody(yard: Yard, tmp_path: Path) -> None:
    copy, serve, restore, _retention = pages.steps(PAGE.read_text())
    assert serve.block.text == "batchyard serve\n"
    forget, again = restore.block.text.splitlines()
    assert again == "batchyard serve --data backup --port 8601"
    open_to_jobs(tmp_path)
    yard.definition_of("wait", "sh", "-c", f"until [ -e {tmp_path}/go ]; do sleep 0.1; done; echo went")
    yard.definition_of("never", "true", memory_mib=900_000)
    runs, waits = yard.submit("wait", "urgent"), yard.submit("never", "default")
    yard.until(runs, "RUNNING")

    (said,) = pages.run([copy], tmp_path, reader.environment(with_tools=False))
    pages.check(said)
    assert yard.process is not None
    yard.process.wait(90)
    yard.start()
    pages.run([pages.Step(pages.Block("bash", forget, restore.block.line, True), None)], tmp_path, reader.environment(with_tools=False))
    restored = Yard(tmp_path / "backup", "--port", str(quiet_port()), "--vcpus", "0.001")
    try:
        restored.start()
        assert restored.until(runs)["statusReason"].startswith("Host EC2 (instance i-")
        assert restored.job(waits)["status"] == "RUNNABLE"
        assert {q["jobQueueName"] for q in restored.batch.describe_job_queues()["jobQueues"]} == {"default", "urgent"}
        assert yard.job(runs)["status"] == "RUNNING"
        (tmp_path / "go").touch()
        assert yard.logs(yard.until(runs)) == ["went"]
    finally:
        restored.down()
