"""serve, down, env: a service's beginning, its end, and how other tools find it."""

from __future__ import annotations

import gc
import http.client
import os
import shlex
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from batchyard.main.client import EXIT_CANNOT, EXIT_NO_SERVICE, Client, Place, Trouble, Unreachable
from batchyard.main.commands.draw import emit, say
from batchyard.main.commands.place import NEAREST, from_folder, nearest

RUNTIMES = ("auto", "container", "process")
DOWN_PATIENCE_S = 180.0  # jobs have 30 s, and what was written to scratch space goes to a disk before that can be unmounted
GRACE_S = 30.0
ANSWER_WITHIN_S = 30.0
LATER = click.FloatRange(min=0.1)
_IN_SECONDS = {name: f"{name}_s" for name in ("spot_notice", "idle", "log_delivery")}  # what settings say with their unit
WAITERS = Path(__file__).parents[2] / "botocore_data"  # AWS has published no waiters for Batch: these are ours
_CONFUSING = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")


def _pair(option: click.Parameter, text: str) -> tuple[str, str]:
    prefix, sign, instead = text.partition("=")
    if not sign or not prefix or not instead:
        raise click.BadParameter(f"{text!r} must be PREFIX=INSTEAD", param=option)
    return prefix, instead


@click.command()
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="The folder that holds all state  [./.batchyard]")
@click.option("--host", help="The address to listen on  [127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="The port; 0 takes a free one. Sticky in the folder.")
@click.option("--auth", type=click.Choice(["sigv4", "off"]), help="Whether signatures are checked; off only on loopback  [sigv4]")
@click.option("--vcpus", type=click.FloatRange(min=0, min_open=True), help="vCPUs of this machine that jobs may use  [all]")
@click.option("--memory-mib", type=click.IntRange(min=1), help="Memory of this machine that jobs may use, in MiB  [most]")
@click.option("--profile", type=click.Choice(["open", "aws"]), help="`aws` enforces AWS's quotas, `open` lifts them  [open]")
@click.option("--region", help="The region that it stands for. Sticky in the folder.")
@click.option("--account", help="The account that it stands for: 12 digits. Sticky in the folder.")
@click.option("--spot-notice", type=click.FloatRange(min=0), metavar="SECONDS", help="Notice before a Spot instance is reclaimed  [120]")
@click.option("--enforce-iam/--no-enforce-iam", default=None, help="Whether IAM policies are enforced  [with --profile aws]")
@click.option("--idle", type=click.FloatRange(min=0), metavar="SECONDS", help="How long an instance without jobs is kept  [60]")
@click.option("--retention-days", type=click.FloatRange(min=0, min_open=True), help="How long finished jobs are kept  [for ever; aws: 7]")
@click.option(
    "--runtime",
    type=click.Choice(RUNTIMES),
    envvar="BATCHYARD_RUNTIME",
    help="How jobs run: in containers, as processes, or auto: in containers where Docker or Podman answers  [auto]",
)
@click.option("--container-socket", type=click.Path(path_type=Path), help="The daemon's unix socket  [DOCKER_HOST, then the usual places]")
@click.option("--pull", type=click.Choice(["missing", "always", "never"]), help="When images are pulled  [missing]")
@click.option(
    "--image-cache-gib", type=click.FloatRange(min=0, min_open=True), metavar="N", help="What images that were pulled may take  [no bound]"
)
@click.option("--container-network", metavar="NAME", help="The network of containers; only on the host's do they reach the service  [host]")
@click.option("--webhook", "webhooks", multiple=True, metavar="URL", help="POST events of jobs and queues to URL; may be given again")
@click.option("--log-delivery", type=LATER, metavar="SECONDS", help="How often the access logs of buckets become objects  [60]")
@click.option(
    "--template-url",
    "template_urls",
    multiple=True,
    metavar="PREFIX=INSTEAD",
    callback=lambda _, option, given: tuple(_pair(option, text) for text in given),
    help="Read templates whose URL begins with PREFIX from INSTEAD: file:FOLDER/, s3://BUCKET/PREFIX; may be given again",
)
@click.option(
    "--cpu", "--container-cpu", "cpu", type=click.Choice(["shares", "hard"]), help="hard: no job gets more vCPUs than it asks for  [shares]"
)
@click.option(
    "--bubblewrap",
    type=click.Choice(["auto", "off", "require"]),
    help="Whether processes have namespaces and a /tmp of their own: auto, where bubblewrap works  [auto]",
)
@click.option("--expose", multiple=True, metavar="PATH", help="What processes see although it lies in /tmp or /var/tmp; may be given again")
@click.option("--pids-limit", type=click.IntRange(min=0), metavar="N", help="Processes and threads of a job; 0: no limit  [4096]")
@click.option("--log-limit-mib", type=click.IntRange(min=0), metavar="N", help="What the log of an attempt may take; 0: no limit  [1024]")
@click.option(
    "--scratch",
    type=click.Choice(["auto", "loop-btrfs", "loop-xfs", "directory"]),
    envvar="BATCHYARD_SCRATCH",
    help="What jobs write on: space that grows under them, or a directory; auto: as root the first that this machine can do  [auto]",
)
@click.option("--scratch-gib", type=click.FloatRange(min=0.3), help="As far as it may grow, in GiB. Sticky in the folder.")
@click.option("--scratch-initial-gib", type=click.FloatRange(min=0.1), help="How large it is at first, in GiB  [a 64th, 1 to 16]")
@click.option(
    "--link-local",
    type=click.Choice(["on", "off"]),
    help="on: jobs find their endpoints at the addresses that scripts have built in, 169.254.169.254 and 169.254.170.2; needs root  [off]",
)
@click.option("--container-scratch", type=click.Choice(["on", "off"]), help="Give containers a part of it as /scratch and /tmp  [on]")
def serve(**given: Any) -> None:
    """Run the service, until it is stopped.

    Jobs go on when it stops (Ctrl-C, SIGTERM, a crash) and are found again at the next start; `batchyard down` ends them.
    """
    gc.disable()  # until the server is ready: what is imported and read at the start stays
    from batchyard.main.serve import serve as run
    from batchyard.main.settings import Settings

    raise SystemExit(run(Settings(**{_IN_SECONDS.get(name, name): value for name, value in given.items() if value is not None})))


@click.command()
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="The folder of the service to end  [the nearest]")
@click.option("--keep-jobs", is_flag=True, help="End the server only: jobs go on and are found again at the next start.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def down(data: Path | None, keep_jobs: bool, as_json: bool) -> None:
    """End a service: its jobs, its node, its server.

    Jobs get SIGTERM, and SIGKILL after 30 seconds; those that wait fail as well.

    Only a service of this machine can be ended, and only by who can read its folder. What it has stored stays.
    """
    place = _here(data, "end")
    try:
        with Client(place) as client:
            answer = client.own("down", keepJobs=keep_jobs)
    except Unreachable as unreachable:
        _end_the_node_alone(place, unreachable, keep_jobs=keep_jobs, as_json=as_json)
        return
    waited_from = time.monotonic()
    if not as_json:
        say("The server ends; jobs go on." if keep_jobs else "Jobs, node and server end (jobs get up to 30 s) ...")
    while _is_held(place.folder):  # and not as long as anybody answers: its port may be another service's by now
        if time.monotonic() - waited_from > DOWN_PATIENCE_S:
            raise Trouble(f"{place.name} has not ended after {DOWN_PATIENCE_S:.0f} s.", "Look into its log, then try again.")
        time.sleep(0.1)
    if as_json:
        emit({"down": True, "data": str(place.folder), **answer})
    else:
        say(f"Down. What it stored stays in {place.folder}.")


@click.command()
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="The folder of the service  [the nearest]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def env(data: Path | None, as_json: bool) -> None:
    """Print what makes AWS tools talk to the service.

    \b
    eval "$(batchyard env --data DIR)"
    aws batch describe-job-queues
    """
    place = _here(data, "use")
    if not answers(place):
        raise Unreachable(f"{place.name} does not answer at {_netloc(place)}.", place.start_hint, exit_code=EXIT_NO_SERVICE)
    keys = place.keys()
    values = {
        "AWS_ENDPOINT_URL": place.endpoint_of("batch"),
        "AWS_ACCESS_KEY_ID": keys.access_key_id if keys else "batchyard",
        "AWS_SECRET_ACCESS_KEY": keys.secret_access_key if keys else "batchyard",
        "AWS_DEFAULT_REGION": place.region,
        "AWS_REGION": place.region,
        "AWS_DATA_PATH": os.pathsep.join([str(WAITERS), *filter(None, [_others_data_path()])]),
    }
    proxied = next((name for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy") if os.environ.get(name)), None)
    if proxied:  # a proxy would be asked for this machine's own address
        hosts = [os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or "", "127.0.0.1", "localhost"]
        values["NO_PROXY"] = values["no_proxy"] = ",".join(host for host in hosts if host)
    if as_json:
        emit(values)
        return
    narrower = sorted(name for name in os.environ if name.startswith("AWS_ENDPOINT_URL_"))
    click.echo(f"unset {' '.join([*_CONFUSING, *narrower])}")
    for name, value in values.items():
        click.echo(f"export {name}={shlex.quote(value)}")
    if sys.stdout.isatty():
        call = "batchyard env" + (f" --data {shlex.quote(str(data))}" if data else "")
        say(f'# For this shell: eval "$({call})"')


def _others_data_path() -> str:
    """What AWS_DATA_PATH says already, without our own folder."""
    return os.pathsep.join(each for each in os.environ.get("AWS_DATA_PATH", "").split(os.pathsep) if each and each != str(WAITERS))


def _end_the_node_alone(place: Place, unreachable: Unreachable, *, keep_jobs: bool, as_json: bool) -> None:
    """The server has died, its node and jobs have not: end those. Raises `unreachable` if there is nothing to end."""
    from batchyard.compute.local.link import LocalProvider, left_behind
    from batchyard.main.commands.checks import node_answers

    folder = place.folder
    if keep_jobs or folder is None or not (node_answers(folder) or left_behind(folder)):
        unreachable.message = f"{place.name} does not run: there is nothing to end."
        unreachable.fix = ""
        raise unreachable
    import asyncio

    if not as_json:
        say("The server does not run, but its node does: it and its jobs end (up to 30 s) ...")
    asyncio.run(LocalProvider(folder).shut_down(GRACE_S))
    if as_json:
        emit({"down": True, "data": str(folder), "keepJobs": False})
    else:
        say("Down. The jobs that it ran are tried again, if their retry strategy says so, or have FAILED at the next start.")


def _here(folder: Path | None, verb: str) -> Place:
    """The service of `folder`, else the nearest; never AWS."""
    found = folder or nearest()
    if found is None:
        what = f"No service to {verb}: there is no {NEAREST}/endpoint.json here, and BATCHYARD_DATA is not set."
        if verb == "end":  # wherever else the environment points: AWS has nothing that could be ended
            fix = "Name its folder with --data DIR. AWS Batch, or a service elsewhere, cannot be taken down from here."
            raise Trouble(what, fix, exit_code=EXIT_CANNOT)
        raise Trouble(what, "Name its folder with --data DIR, or start one: batchyard serve", exit_code=EXIT_NO_SERVICE)
    return from_folder(found)


def answers(place: Place) -> bool:
    """Whether somebody answers `/healthz` there."""
    connection = http.client.HTTPConnection(_netloc(place), timeout=ANSWER_WITHIN_S)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _is_held(folder: Path | None) -> bool:
    """Whether a server still has the folder open: it lets go only after its last writes."""
    import fcntl

    try:
        with open((folder or NEAREST) / "server.lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _netloc(place: Place) -> str:
    return urlsplit(place.endpoint_of("batch")).netloc
