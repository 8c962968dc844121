"""What was acknowledged survives the sudden death of the server that took it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from batchyard.store.logs_store import LogStore

NAMESPACE, GROUP = ("123456789012", "eu-west-1"), "/aws/batch/job"
WRITER = """
import sys
from pathlib import Path
from batchyard.store.logs_store import LogStore

namespace, group = ("123456789012", "eu-west-1"), "/aws/batch/job"
logs = LogStore(Path(sys.argv[1]))
logs.create_stream(namespace, group, "s")
for number in range(1_000_000):
    logs.put(namespace, group, "s", [(1_000 + number, b"%d" % number), (1_000 + number, b"x" * 500)])
    print(number, flush=True)
"""


def test_acknowledged_events_survive_kill_9(tmp_path: Path) -> None:
    for life in range(3):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / str(life))], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(20 * (life + 1)):
                acknowledged = int(writer.stdout.readline())
            writer.kill()
        logs = LogStore(tmp_path / str(life))
        stream = logs.stream(NAMESPACE, GROUP, "s")
        assert stream is not None
        numbers = [event.message for event in stream.after(stream.gap_at(0), None, 10_000, 2**30)][::2]
        assert numbers[: acknowledged + 1] == [b"%d" % number for number in range(acknowledged + 1)]
        logs.close()
