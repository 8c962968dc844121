"""Where the service is and how to talk to it: endpoint.json of its folder, and clients of botocore made from it."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import typing

import botocore.config
import botocore.session

from variant_calling import patience


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """What a client must know of a service."""

    url: str
    region: str
    access_key_id: str
    secret_access_key: str


@dataclasses.dataclass(frozen=True)
class Clients:
    """One client per AWS service of the example; none repeats a call by itself (see `patience`)."""

    batch: typing.Any
    s3: typing.Any
    logs: typing.Any
    cloudformation: typing.Any


def read_endpoint(service_folder: pathlib.Path) -> Endpoint:
    """The service whose state is in the folder, by its endpoint.json; FileNotFoundError when none has run there."""
    found = json.loads((service_folder / "endpoint.json").read_text(encoding="utf-8"))
    return Endpoint(found["endpoint_url"], found["region"], found["access_key_id"], found["secret_access_key"])


def connect(where: Endpoint) -> Clients:
    """Clients that differ from those of AWS in the endpoint and the keys, and in nothing else."""
    direct = patience.ONE_TRY.merge(botocore.config.Config(proxies={}))
    session = botocore.session.Session()

    def client(service: str) -> typing.Any:
        return session.create_client(
            service,
            endpoint_url=where.url,
            region_name=where.region,
            aws_access_key_id=where.access_key_id,
            aws_secret_access_key=where.secret_access_key,
            config=direct,
        )

    return Clients(batch=client("batch"), s3=client("s3"), logs=client("logs"), cloudformation=client("cloudformation"))
