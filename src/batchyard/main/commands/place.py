"""Where a command talks to: a folder that was named, the environment's endpoint, the nearest service, else AWS as configured."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from batchyard.main.client import EXIT_NO_KEYS, EXIT_NO_SERVICE, Client, Keys, Place, Trouble

NEAREST = Path(".batchyard")
_SERVICE_VARIABLES = {"batch": "AWS_ENDPOINT_URL_BATCH", "logs": "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS"}


def talks(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command that talks to a service: gives it `--data` and `--aws`, and a `Client` as its first argument."""

    @click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="The folder of the service to talk to.")
    @click.option("--aws", is_flag=True, help="Talk to what the usual AWS configuration names, even if a service runs here.")
    @functools.wraps(command)
    def run(*args: Any, data: Path | None, aws: bool, **kwargs: Any) -> Any:
        with Client(find(data, aws=aws)) as client:
            return command(client, *args, **kwargs)

    return run


def find(folder: Path | None = None, *, aws: bool = False) -> Place:
    """The `Place` to talk to: `folder` if given; else AWS_ENDPOINT_URL and keys of the environment; else the service of
    $BATCHYARD_DATA or ./.batchyard, if there is one; else AWS by its usual configuration. `aws` leaves out the folders."""
    if folder is not None:
        return from_folder(folder)
    named = _from_environment()
    if named is not None:
        return named
    near = None if aws else nearest()
    return from_folder(near) if near else from_aws()


def nearest() -> Path | None:
    """$BATCHYARD_DATA if it is set, else ./.batchyard if a service has run there."""
    named = os.environ.get("BATCHYARD_DATA")
    if named:
        return Path(named)
    return NEAREST if (NEAREST / "endpoint.json").exists() else None


def from_folder(folder: Path) -> Place:
    """The service whose data are in `folder`, by its endpoint.json; raises `Trouble` where no service has run yet."""
    start = f"Start it: batchyard serve --data {folder}"
    try:
        found = json.loads((folder / "endpoint.json").read_text())
        url, region = str(found["endpoint_url"]), str(found["region"])
        keys = Keys(str(found["access_key_id"]), str(found["secret_access_key"])) if found.get("access_key_id") else None
    except FileNotFoundError:
        raise Trouble(f"No service has run in {folder}: there is no endpoint.json.", start, exit_code=EXIT_NO_SERVICE) from None
    except OSError as error:
        raise Trouble(f"{folder / 'endpoint.json'} cannot be read: {error.strerror}.", exit_code=EXIT_NO_SERVICE) from None
    except (ValueError, KeyError, TypeError) as error:
        raise Trouble(f"{folder / 'endpoint.json'} is damaged ({error!r}).", f"{start} (it is written anew)") from None
    return Place("batchyard", f"The service of {folder}", region, lambda service: url, lambda: keys, folder, start)


def _from_environment() -> Place | None:
    """The endpoint that AWS_ENDPOINT_URL_BATCH or AWS_ENDPOINT_URL names, if the keys stand in the environment as well."""
    if os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    common = os.environ.get("AWS_ENDPOINT_URL", "")
    urls = {service: os.environ.get(variable) or common for service, variable in _SERVICE_VARIABLES.items()}
    key, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if not (urls["batch"] and key and secret):
        return None
    if not urls["batch"].startswith(("http://", "https://")):
        raise Trouble(f"AWS_ENDPOINT_URL is {urls['batch']!r}: that is no http:// or https:// address.", exit_code=EXIT_NO_SERVICE)
    keys = Keys(key, secret, os.environ.get("AWS_SESSION_TOKEN", ""))
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"

    def endpoint_of(service: str) -> str:
        return urls.get(service) or urls["batch"]

    hint = "AWS_ENDPOINT_URL names it: is the service up? (`batchyard serve`, `batchyard doctor`)"
    return Place(_kind(urls["batch"]), _name(urls["batch"], region), region, endpoint_of, lambda: keys, None, hint)


def from_aws() -> Place:
    """AWS as its own tools find it: profile, credential chain, region, configured endpoints. Raises `Trouble` if any is missing."""
    import botocore.exceptions
    import botocore.session

    start = "Start a service here (batchyard serve), name one (--data DIR), or configure AWS (aws configure)."
    session = botocore.session.get_session()
    try:
        region = session.get_config_variable("region") or os.environ.get("AWS_REGION")
        if not region:
            raise Trouble("No Batchyard service is here, and no AWS region is configured.", start, exit_code=EXIT_NO_SERVICE)
        credentials = session.get_credentials()
        if credentials is None:
            raise Trouble("No Batchyard service is here, and no AWS credentials are configured.", start, exit_code=EXIT_NO_KEYS)
        batch = session.create_client("batch", region_name=region)
    except botocore.exceptions.BotoCoreError as error:
        raise Trouble(f"The AWS configuration cannot be used: {error}", start, exit_code=EXIT_NO_KEYS) from error
    urls = {"batch": str(batch.meta.endpoint_url)}

    def endpoint_of(service: str) -> str:
        if service not in urls:
            urls[service] = str(session.create_client(service, region_name=region).meta.endpoint_url)
        return urls[service]

    def keys() -> Keys:
        try:
            frozen = credentials.get_frozen_credentials()
        except botocore.exceptions.BotoCoreError as error:
            fix = "Renew them (for example `aws sso login`) and try again."
            raise Trouble(f"The AWS credentials cannot be had: {error}", fix, exit_code=EXIT_NO_KEYS) from error
        return Keys(frozen.access_key, frozen.secret_key, frozen.token or "")

    kind = _kind(urls["batch"])
    return Place(kind, _name(urls["batch"], region), region, endpoint_of if kind == "aws" else _or_batch(endpoint_of), keys)


def _or_batch(endpoint_of: Callable[[str], str]) -> Callable[[str], str]:
    """The routes of a Batchyard service lie beside its Batch."""
    return lambda service: endpoint_of("batch" if service == "batchyard" else service)


def _kind(url: str) -> str:
    host = url.partition("//")[2].partition("/")[0].partition(":")[0]
    return "aws" if host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws")) else "endpoint"


def _name(url: str, region: str) -> str:
    return f"AWS Batch in {region}" if _kind(url) == "aws" else f"The service at {url}"
