"""A served object store, and boto3 as its client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from serving import Shim, open_store, served

from batchyard.store.objects import ObjectStore


@pytest.fixture
def store(tmp_path: Any) -> Iterator[ObjectStore]:
    """An empty store."""
    opened = open_store(tmp_path)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Shim]]:
    """The URL of a served store, and the application that serves it."""
    opened = open_store(tmp_path_factory.mktemp("s3"))
    with served(opened) as found:
        yield found
    opened.close()


def client(url: str, **config: Any) -> Any:
    """boto3's S3 client for `url`."""
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="AKIATEST",
        aws_secret_access_key="secret",
        config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}, **config),
    )


@pytest.fixture(scope="module")
def s3(endpoint: tuple[str, Shim]) -> Any:
    """boto3's client of the served store."""
    return client(endpoint[0])
