"""The health gate of a container instance of ECS: while its scratch space is not healthy, ECS, and so AWS Batch, places nothing there.

    python -m batchyard.scratch.ecs_gate --store DIR --ready FILE

Runs beside the agent. When the space is not healthy, FILE goes (without it systemd does not start the agent) and the instance is drained:
jobs that run there go on, new ones go elsewhere. When it is healthy again, what this drained is active again; what others drained stays so.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from batchyard.scratch.daemon import STATUS, Status

log = logging.getLogger(__name__)

# Where the agent tells of itself: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-agent-introspection.html
AGENT = "http://127.0.0.1:51678"
DRAINED = "drained"  # in the store, since ECS remembers it over a restart, too: the instance is drained, and by us
_LOOKS = 3  # that agree before anything is done
_STALE_AFTER_S = 15.0
_TIMEOUT_S = 3.0


class AgentSilent(Exception):
    """The agent does not say which container instance this is: it does not run, or has not joined its cluster yet."""


@dataclass(slots=True)
class Opinion:
    """Whether jobs may come, by several looks that agree."""

    is_open: bool = True
    differing: int = 0

    def look(self, is_healthy: bool) -> bool:
        """The opinion after one more look."""
        self.differing = self.differing + 1 if is_healthy != self.is_open else 0
        if self.differing >= _LOOKS:
            self.is_open, self.differing = is_healthy, 0
        return self.is_open


def why_not(store: Path, now_s: float) -> str:
    """Why the space kept in `store` is not healthy; empty if it is."""
    try:
        told = msgspec.json.decode((store / STATUS).read_bytes(), type=Status)
    except (OSError, msgspec.MsgspecError) as error:
        return f"{store / STATUS} cannot be read: {error}"
    age_s = abs(now_s - told.at_s)  # from ahead of now: the clock was set back since
    if age_s > _STALE_AFTER_S:
        return f"nobody has watched it for {age_s:.0f} s"
    return "" if told.is_healthy else told.why_not or "it is not healthy"


class Ecs:
    """This container instance, as the agent and ECS know it."""

    def __init__(self, agent: str = AGENT) -> None:
        self._agent = agent

    def set_status(self, status: str) -> None:
        """DRAINING or ACTIVE. Raises `AgentSilent`, or what botocore raises."""
        cluster, instance = self._here()
        from botocore.config import Config
        from botocore.session import Session

        limits = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})
        client = Session().create_client("ecs", region_name=instance.split(":")[3], config=limits)
        answer: dict[str, Any] = client.update_container_instances_state(cluster=cluster, containerInstances=[instance], status=status)
        if answer.get("failures"):
            raise AgentSilent(f"ECS does not make {instance} {status}: {answer['failures'][0].get('reason')}")

    def _here(self) -> tuple[str, str]:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self._agent}/v1/metadata", timeout=_TIMEOUT_S) as answer:
                told = json.loads(answer.read(65536))
            cluster, instance = str(told["Cluster"]), str(told["ContainerInstanceArn"])
        except (OSError, ValueError, KeyError) as error:
            raise AgentSilent(f"the ECS agent does not answer at {self._agent}: {error}") from None
        if not instance.startswith("arn:"):
            raise AgentSilent("the ECS agent has not joined its cluster yet")
        return cluster, instance


class Gate:
    """Keeps FILE, and the state of the instance in ECS, as the opinion is."""

    def __init__(self, store: Path, ready: Path, ecs: Ecs, clock: Callable[[], float] = time.time) -> None:
        self._store, self._ready, self._ecs, self._clock = store, ready, ecs, clock
        self._drained = store / DRAINED
        self._opinion = Opinion(is_open=not self._drained.exists())
        self._told = ""

    def turn(self) -> None:
        """Look once, and do what is to be done; what fails is done at the next look."""
        from botocore.exceptions import BotoCoreError, ClientError

        why = why_not(self._store, self._clock())
        is_open = self._opinion.look(not why)
        try:
            if is_open:
                self._open()
            else:
                self._close(why)
        except (AgentSilent, BotoCoreError, ClientError) as error:
            if str(error) != self._told:
                log.warning("%s", error)
            self._told = str(error)

    def _open(self) -> None:
        if not self._ready.exists():  # first: an agent that died meanwhile has to start before it can say which instance this is
            self._ready.touch()
        if self._drained.exists():
            self._ecs.set_status("ACTIVE")
            self._drained.unlink()
            log.info("the scratch space is healthy: jobs may come")

    def _close(self, why: str) -> None:
        self._ready.unlink(missing_ok=True)
        if not self._drained.exists():
            self._ecs.set_status("DRAINING")
            self._drained.touch()
            log.error("no job comes any more: %s", why)


def main(arguments: list[str] | None = None) -> None:
    """Until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m batchyard.scratch.ecs_gate", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--store", type=Path, required=True, help="where the daemon's status is")
    parser.add_argument("--ready", type=Path, required=True, help="the file that is there while jobs may come")
    parser.add_argument("--agent", default=AGENT, help="where the ECS agent tells of itself")
    parser.add_argument("--look-s", type=float, default=5.0, help="seconds between two looks")
    asked = parser.parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    logging.getLogger("botocore").setLevel(logging.WARNING)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    gate = Gate(asked.store, asked.ready, Ecs(asked.agent))
    while not stop.wait(asked.look_s):
        gate.turn()


if __name__ == "__main__":
    main()
