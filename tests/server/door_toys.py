"""Toy services and a real uvicorn around the door, for tests that speak to it as clients do."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import botocore.config
import uvicorn

from batchyard.model.fault import Fault
from batchyard.server.app import App, DoorSettings
from batchyard.server.identity import job_arn, root_credential
from batchyard.server.listener import listener_config
from batchyard.services import Caller
from batchyard.wire import shapes
from batchyard.wire.http import HttpRequest, HttpResponse
from batchyard.wire.sigv4 import Credential

ACCOUNT = "123456789012"
ROOT = root_credential("AKIAROOTROOTROOTROOT", "root/secret+key", ACCOUNT)
JOB = Credential(
    "ASIAJOBJOBJOBJOBJOBX",
    "job-secret",
    "token+of/the=job",
    ACCOUNT,
    job_arn(ACCOUNT, "job-role", "attempt-1"),
    "AROAJOB:attempt-1",
    True,
)
ARN = f"arn:aws:batch:us-east-1:{ACCOUNT}:job-queue/some/deep:name"


def lookup(access_key_id: str, token: str | None) -> Credential | None:
    """The two identities that these tests know."""
    return {ROOT.access_key_id: ROOT, JOB.access_key_id: JOB}.get(access_key_id)


@dataclass
class Module:
    """A service made of whatever a test needs; all other operations of the model are not yet there."""

    name: str
    OPERATIONS: dict[str, Callable[[Any, Caller, dict[str, Any]], Awaitable[dict[str, Any]]]]
    NOT_YET: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name != "batchyard":
            known = shapes.load(self.name).operations
            self.NOT_YET = {name: "It is a toy" for name in known if name not in self.OPERATIONS}


@dataclass
class Toys:
    """What the toy handlers saw, and the objects that the toy S3 holds."""

    seen: list[tuple[str, Caller, dict[str, Any]]] = field(default_factory=list)
    objects: dict[str, bytes] = field(default_factory=dict)
    trailers: dict[str, dict[str, str]] = field(default_factory=dict)
    callers: list[Caller] = field(default_factory=list)
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    hold: asyncio.Event | None = None

    def handler(self, operation: str) -> Callable[[Any, Caller, dict[str, Any]], Awaitable[dict[str, Any]]]:
        async def handle(desk: Any, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
            self.seen.append((operation, caller, params))
            return self.results.get(operation, {})

        return handle

    def services(self) -> dict[str, Module]:
        async def get_caller_identity(desk: Any, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
            return {"UserId": caller.user_id, "Account": caller.account, "Arn": caller.arn}

        async def explode(desk: Any, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
            raise ZeroDivisionError("the secret of the house")

        async def refuse(desk: Any, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
            raise Fault("ClientException", f"JobQueue {params.get('jobQueues')} not found.")

        async def no_group(desk: Any, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
            raise Fault("ResourceNotFoundException", "The specified log stream does not exist.")

        async def explain(desk: Any, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
            return {"echo": params, "arn": caller.arn}

        batch = {name: self.handler(name) for name in shapes.load("batch").operations if name != "SubmitServiceJob"}
        batch |= {"DeleteJobQueue": explode, "DescribeJobQueues": refuse}
        logs = {name: self.handler(name) for name in shapes.load("logs").operations if name.startswith(("Put", "Describe"))}
        logs |= {"GetLogEvents": no_group, "TestMetricFilter": explode}
        return {
            "batch": Module("batch", batch),
            "logs": Module("logs", logs),
            "sts": Module("sts", {"GetCallerIdentity": get_caller_identity, "AssumeRole": self.handler("AssumeRole")}),
            "batchyard": Module("batchyard", {"explain": explain}),
        }

    async def s3(self, desk: Any, caller: Caller, request: HttpRequest) -> HttpResponse:
        """Objects in a dict: enough to send bodies both ways."""
        self.callers.append(caller)
        if request.raw_path == "/open/secret":
            if not caller.account:
                raise Fault("AccessDenied", "Access Denied")
            raise ZeroDivisionError("the secret of the house")
        body = b"".join([chunk async for chunk in request.body])
        if request.method == "PUT":
            self.objects[request.raw_path] = body
            self.trailers[request.raw_path] = request.trailers
            return HttpResponse(200, {"etag": f'"{hashlib.md5(body).hexdigest()}"'})
        if request.raw_path not in self.objects:
            raise Fault("NoSuchKey", "The specified key does not exist.", Key=request.raw_path.rpartition("/")[2])
        stored = self.objects[request.raw_path]
        headers = {"content-length": str(len(stored)), "etag": f'"{hashlib.md5(stored).hexdigest()}"'}
        disposition = request.raw_query.partition("response-content-disposition=")[2]
        if disposition:
            headers["content-disposition"] = disposition.replace("%0D%0A", "\r\n")

        async def pieces() -> Any:
            for at in range(0, len(stored), 65536):
                if request.raw_path.endswith("breaks") and at:
                    raise Fault("InternalError", "the disk is gone")
                if request.raw_path.endswith("crashes") and at:
                    raise ZeroDivisionError("the secret of the house")
                yield stored[at : at + 65536]

        return HttpResponse(200, headers, pieces())


@dataclass(eq=False)
class Door:
    """A running door."""

    port: int
    app: App
    toys: Toys

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def running_door(clock: Callable[[], float] = time.time, **settings: Any) -> Iterator[Door]:
    """A door with toy services behind it, listening on a free port of 127.0.0.1."""
    toys = Toys()
    app = App(
        None,
        toys.services(),
        toys.s3,
        lookup,
        DoorSettings(ACCOUNT, "us-east-1", **settings),
        health=lambda: {"ready": True, "version": "0"},
        clock=clock,
    )
    server = uvicorn.Server(listener_config(app, host="127.0.0.1", port=0, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    give_up_at = time.monotonic() + 60
    while not server.started and time.monotonic() < give_up_at:
        time.sleep(0.005)
    try:
        yield Door(server.servers[0].sockets[0].getsockname()[1], app, toys)
    finally:
        server.should_exit = True
        thread.join(60)


def client_of(door: Door, service: str, credential: Credential = ROOT, region: str = "eu-west-1", **config: Any) -> Any:
    """A boto3 client of `door`, which does not try again."""
    return boto3.client(
        service,
        endpoint_url=door.url,
        region_name=region,
        aws_access_key_id=credential.access_key_id,
        aws_secret_access_key=credential.secret_access_key,
        aws_session_token=credential.session_token,
        config=botocore.config.Config(retries={"max_attempts": 0}, **config),
    )
