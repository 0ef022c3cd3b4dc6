from __future__ import annotations

import numpy as np
import pytest

from fomo.ingest.clock import clock_changes


def hours(mask):
    return (np.flatnonzero(mask) / (len(mask) // 24)).tolist()


@pytest.mark.parametrize(
    ("day", "zone", "twice", "never"),
    [
        ("2024-10-27", "Europe/Helsinki", [3.0, 3.25, 3.5, 3.75], []),  # 04:00 summer is 03:00 winter time
        ("2024-03-31", "Europe/Helsinki", [], [3.0, 3.25, 3.5, 3.75]),
        ("2024-03-31", "Europe/Rome", [], [2.0, 2.25, 2.5, 2.75]),
        ("2024-03-10", "America/New_York", [], [2.0, 2.25, 2.5, 2.75]),
        ("2024-06-01", "Europe/Rome", [], []),
        ("2024-03-31", "Asia/Shanghai", [], []),
        ("2024-03-31", "", [], []),
        ("2024-04-07", "Australia/Lord_Howe", [1.5, 1.75], []),  # by half an hour only
    ],
)
def test_hours_that_the_wall_shows_twice_or_never(day, zone, twice, never):
    found = clock_changes(np.datetime64(day, "D"), zone, 15)
    assert hours(found[0]) == twice and hours(found[1]) == never
