"""Jobs that ask at the addresses that programs have built in: played in the guest, whose kernel knows sockets by their cgroup.

Not a test module. With cgroups of version 1 the tests in `tests/doors` see the same.
"""

from __future__ import annotations

import fcntl
import json
import socket
import struct
from typing import Any

from cage_cases import python
from compute_rig import LocalRig

from batchyard.compute.local import knobs
from batchyard.compute.local.doors import netlink
from batchyard.model.task import RoleKeys, TaskFacts

OPTIONS = ("--link-local", "on")
VERDICT: dict[str, Any] = {
    "owner": [200, 200, 200],
    "instance": "i-1",
    "role": "arn:owner",
    "other": [200, 200, 404, 404],
    "nobody": [404, 404],
    "labels": ["lo:batchyard", "lo:batchyard"],
    "left": [],
    "group": True,
}
ASK = """
import json, socket
def ask(address, path):
    with socket.create_connection((address, 80), timeout=60) as peer:
        peer.sendall(f"GET {path} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n".encode())
        answer = b""
        while piece := peer.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\\r\\n\\r\\n")
    return int(head.split()[1]), body.decode()
TASKS, INSTANCES = "169.254.170.2", "169.254.169.254"
ID = "/latest/meta-data/instance-id"
"""
OWNER = """
key = os.environ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"]
metadata = os.environ["ECS_CONTAINER_METADATA_URI_V4"].removeprefix("http://" + TASKS)
answers = [ask(INSTANCES, ID), ask(TASKS, key), ask(TASKS, metadata)]
print(json.dumps([answers, key, metadata]), flush=True)
time.sleep(600)
"""
OTHER = """
key, metadata = {theirs!r}
own = os.environ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"]
print(json.dumps([ask(INSTANCES, ID)[0], ask(TASKS, own)[0], ask(TASKS, key)[0], ask(TASKS, metadata)[0]]), flush=True)
"""
_SET_FLAGS, _UP_AND_RUNNING = 0x8914, 0x41


def loopback_up() -> None:
    """What a machine does when it starts."""
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh", b"lo", _UP_AND_RUNNING))


def facts(attempt: str, role: str) -> TaskFacts:
    keys = RoleKeys(role_arn=role, access_key_id="AK", secret_access_key="SK", session_token="T")
    return TaskFacts(task_arn=f"arn:aws:ecs:us-east-1:000000000000:task/c/{attempt}", zone="us-east-1a", names=("default",), role=keys)


def _kernel_tells_the_group() -> bool:
    """Whether it says in which cgroup of version 2 a connection was made."""
    place = knobs.own_place2()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), timeout=60) as own:
        held = netlink.held(own.getsockname(), server.getsockname())
    return held is not None and place is not None and held.group == knobs.group_id(place)


async def play(rig: LocalRig) -> dict[str, Any]:
    """Two jobs and somebody who is none ask for the same."""
    before = set(netlink.addresses())
    await rig.connect()
    await rig.up()
    labels = [each.label for each in netlink.addresses() if each not in before]
    owner = rig.launch(*python(ASK + OWNER), attempt="owner", facts=facts("owner", "arn:owner"))
    rig.provider.carry_out([owner])
    answers, *theirs = json.loads((await rig.says("owner"))[0])
    (_, instance), (_, keys), _ = answers
    _, lines = await rig.run(*python(ASK + OTHER.format(theirs=theirs)), attempt="other", facts=facts("other", "arn:other"))
    namespace: dict[str, Any] = {}
    exec(ASK, namespace)  # what the jobs do, by us
    nobody = [namespace["ask"]("169.254.170.2", theirs[0])[0], namespace["ask"]("169.254.169.254", "/latest/meta-data/")[0]]
    await rig.provider.shut_down(0.0)
    return {
        "owner": [status for status, _ in answers],
        "instance": instance,
        "role": json.loads(keys)["RoleArn"],
        "other": json.loads(lines[0]),
        "nobody": nobody,
        "labels": labels,
        "group": _kernel_tells_the_group(),
        "left": [each.address for each in netlink.addresses() if each not in before],
    }
