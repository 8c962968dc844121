"""Calls to EC2 that come to an end: repeated, with pauses, while that can help, never for longer than they are given."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from batchyard.scratch.loop import Step, no_step
from batchyard.scratch.provision import NoRoom, ScratchError

log = logging.getLogger(__name__)

# Error codes as https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html has them.
_THROTTLED = {
    *("RequestLimitExceeded", "Throttling", "ThrottlingException", "RequestThrottled", "RequestThrottledException"),
    "EC2ThrottledException",
}
_LATER = _THROTTLED | {
    *("InternalError", "InternalFailure", "ServiceUnavailable", "Unavailable", "RequestTimeout", "PriorRequestNotComplete"),
}
# Keys of a role are given for hours, and the next ones are there before these end: the metadata service has them.
_RUN_OUT = {"RequestExpired", "ExpiredToken", "ExpiredTokenException"}
FULL = "AttachmentLimitExceeded"  # how many that are depends on the type of the instance, and on its network interfaces
_NO_ROOM = {
    *("InsufficientVolumeCapacity", "VolumeLimitExceeded", "MaxIOPSLimitExceeded", "MaxIOPSExceeded", FULL),
    *("VolumeModificationSizeLimitExceeded", "InsufficientCapacity"),
}
_NOT_ALLOWED = {"UnauthorizedOperation", "AccessDenied", "AuthFailure"}
NO_VOLUME = "InvalidVolume.NotFound"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 8.0


class Refused(ScratchError):
    """EC2 says no, and would again; `code` is its word for why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Lost(ScratchError):
    """No answer came, and EC2 may have done it or not."""


class NoRoomAtEc2(NoRoom, Refused):
    """EC2 has none to give, or none to this account."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A volume, as EC2 tells of it."""

    id: str
    state: str  # creating, available, in-use, deleting, deleted, error
    size_gib: int
    created_s: float
    tags: dict[str, str] = field(default_factory=dict)
    instance: str = ""  # that it is attached to, or on the way to
    device: str = ""  # the name that was asked for
    attachment: str = ""  # attaching, attached, detaching, busy
    snapshot: str = ""  # that it was made from: never one of ours, whose tags it may carry all the same


class Ec2:
    """EC2 of one region, with the credentials that botocore finds; botocore is loaded by the first call."""

    def __init__(
        self,
        region: str | None,
        *,
        limit_s: float = 60.0,
        step: Step = no_step,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        """`limit_s` bounds a call with all its repetitions; `step` is told of each call that changed something."""
        self._region, self._limit_s, self._step = region, limit_s, step
        self._sleep, self._clock, self._rng = sleep, clock, rng or random.Random()
        self._client: Any = None
        self._lock = threading.Lock()

    def call(self, action: str, *, limit_s: float | None = None, is_repeatable: bool = True, **params: Any) -> dict[str, Any]:
        """What EC2 answers. Raises `NoRoomAtEc2`, `Refused`, or `ScratchError` when it came to no answer in time.

        A repetition may meet what its forerunner did, whose answer was lost: `params` or the caller must be ready for that. Where neither
        is (not `is_repeatable`), this raises `Lost`.
        """
        from botocore import xform_name
        from botocore.exceptions import BotoCoreError, ClientError, NoRegionError, ParamValidationError, ProfileNotFound

        limit = self._limit_s if limit_s is None else limit_s
        deadline, pause_s = self._clock() + limit, _FIRST_PAUSE_S
        while True:
            try:
                answer: dict[str, Any] = getattr(self._connected(), xform_name(action))(**params)
            except ClientError as error:
                code = error.response["Error"].get("Code")
                why = f"{action}: {error.response['Error'].get('Message')} ({code})"
                if code in _RUN_OUT:
                    self._client = None
                elif not _may_help(error):
                    raise _refusal(action, error) from None
                elif not is_repeatable and code not in _THROTTLED:
                    raise Lost(why) from None
            except (NoRegionError, ParamValidationError, ProfileNotFound) as error:
                raise ScratchError(f"EC2 cannot be asked: {error}") from None
            except BotoCoreError as error:
                self._client = None  # credentials may come late, and connections may go: from the beginning
                why = f"{action}: {error}"
                if not is_repeatable:
                    raise Lost(why) from None
            else:
                if not action.startswith("Describe"):
                    self._step(action)
                return answer
            wait_s = self._rng.uniform(pause_s / 2, pause_s)
            if self._clock() + wait_s > deadline:
                raise ScratchError(f"EC2 gave no answer within {limit:g} s. {why}")
            log.info("again in %.2f s: %s", wait_s, why)
            self._sleep(wait_s)
            pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)

    def volume(self, volume: str) -> Seen | None:
        """That volume; None if there is none (any more)."""
        try:
            answer = self.call("DescribeVolumes", VolumeIds=[volume])
        except Refused as error:
            if error.code == NO_VOLUME:
                return None
            raise
        found = [_seen(one) for one in answer.get("Volumes", [])]
        return next((one for one in found if one.state not in ("deleting", "deleted")), None)

    def volumes(self, filters: dict[str, str], *, limit_s: float | None = None) -> list[Seen]:
        """All volumes that `filters` (names and values of DescribeVolumes) fit."""
        found: list[Seen] = []
        wanted = [{"Name": name, "Values": [value]} for name, value in filters.items()]
        more: dict[str, Any] = {}
        while True:
            answer = self.call("DescribeVolumes", limit_s=limit_s, Filters=wanted, MaxResults=500, **more)
            found += [_seen(one) for one in answer.get("Volumes", [])]
            if not answer.get("NextToken"):
                return [one for one in found if one.state not in ("deleting", "deleted")]
            more = {"NextToken": answer["NextToken"]}

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                from botocore.config import Config
                from botocore.session import Session

                # What is asked again, and for how long, is decided in `call`.
                once = Config(retries={"mode": "standard", "total_max_attempts": 1}, connect_timeout=5, read_timeout=20)
                self._client = Session().create_client("ec2", region_name=self._region, config=once)
            return self._client


def _may_help(error: Any) -> bool:
    """Whether asking again may help."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return error.response["Error"].get("Code") in _LATER or status >= 500


def _refusal(action: str, error: Any) -> Refused:
    code = str(error.response["Error"].get("Code"))
    text = f"EC2 refuses {action}: {error.response['Error'].get('Message')} ({code})"
    if code in _NOT_ALLOWED:
        text += f". The role of the instance needs ec2:{action}"
    return (NoRoomAtEc2 if code in _NO_ROOM else Refused)(code, text)


def _seen(told: dict[str, Any]) -> Seen:
    attachment: dict[str, str] = next((one for one in told.get("Attachments", []) if one.get("State") != "detached"), {})
    return Seen(
        id=told["VolumeId"],
        state=told["State"],
        size_gib=told["Size"],
        created_s=told["CreateTime"].timestamp(),
        tags={one["Key"]: one["Value"] for one in told.get("Tags", [])},
        instance=attachment.get("InstanceId", ""),
        device=attachment.get("Device", ""),
        attachment=attachment.get("State", ""),
        snapshot=told.get("SnapshotId") or "",
    )
