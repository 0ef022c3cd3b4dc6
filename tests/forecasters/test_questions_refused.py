"""Questions that cannot be meant are refused in words, or it is said how they are taken."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import fomo
from fomo.city import CityError
from fomo.forecasters.fomo import FoMo, load
from fomo.model.checkpoint import CheckpointError


@pytest.fixture(scope="module")
def tiny() -> FoMo:
    return load()


@pytest.fixture(scope="module")
def city() -> xr.Dataset:
    return fomo.synthetic_city(height=3, width=4, days=9)


def named(city: xr.Dataset, family: str, times: float = 1.0) -> xr.Dataset:
    return city.assign(traffic=city["traffic"] * np.float32(times)).assign_attrs(family=family)


@pytest.mark.parametrize("times", [1 / 1024**2, 1 / 1024, 1e6])
def test_a_family_in_another_unit_is_forecast_as_a_city_of_its_own(tiny, city, times):
    """Bytes of a family known in gigabytes had its scale: the mean was 18 times what it should be, without a word."""
    full = tiny.checkpoint.references["mobile_nanjing"]
    usual = named(city, "mobile_nanjing", full / float(city["traffic"].max()))
    with pytest.warns(UserWarning, match=r"traffic of 'synthetic' reaches .*'mobile_nanjing'.*another unit"):
        other = tiny.forecast(named(usual, "mobile_nanjing", times), samples=4)
    own = tiny.forecast(named(usual, "somebody's", times), samples=4)
    assert other.attrs["reference"] == own.attrs["reference"]
    assert other.mean.values.sum() == pytest.approx(own.mean.values.sum(), rel=0.05)  # weeks are those of the family


@pytest.mark.parametrize("times", [0.02, 1.0, 1.5])
@pytest.mark.filterwarnings("error")
def test_a_quiet_region_and_a_busy_one_keep_the_scale_of_their_family(tiny, city, times):
    full = tiny.checkpoint.references["mobile_nanjing"]
    region = named(city, "mobile_nanjing", times * full / float(city["traffic"].max()))
    assert tiny.reference(region) == full


def test_users_in_another_unit_are_said_and_both_scales_are_the_citys_own(tiny, city):
    known = tiny.checkpoint
    references, users = known.references["uomo_nanjing"], known.users_references["uomo_nanjing"]
    usual = named(city, "uomo_nanjing", references / float(city["traffic"].max()))
    wrong = usual.assign(users=usual["users"] * np.float32(1e6 * users / float(usual["users"].max())))
    with pytest.warns(UserWarning, match="the users of 'synthetic' reaches"):
        assert tiny.users_reference(wrong) == pytest.approx(1e6 * users, rel=0.05)
    with pytest.warns(UserWarning, match="the users of 'synthetic' reaches"):
        assert tiny.reference(wrong) != references


@pytest.mark.parametrize("horizon", [8, 16, 48])
def test_a_longer_history_is_no_worse_than_the_usual_one(tiny, city, horizon):
    """All of it in one window left no past to be judged by."""
    with pytest.warns(UserWarning, match=r"a history of 150 steps is more than the \d\d that a window of 64 leaves"):
        long = tiny.forecast(city, horizon, history=150, samples=2)
    assert long == tiny.forecast(city, horizon, samples=2)
    assert long.attrs["hindcasts"] > 0


def test_assumed_users_that_would_not_be_heard_are_refused(tiny, city):
    ahead = city["users"].values[-16:]
    with pytest.raises(CityError, match="assumed users are used with context 'full' alone, not with 'past'"):
        tiny.forecast(city, users_ahead=ahead)
    with pytest.raises(CityError, match="users are assumed of a city without any"):
        tiny.forecast(city.drop_vars("users"), users_ahead=ahead, context="full")


@pytest.mark.parametrize("samples", [0, -3])
def test_no_members_are_refused_everywhere(tiny, city, samples):
    gaps = city.assign(traffic=city["traffic"].where(city["time"] != city["time"][50]))
    for ask in (tiny.forecast, tiny.fill, lambda city, **said: tiny.generate(city, np.ones((3, 4), bool), **said)):
        with pytest.raises(CityError, match="samples are asked for; at least 1 is needed"):
            ask(gaps, samples=samples)


def test_a_device_is_found_or_said_to_be_missing(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert load(device="auto").device == "cpu"
    with pytest.raises(CheckpointError, match="'cuda:1': this PyTorch sees no CUDA GPU; use 'cpu' or 'auto'"):
        load(device="cuda:1")
