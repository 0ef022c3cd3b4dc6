from __future__ import annotations

import pytest

from fomo.config import ConfigError
from fomo.ingest.ledger import IngestError
from fomo.ingest.mapping import Mapping, guess_mapping, known_counters, load_mapping, mapping_text

ERICSSON = ["pmRrcConnLevSum", "pmRrcConnLevSamp"]


def test_every_known_counter_is_complete_and_named_once():
    known = known_counters()
    assert len({counter.name for counter in known}) == len(known) > 10
    assert all(counter.factor > 0 and counter.note for counter in known)
    assert {counter.quantity for counter in known} == {"traffic", "users", "users_over"}


@pytest.mark.parametrize(
    ("names", "traffic", "users", "over"),
    [
        (
            ["pmPdcpVolDlDrb", "pmRrcConnLevSum", "pmRrcConnLevSamp"],
            125e-9,
            {"pmRrcConnLevSum": 1.0},
            "pmRrcConnLevSamp",
        ),
        (["L.Thrp.bits.DL", "L.Traffic.User.Avg", "L.Other"], 0.125e-9, {"L.Traffic.User.Avg": 1.0}, None),
        (["M8012C20"], 1e-6, {}, None),
        (["DRB.PDCPSDUVOLUMEDL", "RRC.ConnMean"], 125e-9, {"RRC.ConnMean": 1.0}, None),  # case does not count
        (["dl_bytes", "pmRrcConnLevSamp"], 1e-9, {}, None),  # samples alone are no users
    ],
)
def test_the_first_known_counter_of_each_quantity_is_taken_in_gigabytes(names, traffic, users, over):
    guess = guess_mapping(names)
    (name, factor), *others = guess.mapping.traffic.counters.items()
    assert not others and name in names and factor == pytest.approx(traffic) and guess.mapping.traffic.unit == "GB"
    assert guess.mapping.users.counters == users and guess.mapping.users.over == ({over: 1.0} if over else {})
    assert len(guess.reasons) == 1 + len(users) + bool(over)


def test_a_column_called_traffic_is_taken_as_it_is_in_a_unit_that_is_not_made_up():
    traffic = guess_mapping(["traffic"]).mapping.traffic
    assert (traffic.counters, traffic.unit) == ({"traffic": 1.0}, "unknown volume")
    in_megabytes = Mapping.model_validate({"traffic": {"unit": "MB"}})
    traffic = guess_mapping(["traffic"], in_megabytes).mapping.traffic
    assert (traffic.counters, traffic.unit) == ({"traffic": 1.0}, "MB")
    with pytest.raises(
        IngestError, match="the traffic is dl_bytes, which comes out in GB, and the unit is said to be MB"
    ):
        guess_mapping(["dl_bytes"], in_megabytes)


def test_what_a_mapping_says_already_stays():
    base = Mapping.model_validate(
        {"traffic": {"counters": {"mine": 2.0}, "unit": "TB"}, "time": {"zone": "Asia/Tokyo"}}
    )
    guess = guess_mapping(["dl_bytes", "users"], base)
    assert guess.mapping.traffic == base.traffic and guess.mapping.time.zone == "Asia/Tokyo"
    assert guess.mapping.users.counters == {"users": 1.0}


def test_only_what_a_mapping_leaves_open_is_said_to_be_guessed():
    """What a mapping file said was told as guessed, and of another counter at times."""
    traffic = {"traffic": {"counters": {"dl_bytes": 8e-9}, "unit": "GB"}}
    names = ["dl_bytes", *ERICSSON]
    (users, over) = guess_mapping(names, Mapping.model_validate(traffic)).reasons
    assert users.startswith("users: pmRrcConnLevSum") and over.startswith("users over: pmRrcConnLevSamp")
    whole = {**traffic, "users": {"counters": {"pmRrcConnLevSum": 1.0}}}
    assert guess_mapping(names, Mapping.model_validate(whole)).reasons == ()


def test_no_known_traffic_names_what_there_is():
    with pytest.raises(IngestError, match=r"no counter of the traffic is known among dropped, handovers"):
        guess_mapping(["handovers", "dropped"])


def test_a_mapping_written_out_is_read_as_it_was(tmp_path):
    mapping = Mapping.model_validate(
        {
            "cell": {"pattern": 'Cell "Name"=([^,\\\\]+)'},
            "numbers": {"decimal": ",", "missing": ["", "\\N"]},
            "traffic": {"counters": {"a b": 1e-9, 'c"d': 2.5}, "cumulative": True},
            "users": {"counters": {"u": 1}, "over": {"s": 3}},
        }
    )
    (tmp_path / "mapping.toml").write_text(mapping_text(mapping), encoding="utf-8")
    assert load_mapping(tmp_path / "mapping.toml") == mapping


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[time]\nzone = "Europe/Atlantis"', "unknown time zone"),
        ('[cell]\npattern = "Cell Name=[^,]+"', "has no group"),
        ('[cell]\npattern = "("', "no regular expression"),
        ('[trafic]\nunit = "GB"', "trafic"),
        ("[time]\nminutes = -5", "minutes"),
    ],
)
def test_what_is_wrong_with_a_mapping_is_said(tmp_path, text, says):
    (tmp_path / "mapping.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=says):
        load_mapping(tmp_path / "mapping.toml")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[cell]\nnames = {A = "B", B = "C"}', "'A' is called 'B', which has another name itself"),
        ('[cell]\nnames = {A = ""}', "neither is empty"),
        ('[cells]\nnames = {A = "B"}', "cells"),
    ],
)
def test_what_is_wrong_with_other_names_of_cells_is_said(tmp_path, text, says):
    (tmp_path / "mapping.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=says):
        load_mapping(tmp_path / "mapping.toml")
