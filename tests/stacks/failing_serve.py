"""`batchyard` for tests, where one resource of a stack cannot be made: the logical id in the file that FAILING_RESOURCE names."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = ""  # as `python -m` has it, without the tests beside this file
    from batchyard.main.__main__ import main
    from batchyard.services.cloudformation.running import steps

    WISH = Path(os.environ["FAILING_RESOURCE"])
    real = steps._act

    def failing() -> str:
        """What stands in the file; "" when there is none (any more)."""
        try:
            return WISH.read_text()
        except FileNotFoundError:
            return ""

    async def act(run: Any, doing: Any, act_: Any, resource: Any, is_repeat: bool) -> Any:
        if doing.verb != "delete" and not doing.undoes and resource.logical_id == failing():
            raise steps.StepFailed("cannot be made, says the test")
        return await real(run, doing, act_, resource, is_repeat)

    steps._act = act
    main()
