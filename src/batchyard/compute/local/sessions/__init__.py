"""Sessions: commands that people run inside of a job that runs (`batchyard exec`).

    client -> server -> node (`listener.py`, a socket of its own) -> a process beside the job's (`processes.py`) or in its container
    (`containers.py`)

A session belongs to nobody's record: when the job ends, the client goes, or the server or the node dies, it is over.
"""
