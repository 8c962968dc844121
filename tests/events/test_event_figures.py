"""What `/metrics` says of events: delivered, waiting, dropped."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

from receiver import Receiver

from yard import Yard, until


def figure(yard: Yard, name: str) -> float | None:
    with urllib.request.urlopen(f"{yard.url}/metrics", timeout=60) as answer:
        found = re.search(rf"^{re.escape(name)} (\S+)$", answer.read().decode(), re.MULTILINE)
    return float(found[1]) if found else None


def test_what_becomes_of_events_is_counted(tmp_path: Path) -> None:
    receiver = Receiver()
    yard = Yard(tmp_path / "data", "--vcpus", "1", "--memory-mib", "256").start()
    try:
        events = yard.client("events")
        events.put_rule(Name="mine", EventPattern=json.dumps({"source": ["mine"]}))
        events.put_targets(Rule="mine", Targets=[{"Id": "hook", "Arn": receiver.url}])
        entry = {"Source": "mine", "DetailType": "t", "Detail": "{}"}
        waiting = 'batchyard_events_waiting{listener="rule/000000000000/us-east-1/mine/hook"}'
        delivered, refused = "batchyard_events_delivered_total", 'batchyard_events_dropped_total{why="refused"}'
        assert (figure(yard, delivered), figure(yard, refused), figure(yard, waiting)) == (0, None, None)
        events.put_events(Entries=[entry, entry])
        until(lambda: figure(yard, delivered) == 2 or None, "two to be delivered")
        receiver.status = 410
        events.put_events(Entries=[entry])
        until(lambda: figure(yard, refused) == 1 or None, "one to be dropped")
        receiver.status = 503
        events.put_events(Entries=[entry] * 3)
        until(lambda: figure(yard, waiting) == 3 or None, "three to wait")
        yard.kill()
        yard.start()
        assert (figure(yard, waiting), figure(yard, refused)) == (3, None)  # what waits outlives the server
        receiver.status = 200
        until(lambda: figure(yard, delivered) == 3 or None, "the rest to be delivered")
        until(lambda: figure(yard, waiting) is None or None, "nothing to wait")
    finally:
        receiver.close()
        yard.down()
