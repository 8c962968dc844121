"""From a path to what is answered: whose door it is, and which of the three services is meant. Whatever is not known is 404.

/v3/KEY-NAME ...   /v4/KEY-NAME ...   ECS's metadata of the container NAME (see `ecs`)
/v2/credentials/KEY                   the credentials of the attempt's role
/ec2/KEY/latest/...                   EC2's metadata of the instance (see `ec2`)

At the addresses that programs have built in, EC2's metadata lie at /latest/... and who asks must be the job itself: whoever else does gets
what a path that is not known gets.
"""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Coroutine
from typing import Any

from batchyard.compute.local.attempt import Attempt
from batchyard.compute.local.doors import ec2, ecs
from batchyard.compute.local.doors.doors import KEY_BYTES, Doors, Linked, facts_of, has_instance
from batchyard.compute.local.doors.listener import INSTANCES, Answer, Request, Response
from batchyard.compute.local.tasks import Task

CREDENTIALS_S = 6 * 3600  # what ECS's are good for when they are handed out; SDKs ask again before
_KEY = 2 * KEY_BYTES
_NOT_FOUND = Response(404, b"404 page not found\n", "text/plain; charset=utf-8")


def answer(doors: Doors, request: Request) -> Answer:
    """The answer to a job's question."""
    if doors.linked:
        return _later(_linked(doors, doors.linked, request))
    service, _, rest = request.path[1:].partition("/")
    if service in ("v3", "v4"):
        return _metadata(doors, request, service, rest)
    if service == "v2" and rest.startswith("credentials/"):
        return _credentials_by_header(doors, request, rest.removeprefix("credentials/"))
    if service == "ec2":
        attempt = doors.attempt_of(rest[:_KEY])
        if attempt is None or rest[_KEY : _KEY + 1] != "/" or not has_instance(facts_of(attempt)):
            return _NOT_FOUND
        return ec2.answer(attempt.launch, rest[:_KEY], rest[_KEY:], request, doors.notice_of)
    return _NOT_FOUND


async def _linked(doors: Doors, linked: Linked, request: Request) -> Response:
    """The answer at one of the addresses that programs have built in."""
    attempt = await linked.callers.attempt_of(request)
    if attempt is None or attempt.launch.facts is None:
        return _NOT_FOUND
    key = doors.key_of(attempt.launch.attempt)
    if request.own[0] == INSTANCES:
        is_there = has_instance(facts_of(attempt))
        return ec2.answer(attempt.launch, key, request.path, request, doors.notice_of) if is_there else _NOT_FOUND
    service, _, rest = request.path[1:].partition("/")
    if service in ("v3", "v4") and rest.startswith(key):
        answered = _metadata(doors, request, service, rest)
        return answered if isinstance(answered, Response) else await answered
    if request.path == f"/v2/credentials/{key}":
        return _credentials(attempt, request)
    return _NOT_FOUND


def _metadata(doors: Doors, request: Request, version: str, path: str) -> Answer:
    container, _, what = path.partition("/")
    attempt = doors.attempt_of(container[:_KEY])
    if attempt is None or container[_KEY : _KEY + 1] != "-" or not facts_of(attempt).task_arn:
        return _NOT_FOUND
    if request.method != "GET":
        return Response(405)
    return _later(_told(attempt, container[_KEY + 1 :], what.rstrip("/"), version))


async def _told(attempt: Attempt, name: str, what: str, version: str) -> Response:
    """The answer to one of the containers of an attempt."""
    seen = await ecs.containers(attempt, name)
    own = next((one for one in seen if one.name == name), None)
    if own is None:
        return _NOT_FOUND
    match what:
        case "":
            return shown(ecs.container(attempt, own, version))
        case "task":
            return shown(ecs.task(attempt, seen, version))
        case "taskWithTags":
            return shown({**ecs.task(attempt, seen, version), "TaskTags": {"aws:batch:job-id": attempt.launch.job_id}})
        case "stats":
            return shown(await own.stats())
        case "task/stats":
            under_way = [(one.id, Task(one.stats())) for one in seen]
            return shown({id: await stats for id, stats in under_way})
        case _:
            return _NOT_FOUND


def _later(steps: Coroutine[Any, Any, Response]) -> Answer:
    task = Task(steps)
    return task.result() if task.done else task


def _credentials_by_header(doors: Doors, request: Request, key: str) -> Response:
    """What SDKs ask for at AWS_CONTAINER_CREDENTIALS_FULL_URI. The header keeps the keys from whoever only saw the path."""
    attempt = doors.attempt_of(key)
    if attempt is None or facts_of(attempt).role is None:
        return _NOT_FOUND
    given = request.headers.get("authorization", "")
    if not hmac.compare_digest(given.encode(), doors.password_of(attempt.launch.attempt).encode()):
        told = "the header Authorization has to hold the value of AWS_CONTAINER_AUTHORIZATION_TOKEN"
        return shown({"code": "AccessDenied", "message": told}, 401)
    return _credentials(attempt, request)


def _credentials(attempt: Attempt, request: Request) -> Response:
    role = facts_of(attempt).role
    if role is None:
        return _NOT_FOUND
    if request.method != "GET":
        return Response(405)
    until = time.gmtime(time.time() + CREDENTIALS_S)
    return shown(
        {
            "RoleArn": role.role_arn,
            "AccessKeyId": role.access_key_id,
            "SecretAccessKey": role.secret_access_key,
            "Token": role.session_token,
            "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", until),
        }
    )


def shown(content: Any, status: int = 200) -> Response:
    """An answer in JSON."""
    return Response(status, json.dumps(content).encode())
