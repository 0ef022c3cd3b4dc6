"""3GPP measurement files that are broken, are none, or mean harm."""

from __future__ import annotations

import gzip
import random
from xml.etree import ElementTree

import pytest
from made_measurements import LISTED, accounted, amounts, group, indexed, measured, read

from fomo.ingest.formats.pm_xml import pm_xml_counter_names, read_pm_xml
from fomo.ingest.ledger import IngestError


def bomb(reference: str) -> str:
    entities = "".join(f'<!ENTITY a{level} "{f"&a{level - 1};" * 10}">' for level in range(1, 10))
    return f'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a0 "lololololol">{entities}]>{reference}'


@pytest.mark.parametrize(
    "text",
    [
        bomb("<measCollecFile>&a9;</measCollecFile>"),
        bomb('<measCollecFile x="&a9;"/>'),
        bomb("<measCollecFile/>"),
        '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/hostname">]>' + measured(indexed())[22:],
        '<!DOCTYPE r [<!ENTITY % x SYSTEM "http://127.0.0.1:9/a.dtd"> %x;]>' + measured(indexed())[22:],
        '<!DOCTYPE measCollecFile [<!ATTLIST r p CDATA "1">]>' + measured(indexed())[22:],
        '<!DOCTYPE r [<!ATTLIST r p CDATA "1">]>' + measured(indexed())[22:],
    ],
    ids=[
        "billion laughs",
        "laughs in an attribute",
        "laughs unused",
        "external",
        "parameter",
        "default attributes",
        "another name",
    ],
)
def test_declared_entities_are_refused(written, text):
    for use in (lambda path: read(read_pm_xml, path), pm_xml_counter_names):
        with pytest.raises(IngestError, match=r"pm\.xml.*(declares|blow up).*refused"):
            use(written(text))


def test_an_entity_that_an_external_dtd_would_have_declared_is_no_number(written):
    text = (
        '<!DOCTYPE measCollecFile SYSTEM "file:///etc/hostname">'
        + measured(indexed({"a": {"vol": "1&secret;2"}, "b": {"vol": "3"}}))[22:]
    )
    rows, ledger = read(read_pm_xml, written(text))
    assert amounts(rows) == {"ME=1,b": (3.0, None)}
    assert ledger.rejected == {"not a number": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("  \n", "line 2"),
        ("<!DOCTYPE html><html><body><p>Log in</p></body></html>", "its root is 'html'"),
        ("<html><p>Log in<br></html>", "its root is 'html'"),
        ("<OMeS/>", "its root is 'OMeS'"),
        ("Result Time,Granularity\n", "line 1"),
        ("<a>" * 1000, "its root is 'a'"),
        ("<measCollecFile>" * 1000, "depth"),
    ],
)
def test_what_is_no_measurement_file_says_so(written, text, message):
    for use in (lambda path: read(read_pm_xml, path), pm_xml_counter_names):
        with pytest.raises(IngestError, match=message):
            use(written(text))


def test_a_file_that_breaks_off_gives_what_was_complete_then_the_place(written):
    text = measured(indexed({f"Cell={n}": {"vol": str(n)} for n in range(1000)}))
    cut = text.index('measObjLdn="Cell=700"')
    with pytest.raises(IngestError, match=r"pm\.xml breaks off .* at line 70\d, column \d+") as raised:
        read(read_pm_xml, written(text[:cut]))
    assert amounts(raised.value.rows) == {f"ME=1,Cell={n}": (float(n), None) for n in range(700)}
    with pytest.raises(IngestError, match="is cut off after"):
        read(read_pm_xml, written(gzip.compress(text.encode())[:-300], "pm.xml.gz"))


def test_a_gzip_that_is_cut_gives_what_was_complete(written):
    text = measured(indexed({f"Cell={n}": {"vol": str(n * n % 991)} for n in range(5000)}))
    packed = gzip.compress(text.encode())
    with pytest.raises(IngestError, match="is cut off after") as raised:
        read(read_pm_xml, written(packed[: len(packed) // 2], "pm.xml.gz"))
    rows = raised.value.rows
    assert 1000 < rows.height < 4000
    assert rows["traffic"].to_list() == [n * n % 991 for n in range(rows.height)]


MADE = measured(
    indexed({"a": {"vol": "1", "conn": "2"}, "b": {"vol": "3,4"}, "c": {"vol": "NIL", "conn": "5"}})
    + LISTED
    + indexed({"a": {"other": "8"}})
    + group(
        '<measValue measObjLdn="d"><r p="1">x</r><suspect>true</suspect></measValue>', '<measType p="1">vol</measType>'
    )
).encode()


def objects_in(content: bytes) -> int | None:
    """Objects that another parser finds, None where it finds the file damaged."""
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, LookupError, ValueError):
        return None
    return sum(element.tag.rpartition("}")[2] in ("measValue", "mv") for element in root.iter())


def check_any_bytes(path, content: bytes) -> bool:
    """Whether the file was read to its end; whatever it is, only `IngestError` may come, and nothing may be lost."""
    path.write_bytes(content)
    try:
        _, ledger = read(read_pm_xml, path)
    except IngestError as error:
        assert path.name in str(error)
        return False
    expected = objects_in(content)
    assert expected is None or accounted(ledger) == expected
    return True


def test_fuzz_of_bytes_never_crashes_and_loses_nothing(tmp_path):
    chance = random.Random(5)
    path = tmp_path / "fuzz.xml"
    pieces = [*rb"""< > / " & ]]> <!-- <![CDATA[ 1e999 - , p""".split(), b"\0", b"\xff"]
    assert check_any_bytes(path, MADE)
    whole = 0
    for _ in range(400):
        content = bytearray(MADE)
        for _ in range(chance.choice([1, 1, 2, 5])):
            at = chance.randrange(len(content))
            match chance.randrange(12):
                case 0:
                    content[at] = chance.randrange(256)
                case 1:
                    del content[at : at + chance.randrange(1, 60)]
                case 2:
                    content[at:at] = chance.choice(pieces)
                case 3:
                    other = chance.randrange(len(content))
                    content[at:at] = content[other : other + chance.randrange(1, 200)]
                case 4:
                    content[at] ^= 1 << chance.randrange(8)
                case _:  # so that many files stay well-formed
                    if content[at] in b"0123456789NIL:-+":
                        content[at] = chance.choice(b"0123456789abN,- ")
        whole += check_any_bytes(path, bytes(content))
    assert 50 < whole < 350


def test_every_cut_gives_a_prefix(tmp_path):
    path = tmp_path / "cut.xml"
    everything = read(read_pm_xml, written_to(path, MADE))[0].rows()
    for end in range(0, len(MADE) - 20, 37):
        with pytest.raises(IngestError, match=r"cut\.xml") as raised:
            read(read_pm_xml, written_to(path, MADE[:end]))
        rows = raised.value.rows
        assert {row[0] for row in rows.rows()} <= {row[0] for row in everything}


def written_to(path, content):
    path.write_bytes(content)
    return path
