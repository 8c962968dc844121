"""Two EZBatch jobs, the second after the first; EZBatch registers them by ecsProperties and deregisters them at once."""

from __future__ import annotations

import os

from ezbatch.workflow import EZBatchJob, EZBatchWorkflow

SEEN = {name: os.environ[name] for name in ("READS_1", "PATH")}


def job(*words: str) -> EZBatchJob:
    """One job; EZBatch cuts a command at its blanks, so the programs are files."""
    return EZBatchJob(image="genomics-tools", command=" ".join(words), environment=dict(SEEN), vcpus=1, memory=512, platform="EC2")


if __name__ == "__main__":
    here = os.environ["EXAMPLES"] + "/ezbatch"
    workflow = EZBatchWorkflow(
        name="reads",
        jobs={"count": job("bash", f"{here}/count.sh"), "longest": job("bash", f"{here}/longest.sh")},
        dependencies={"longest": ["count"]},
    )
    workflow.submit(queue=os.environ["QUEUE"])
