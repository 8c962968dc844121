"""Parses XML that strangers send: no document types, hence no entities to expand or fetch, and a bound on depth.

Also the writing half that both XML protocols share: escaping.
"""

from __future__ import annotations

import re
from xml.parsers import expat

MAX_DEPTH = 48
MAX_BYTES = 8 * 1024 * 1024

_UNSAFE_TEXT = re.compile("[&<>\r\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}


class NotXml(ValueError):
    """The bytes are not well-formed XML, or more than we accept of it; the text says what and where."""


class Element:
    """One element: its name without prefix, attributes as written, own text, children in order."""

    __slots__ = ("attributes", "children", "name", "text")

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.name = name
        self.attributes = attributes
        self.text = ""
        self.children: list[Element] = []

    def child(self, name: str) -> Element | None:
        """The first child called `name`."""
        for element in self.children:
            if element.name == name:
                return element
        return None


def parse_xml(text: bytes) -> Element:
    """The root element. Raises `NotXml` for malformed, too deep or too large text and for any document type declaration."""
    if len(text) > MAX_BYTES:
        raise NotXml(f"the document has {len(text)} bytes; at most {MAX_BYTES} are accepted")
    document = Element("", {})
    open_elements = [document]

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(open_elements) > MAX_DEPTH:
            raise NotXml(f"elements are nested deeper than {MAX_DEPTH}")
        element = Element(name.rpartition(":")[2], attributes)
        open_elements[-1].children.append(element)
        open_elements.append(element)

    def end(name: str) -> None:
        del open_elements[-1]

    def characters(chunk: str) -> None:
        open_elements[-1].text += chunk

    def doctype(*declaration: object) -> None:
        raise NotXml("a document type declaration is not accepted")

    # The encoding is ours to say: a declared one could hide a document type from nobody but could still surprise.
    parser = expat.ParserCreate("UTF-8")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise NotXml(f"{expat.errors.messages.get(error.code, 'malformed')} at line {error.lineno}") from error
    return document.children[0]


def escape(text: str) -> str:
    """`text` as element content; characters that XML 1.0 cannot hold become references, as S3 writes them."""
    if _UNSAFE_TEXT.search(text) is None:
        return text
    return _UNSAFE_TEXT.sub(_reference, text)


def can_hold(text: str) -> bool:
    """Whether XML 1.0 can: a parser refuses a document with most control characters in it, even as references."""
    return _FORBIDDEN.search(text) is None


def escape_attribute(text: str) -> str:
    """`text` as the value of a double-quoted attribute."""
    return escape(text).replace('"', "&quot;").replace("\n", "&#10;").replace("\t", "&#9;")


def _reference(match: re.Match[str]) -> str:
    character = match.group()
    return _ENTITIES.get(character) or f"&#x{ord(character):x};"
