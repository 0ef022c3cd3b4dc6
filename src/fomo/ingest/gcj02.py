"""GCJ-02, the shifted degrees of Chinese maps (AMap, Tencent, Google in China), back to WGS 84.

The shift, some hundred metres that vary with the place, is published nowhere officially. This is the formula that is
in general use: polynomials and sines of the distance from (105 E, 35 N), in metres on the Krasovsky ellipsoid. It has
no closed inverse; the fixed point is found to less than a millimetre. Outside of China nothing is shifted.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

SEMI_MAJOR_M = 6_378_245.0  # Krasovsky 1940
ECCENTRICITY_SQUARED = 0.006_693_421_622_965_943
CENTRE = (105.0, 35.0)
CHINA = (72.004, 137.8347, 0.8293, 55.8271)  # west, east, south, north of the box within which maps are shifted
#: A degree of shift varies by less than 0.01 with a degree of place, so that every round gains two digits.
ROUNDS = 8


def wgs84_of_gcj02(
    lon: Float[np.ndarray, " point"], lat: Float[np.ndarray, " point"]
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
    """WGS 84 longitudes and latitudes, degrees, of GCJ-02 ones. NaN stays NaN."""
    true_lon, true_lat = np.array(lon, float), np.array(lat, float)
    shifted = _in_china(true_lon, true_lat)
    for _ in range(ROUNDS):
        east, north = _shift(true_lon[shifted], true_lat[shifted])
        true_lon[shifted], true_lat[shifted] = lon[shifted] - east, lat[shifted] - north
    return true_lon, true_lat


def gcj02_of_wgs84(
    lon: Float[np.ndarray, " point"], lat: Float[np.ndarray, " point"]
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
    """GCJ-02 longitudes and latitudes, degrees, of WGS 84 ones. NaN stays NaN."""
    shifted_lon, shifted_lat = np.array(lon, float), np.array(lat, float)
    inside = _in_china(shifted_lon, shifted_lat)
    east, north = _shift(shifted_lon[inside], shifted_lat[inside])
    shifted_lon[inside] += east
    shifted_lat[inside] += north
    return shifted_lon, shifted_lat


def _in_china(lon: Float[np.ndarray, " point"], lat: Float[np.ndarray, " point"]) -> Bool[np.ndarray, " point"]:
    west, east, south, north = CHINA
    return (lon >= west) & (lon <= east) & (lat >= south) & (lat <= north)


def _shift(
    lon: Float[np.ndarray, " point"], lat: Float[np.ndarray, " point"]
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
    """Degrees east and north by which the map moves a place."""
    x, y = lon - CENTRE[0], lat - CENTRE[1]
    root = np.sqrt(np.abs(x))
    ripple = _waves(x, (20, 6), (20, 2))
    north_m = -100 + 2 * x + 3 * y + 0.2 * y**2 + 0.1 * x * y + 0.2 * root
    north_m += ripple + _waves(y, (20, 1), (40, 1 / 3)) + _waves(y, (160, 1 / 12), (320, 1 / 30))
    east_m = 300 + x + 2 * y + 0.1 * x**2 + 0.1 * x * y + 0.1 * root
    east_m += ripple + _waves(x, (20, 1), (40, 1 / 3)) + _waves(x, (150, 1 / 12), (300, 1 / 30))
    latitude = np.deg2rad(lat)
    flattening = 1 - ECCENTRICITY_SQUARED * np.sin(latitude) ** 2
    meridian_m = SEMI_MAJOR_M * (1 - ECCENTRICITY_SQUARED) / flattening**1.5  # radii of curvature
    parallel_m = SEMI_MAJOR_M / np.sqrt(flattening) * np.cos(latitude)
    return np.rad2deg(east_m / parallel_m), np.rad2deg(north_m / meridian_m)


def _waves(degrees: Float[np.ndarray, " point"], *waves: tuple[float, float]) -> Float[np.ndarray, " point"]:
    """Two thirds of the sum of sines; each is its amplitude in metres and its half waves a degree."""
    total = np.zeros_like(degrees)
    for amplitude, frequency in waves:
        total += amplitude * np.sin(frequency * np.pi * degrees)
    return total * 2 / 3


__all__ = ["gcj02_of_wgs84", "wgs84_of_gcj02"]
