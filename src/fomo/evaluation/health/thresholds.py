"""What is strange in a cell, and from where on.

Cells are scored by one number, the doubt: the share (0 to 1) of what a cell says that cannot be right.

| kind          | found where                                                                    | doubt              |
|---------------|--------------------------------------------------------------------------------|--------------------|
| dead          | zero all along, a day at least, and its 8 neighbours carry: share of them that | that product       |
|               | do x their level over the median cell's (at most 1) >= `DEAD`                  |                    |
| died, born    | the median weekday after a date is `LEVEL` times smaller or larger than before | traffic lacking at |
|               | it, 3 at least on both sides, and that is `SCATTER` times the days' scatter    | the lower level    |
| stuck         | one value for `STUCK_HOURS` (zero: `ZERO_HOURS`), in a cell that else varies   | periods in these   |
| spikes        | over `SPIKE` times the usual (the larger of the hour's median and the mean     | traffic over the   |
|               | without the largest value) and `SPREAD` quartile distances over the median     | usual in these     |
| upside down   | correlation of its median day with that of the cells <= `UPSIDE_DOWN`, or its  | -correlation, or   |
|               | quietest-quarter hours carry `NIGHT` times its others                          | traffic in these   |
| missing       | recorded less than `MISSING` times as often as the median cell                 | what lacks to that |
| resets        | `RESETS` counter resets at least                                               | periods with one   |
| suspect       | the files call `SUSPECT` of the periods suspect                                | these periods      |
| no users      | share of its traffic that comes while users are 0, `MISMATCH` over the median  | what is over it    |
| no traffic    | share of its users that are there while traffic is 0, likewise                 | what is over it    |
"""

from __future__ import annotations

# Thresholds of the table above, in its order.
DEAD = 0.5  # product of two shares
LEVEL = 4.0  # ratio of two levels
SCATTER = 5.0  # ratio of logarithms: the change over 1.4826 times the median distance of a day from its level
STUCK_HOURS, ZERO_HOURS = 12.0, 24.0  # hours without a break
SPIKE = 10.0  # ratio of a value to the usual
SPREAD = 15.0  # distances between the quartiles of that hour
UPSIDE_DOWN = -0.6  # Pearson's correlation
NIGHT = 1.5  # ratio of traffic per hour
MISSING = 0.5  # share of what the median cell has
RESETS = 3  # periods
SUSPECT = 0.1  # share of the periods
MISMATCH = 0.2  # share of traffic, or of users
#: The median day of a cell that is stuck at zero in this share of its periods is no day: it is not upside down.
OUTAGE = 0.25
#: A day is upside down only where the median day varies by this share of its mean, the cell's and the usual one.
RHYTHM = 0.3
#: A period's total counts for the profile if so many of the cells that usually are recorded are, of those in service;
#: and if so many of those that usually are in service are.
COMPLETE = 0.9

__all__ = [
    "COMPLETE",
    "DEAD",
    "LEVEL",
    "MISMATCH",
    "MISSING",
    "NIGHT",
    "OUTAGE",
    "RESETS",
    "RHYTHM",
    "SCATTER",
    "SPIKE",
    "SPREAD",
    "STUCK_HOURS",
    "SUSPECT",
    "UPSIDE_DOWN",
    "ZERO_HOURS",
]
