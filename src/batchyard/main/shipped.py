"""What comes with Batchyard: templates, the addresses of others' that they stand in for, and entry points for jobs."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

ENTRYPOINTS = ("fetch_and_run", "stage_and_run")

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


def entrypoint(name: str) -> str:
    """The text of one of `ENTRYPOINTS`: a shell script that needs no other file."""
    folder = files("batchyard.main") / "entrypoints"
    common = (folder / "common.sh").read_text(encoding="utf-8")
    return (folder / f"{name}.sh").read_text(encoding="utf-8").replace("#include common.sh\n", common)


def entrypoint_purpose(name: str) -> str:
    """What an entry point does, in its own words."""
    return entrypoint(name).splitlines()[1].partition(": ")[2].removesuffix(".")
