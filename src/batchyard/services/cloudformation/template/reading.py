"""Reads a template's text, YAML or JSON, and keeps the line of everything in it."""

from __future__ import annotations

from batchyard.services.cloudformation.template import json_text, yaml_text
from batchyard.services.cloudformation.template.model import Template, TemplateFault

MAX_BYTES = 1_000_000  # of a template in a bucket; what comes with the call has a limit of its own


def read(text: str) -> Template:
    """The template that `text` holds, with functions in their long form. Raises TemplateFault where it cannot be read.

    A text that begins with a brace is JSON, as for AWS. Tabs and broken indentation, keys that stand twice, aliases, unknown tags and
    null values are refused with their line.
    """
    if not text.strip():
        raise TemplateFault("Either Template URL or Template Body must be specified.")
    if len(text.encode(errors="surrogatepass")) > MAX_BYTES:
        raise TemplateFault(f"Template may not exceed {MAX_BYTES} bytes in size.")
    text = text.removeprefix("\ufeff")
    content, lines = json_text.parse(text) if text.lstrip().startswith("{") else yaml_text.parse(text)
    if not isinstance(content, dict):
        raise TemplateFault("Template format error: unsupported structure.", 1)
    return Template(content=content, text=text, lines=lines)
