"""The local machine as a provider: a small node process runs the attempts, a link in the server talks to it.

Only the node and the link are meant to be used from outside; `facts` says what isolation this machine gives. Nothing is imported
here, because the node's process lives on this package and has to start quickly.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def facts(directory: str | Path) -> dict[str, Any]:
    """What this machine can and cannot give to jobs, for `doctor` and `ready`: see `host.facts`."""
    import sys
    import tempfile

    from batchyard.compute.local import bubble_trial, host

    no_bubbles = None
    if sys.platform.startswith("linux"):
        with tempfile.TemporaryDirectory(prefix="batchyard-") as place:
            no_bubbles = bubble_trial.why_not(place)
    return host.facts(Path(directory), no_bubbles=no_bubbles)
