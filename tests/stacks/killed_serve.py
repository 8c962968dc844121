"""`batchyard` for tests, killed as by kill -9 right before the commit of the shelf whose number stands in the file that KILL_AT names."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = ""  # as `python -m` has it, without the tests beside this file
    from batchyard.main.__main__ import main
    from batchyard.store.shelf import Shelf

    WISH = Path(os.environ["KILL_AT"])
    real, count = Shelf.change, 0

    def change(self: Shelf, place: Any, act: Any) -> Any:
        global count
        if WISH.exists():
            count += 1
            WISH.with_suffix(".count").write_text(str(count))
            if count == int(WISH.read_text() or 0):
                os.kill(os.getpid(), signal.SIGKILL)
        return real(self, place, act)

    Shelf.change = change
    main()
