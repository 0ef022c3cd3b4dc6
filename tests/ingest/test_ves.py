"""VES events with measurements."""

from __future__ import annotations

import copy
import gzip
import json
import random
from datetime import datetime

import pytest
from made_measurements import SAME, TABLE, amounts, event, mapping_of, read

from fomo.ingest.formats import ves
from fomo.ingest.formats.long import MERGED, SUSPECT, UNUSED, VECTOR
from fomo.ingest.formats.pm_xml import AMBIGUOUS, UNEQUAL
from fomo.ingest.formats.ves import OTHER, read_ves, ves_counter_names
from fomo.ingest.ledger import IngestError


@pytest.fixture
def written(tmp_path):
    def write(content):
        path = tmp_path / "ves.json"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(event()),
        json.dumps(event(), indent=2),
        json.dumps(event(value="sVal")),
        json.dumps([event()]),
        json.dumps({"eventList": [event()["event"]]}),
        json.dumps(event({"Cell=1": TABLE["Cell=1"]})) + "\n" + json.dumps(event(dict(list(TABLE.items())[1:]))) + "\n",
        gzip.compress(json.dumps(event()).encode(), mtime=0),
        "\ufeff" + json.dumps(event()),
    ],
    ids=["event", "indented", "drafts' names", "array", "eventList", "lines", "gzip", "mark"],
)
def test_every_way_to_write_events_says_the_same(written, text):
    path = written(text)
    rows, ledger = read(read_ves, path)
    assert amounts(rows) == SAME
    assert rows["begin"].unique().to_list() == [datetime(2024, 3, 5, 10)] and set(rows["minutes"]) == {15}
    assert not ledger.rejected and not ledger.noted
    assert ves_counter_names(path) == ["vol", "conn"]


def test_numbers_flags_and_nulls(written):
    made = event({"a": {"vol": 5, "conn": 2.5}}, value="iValue")
    objects = made["event"]["perf3gppFields"]["measDataCollection"]["measInfoList"][0]["measValuesList"]
    other = copy.deepcopy(objects[0]) | {"measObjInstId": "b", "suspectFlag": True}
    other["measResults"] = [{"p": "1", "isNull": "true"}, {"p": 2, "rValue": 1e3}]
    objects.append(other)
    rows, ledger = read(read_ves, written(json.dumps(made)))
    assert amounts(rows) == {"ME=1,a": (5.0, 2.5), "ME=1,b": (None, 1000.0)}
    assert rows["suspect"].to_list() == [False, True] and ledger.noted == {SUSPECT: 1}


@pytest.mark.parametrize(
    ("changes", "zone", "begin", "reason"),
    [
        ({"offset": "+00:00"}, "", datetime(2024, 3, 5, 8), ""),
        ({"offset": "UTC-05:30"}, "", datetime(2024, 3, 5, 2, 30), ""),
        ({"offset": None}, "", datetime(2024, 3, 5, 8), ""),
        ({"offset": "UTC-05:30"}, "Asia/Tokyo", datetime(2024, 3, 5, 17), ""),
        ({"granularity": "PT900S"}, "", datetime(2024, 3, 5, 10), ""),
        ({"granularity": 900.0}, "", datetime(2024, 3, 5, 10), ""),
        ({"granularity": 90}, "", None, "granularity period is no whole number of minutes"),
        ({"granularity": None}, "", None, "no granularity period"),
        ({"granularity": [1]}, "", None, "no granularity period"),
        ({"end": "soon"}, "", None, "no time that can be read"),
        ({"end": None}, "", None, "no time that can be read"),
        ({"end": 10**30}, "", None, "no time that can be read"),
        ({"end": float("inf")}, "", None, "no time that can be read"),
        ({"offset": "CET"}, "", None, "no time that can be read"),
    ],
)
def test_periods(written, changes, zone, begin, reason):
    rows, ledger = read(read_ves, written(json.dumps(event(**changes))), mapping_of(time={"zone": zone}))
    assert rows["begin"].unique().to_list() == ([] if reason else [begin])
    assert ledger.rejected == ({reason: 3} if reason else {})


def test_values_that_fit_no_counter_are_rejected(written):
    made = event({name: {"vol": "1"} for name in "abcd"})
    objects = made["event"]["perf3gppFields"]["measDataCollection"]["measInfoList"][0]["measValuesList"]
    objects[0]["measResults"][0]["p"] = 2
    objects[1]["measResults"][0]["p"] = "x"
    objects[2]["measResults"] *= 2
    rows, ledger = read(read_ves, written(json.dumps(made)))
    assert amounts(rows) == {"ME=1,d": (1.0, None)}
    assert ledger.rejected == {UNEQUAL: 2, AMBIGUOUS: 1}


