"""Inputs and outputs of a step go through the bucket: this is the door, to S3 or (for the local runner) to a folder."""

from __future__ import annotations

import os
import pathlib
import shutil
import typing
import urllib.parse

import botocore.session

from variant_calling import patience

PIECE = 1 << 20
"""Bytes of an object that are in memory at a time."""


class Shelf(typing.Protocol):
    """Where the files of one run lie, by key."""

    def fetch(self, key: str, path: pathlib.Path) -> None:
        """Copy the object to the path; FileNotFoundError when there is none."""

    def store(self, path: pathlib.Path, key: str) -> None:
        """Copy the file to the key; whole or not at all."""


class Folder:
    """A shelf in a folder."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root

    def fetch(self, key: str, path: pathlib.Path) -> None:
        """Copy the object to the path."""
        shutil.copyfile(self.root / key, path)

    def store(self, path: pathlib.Path, key: str) -> None:
        """Copy the file to the key through a temporary name, so that a reader never sees half of it."""
        target = self.root / key
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.copyfile(path, unfinished)
        unfinished.replace(target)


class Bucket:
    """A shelf under a prefix of an S3 bucket; endpoint, region and credentials come from the usual environment."""

    def __init__(self, client: typing.Any, bucket: str, prefix: str) -> None:
        self.client = client
        self.bucket = bucket
        self.prefix = prefix

    def fetch(self, key: str, path: pathlib.Path) -> None:
        """Copy the object to the path."""

        def download() -> None:
            answer = self.client.get_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}")
            with path.open("wb") as file:
                while piece := answer["Body"].read(PIECE):
                    file.write(piece)

        try:
            patience.patiently(download)
        except self.client.exceptions.NoSuchKey as missing:
            raise FileNotFoundError(f"s3://{self.bucket}/{self.prefix}/{key}") from missing

    def store(self, path: pathlib.Path, key: str) -> None:
        """Copy the file to the key."""

        def upload() -> None:
            with path.open("rb") as file:
                self.client.put_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}", Body=file)

        patience.patiently(upload)


def open_shelf(url: str) -> Shelf:
    """The shelf that `s3://bucket/prefix` or `file:///folder` names; ValueError for another scheme."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "file":
        return Folder(pathlib.Path(parts.path))
    if parts.scheme == "s3":
        own = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")  # Debian's botocore does not look at them
        client = botocore.session.get_session().create_client("s3", config=patience.ONE_TRY, endpoint_url=own)
        return Bucket(client, parts.netloc, parts.path.strip("/"))
    raise ValueError(f"{url} is neither s3://bucket/prefix nor file:///folder")
