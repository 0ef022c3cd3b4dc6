"""The table of what every forecaster costs: what stands in it, and what is said of those that cannot run."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch

from fomo.forecasters.registry import find_entries


@pytest.fixture(scope="module")
def table6(benchmark_module) -> ModuleType:
    return benchmark_module("table6")


def test_a_forecaster_that_cannot_run_has_its_reason_and_no_number(table6, monkeypatch):
    monkeypatch.delenv("FOMO_TIREX", raising=False)
    (entry,) = find_entries(["TiRex"])
    line = table6.rival_line(entry, None, [], 24)
    assert line.remark.startswith("not run: TiRex") and line.inference_ms is None
    done = table6.Line("FoMo tiny", "fomo", 5, 96, 1_020_000, 1_020_000, 32, 15.123, 0.4812, 0.953, 0.0283, 24)
    text = table6.table([done, line], "a processor")
    assert "| FoMo tiny | 5 | 96 | 1.02 M | 15.1 | 0.481 | 0.95 | 0.0283 |" in text
    assert f"\nTiRex: {line.remark}.\n" in text and "| TiRex" not in text


def test_operations_are_counted_through_gradients_of_gradients(table6):
    """The record of modules that comes with PyTorch's counter breaks there, and in inference mode."""
    layer = torch.nn.Linear(8, 4, bias=False)
    given = torch.ones(2, 8, requires_grad=True)

    def twice() -> None:
        (slope,) = torch.autograd.grad(layer(given).square().sum(), given, create_graph=True)
        slope.square().sum().backward()

    product = 2 * 2 * 8 * 4
    assert table6.operations(lambda: layer(given)) == product
    assert table6.operations(twice) >= 4 * product
    with torch.inference_mode():
        assert table6.operations(lambda: layer(given)) == product


def test_layers_and_width_of_a_rival_are_those_of_its_constructor(table6):
    for name, expected in (("UniST", (7, 128)), ("TEMPO", (4, 128)), ("TimeGPT", (4, 96))):
        (entry,) = find_entries([name])
        assert table6.sizes(entry.load()) == expected
    (entry,) = find_entries(["PatchTST"])
    assert table6.sizes(entry.load(width=80), width=80) == (3, 80)
