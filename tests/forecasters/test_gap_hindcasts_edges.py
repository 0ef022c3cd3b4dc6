"""Gaps made again: what is hidden again is not told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fomo.city import City, mock_city
from fomo.forecasters import gap_hindcasts as room
from fomo.forecasters.drawing import SamplingConfig
from fomo.forecasters.fomo import FoMo
from fomo.model.checkpoint import FORMAT_VERSION, Checkpoint


def test_what_is_hidden_again_is_told_to_nobody(
    small_network: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the record would be judged by how well it repeats what it was told: a cell's own value moves its level."""
    network = small_network(seed=5)
    about = Checkpoint(format_version=FORMAT_VERSION, name="small", model=network.config, process="residual")
    model = FoMo(network, about, sampling=SamplingConfig(steps=2))
    city = mock_city(24 * 12, 2, 2)
    traffic = city["traffic"].values.copy()
    traffic[200:209, 0, 1] = np.nan
    made: list[room.Gap] = []
    told: list[np.ndarray] = []
    gaps_again, said_around = room.gaps_again, room.said_around

    def again(*asked: Any) -> list[room.Gap]:
        made.extend(gaps_again(*asked))
        return made

    def around(known: np.ndarray, of: City) -> np.ndarray:
        told.append(known)
        return said_around(known, of)

    monkeypatch.setattr(room, "gaps_again", again)
    monkeypatch.setattr(room, "said_around", around)
    forecast = model.fill(city.assign(traffic=city["traffic"].copy(data=traffic)), samples=2)
    assert forecast.attrs["hindcasts"] == len(made) == 1
    (gap,), (known,) = made, told
    assert gap.hidden.sum() == 9
    hidden = np.zeros(traffic.shape, bool)
    hidden[gap.start : gap.start + len(gap.hidden)] = gap.hidden
    assert not (hidden & np.isnan(traffic)).any()
    np.testing.assert_array_equal(np.isnan(known), hidden | np.isnan(traffic))
