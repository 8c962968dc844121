"""The account that stacks are deployed to, a service here or AWS: its clients, and its refusals as sentences."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from batchyard.main.client import EXIT_NO_KEYS, EXIT_NO_SERVICE, Place, Trouble, Unreachable
from batchyard.main.commands.place import find

TARGETS = ("local", "aws")
LOOK_S = {False: 0.1, True: 3.0}  # between two looks at what goes on: here, and at AWS, which throttles
_KEY_CODES = frozenset(
    (
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
        "InvalidAccessKeyId",
        "AuthFailure",
        "UnauthorizedOperation",
    )
)


@dataclass(slots=True)
class Account:
    """One account in one region. `url` is the endpoint of CloudFormation, `start_hint` how to bring back a service that does not answer."""

    name: str
    region: str
    is_aws: bool
    url: str
    make: Callable[[str], Any]  # service -> botocore client
    start_hint: str = ""
    place: Place | None = None
    _clients: dict[str, Any] = field(default_factory=dict)
    _id: str = ""

    @property
    def look_s(self) -> float:
        """How long to wait between two looks at what goes on."""
        return LOOK_S[self.is_aws and not urlsplit(self.url).netloc.startswith(("127.0.0.1", "localhost"))]

    @property
    def id(self) -> str:
        """The account's number."""
        self._id = self._id or str(self.ask("sts", "get_caller_identity")["Account"])
        return self._id

    def client(self, service: str) -> Any:
        """The botocore client of a service, made once."""
        if service not in self._clients:
            with self._said(f"a client of {service}"):
                self._clients[service] = self.make(service)
        return self._clients[service]

    def ask(self, service: str, operation: str, **params: Any) -> dict[str, Any]:
        """The answer of one call, named in boto3's way ("describe_stacks"); raises `Trouble` with AWS's words and code."""
        client = self.client(service)
        with self._said(client.meta.method_to_api_mapping[operation]):
            return dict(getattr(client, operation)(**params))

    def pages(self, service: str, operation: str, member: str, **params: Any) -> Iterator[dict[str, Any]]:
        """The elements of `member` of all pages of an answer, as they are asked for; raises `Trouble`."""
        client = self.client(service)
        with self._said(client.meta.method_to_api_mapping[operation]):
            for page in client.get_paginator(operation).paginate(**params):
                yield from page.get(member) or []

    @contextmanager
    def _said(self, what: str) -> Iterator[None]:
        """botocore's errors as sentences, with what to do."""
        import botocore.exceptions as wrong

        try:
            yield
        except wrong.ClientError as error:
            code, message = str(error.response["Error"].get("Code", "")), str(error.response["Error"].get("Message", ""))
            keys = code in _KEY_CODES
            fix = "Ask for the permission that the message names, or use other credentials." if keys else ""
            words = f"{what} was refused: {message} ({code})"
            raise Trouble(words, fix, exit_code=EXIT_NO_KEYS if keys else 1, code=code) from error
        except (wrong.NoCredentialsError, wrong.CredentialRetrievalError, wrong.TokenRetrievalError, wrong.SSOError) as error:
            fix = "Configure them (aws configure), or renew them (aws sso login)."
            raise Trouble(f"The AWS credentials cannot be had: {error}", fix, exit_code=EXIT_NO_KEYS) from error
        except (wrong.HTTPClientError, wrong.ConnectionError) as error:
            raise Unreachable(
                f"{self.name} does not answer at {self.url} ({error}).", self.start_hint, exit_code=EXIT_NO_SERVICE
            ) from error
        except wrong.ParamValidationError as error:
            raise Trouble(f"{what} cannot be asked for: {error}", exit_code=2) from error
        except wrong.BotoCoreError as error:
            raise Trouble(f"{what} cannot be asked for: {error}") from error


def account_of(target: str, data: Path | None) -> Account:
    """The account of `--target` and `--data`: a service here, or AWS with the user's own configuration."""
    if target == "aws":
        if data is not None:
            raise Trouble("--data names a service here, --target aws is AWS: leave one of them out.", exit_code=2)
        return of_aws()
    place = find(data)
    if place.kind == "aws":
        fix = "Start one (batchyard up), name one (--data DIR); or mean AWS itself: --target aws"
        raise Trouble("No Batchyard service is here.", fix, exit_code=EXIT_NO_SERVICE)
    return of_place(place)


def of_place(place: Place) -> Account:
    """A service here, with its own keys."""

    def make(service: str) -> Any:
        from botocore.config import Config
        from botocore.session import Session

        keys = place.keys()
        nothing = {"profile": None, "config_file": os.devnull, "credentials_file": os.devnull}  # the user's own settings of AWS
        session = Session(session_vars={name: (None, None, value, None) for name, value in nothing.items()})
        return session.create_client(
            service,
            region_name=place.region,
            endpoint_url=place.endpoint_of(service),
            aws_access_key_id=keys.access_key_id if keys else "batchyard",
            aws_secret_access_key=keys.secret_access_key if keys else "batchyard",
            aws_session_token=(keys.token or None) if keys else None,
            config=Config(retries={"mode": "standard", "max_attempts": 3}, proxies={}, s3={"addressing_style": "path"}),
        )

    url = place.endpoint_of("cloudformation")
    return Account(place.name, place.region, is_aws=False, url=url, make=make, start_hint=place.start_hint, place=place)


def of_aws() -> Account:
    """AWS as its own tools find it: profile, credential chain, region. Refuses to take a Batchyard service for AWS."""
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    session = Session()
    try:
        region = session.get_config_variable("region")
    except BotoCoreError as error:
        raise Trouble(f"The AWS configuration cannot be used: {error}", exit_code=EXIT_NO_KEYS) from error
    if not region:
        raise Trouble("No AWS region is configured.", "Set AWS_REGION, or aws configure.", exit_code=EXIT_NO_KEYS)

    def make(service: str) -> Any:
        return session.create_client(service, region_name=region, config=Config(retries={"mode": "standard", "max_attempts": 6}))

    account = Account(f"AWS in {region}", str(region), is_aws=True, url="", make=make)
    account.url = str(account.client("cloudformation").meta.endpoint_url)
    host = urlsplit(account.url).hostname or ""
    if not host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws")):
        if _is_batchyard(account.url):
            fix = "Unset AWS_ENDPOINT_URL and the keys that `batchyard env` has set (a new shell has neither), or use --target local."
            raise Trouble(f"--target aws means AWS, and this shell leads to a Batchyard service at {account.url}.", fix, exit_code=2)
        account.name = f"AWS in {region}, as the endpoint {account.url} has it"
    return account


def _is_batchyard(url: str) -> bool:
    """Whether what answers there says of itself what our services say at /healthz."""
    parts = urlsplit(url)
    connection_type = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    try:
        with closing(connection_type(parts.netloc, timeout=3.0)) as connection:
            connection.request("GET", "/healthz")
            said = json.loads(connection.getresponse().read() or b"null")
    except (OSError, http.client.HTTPException, ValueError):
        return False
    return isinstance(said, dict) and {"ready", "version"} <= said.keys()
