"""From an operator's raw files to a city: counters per cell and period, a site list, a map.

formats/    every counter file to one table: `counts.py` is its schema, `mapping.py` says what counters mean
sites.py    where cells are; `allocation.py` spreads them over the ground (`ground.py`)
cube.py     counts to (period, cell) arrays, day by day; `store.py` keeps them and the city as they grow
build.py    all of it, resumable
"""
