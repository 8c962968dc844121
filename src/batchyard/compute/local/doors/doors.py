"""The doors of a node's jobs: which paths are whose, and the variables that tell a job where its own are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from batchyard.compute.local.attempt import Attempt
from batchyard.compute.local.doors.listener import HOST, INSTANCES, TASKS, Answer, Listener, Request
from batchyard.compute.local.loop import Loop
from batchyard.compute.local.node_log import say
from batchyard.compute.local.protocol import LINK_LOCAL
from batchyard.model.messages import Launch
from batchyard.model.task import TaskFacts

if TYPE_CHECKING:
    from batchyard.compute.local.doors.callers import Callers
    from batchyard.compute.local.doors.link_local import LinkLocal

KEY_BYTES = 16
_FARGATE = "FARGATE"
_ONLY = "default"  # what ECS calls the container of a job that has one


class Linked(NamedTuple):
    """The addresses that programs have built in, and who finds out which job asks there: their paths alone do not say it."""

    place: LinkLocal
    callers: Callers


class Doors:
    """Opened for an attempt when its environment is made, closed when it is over.

    Each attempt has a key of its own, which nobody can guess, and one more for its credentials' header. Nothing is made for a job but
    these: the one socket is the node's.
    """

    def __init__(
        self, loop: Loop, find: Callable[[str], Attempt | None], notice_of: Callable[[str], str], linked: Linked | None = None
    ) -> None:
        """`find` finds an attempt by its id, `notice_of` says when an instance will be taken away ("" if no notice was given).

        `linked`: the addresses that programs have built in, if they are ours; then nothing listens on 127.0.0.1.
        """
        self.find, self.notice_of, self.linked = find, notice_of, linked
        self._keys: dict[str, str] = {}
        self._attempts: dict[str, str] = {}
        self._answering: Callable[[Doors, Request], Answer] | None = None
        self.listeners: list[Listener] = []
        if linked:
            self.listeners = [Listener(loop, self._answer, each) for each in linked.place.listening]
            return
        try:
            self.listeners.append(Listener(loop, self._answer))
        except OSError as error:
            say(f"jobs get no metadata endpoint: cannot listen on {HOST} ({error})")

    def reach(self, network: str) -> bool:
        """Whether containers on this network get here."""
        return network == "host" or (self.linked is not None and network != "none")

    def environment_of(self, launch: Launch, name: str = "") -> dict[str, str]:
        """The variables that lead a container to its doors; none where there are no facts to tell. `name`: of a task's container.

        Variables of the job's own definition are to win over these.
        """
        facts = launch.facts
        if facts is None or not self.listeners:
            return {}
        key = self._key_of(launch.attempt)
        base = f"http://{TASKS}" if self.linked else f"http://{HOST}:{self.listeners[0].port}"
        variables: dict[str, str] = {}
        if facts.task_arn:
            container = f"{key[: 2 * KEY_BYTES]}-{name or _ONLY}"
            variables["ECS_CONTAINER_METADATA_URI"] = f"{base}/v3/{container}"
            variables["ECS_CONTAINER_METADATA_URI_V4"] = f"{base}/v4/{container}"
        if self.linked:
            if facts.role is not None:
                variables["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = f"/v2/credentials/{key[: 2 * KEY_BYTES]}"
            if has_instance(facts):  # which SDKs know by themselves; a script that reads the variable finds it here too
                variables["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = f"http://{INSTANCES}"
            return variables
        if facts.role is not None:
            variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"{base}/v2/credentials/{key[: 2 * KEY_BYTES]}"
            variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = key[2 * KEY_BYTES :]
        if has_instance(facts):
            variables["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = f"{base}/ec2/{key[: 2 * KEY_BYTES]}"
        return variables

    def forget(self, attempt: str) -> None:
        """The attempt is over: its paths lead nowhere from now on."""
        key = self._keys.pop(attempt, None)
        if key is not None:
            del self._attempts[key[: 2 * KEY_BYTES]]
        if self.linked:
            self.linked.callers.forget(attempt)

    def attempt_of(self, key: str) -> Attempt | None:
        """Whose path this is."""
        attempt = self._attempts.get(key)
        return self.find(attempt) if attempt is not None else None

    def key_of(self, attempt: str) -> str:
        """The part of its paths that nobody can guess."""
        return self._key_of(attempt)[: 2 * KEY_BYTES]

    def password_of(self, attempt: str) -> str:
        """What the header of a question for credentials has to say."""
        return self._keys[attempt][2 * KEY_BYTES :]

    def close(self) -> None:
        """The node ends."""
        for listener in self.listeners:
            listener.close()
        if self.linked:
            self.linked.place.give_back()

    def _key_of(self, attempt: str) -> str:
        """The attempt's key, and behind it that of its credentials."""
        key = self._keys.get(attempt)
        if key is None:
            key = self._keys[attempt] = os.urandom(2 * KEY_BYTES).hex()
            self._attempts[key[: 2 * KEY_BYTES]] = attempt
        return key

    def _answer(self, request: Request) -> Answer:
        if self._answering is None:
            from batchyard.compute.local.doors.answers import answer

            self._answering = answer
        return self._answering(self, request)


def linked_or_not(
    wanted: bool, directory: Path, loop: Loop, attempts: Callable[[], Iterable[Attempt]], why_no_groups: str
) -> Linked | None:
    """The addresses that programs have built in, if they are to be ours; else what an earlier node of `directory` left of them goes.

    `attempts`: all that the node has. `why_no_groups`: why they have no cgroups, "" if they have. SystemExit, with the reason, if the
    addresses cannot be had.
    """
    if not wanted and not (directory / LINK_LOCAL).exists():
        return None
    from batchyard.compute.local.doors import callers, link_local

    if not wanted:
        link_local.clear(directory)
        return None
    try:
        if why_no_groups:
            raise link_local.CannotTake(link_local.sentence(link_local.GROUPS.format(why=why_no_groups)))
        return Linked(link_local.take(directory), callers.Callers(loop, attempts))
    except link_local.CannotTake as why:
        raise SystemExit(str(why)) from None


def facts_of(attempt: Attempt) -> TaskFacts:
    """What is known of an attempt whose doors are open."""
    facts = attempt.launch.facts
    assert facts is not None  # or no path would lead to it
    return facts


def has_instance(facts: TaskFacts) -> bool:
    """Whether there is an instance to ask about: tasks of Fargate have none."""
    return facts.launch_type != _FARGATE
