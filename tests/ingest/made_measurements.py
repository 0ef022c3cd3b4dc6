"""Measurement files in all their forms, made from one table, and what readers make of them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars

from fomo.ingest.counts import COUNTS
from fomo.ingest.formats.long import MERGED, UNUSED
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.mapping import Mapping

#: cell -> counters of a period.
TABLE = {"Cell=1": {"vol": "100", "conn": "7"}, "Cell=2": {"vol": "250.5", "conn": "NIL"}, "Cell=3": {"vol": "0"}}

GRANULARITY = '<granPeriod duration="PT900S" endTime="2024-03-05T10:15:00+02:00"/>'


def mapping_of(traffic: object = "vol", users: object = "conn", **sections: object) -> Mapping:
    """Counters by their names, or whole quantities."""
    quantities = {"traffic": traffic, "users": users}
    made = {name: {"counters": {each: 1.0}} if isinstance(each, str) else each for name, each in quantities.items()}
    return Mapping.model_validate({**made, **sections})


def measured(body: str, root: str = "measCollecFile", element: str = 'managedElement localDn="ME=1"') -> str:
    """A file of one managed element around groups of counters."""
    return (
        f'<?xml version="1.0"?>\n<{root} xmlns="any#where">\n<measData><{element}/>\n{body}\n</measData>\n</{root}>\n'
    )


def group(objects: str, types: str, period: str = GRANULARITY) -> str:
    return f"<measInfo>{period}{types}{objects}</measInfo>\n"


def indexed(table: dict[str, dict[str, str]] = TABLE, period: str = GRANULARITY) -> str:
    """A group of p-indexed counters; those an object lacks are left out."""
    names = list(dict.fromkeys(name for values in table.values() for name in values))
    types = "".join(f'<measType p="{place}">{name}</measType>' for place, name in enumerate(names, 1))
    objects = "".join(
        f'<measValue measObjLdn="{cell}">'
        + "".join(f'<r p="{names.index(name) + 1}">{text}</r>' for name, text in values.items())
        + "</measValue>\n"
        for cell, values in table.items()
    )
    return group(objects, types, period)


def read(reader, path: Path, mapping: Mapping | None = None, ledger: Ledger | None = None):
    """(rows, ledger); the error, if any, is raised after checking that `taken` counts what was handed over."""
    ledger = ledger or Ledger()
    frames, error = [], None
    try:
        for frame in reader(path, mapping or mapping_of(), ledger):
            assert frame.schema == polars.Schema(COUNTS)
            frames.append(frame)
    except IngestError as raised:
        error = raised
    rows = polars.concat(frames) if frames else polars.DataFrame(schema=COUNTS)
    assert ledger.taken == rows.height
    if error is not None:
        error.rows, error.ledger = rows, ledger  # type: ignore[attr-defined]
        raise error
    return rows, ledger


def amounts(rows: polars.DataFrame) -> dict[str, tuple[float | None, float | None]]:
    """cell -> traffic, users."""
    assert rows["cell"].is_unique().all()
    return {cell: (traffic, users) for cell, traffic, users in rows.select("cell", "traffic", "users").rows()}


LISTED = group(
    '<measValue measObjLdn="Cell=1"><measResults>100 7</measResults></measValue>'
    '<measValue measObjLdn="Cell=2"><measResults>250.5\n   NIL</measResults></measValue>'
    '<measValue measObjLdn="Cell=3"><measResults>0 NIL</measResults></measValue>',
    "<measTypes>vol\n      conn</measTypes>",
)
MDC = """<?xml version="1.0"?><!DOCTYPE mdc SYSTEM "MeasDataCollection.dtd"><mdc>
<mfh><ffv>1</ffv></mfh><md><neid><neun>label</neun><nedn>ME=1</nedn></neid>
<mi><mts>20240305101500{zone}</mts><gp>900</gp><mt>vol</mt><mt>conn</mt>
<mv><moid>Cell=1</moid><r>100</r><r>7</r><sf>FALSE</sf></mv>
<mv><moid>Cell=2</moid><r>250.5</r><r></r></mv>
<mv><moid>Cell=3</moid><r>0</r><r>NIL</r></mv></mi></md></mdc>"""

SAME = {"ME=1,Cell=1": (100.0, 7.0), "ME=1,Cell=2": (250.5, None), "ME=1,Cell=3": (0.0, None)}
END = int(datetime(2024, 3, 5, 8, 15, tzinfo=UTC).timestamp() * 1e6)
SETUP = '<PMSetup startTime="2024-03-05T10:00:00.000+02:00:00" interval="15">'


def result(name: str, group: str = "LTE_Cell_Throughput", **counters: str) -> str:
    values = "".join(f"<{counter}>{text}</{counter}>" for counter, text in counters.items())
    return (
        f'<PMMOResult><MO dimension="network_element"><DN>{name}</DN></MO>'
        f'<PMTarget measurementType="{group}">{values}</PMTarget></PMMOResult>\n'
    )


def omes(*results: str, setup: str = SETUP) -> str:
    return f'<?xml version="1.0"?>\n<OMeS version="2.3">\n{setup}\n{"".join(results)}</PMSetup>\n</OMeS>\n'


def event(table=TABLE, value="sValue", end=END, offset="UTC+02:00", granularity=900, **collection):
    names = list(dict.fromkeys(name for values in table.values() for name in values))
    objects = [
        {
            "measObjInstId": cell,
            "suspectFlag": "false",
            "measResults": [{"p": names.index(name) + 1, value: text} for name, text in values.items()],
        }
        for cell, values in table.items()
    ]
    group = {
        "measInfoId": {"sMeasInfoId": ""},
        "measTypes": {"sMeasTypesList": names},
        "measValuesList": objects,
    }
    made = {"granularityPeriod": granularity, "measuredEntityDn": "ME=1", "measInfoList": [group], **collection}
    header = {"domain": "perf3gpp", "lastEpochMicrosec": end, "timeZoneOffset": offset}
    return {"event": {"commonEventHeader": header, "perf3gppFields": {"measDataCollection": made}}}


def accounted(ledger: Ledger) -> int:
    return ledger.taken + ledger.rejected.total() + ledger.noted[MERGED] + ledger.noted[UNUSED]
