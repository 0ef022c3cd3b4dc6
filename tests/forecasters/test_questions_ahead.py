"""What is asked of the steps after the end of a city is checked once, before anything is drawn."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from fomo.city import CityError, mock_city
from fomo.forecasters.ahead import Ahead
from fomo.sources.synthetic import synthetic_city
from fomo.windows.task import ContextMode


def ahead(
    horizon: int = 100, users_ahead: np.ndarray | None = None, context: ContextMode = "full", users: bool = True
) -> Ahead:
    city = synthetic_city(height=2, width=3, days=4) if users else mock_city()
    return Ahead(city, horizon, 16, 1.0, True, context, users_ahead, None)


def test_a_context_that_there_is_not_is_refused_also_of_a_city_without_any(tmp_path):
    """Where a city has none, any word passed for `none`. In a process of its own, where no types are checked."""
    asked = """
import numpy as np
import fomo
from fomo.city import CityError, mock_city
model = fomo.load()
area = np.ones((4, 3), bool)
asks = (model.forecast, model.fill, lambda city, **said: model.generate(city, area, **said))
for city in (mock_city(width=3), fomo.synthetic_city(height=4, width=3, days=4)):
    for ask in asks:
        try:
            ask(city, context="bogus")
        except CityError as error:
            assert "the context is 'bogus': ask with none, past, full" in str(error)
        else:
            raise AssertionError("it passed")
city = fomo.synthetic_city(height=4, width=3, days=4)
assert model.forecast(city, horizon=4.0, history=24.0, samples=2.0) == model.forecast(city, 4, 24, 2)
for wrong in ({"horizon": 4.5}, {"horizon": "4"}, {"history": "day"}, {"samples": None}):
    try:
        model.forecast(city, **wrong)
    except CityError as error:
        assert "write a whole number, like 24" in str(error) and next(iter(wrong)) in str(error)
    else:
        raise AssertionError("it passed")
"""
    subprocess.run([sys.executable, "-c", asked], check=True, cwd=tmp_path)


@pytest.mark.parametrize("shape", [(48, 2, 3), (101, 2, 3), (16, 2, 3), (100, 3, 2), (100,)])
def test_assumed_users_are_of_the_whole_horizon_and_of_all_cells(shape):
    """More were cut unseen, and of less the message named a block that nobody had asked for."""
    with pytest.raises(CityError, match=r"do not lie on the asked steps \(100, 2, 3\): .*whole horizon"):
        ahead(users_ahead=np.ones(shape))
