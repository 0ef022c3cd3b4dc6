"""The health of a city's records: what is recorded, how busy it is, and which cells are strange.

Where the operator's own cells are there, they are looked at, for a grid mixes cells and hides their faults; else the
covered cells of the grid. The cube is read in blocks of cells, so that no second one is in memory.

records.py      the cells to look at; survey.py reads them once
thresholds.py   what is strange, and from where on: the table of all kinds
strange.py      the strangest cells; dead.py, levels.py, runs.py, spikes.py, upside_down.py find one kind each
summary.py      all of it: `health_of`
"""

from fomo.evaluation.health.records import STATES, Records, records_of
from fomo.evaluation.health.strange import Reason, Strange, strangest
from fomo.evaluation.health.summary import Busy, Gap, Health, Profile, health_of

__all__ = [
    "STATES",
    "Busy",
    "Gap",
    "Health",
    "Profile",
    "Reason",
    "Records",
    "Strange",
    "health_of",
    "records_of",
    "strangest",
]
