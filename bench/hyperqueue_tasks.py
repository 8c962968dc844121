"""Runs in the peers' environment, in a network namespace of its own: prints the seconds that HyperQueue takes for N x /bin/true."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import sys
import time

SIOCSIFFLAGS = 0x8914
UP_AND_RUNNING = 0x41
WORKERS, CORES = 2, 4


def main(folder: str, tasks: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", UP_AND_RUNNING))
    from hyperqueue import Job, LocalCluster
    from hyperqueue.cluster import WorkerConfig

    os.chdir(folder)  # its tasks' output goes there
    with LocalCluster(folder) as cluster:
        for _ in range(WORKERS):
            cluster.start_worker(WorkerConfig(cores=CORES))
        client = cluster.client()
        job = Job()
        for _ in range(tasks):
            job.program(["/bin/true"])
        started = time.perf_counter()
        submitted = client.submit(job)
        client.wait_for_jobs([submitted])  # raises if a task failed
        seconds = time.perf_counter() - started
    print(seconds)


main(sys.argv[1], int(sys.argv[2]))
