"""The instances of the local machine: names for parts of it, and the notices that they will be taken away."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

from batchyard.compute.local.node_log import say


class Instances:
    """Which instances are held, and which of them are being stopped."""

    def __init__(self, work: str) -> None:
        self._work = work
        self._stopping: dict[str, bool] = {}
        self._notices: dict[str, str] = {}

    def held(self) -> tuple[str, ...]:
        """The instances that are held, those that are being stopped too."""
        return tuple(self._stopping)

    def start(self, instance: str) -> bool:
        """Hold it, if it is not held already; whether it takes jobs now (one that is being stopped does not)."""
        return not self._stopping.setdefault(instance, False)

    def stop(self, instance: str) -> bool:
        """It takes no more jobs; False if it is not held."""
        if instance in self._stopping:
            self._stopping[instance] = True
        return instance in self._stopping

    def takes_jobs(self, instance: str) -> bool:
        """Whether it is held and not being stopped."""
        return not self._stopping.get(instance, True)

    def is_stopping(self, instance: str) -> bool:
        """Whether it is held and takes no more jobs."""
        return self._stopping.get(instance, False)

    def remove(self, instance: str) -> None:
        """It is gone, and with it its notice."""
        del self._stopping[instance]
        self._notices.pop(instance, None)
        with contextlib.suppress(OSError):  # of a place that is sick nothing can be removed
            Path(notice_path(self._work, instance)).unlink(missing_ok=True)

    def notice_of(self, instance: str) -> str:
        """When it will be taken away, as EC2 writes it; "" if nobody has said so."""
        return self._notices.get(instance, "")

    def give_notice(self, instance: str, reclaim_at_ms: int) -> None:
        """Put the notice where the instance's jobs look for it: the JSON that EC2 serves as spot/instance-action."""
        if instance not in self._stopping:
            return
        self._notices[instance] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(reclaim_at_ms / 1000))
        self._write(instance)

    def write_notices(self) -> None:
        """Put all notices there again: the place for them is a new one."""
        for instance in self._notices:
            self._write(instance)

    def _write(self, instance: str) -> None:
        final = Path(notice_path(self._work, instance))
        draft = final.with_suffix(".new")
        try:
            draft.write_text(json.dumps({"action": "terminate", "time": self._notices[instance]}) + "\n")
            draft.chmod(0o644)
            draft.replace(final)
        except OSError as error:
            say(f"cannot write the notice for {instance}: {error}")


def notice_path(work: str, instance: str) -> str:
    """The file that tells the jobs of an instance that it will be taken away."""
    return f"{work}/notices/{instance}.json"
