"""The example is a folder of scripts, not a part of the package: put it where its own scripts find it."""

import pathlib
import sys

EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / "examples" / "variant-calling"
sys.path.insert(0, str(EXAMPLE))