def test_mixed_offsets_other_domains_and_broken_lines(written):
    first, second = json.dumps(event({"a": {"vol": "1"}})), json.dumps(event({"b": {"vol": "2"}}, offset="+03:00"))
    with pytest.raises(IngestError, match=r"mixed zones .*set \[time\] zone") as raised:
        read(read_ves, written(f"{first}\n{second}"))
    assert amounts(raised.value.rows) == {"ME=1,a": (1.0, None)}
    rows, ledger = read(read_ves, written(f'{first}\n{{"event": {{"faultFields": {{}}}}}}\n5'))
    assert amounts(rows) == {"ME=1,a": (1.0, None)} and ledger.noted == {OTHER: 2}
    with pytest.raises(IngestError, match=r"ves\.json breaks off or is no JSON at line 2") as raised:
        read(read_ves, written(f"{first}\n{first[:200]}"))
    assert amounts(raised.value.rows) == {"ME=1,a": (1.0, None)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("{}", "has no VES event"),
        ("[]", "has no VES event"),
        ("[" * 200_000, "no JSON at line 1"),
        ('{"event": ' + "9" * 6000 + "}", "no JSON at line 1"),
        ("<html>", "no JSON at line 1"),
        (b"\xff\xfe{", "no UTF-8"),
        ('{"event": {"perf3gppFields": {"measDataCollection": []}}}', "has no VES event"),
    ],
)
def test_what_is_no_event_says_so(written, content, message):
    for use in (lambda path: read(read_ves, path), ves_counter_names):
        with pytest.raises(IngestError, match=message):
            use(written(content))


def test_a_document_that_is_too_large_is_not_read(written, monkeypatch):
    monkeypatch.setattr(ves, "LARGEST", 1000)
    with pytest.raises(IngestError, match="more than 0 MiB"):
        read(read_ves, written(json.dumps(event(), indent=9)))


def shuffled(value: object, chance: random.Random) -> object:
    """The document with some of its parts replaced by something of another kind."""
    if chance.random() < 0.03:
        return chance.choice([None, [], {}, "x", -1, 1e308, True, [[1]], {"p": {}}])
    if isinstance(value, dict):
        return {key: shuffled(part, chance) for key, part in value.items() if chance.random() > 0.01}
    return [shuffled(part, chance) for part in value] if isinstance(value, list) else value


def test_fuzz_of_structure_and_bytes_never_crashes(tmp_path):
    chance = random.Random(3)
    path = tmp_path / "fuzz.json"
    whole = 0
    for trial in range(400):
        text = json.dumps(shuffled(event(), chance))
        if trial % 2:
            content = bytearray(text.encode())
            content[chance.randrange(len(content))] = chance.randrange(256)
            path.write_bytes(bytes(content))
        else:
            path.write_text(text)
        try:
            read(read_ves, path)
            ves_counter_names(path)
            whole += 1
        except IngestError as error:
            assert "fuzz.json" in str(error)
    assert 50 < whole < 390


@pytest.mark.real_data
def test_the_sample(real_data):
    path = real_data / "operator_samples" / "oransc_pm_report_28550.json"
    rows, ledger = read(read_ves, path, mapping_of("attTCHSeizures", "succImmediateAssignProcs8"))
    start = "SubNetwork=CountryNN,MeContext=MEC-Gbg-1,ManagedElement=RNC-Gbg-1"
    cells = [f"{start},RncFunction=RF-1,UtranCell=Gbg-99{n}" for n in (7, 8, 9)]
    assert amounts(rows) == dict(zip(cells, [(813.0, 787.0), (890.0, 238.0), (456.0, 785.0)], strict=True))
    # 1676378616.564 s after 1970, less 900 s.
    assert rows["begin"].unique().to_list() == [datetime(2023, 2, 14, 12, 28, 36, 564000)]
    assert rows["minutes"].to_list() == [15] * 3 and rows["suspect"].to_list() == [False, False, True]
    assert ledger.noted == {MERGED: 3, UNUSED: 1, SUSPECT: 1} and not ledger.rejected
    rows, ledger = read(read_ves, path, mapping_of("succTCHSeizures2", "attTCHSeizures1"))
    assert amounts(rows) == {
        f"{start},ManagedElement=RNC-Gbg-1,ENodeBFunction=1".replace(
            "ManagedElement=RNC-Gbg-1,ManagedElement=RNC-Gbg-1", "ManagedElement=RNC-Gbg-1"
        ): (None, 4.0)
    }
    assert ledger.noted[VECTOR] == 1 and len(ves_counter_names(path)) == 12
