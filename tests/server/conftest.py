"""Doors for the tests of the door: one that wants signatures, one that does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import botocore.config
import pytest
from door_toys import ROOT, Door, running_door

from batchyard.wire.sigv4 import Credential


@pytest.fixture(scope="module")
def shared_door() -> Iterator[Door]:
    with running_door(read_timeout_s=0.6) as door:
        yield door


@pytest.fixture
def door(shared_door: Door) -> Door:
    shared_door.toys.seen.clear()
    shared_door.toys.results.clear()
    shared_door.toys.callers.clear()
    return shared_door


@pytest.fixture(scope="module")
def open_door() -> Iterator[Door]:
    with running_door(is_open=True, known_hosts=frozenset({"yard.example"})) as door:
        yield door


@pytest.fixture
def client(door: Door) -> Callable[..., Any]:
    return lambda service, credential=ROOT, **more: client_of(door, service, credential, **more)


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
