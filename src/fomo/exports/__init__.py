"""What planners load elsewhere, from a city or a forecast.

layers.py      from a `City` or a `Forecast` to named layers on the ground
rasters.py     GeoTIFF, BIL and ASCII grids in metres
vectors.py     GeoJSON and GeoPackage, one feature per cell and period
city_cells.py  the operator's cells in the periods of their city
cells_csv.py   CSV or Parquet under the operator's own cell names
files.py       written whole or not at all, and never over something else
"""
