"""The doors of a node's jobs: which paths are whose, and the variables that tell a job where its own are."""

from __future__ import annotations

import os
from collections.abc import Callable

from batchyard.compute.local.attempt import Attempt
from batchyard.compute.local.doors.listener import HOST, Answer, Listener, Request
from batchyard.compute.local.loop import Loop
from batchyard.model.messages import Launch
from batchyard.model.task import TaskFacts

KEY_BYTES = 16
_FARGATE = "FARGATE"
_ONLY = "default"  # what ECS calls the container of a job that has one


class Doors:
    """Opened for an attempt when its environment is made, closed when it is over.

    Each attempt has a key of its own, which nobody can guess, and one more for its credentials' header. Nothing is made for a job but
    these: the one socket is the node's.
    """

    def __init__(self, loop: Loop, find: Callable[[str], Attempt | None], notice_of: Callable[[str], str]) -> None:
        """`find` finds an attempt by its id, `notice_of` says when an instance will be taken away ("" if no notice was given)."""
        self.find, self.notice_of = find, notice_of
        self._keys: dict[str, str] = {}
        self._attempts: dict[str, str] = {}
        self._answering: Callable[[Doors, Request], Answer] | None = None
        self.listener: Listener | None = None
        try:
            self.listener = Listener(loop, self._answer)
        except OSError as error:
            print(f"jobs get no metadata endpoint: cannot listen on {HOST} ({error})", flush=True)  # noqa: T201 - the node's log is its output

    def environment_of(self, launch: Launch, name: str = "") -> dict[str, str]:
        """The variables that lead a container to its doors; none where there are no facts to tell. `name`: of a task's container.

        Variables of the job's own definition are to win over these.
        """
        facts = launch.facts
        if facts is None or self.listener is None:
            return {}
        key = self._key_of(launch.attempt)
        base = f"http://{HOST}:{self.listener.port}"
        variables: dict[str, str] = {}
        if facts.task_arn:
            container = f"{key[: 2 * KEY_BYTES]}-{name or _ONLY}"
            variables["ECS_CONTAINER_METADATA_URI"] = f"{base}/v3/{container}"
            variables["ECS_CONTAINER_METADATA_URI_V4"] = f"{base}/v4/{container}"
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

    def attempt_of(self, key: str) -> Attempt | None:
        """Whose path this is."""
        attempt = self._attempts.get(key)
        return self.find(attempt) if attempt is not None else None

    def password_of(self, attempt: str) -> str:
        """What the header of a question for credentials has to say."""
        return self._keys[attempt][2 * KEY_BYTES :]

    def close(self) -> None:
        """The node ends."""
        if self.listener is not None:
            self.listener.close()

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


def facts_of(attempt: Attempt) -> TaskFacts:
    """What is known of an attempt whose doors are open."""
    facts = attempt.launch.facts
    assert facts is not None  # or no path would lead to it
    return facts


def has_instance(facts: TaskFacts) -> bool:
    """Whether there is an instance to ask about: tasks of Fargate have none."""
    return facts.launch_type != _FARGATE
