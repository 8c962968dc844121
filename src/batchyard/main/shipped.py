"""The templates that come with Batchyard, and the addresses of others' that they stand in for."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

# The VPC that the genomics templates of 2018 nest; nobody answers there any more.
_QUICK_START_VPC = (
    "https://aws-quickstart.s3.amazonaws.com/quickstart-aws-vpc/templates/aws-vpc.template",
    "https://s3.amazonaws.com/aws-quickstart/quickstart-aws-vpc/templates/aws-vpc.template",
)


def templates_folder() -> Path:
    """Where the templates lie: inside the package where it was installed, beside `src` in a checkout."""
    package = Path(str(files("batchyard")))
    inside = package / "templates"
    return inside if inside.is_dir() else package.parents[1] / "templates"


def template_urls() -> tuple[tuple[str, str], ...]:
    """What `--template-url` says before anybody says anything: URLs of templates that are gone, and ours that take their place."""
    network = f"file:{templates_folder() / 'genomics' / 'network.yaml'}"
    return tuple((url, network) for url in _QUICK_START_VPC)
