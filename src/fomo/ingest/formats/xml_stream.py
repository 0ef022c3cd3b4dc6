"""XML as a stream of finished elements, with everything off that XML can do beyond holding data.

No entities, no DTDs, no network, libxml2's own limits on depth, lengths and amplification. A bare DOCTYPE is let pass
(files after TS 32.401 name their DTD, which is never fetched); one with declarations is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fomo.ingest.formats.compressed import open_binary
from fomo.ingest.ledger import IngestError


def root_of(path: Path) -> str:
    """The local name of the root element. Raises `IngestError` for what is no XML, and for declared entities."""
    for element in _events(path, ("start",), None):
        return local(element)
    raise IngestError(f"{path} is empty: export it again")


def finished(path: Path, tags: Sequence[str]) -> Iterator[Any]:
    """Elements of those local names, in any namespace, in the order in which they end.

    An element is emptied when the next one is asked for, so take what is needed of it at once; what lies before it in
    the same parent is removed. Raises `IngestError` at the place where the file breaks off or is not well-formed, after
    all elements that ended before it.
    """
    for element in _events(path, ("end",), [f"{{*}}{tag}" for tag in tags]):
        yield element
        element.clear()
        parent = element.getparent()
        while parent is not None and parent[0] is not element:
            del parent[0]


def _events(path: Path, events: tuple[str, ...], tags: list[str] | None) -> Iterator[Any]:
    try:
        from lxml import etree
    except ImportError:
        raise IngestError("measurement files in XML need lxml: pip install 'fomo[operator]'") from None
    with open_binary(path) as file:
        parser = etree.iterparse(
            file,
            events=events,
            tag=tags,
            load_dtd=False,
            no_network=True,
            resolve_entities=False,
            huge_tree=False,
            collect_ids=False,
            remove_comments=True,
            remove_pis=True,
        )
        checked = False
        try:
            for _, element in parser:
                if not checked:
                    _check_declarations(path, element)
                    checked = True
                yield element
        except etree.XMLSyntaxError as error:
            raise IngestError(_explained(path, error)) from None


def _check_declarations(path: Path, root: Any) -> None:
    """Refuse what a DTD within the file declares. `root` has only begun, so little of the file is there yet."""
    from lxml import etree

    declared = root.getroottree().docinfo.internalDTD
    if declared is None:
        return
    found = [("entity", entity.name) for entity in declared.iterentities()]
    # Other declarations show only where the beginning is written out, which lxml does for a DTD of the root's own name.
    text = etree.tostring(root.getroottree())
    if not found and not text.startswith(b"<!DOCTYPE"):
        found = [("document type", declared.name)]
    found = found or [
        (kind.decode().lower(), name.decode(errors="replace"))
        for kind, name in re.findall(rb"<!(ELEMENT|ATTLIST|NOTATION)\s+([^\s>]{1,60})", text)
    ]
    for kind, name in found:
        raise IngestError(
            f"{path} declares the {kind} {name!r} in a DTD of its own: measurement files have none, and entities can "
            "be made to fill a memory or to read other files; it is refused"
        )


def _explained(path: Path, error: Any) -> str:
    line, column = error.position
    text = str(error).split(", line ")[0]
    if "amplification" in text or "entity loop" in text:
        return f"{path}, line {line}, declares entities that blow up ({text}): it is refused"
    if not line or "Document is empty" in text:
        return f"{path} is empty: export it again"
    return f"{path} breaks off or is no well-formed XML at line {line}, column {column} ({text}): fetch it again"


def local(element: Any) -> str:
    """The name of an element without its namespace; '' of an entity."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def text_of(element: Any) -> str:
    """All text within an element; an entity stays as it is written, so that it is no number."""
    if not len(element):
        return element.text or ""
    return "".join(element.itertext())


__all__ = ["finished", "local", "root_of", "text_of"]
