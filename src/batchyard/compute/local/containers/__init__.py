"""The container runtime: attempts run in their images, through the Engine REST API of Docker or Podman.

`sockets` finds a daemon and asks what it is; `wire` speaks HTTP to it without ever blocking the node; `engine` knows its verbs; `images`
pulls; `mapping` is the table from a job definition to a container; `meter` reads what a container uses; `runner` is the life of one.
Nothing is imported here, because the node starts quickly.
"""
