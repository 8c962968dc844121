"""`batchyard` for tests, where the creation of one resource of a stack fails: the logical id in the file that FAILING_RESOURCE names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.running import steps

WISH = Path(os.environ["FAILING_RESOURCE"])
_act = steps._act


async def act(run: Any, doing: Any, act_: Any, resource: Any, is_repeat: bool) -> Any:
    wish = WISH.read_text() if WISH.exists() else ""
    if doing.verb != "delete" and not doing.undoes and resource.logical_id == wish:
        raise steps.StepFailed("injected")
    return await _act(run, doing, act_, resource, is_repeat)


if __name__ == "__main__":
    assert issubclass(Fault, Exception)
    steps._act = act
    from batchyard.main.__main__ import main

    main()
