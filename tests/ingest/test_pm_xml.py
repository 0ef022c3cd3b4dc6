"""3GPP measurement files: their dialects, names, periods and clocks."""

from __future__ import annotations

import gzip
from datetime import datetime

import polars
import pytest
from made_measurements import GRANULARITY, LISTED, MDC, SAME, amounts, group, indexed, mapping_of, measured, read

from fomo.ingest.formats import long, pm_xml
from fomo.ingest.formats.long import object_name
from fomo.ingest.formats.pm_xml import AMBIGUOUS, UNEQUAL, pm_xml_counter_names, read_pm_xml
from fomo.ingest.formats.xml_stream import finished
from fomo.ingest.ledger import IngestError


@pytest.mark.parametrize(
    "text",
    [
        measured(indexed()),
        measured(LISTED),
        measured(indexed(), root="measDataFile", element='measEntity localDn="ME=1"'),
        measured(indexed()).replace("<meas", "<p:meas").replace("</meas", "</p:meas").replace("xmlns", "xmlns:p"),
        measured(indexed()).replace("Cell=", "ME=1,Cell="),
        MDC.format(zone="+0200"),
        MDC.format(zone=".0Z"),
        MDC.format(zone=""),
    ],
    ids=["indexed", "listed", "28.532", "prefixed", "repeated name", "mdc", "mdc utc", "mdc local"],
)
def test_every_dialect_says_the_same(written, text):
    path = written(text)
    rows, ledger = read(read_pm_xml, path)
    assert amounts(rows) == SAME
    assert rows["begin"].unique().to_list() == [datetime(2024, 3, 5, 10)]
    assert rows["minutes"].unique().to_list() == [15]
    assert not rows["suspect"].any() and not ledger.rejected and not ledger.noted
    assert pm_xml_counter_names(path) == ["vol", "conn"]


def test_gzip_and_utf16_are_read_like_plain_files(written):
    for content in (gzip.compress(measured(indexed()).encode()), measured(indexed())[22:].encode("utf-16")):
        assert amounts(read(read_pm_xml, written(content))[0]) == SAME


@pytest.mark.parametrize(
    ("element", "local", "name"),
    [
        ("ME=1", "Cell=1", "ME=1,Cell=1"),
        ("ME=1", "ME=1,Cell=1", "ME=1,Cell=1"),
        ("node", "ManagedElement=node,Cell=1", "ManagedElement=node,Cell=1"),
        ("1", "Cell=12", "1,Cell=12"),
        ("Net=a,ME=1", "ME=1,Cell=1", "Net=a,ME=1,Cell=1"),
        ("Net=a,ME=1", "Net=a,ME=1,Cell=1", "Net=a,ME=1,Cell=1"),
        ("Net=a,ME=1", "Root=r,Net=a,ME=1,Cell=1", "Root=r,Net=a,ME=1,Cell=1"),
        ("ME=1", "", "ME=1"),
        ("", "Cell=1", "Cell=1"),
    ],
)
def test_names_of_elements_and_objects_join_without_repetition(element, local, name):
    assert object_name(element, local) == name


@pytest.mark.parametrize(
    ("duration", "minutes", "reason"),
    [
        ("PT900S", 15, ""),
        ("PT15M", 15, ""),
        ("PT1H", 60, ""),
        ("PT1H30M", 90, ""),
        ("P1D", 1440, ""),
        ("900", 15, ""),
        ("PT900.0S", 15, ""),
        ("PT100S", 0, "granularity period is no whole number of minutes"),
        ("P2D", 0, "granularity period is longer than a day"),
        ("PT0S", 0, "no granularity period"),
        ("P1M", 0, "no granularity period"),
        ("quarter", 0, "no granularity period"),
        ("", 0, "no granularity period"),
    ],
)
def test_granularity_periods(written, duration, minutes, reason):
    rows, ledger = read(read_pm_xml, written(measured(indexed(period=GRANULARITY.replace("PT900S", duration)))))
    assert ledger.rejected == ({reason: 3} if reason else {})
    assert rows["minutes"].unique().to_list() == ([minutes] if minutes else [])
    if minutes and minutes <= 60:
        end = datetime(2024, 3, 5, 10, 15)
        assert (end - rows["begin"][0]).total_seconds() == minutes * 60


def test_the_mapping_gives_a_granularity_that_the_file_does_not(written):
    text = measured(indexed(period='<granPeriod endTime="2024-03-05T10:15:00"/>'))
    assert read(read_pm_xml, written(text))[1].rejected == {"no granularity period": 3}
    rows, _ = read(read_pm_xml, written(text), mapping_of(time={"minutes": 5}))
    assert rows["begin"][0] == datetime(2024, 3, 5, 10, 10) and rows["minutes"][0] == 5


@pytest.mark.parametrize(
    "end", ["", "yesterday", "2024-13-05T10:15:00+02:00", "2024-03-05T10:75:00+02:00", "0001-01-01T00:00:00+02:00"]
)
def test_times_that_are_none_reject_their_objects(written, end):
    text = measured(
        indexed(period=GRANULARITY.replace("2024-03-05T10:15:00+02:00", end)) + indexed({"b": {"vol": "1"}})
    )
    rows, ledger = read(read_pm_xml, written(text))
    assert amounts(rows) == {"ME=1,b": (1.0, None)}
    assert ledger.rejected == {"no time that can be read": 3}
    assert "line " in ledger.first["no time that can be read"]


