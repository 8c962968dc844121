"""Which checksum a request brings along for its bytes. That it is right, the door has checked when the body is at its end."""

from __future__ import annotations

from dataclasses import dataclass

from batchyard.model.fault import Fault
from batchyard.services.s3.route import not_implemented
from batchyard.store.objects_checksums import ALGORITHMS, UNSERVED_ALGORITHMS
from batchyard.wire.http import HttpRequest

CHECKSUM_PREFIX = "x-amz-checksum-"
_NOT_ALGORITHMS = frozenset(("mode", "type", "algorithm"))


@dataclass(frozen=True, slots=True)
class Announced:
    """The checksum of a body: its algorithm ("" for none) and whether it follows behind the body, as a trailer."""

    algorithm: str = ""
    is_trailer: bool = False

    def value(self, request: HttpRequest) -> dict[str, str]:
        """Algorithm -> checksum in base64, once the body is at its end; empty when none was announced."""
        if not self.algorithm:
            return {}
        place = request.trailers if self.is_trailer else request.headers
        return {self.algorithm: place[f"{CHECKSUM_PREFIX}{self.algorithm.lower()}"]}


def announced(request: HttpRequest) -> Announced:
    """The checksum that the headers bring or announce. Raises `InvalidRequest` or `NotImplemented` for an unknown algorithm."""
    trailers = [name.strip().lower() for name in request.headers.get("x-amz-trailer", "").split(",")]
    for names, is_trailer in ((request.headers, False), (trailers, True)):
        for name in names:
            algorithm = name.removeprefix(CHECKSUM_PREFIX)
            if algorithm != name and algorithm not in _NOT_ALGORITHMS:
                check_algorithm(algorithm.upper())
                return Announced(algorithm.upper(), is_trailer)
    return Announced()


def check_algorithm(algorithm: str) -> None:
    """Raises `NotImplemented` for a checksum algorithm that is not served, `InvalidRequest` for one that S3 does not know."""
    if algorithm in UNSERVED_ALGORITHMS:
        raise not_implemented(f"checksum algorithm {algorithm}")
    if algorithm not in ALGORITHMS:
        raise Fault("InvalidRequest", "Checksum algorithm provided is unsupported. Please try again with any of the valid types")
