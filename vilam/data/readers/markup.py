"""XML files of tools, without what untrusted files could do: a file that declares entities is refused."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from vilam.errors import VilamError, one_line


class _NoEntities(ET.TreeBuilder):
    def doctype(self, _name: str, _public: str | None, _system: str | None) -> None:
        raise ValueError("it declares a document type, which no annotation tool writes")


def read_xml(path: Path) -> ET.Element:
    """The root element of an XML file; raises VilamError if it cannot be read or declares a document type."""
    try:
        return ET.parse(path, ET.XMLParser(target=_NoEntities())).getroot()
    except OSError as error:
        raise VilamError(f"{path}: {error.strerror}: check prepare.root") from None
    except (ET.ParseError, ValueError, LookupError) as error:
        raise VilamError(f"{path}: not readable as XML: {one_line(error)}") from None
