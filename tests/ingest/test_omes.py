"""Nokia's OMeS files."""

from __future__ import annotations

import random
from datetime import datetime

import pytest
from made_measurements import SETUP, amounts, mapping_of, omes, read, result

from fomo.ingest.formats.long import MERGED, SUSPECT, TWICE, UNUSED
from fomo.ingest.formats.omes import omes_counter_names, read_omes
from fomo.ingest.ledger import IngestError

WANTED = mapping_of("M8012C20", "M8001C200")


@pytest.fixture
def written(tmp_path):
    def write(text: str | bytes):
        path = tmp_path / "omes.xml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_counters_are_elements_and_groups_of_a_cell_are_one_row(written):
    path = written(
        omes(
            result("PLMN/1/LNCEL-1", M8012C20="120", M8012C19="5"),
            result("PLMN/1/LNCEL-2", M8012C20=" "),
            result("PLMN/1/LNCEL-1", "LTE_Cell_Load", M8001C200="3.5"),
            result("PLMN/1/LNCEL-1", "LTE_Other", M8005C1="9"),
        )
    )
    rows, ledger = read(read_omes, path, WANTED)
    assert amounts(rows) == {"PLMN/1/LNCEL-1": (120.0, 3.5), "PLMN/1/LNCEL-2": (None, None)}
    assert rows["begin"].to_list() == [datetime(2024, 3, 5, 10)] * 2 and rows["minutes"].to_list() == [15, 15]
    assert ledger.noted == {MERGED: 1, UNUSED: 1} and not ledger.rejected
    assert omes_counter_names(path) == ["M8012C20", "M8012C19", "M8001C200", "M8005C1"]


@pytest.mark.parametrize(
    ("managed", "name"),
    [
        ("<MO><DN>A/B</DN></MO>", "A/B"),
        ("<MO><baseId>NE-MRBTS-1</baseId><localMoid>DN:NE-LNBTS-2</localMoid></MO>", "NE-MRBTS-1/NE-LNBTS-2"),
        ("<MO><baseId>NE-MRBTS-1</baseId><localMoid>DN:NE-MRBTS-1/LNCEL-3</localMoid></MO>", "NE-MRBTS-1/LNCEL-3"),
        ("<MO><localMoid>DN:NE-LNBTS-2</localMoid></MO>", "NE-LNBTS-2"),
        ("<MO><baseId>NE-MRBTS-1</baseId></MO>", "NE-MRBTS-1"),
        ("<MO><DN>A/B</DN></MO><MO><DN>QCI-5</DN></MO>", "A/B,QCI-5"),
    ],
)
def test_names_of_objects(written, managed, name):
    text = omes(result("X", M8012C20="1")).replace('<MO dimension="network_element"><DN>X</DN></MO>', managed)
    assert amounts(read(read_omes, written(text), WANTED)[0]) == {name: (1.0, None)}


@pytest.mark.parametrize(
    ("setup", "begin", "minutes", "reason"),
    [
        ('<PMSetup startTime="2024-03-05T10:00:00" interval="60">', datetime(2024, 3, 5, 10), 60, ""),
        ('<PMSetup startTime="2024-03-05T10:00:00" interval="PT15M">', datetime(2024, 3, 5, 10), 15, ""),
        ('<PMSetup startTime="2024-03-05T10:00:00Z" interval="60">', datetime(2024, 3, 5, 10), 60, ""),
        ('<PMSetup startTime="2024-03-05T10:00:00">', None, None, "no granularity period"),
        ('<PMSetup startTime="2024-03-05T10:00:00" interval="x">', None, None, "no granularity period"),
        ('<PMSetup startTime="2024-03-05T10:00:00" interval="0">', None, None, "no granularity period"),
        ('<PMSetup startTime="soon" interval="60">', None, None, "no time that can be read"),
        ('<PMSetup interval="60">', None, None, "no time that can be read"),
    ],
)
def test_the_time_is_the_beginning(written, setup, begin, minutes, reason):
    rows, ledger = read(read_omes, written(omes(result("X", M8012C20="1"), setup=setup)), WANTED)
    assert rows.select("begin", "minutes").rows() == ([] if reason else [(begin, minutes)])
    assert ledger.rejected == ({reason: 1} if reason else {})


def test_a_zone_and_two_setups(written):
    text = omes(result("X", M8012C20="1")).replace(
        "</OMeS>", SETUP.replace("10:00:00", "10:15:00", 1) + result("X", M8012C20="2") + "</PMSetup></OMeS>"
    )
    zoned = mapping_of("M8012C20", "M8001C200", time={"zone": "UTC"})
    rows, _ = read(read_omes, written(text), zoned)
    assert rows.select("begin", "traffic").rows() == [
        (datetime(2024, 3, 5, 8), 1.0),
        (datetime(2024, 3, 5, 8, 15), 2.0),
    ]
    with pytest.raises(IngestError, match=r"mixed zones .*set \[time\] zone"):
        read(read_omes, written(text.replace("10:15:00.000+02", "10:15:00.000+03")), WANTED)


def test_broken_other_and_harmful_files(written):
    text = omes(*(result(f"C{n}", M8012C20=str(n)) for n in range(50)))
    with pytest.raises(IngestError, match=r"omes\.xml breaks off .* line 3\d") as raised:
        read(read_omes, written(text[: text.index("<DN>C30<")]), WANTED)
    assert amounts(raised.value.rows) == {f"C{n}": (float(n), None) for n in range(30)}
    for content, message in (("<mdc/>", "its root is 'mdc'"), ("", "is empty"), ("<html>", "its root is 'html'")):
        with pytest.raises(IngestError, match=message):
            read(read_omes, written(content), WANTED)
    with pytest.raises(IngestError, match=r"declares the entity 'e'.*refused"):
        read(read_omes, written(text.replace("?>", '?><!DOCTYPE OMeS [<!ENTITY e "5">]>')), WANTED)


def test_fuzz_of_bytes_never_crashes(tmp_path):
    chance = random.Random(11)
    path = tmp_path / "fuzz.xml"
    made = omes(*(result(f"C{n}", M8012C20=str(n), M8001C200="NIL") for n in range(5))).encode()
    whole = 0
    for _ in range(150):
        content = bytearray(made)
        for _ in range(chance.choice([1, 1, 3])):
            at = chance.randrange(len(content))
            if chance.random() < 0.6 and content[at] in b"0123456789NIL:+":
                content[at] = chance.choice(b"0123456789abN,- ")
            elif chance.random() < 0.5:
                content[at] = chance.randrange(256)
            else:
                del content[at : at + chance.randrange(1, 30)]
        path.write_bytes(bytes(content))
        try:
            _, ledger = read(read_omes, path, WANTED)
        except IngestError as error:
            assert "fuzz.xml" in str(error)
            continue
        whole += 1
        results = content.count(b"<PMMOResult>")
        assert ledger.taken + ledger.rejected.total() + ledger.noted[MERGED] + ledger.noted[UNUSED] == results
    assert 10 < whole < 140


@pytest.mark.real_data
def test_the_sample(real_data):
    path = real_data / "operator_samples" / "bodastage_nokia_OMeS_pm.xml"
    rows, ledger = read(read_omes, path, mapping_of("M00001", {}))
    # Its names are anonymised to one: that counter is given five times, 1111 and zeros.
    assert rows.drop("second").rows() == [
        ("NE-MRBTS-1111/NE-LNBTS-1111", datetime(2029, 3, 15, 21), 60, 1111.0, None, True)
    ]
    assert ledger.noted == {TWICE: 1, SUSPECT: 1}
    assert omes_counter_names(path) == ["M00001"]