@pytest.mark.parametrize(
    ("end", "zone", "begin"),
    [
        ("2024-03-05T10:15:00+02:00", "", datetime(2024, 3, 5, 10, 0)),
        ("2024-03-05T10:15:00Z", "", datetime(2024, 3, 5, 10, 0)),
        ("2024-03-05T10:15:00", "", datetime(2024, 3, 5, 10, 0)),
        ("2024-03-05T10:15:00Z", "Europe/Helsinki", datetime(2024, 3, 5, 12, 0)),
        ("2024-07-05T10:15:00Z", "Europe/Helsinki", datetime(2024, 7, 5, 13, 0)),
        ("2024-03-05T10:15:00-05:30", "Asia/Tokyo", datetime(2024, 3, 6, 0, 30)),
        ("2024-03-05T10:15:00", "Asia/Tokyo", datetime(2024, 3, 5, 10, 0)),
        ("2024-03-05T24:00:00", "", datetime(2024, 3, 5, 23, 45)),
        ("20240305101500.0+0200", "", datetime(2024, 3, 5, 10, 0)),
        # Clocks go from 03:00 to 04:00: the quarter that ends at 04:00 began at 02:45.
        ("2024-03-31T04:00:00", "Europe/Helsinki", datetime(2024, 3, 31, 2, 45)),
        ("2024-03-31T01:00:00Z", "Europe/Helsinki", datetime(2024, 3, 31, 2, 45)),
    ],
)
def test_times_become_the_wall_clock(written, end, zone, begin):
    text = measured(indexed(period=GRANULARITY.replace("2024-03-05T10:15:00+02:00", end)))
    rows, _ = read(read_pm_xml, written(text), mapping_of(time={"zone": zone}))
    assert rows["begin"].unique().to_list() == [begin]


def test_the_two_periods_of_a_repeated_hour_are_two_rows(written):
    body = "".join(
        indexed({"a": {"vol": str(hour)}}, f'<granPeriod duration="PT1H" endTime="2024-10-27T0{hour}:00:00Z"/>')
        for hour in (1, 2)  # 04:00 summer time, 04:00 winter time: they began at 03:00, both
    )
    rows, ledger = read(read_pm_xml, written(measured(body)), mapping_of(time={"zone": "Europe/Helsinki"}))
    assert rows.select("begin", "traffic").rows() == [
        (datetime(2024, 10, 27, 3), 1.0),
        (datetime(2024, 10, 27, 3), 2.0),
    ]
    assert not ledger.noted


@pytest.mark.parametrize("other", ["+03:00", "Z", ""])
def test_mixed_offsets_without_a_zone_are_refused_after_what_came_before(written, other):
    body = indexed({"a": {"vol": "1"}}) + indexed({"b": {"vol": "2"}}, GRANULARITY.replace("+02:00", other))
    path = written(measured(body))
    with pytest.raises(IngestError, match=r"pm\.xml: clocks in mixed zones .*set \[time\] zone") as raised:
        read(read_pm_xml, path)
    assert amounts(raised.value.rows) == {"ME=1,a": (1.0, None)}
    assert read(read_pm_xml, path, mapping_of(time={"zone": "Europe/Helsinki"}))[0].height == 2


def test_lists_and_positions_that_do_not_fit_are_rejected(written):
    objects = '<measValue measObjLdn="a"><measResults>1 2 3</measResults></measValue>'
    body = group(objects, "<measTypes>vol conn</measTypes>")
    body += group(
        '<measValue measObjLdn="b"><r p="1">1</r><r p="7">5</r></measValue>', '<measType p="1">vol</measType>'
    )
    body += group(
        '<measValue measObjLdn="c"><r p="1">1</r></measValue>',
        '<measType p="1">vol</measType><measType p="1">x</measType>',
    )
    rows, ledger = read(read_pm_xml, written(measured(body)))
    assert not rows.height
    assert ledger.rejected == {UNEQUAL: 2, AMBIGUOUS: 1}


def test_several_elements_and_missing_ones(written):
    text = measured(indexed({"a": {"vol": "1"}})).replace(
        "</measCollecFile>",
        f'<measData><managedElement userLabel="Label"/>{indexed({"a": {"vol": "2"}})}</measData>'
        f"<measData>{indexed({'a': {'vol': '3'}, '': {'vol': '4'}})}</measData></measCollecFile>",
    )
    rows, ledger = read(read_pm_xml, written(text))
    assert amounts(rows) == {"ME=1,a": (1.0, None), "Label,a": (2.0, None), "a": (3.0, None)}
    assert ledger.rejected == {"no cell's name": 1}


def test_elements_are_gone_when_they_are_done(written):
    body = "".join(
        indexed({f"Cell={n}": {"vol": str(n), "conn": "1"} for n in range(part, part + 50)})
        for part in range(0, 5000, 50)
    )
    path = written(measured(body))
    largest = 0
    for number, element in enumerate(finished(path, ("measValue", "measInfo"))):
        if number % 500 == 0:
            largest = max(largest, sum(1 for _ in element.getroottree().getroot().iter()))
    # 15,000 elements in all, of which a chunk of the file holds 1,000 or 2,000.
    assert number == 5099 and largest < 3000


def test_no_module_of_this_reader_needs_lxml_to_be_imported():
    source = polars.Series([open(module.__file__).read() for module in (long, pm_xml)])  # noqa: SIM115, PTH123
    assert not source.str.contains(r"(?m)^(import|from) lxml").any()
