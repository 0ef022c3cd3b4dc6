"""3GPP measurement files of public projects: what a person finds in them."""

from __future__ import annotations

from datetime import datetime

import pytest
from made_measurements import accounted, amounts, mapping_of, read

from fomo.ingest.formats.long import MERGED, SUSPECT, UNUSED, VECTOR
from fomo.ingest.formats.pm_xml import pm_xml_counter_names, read_pm_xml

GBG = "SubNetwork=CountryNN,MeContext=MEC-Gbg-1,ManagedElement=RNC-Gbg-1,"
CELLS = [f"{GBG}RncFunction=RF-1,UtranCell=Gbg-99{n}" for n in (7, 8, 9)]
HALF = datetime(2000, 3, 1, 13, 59, 30)


@pytest.fixture
def sample(real_data):
    return lambda name: real_data / "operator_samples" / name


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "traffic", "users"),
    [
        ("bodastage_measdata_A1.xml", [234, 890, 456], [789, 234, 789]),
        ("bodastage_measdata_A2.xml", [234, 890, 456], [789, 234, 789]),
        ("bodastage_measdata_A4.xml", [234, 890, None], [789, None, 789]),
        ("onap_A20181002_32435.xml", [234, 890, 456], [789, 234, 789]),
        ("onap_PM202007171301_nr.xml", [234, 890, 456], [789, 234, 789]),
    ],
)
def test_the_samples_after_the_standards_example(sample, name, traffic, users):
    rows, ledger = read(read_pm_xml, sample(name), mapping_of("attTCHSeizures", "succImmediateAssignProcs"))
    assert rows["cell"].to_list() == CELLS
    assert rows["begin"].to_list() == [HALF] * 3 and rows["minutes"].to_list() == [15] * 3
    assert rows["traffic"].to_list() == traffic and rows["users"].to_list() == users
    assert rows["suspect"].to_list() == [False, False, True]
    assert not ledger.rejected


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["onap_A20181002_32435.xml", "onap_PM202007171301_nr.xml"])
def test_the_samples_with_three_groups(sample, name):
    path = sample(name)
    rows, ledger = read(read_pm_xml, path, mapping_of("succTCHSeizures", "attImmediateAssignProcs7"))
    assert amounts(rows) == dict(zip(CELLS, [(345.0, 563.0), (901.0, 127.0), (567.0, 672.0)], strict=True))
    assert ledger.noted == {MERGED: 3, UNUSED: 1, SUSPECT: 1}
    rows, ledger = read(read_pm_xml, path, mapping_of("succTCHSeizures2", "attTCHSeizures1"))
    assert amounts(rows) == {f"{GBG}ENodeBFunction=1": (None, 4.0)} and ledger.noted[VECTOR] == 1
    rows, _ = read(read_pm_xml, path, mapping_of("succTCHSeizures2[5]", "succTCHSeizures2[8]"))
    assert amounts(rows) == {f"{GBG}ENodeBFunction=1": (96.0, 24.0)}
    assert len(pm_xml_counter_names(path)) == 12


@pytest.mark.real_data
def test_the_sample_without_an_object_and_zone(sample):
    path = sample("bodastage_measdata_pm.xml")
    rows, _ = read(read_pm_xml, path, mapping_of("Provisioned_Bearer_Capacity", "Maximum_Service_Capacity"))
    assert rows.drop("second").rows() == [("NodeName", datetime(2000, 3, 1, 14, 59), 1, 360.0, 360.0, False)]
    _, ledger = read(read_pm_xml, path, mapping_of("..."))
    assert ledger.rejected == {"not a number": 1}


@pytest.mark.real_data
def test_the_sample_with_a_list(sample):
    path = sample("onap_32435_measTypes_list.xml")
    rows, _ = read(read_pm_xml, path, mapping_of("b", "c"))
    begin = datetime(2018, 10, 2, 12, 0)
    assert rows.drop("second").rows() == [
        ("Dublin,objLdn", begin, 15, 27.0, 98.0, False),
        ("Dublin,some other objLdn", begin, 15, 2.0, 9.0, False),
    ]
    rows, _ = read(read_pm_xml, path, mapping_of("b", "c", time={"zone": "Europe/Dublin"}))
    assert rows["begin"][0] == datetime(2018, 10, 2, 13, 0)


@pytest.mark.real_data
def test_the_sample_with_three_entities_of_which_two_have_odd_periods(sample):
    path = sample("onap_C20190329_28532.xml")
    rows, ledger = read(read_pm_xml, path, mapping_of("zz3", "succImmediateAssignProcs8"))
    assert rows.drop("second").rows() == [("Dublin3,objLdn", datetime(2003, 10, 2, 12, 10), 5, 333.0, 3333.0, False)]
    assert ledger.noted == {UNUSED: 2}
    _, ledger = read(read_pm_xml, path, mapping_of("zz1", "zz2"))
    assert ledger.rejected == {"granularity period is no whole number of minutes": 2}
    assert "Dublin1,objLdn zz1=111" in ledger.first["granularity period is no whole number of minutes"]


@pytest.mark.real_data
def test_the_large_sample(sample):
    path = sample("oransc_ranpm_pm.xml")
    names = pm_xml_counter_names(path)
    assert len(names) == 810 and names[:2] == ["pmCounterNumber0", "pmCounterNumber1"]
    start = "ManagedElement=nodedntest,"
    rows, ledger = read(read_pm_xml, path, mapping_of("pmCounterNumber7", "pmCounterNumber312"))
    assert rows["begin"].unique().to_list() == [datetime(2022, 4, 18, 19)] and rows["minutes"].unique().to_list() == [
        15
    ]
    assert {cell: values[0] for cell, values in amounts(rows).items() if "NRCellCU" in cell} == {
        f"{start}GNBCUCPFunction=1,NRCellCU={n}": 180.0 for n in (32, 31, 2, 1)
    }
    assert amounts(rows)[f"{start}GNBCUCPFunction=1,NRCellCU=32"] == (180.0, 180.0)
    assert accounted(ledger) == 125  # measValue in the file, by grep

    # A carrier and the cell on it are one by their number.
    mapping = mapping_of(
        "pmCounterNumber381", "pmCounterNumber266", cell={"pattern": r",NR(?:CellDU|SectorCarrier)=(\d+)"}
    )
    rows, ledger = read(read_pm_xml, path, mapping)
    assert amounts(rows) == {
        "32": (1800000.0, 10000.0), "31": (1800000.0, 15000.0), "2": (0.0, 0.0), "1": (0.0, 0.0),
    }  # fmt: skip
    rows, _ = read(read_pm_xml, path, mapping_of("pmCounterNumber421[5]", "pmCounterNumber421[1]"))
    assert [values for _, values in amounts(rows).items()] == [(3.0, 1.0), (0.0, 1.0), (0.0, 0.0), (0.0, 0.0)]

    rows, ledger = read(read_pm_xml, path, mapping_of("pmCounterNumber480", "pmCounterNumber481"))
    board = f"{start}Equipment=1,FieldReplaceableUnit="
    assert amounts(rows) == {
        **{f"{board}{unit}": (0.0, None) for unit in ("Radio-S3-1", "Radio-S2-1", "Radio-S1-1", "R608")},
        f"{board}BB-1": (None, None),
    }
    assert ledger.noted[VECTOR] == 5
    rows, _ = read(read_pm_xml, path, mapping_of("pmCounterNumber530"))
    energy = f"{start}NodeSupport=1,ConsumedEnergyMeasurement=1"
    assert rows.filter(cell=energy).select("traffic", "suspect").rows() == [(None, True)]
