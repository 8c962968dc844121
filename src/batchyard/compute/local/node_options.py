"""What a node is told when it is started: the options of `python -m batchyard.compute.local.node`.

The server makes them of its own settings (`link.py`), so there is nothing here that a user would have to know.
"""

from __future__ import annotations

import argparse

from batchyard.compute.local import host
from batchyard.compute.local.cage import USUAL
from batchyard.compute.local.scratching.kinds import DIRECTORY, KINDS

POLICIES = ("missing", "always", "never")  # of pulling images, see `containers/images.py`


def parser() -> argparse.ArgumentParser:
    """Reads the command line of a node."""
    options = argparse.ArgumentParser(prog="batchyard node", description="Runs the jobs of this machine for the server of DIR.")
    options.add_argument("--data", required=True, metavar="DIR", help="the server's data directory")
    options.add_argument("--work", metavar="PATH", help="where jobs get their private directories (default: DIR/work)")
    options.add_argument("--idle-s", type=float, default=60.0, metavar="S", help="end after so long without server and work (default: 60)")
    options.add_argument("--uids", type=_range, default=host.DEFAULT_UIDS, metavar="A-B", help="user ids for jobs, as root")
    options.add_argument("--isolation", choices=("auto", "cgroup", "watch"), default="auto", help="watch: never use cgroups")
    options.add_argument("--vcpus", type=float, metavar="N", help="what may run at a time (default: the machine's)")
    options.add_argument("--scratch", choices=KINDS, default=DIRECTORY, help="what jobs write on (default: a plain directory)")
    options.add_argument("--scratch-cap-bytes", type=int, default=0, metavar="N", help="as far as it may grow")
    options.add_argument("--scratch-initial-bytes", type=int, default=0, metavar="N", help="how large it is at first")
    options.add_argument("--container-scratch", choices=("on", "off"), default="on", help="off: containers have no part in it")
    options.add_argument("--gpus", type=int, nargs="*", metavar="N", help="the GPUs that jobs may have, by number (default: all)")
    options.add_argument(
        "--bubblewrap", choices=("auto", "off", "require"), default="off", help="namespaces and a /tmp of their own for jobs (default: off)"
    )
    options.add_argument("--expose", action="append", default=[], metavar="PATH", help="what jobs see although it lies in /tmp or /var/tmp")
    options.add_argument(
        "--link-local", choices=("on", "off"), default="off", help="answer jobs at 169.254.170.2 and 169.254.169.254 (default: off)"
    )
    options.add_argument("--same-user", action="store_true", help="as root: run jobs as root too (trusted users only)")
    options.add_argument("--allow-any-user", action="store_true", help="let jobs ask for any host user, root included")
    options.add_argument("--container-socket", metavar="PATH", help="run the images of jobs with the Docker or Podman daemon behind it")
    options.add_argument("--pull", choices=POLICIES, default=POLICIES[0], help="when images are pulled (default: missing)")
    options.add_argument("--image-cache-gib", type=float, metavar="N", help="how much images that were pulled may take (default: no bound)")
    options.add_argument("--container-network", default="host", metavar="NAME", help="the network of containers (default: host)")
    options.add_argument(
        "--cpu", "--container-cpu", choices=("shares", "hard"), default="shares", help="hard: no job gets more than it asks for"
    )
    options.add_argument("--pids-limit", type=int, default=USUAL.pids, metavar="N", help="processes and threads of a job; 0: no limit")
    options.add_argument(
        "--log-limit-mib", type=int, default=USUAL.log_mib, metavar="N", help="what the log of an attempt may take; 0: no limit"
    )
    return options


def _range(text: str) -> range:
    first, dash, last = text.partition("-")
    if not (dash and first.isdecimal() and last.isdecimal() and 0 < int(first) <= int(last)):
        raise argparse.ArgumentTypeError("a range of user ids looks like 60706-61183")
    return range(int(first), int(last) + 1)
