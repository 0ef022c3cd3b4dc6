"""The list of forecasters: complete, loadable, honest about what each cannot do."""

from __future__ import annotations

import pytest

from fomo.forecasters.protocol import Forecaster
from fomo.forecasters.registry import ENTRIES, UnknownForecaster, find_entries
from fomo.forecasters.rivals.network import RivalNetwork
from fomo.forecasters.rules import rules_for

#: Of the paper's section 4.1.2; HA is the rule `history mean`.
THIRTEEN = (
    "history mean", "ARIMA", "SpectraGAN", "keGAN", "ADAPTIVE", "CSDI", "KG-Diff", "Time-LLM", "TEMPO", "PatchTST",
    "TimeGPT", "Lag-Llama", "UniST",
)  # fmt: skip


def test_all_thirteen_rivals_are_there():
    assert set(THIRTEEN) <= {entry.name for entry in ENTRIES}
    assert len({entry.name for entry in ENTRIES}) == len(ENTRIES)


@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if entry.kind in ("rule", "deep")], ids=lambda e: e.name)
def test_an_entry_loads_what_it_names(entry):
    found = entry.load()
    if entry.kind == "deep":
        assert isinstance(found, RivalNetwork)
        assert sum(part.numel() for part in found.parameters() if part.requires_grad) < 4e6
    else:
        assert isinstance(found, Forecaster)
        assert found.name == entry.name


@pytest.mark.parametrize("task", ["short", "generate"])
@pytest.mark.parametrize("context", ["none", "full"])
@pytest.mark.parametrize("past_week", [True, False])
def test_the_rules_asked_are_those_of_a_table(task, context, past_week):
    wanted = {rule.name for rule in rules_for(context, past_week, task)}
    asked = {entry.name for entry in ENTRIES if entry.kind == "rule" and not entry.cannot(task, context, past_week)}
    assert asked == wanted


def test_a_wrong_name_lists_the_right_ones():
    assert [entry.name for entry in find_entries(["unist", "FoMo"])] == ["FoMo", "UniST"]
    with pytest.raises(UnknownForecaster, match=r"'UniSTT'; there are: FoMo, history mean"):
        find_entries(["UniSTT"])
