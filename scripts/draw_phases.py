"""The diagram of what an operation on a stack goes through, drawn from the words of `running/phases.py` itself."""

from __future__ import annotations

import re

from batchyard.services.cloudformation.running import phases

_LINE = re.compile(r"^    (\w+)(?: \(([^)]*)\))? +-> ([\w, ]+?)(?: \| ([\w, ]+?))?  +(\S.*)$", re.MULTILINE)
_END = "[*]"


def block() -> str:
    """A Mermaid state diagram. ValueError where the words name another phase than the code has."""
    found = _LINE.findall(phases.__doc__ or "")
    if {name for name, *_ in found} != set(phases.PHASES):
        raise ValueError(f"phases.py tells of {sorted(name for name, *_ in found)}, and has {sorted(phases.PHASES)}")
    lines = ["```mermaid", "stateDiagram-v2"]
    for name, begun_by, then, failed, meaning in found:
        lines.append(f"    {name}: {name}<br/>{meaning}")
        lines += [f"    {_END} --> {name}: {begun_by}"] if begun_by else []
        lines += [f"    {name} --> {_target(one)}" for one in then.split(", ")]
        lines += [f"    {name} --> {_target(one)}: something failed" for one in failed.split(", ") if one]
    return "\n".join([*lines, f"    stay --> {_END}", "```"])


def _target(name: str) -> str:
    """Where an arrow leads. ValueError if there is no such phase."""
    if name not in {*phases.PHASES, "done", "stay"}:
        raise ValueError(f"{name} is no phase")
    return _END if name == "done" else name
