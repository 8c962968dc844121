"""Machine images that exist from the start: the names under which AWS publishes them, with ids of our own.

The ids are placeholders: slices of this machine boot no image. They let templates and tools that look images up go on.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple


class Image(NamedTuple):
    """A machine image: `path` is its public parameter below /aws/service without `/image_id`."""

    path: str
    name: str
    description: str
    architecture: str
    owner: str = "591542846629"
    alias: str = "amazon"

    @property
    def id(self) -> str:
        """`ami-` and 17 hexadecimal digits, the same everywhere."""
        return "ami-" + hashlib.sha256(self.path.encode()).hexdigest()[:17]


def _ecs(path: str, name: str, architecture: str = "x86_64") -> Image:
    return Image(f"/aws/service/ecs/optimized-ami/{path}/recommended", name, "Amazon ECS-optimized AMI (placeholder)", architecture)


def _linux(path: str, architecture: str = "x86_64") -> Image:
    return Image(f"/aws/service/ami-amazon-linux-latest/{path}", path, "Amazon Linux AMI (placeholder)", architecture, "137112412989")


IMAGES = (
    _ecs("amazon-linux-2", "amzn2-ami-ecs-hvm-2.0.20261101-x86_64-ebs"),
    _ecs("amazon-linux-2/arm64", "amzn2-ami-ecs-hvm-2.0.20261101-arm64-ebs", "arm64"),
    _ecs("amazon-linux-2/gpu", "amzn2-ami-ecs-gpu-hvm-2.0.20261101-x86_64-ebs"),
    _ecs("amazon-linux-2023", "al2023-ami-ecs-hvm-2023.0.20261101-kernel-6.1-x86_64"),
    _ecs("amazon-linux-2023/arm64", "al2023-ami-ecs-hvm-2023.0.20261101-kernel-6.1-arm64", "arm64"),
    _ecs("amazon-linux-2023/gpu", "al2023-ami-ecs-gpu-hvm-2023.0.20261101-kernel-6.1-x86_64-ebs"),
    _linux("amzn2-ami-hvm-x86_64-gp2"),
    _linux("amzn2-ami-hvm-arm64-gp2", "arm64"),
    _linux("al2023-ami-kernel-default-x86_64"),
    _linux("al2023-ami-kernel-default-arm64", "arm64"),
)
