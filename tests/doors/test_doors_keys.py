"""Which doors are whose: keys that nobody can guess, one for each attempt, gone with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from batchyard.compute.local.attempt import Attempt
from batchyard.compute.local.doors import doors as module
from batchyard.compute.local.doors.doors import Doors
from batchyard.compute.local.doors.listener import Listener, Request, Response
from batchyard.compute.local.loop import Loop
from batchyard.model.capacity import Resources
from batchyard.model.messages import Launch
from batchyard.model.task import RoleKeys, TaskFacts

ARN = "arn:aws:ecs:us-east-1:000000000000:task/cluster/"
FULL_URI, PASSWORD = "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN"


def launch(attempt: str, facts: TaskFacts | None) -> Launch:
    return Launch(
        attempt=attempt,
        job_id="job",
        number=1,
        instance="i-1",
        command=("true",),
        environment={},
        needs=Resources(1, 64),
        log_group="g",
        log_stream="s",
        account="000000000000",
        region="us-east-1",
        facts=facts,
    )


def facts(attempt: str, *, role: bool = False) -> TaskFacts:
    keys = RoleKeys(role_arn="arn:role", access_key_id="AK", secret_access_key="SK", session_token="T") if role else None
    return TaskFacts(task_arn=f"{ARN}{attempt}", zone="us-east-1a", names=("default",), role=keys)


@pytest.fixture
def attempts() -> dict[str, Attempt]:
    return {}


@pytest.fixture
def doors(attempts: dict[str, Attempt]) -> Iterator[Doors]:
    made = Doors(Loop(lambda: None), attempts.get, lambda instance: "")
    yield made
    made.close()


def asked(doors: Doors, url: str, **headers: str) -> Response:
    path = "/" + url.split("/", 3)[3]
    answer = doors._answer(Request("GET", path, headers))
    assert isinstance(answer, Response)
    return answer


def test_each_attempt_has_a_key_of_its_own_and_keeps_it(doors: Doors) -> None:
    one, other = (doors.environment_of(launch(name, facts(name))) for name in ("a", "b"))
    assert one == doors.environment_of(launch("a", facts("a")))
    assert not set(one.values()) & set(other.values())
    assert len(set(one["ECS_CONTAINER_METADATA_URI_V4"].rpartition("/")[2].partition("-")[0])) > 4
    assert FULL_URI not in one


def test_containers_of_a_task_have_paths_of_their_own(doors: Doors) -> None:
    one, other = (doors.environment_of(launch("a", facts("a")), name) for name in ("web", "log"))
    assert one["ECS_CONTAINER_METADATA_URI_V4"].endswith("-web")
    assert other["ECS_CONTAINER_METADATA_URI_V4"].endswith("-log")


def test_credentials_are_for_those_who_know_path_and_password_while_the_attempt_lives(doors: Doors, attempts: dict[str, Attempt]) -> None:
    attempts["a"] = Attempt(launch("a", facts("a", role=True)))
    variables = doors.environment_of(attempts["a"].launch)
    uri, password = variables[FULL_URI], variables[PASSWORD]
    assert password not in uri
    assert asked(doors, uri, authorization=password).status == 200
    assert asked(doors, uri).status == asked(doors, uri, authorization=password[:-1]).status == 401
    assert asked(doors, uri, authorization="é").status == 401
    doors.forget("a")
    doors.forget("a")
    assert asked(doors, uri, authorization=password).status == 404


def test_without_facts_there_are_no_doors(doors: Doors) -> None:
    assert doors.environment_of(launch("a", None)) == {}


def test_a_node_that_cannot_listen_goes_on_without(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(*_: object) -> Listener:
        raise OSError("no loopback here")

    monkeypatch.setattr(module, "Listener", refuse)
    doors = Doors(Loop(lambda: None), {}.get, lambda instance: "")
    assert doors.environment_of(launch("a", facts("a"))) == {}
    assert "cannot listen on 127.0.0.1 (no loopback here)" in capsys.readouterr().out
    doors.close()
