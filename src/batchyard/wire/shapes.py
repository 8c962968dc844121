"""One AWS service as it looks on the wire: requests become plain dicts in AWS spelling, results become responses."""

from __future__ import annotations

from functools import cached_property, lru_cache

from batchyard.wire.servicemodel import ServiceModel, read_model
from batchyard.wire.xmlshapes import XmlWriter


class Service:
    """The codecs of one service, each compiled at its first use."""

    def __init__(self, name: str, model: ServiceModel) -> None:
        self.name = name
        self.model = model

    @cached_property
    def xml(self) -> XmlWriter:
        """The writers of this service's XML."""
        return XmlWriter(self.model, millis=self.name == "s3")


@lru_cache(maxsize=64)
def load(name: str) -> Service:
    """The service that botocore calls `name`: "batch", "logs", "sts", "s3" ... Raises `LookupError` for an unknown one."""
    return Service(name, read_model(name))
