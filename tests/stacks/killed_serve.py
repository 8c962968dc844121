"""`batchyard` for tests, killed as by kill -9 right before the commit of the shelf whose number stands in the file that KILL_AT names."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = ""  # as `python -m` has it, without the tests beside this file
    from batchyard.main.__main__ import main
    from batchyard.store.shelf import Shelf

    WISH = Path(os.environ["KILL_AT"])
    real, count = Shelf.change, 0

    def wish() -> str:
        """What stands in the file; "" when there is none (any more)."""
        try:
            return WISH.read_text()
        except FileNotFoundError:
            return ""

    def change(self: Shelf, place: Any, act: Any) -> Any:
        global count
        with open(WISH.with_suffix(".lock"), "w") as lock:  # who takes the wish away under it knows what still comes of it: nothing
            fcntl.flock(lock, fcntl.LOCK_EX)
            number = wish()
            if number:
                count += 1
                draft = WISH.with_suffix(f".{threading.get_ident()}")
                draft.write_text(str(count))
                draft.replace(WISH.with_suffix(".count"))  # whole, whenever it is looked at
                if count == int(number):
                    os.kill(os.getpid(), signal.SIGKILL)
        return real(self, place, act)

    Shelf.change = change
    main()
