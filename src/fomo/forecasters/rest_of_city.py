"""What a district without any observed value is told of the rest of its city.

A large grid is drawn district by district, and what is usual in one - its level, its hours, its traffic per user or per
POI, how its cells differ - is that of its observed cells. Where it has none, cells of the rest of the city lie beside
it while it is observed. The network sees nothing of them but what they say of the district.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor
from torch.nn.functional import pad

from fomo.diffusion.members import OtherCells
from fomo.windows.batch import Batch, CellState
from fomo.windows.context_observation import expected_by_poi
from fomo.windows.observation import Observation, observe
from fomo.windows.records import WITHOUT_GRID, each_pair, each_tensor

#: So many observed cells stand for all others: as many as the largest district has, so that memory does not grow with
#: the city.
MOST_CELLS = 4096


@dataclass(frozen=True)
class RestOfCity:
    """Windows of a district in which nothing is observed, with observed cells of the rest of their cities."""

    rows: Int64[Tensor, " blank"]  # which windows of the batch these are
    both: Batch  # they alone: the district's cells, and rows of others below them

    @classmethod
    def beside(cls, district: Batch, city: Batch) -> RestOfCity | None:
        """That of a district, cut out of `city`; None where something is observed in all of its windows, or nowhere."""
        blank = ~district.observed.flatten(1).any(1) & city.observed.flatten(1).any(1)
        rows = blank.nonzero().flatten()
        if not len(rows):
            return None
        return cls(rows, each_pair(district.rows(rows), _other_cells(city, rows, district.share.shape[3]), _below))

    def observed(self, district: Batch) -> Observation:
        """The observation of the district's batch, as the rest of the city says where it says nothing itself."""
        height = district.share.shape[2]

        def of_district(name: str, part: Tensor) -> Tensor:
            return part if name in WITHOUT_GRID else part[..., :height, :]

        told = each_tensor(observe(self.both), of_district)
        if len(self.rows) == len(district.share):
            return told
        return each_pair(observe(district), told, lambda _, own, other: own.index_copy(0, self.rows, other))

    def other_cells(self, own: OtherCells, kept: slice) -> OtherCells:
        """Those of the rest of the city where the district has none of its `own`."""
        both = self.both
        by_poi = None if both.context is None else expected_by_poi(both.context, both.observed)
        told = OtherCells.of(both.share[:, kept], both.observed[:, kept], by_poi)
        ratios = pad(own.ratios, (0, told.ratios.shape[2] - own.ratios.shape[2]), value=math.inf)  # ranks of no cell
        return OtherCells(ratios.index_copy(0, self.rows, told.ratios), own.count.index_copy(0, self.rows, told.count))


def _below(name: str, district: Tensor, others: Tensor) -> Tensor:
    """Both, one above the other."""
    return district if name in WITHOUT_GRID else torch.cat([district, others], -2)


def _other_cells(city: Batch, rows: Int64[Tensor, " blank"], width: int) -> Batch:
    """Observed cells of these windows, the same ones for every district, on a grid of this width; the last are none.

    Of more than `MOST_CELLS` so many are drawn at random: cells in order may be those of one column.
    """
    seen = [city.observed[row].any(0).flatten().nonzero().flatten() for row in rows.tolist()]
    chosen = [_some(cells) for cells in seen]
    height = -(-max(map(len, chosen)) // width)
    none = [height * width - len(cells) for cells in chosen]
    places = [pad(cells, (0, missing)) for cells, missing in zip(chosen, none, strict=True)]

    def cells_of(name: str, part: Tensor) -> Tensor:
        if name in WITHOUT_GRID:
            return part[rows]
        found = []
        for row, place, missing in zip(rows.tolist(), places, none, strict=True):
            cells = part[row].flatten(-2)[..., place]
            if missing and name == "state":
                cells[..., -missing:] = CellState.PADDING
            elif missing and cells.dtype == torch.bool:
                cells[..., -missing:] = False  # nothing is known of them
            found.append(cells.unflatten(-1, (height, width)))
        return torch.stack(found)

    return each_tensor(city, cells_of)


def _some(cells: Int64[Tensor, " cell"]) -> Int64[Tensor, " chosen"]:
    """All of them, or so many as are not too many, always the same."""
    if len(cells) <= MOST_CELLS:
        return cells
    drawn = torch.randperm(len(cells), generator=torch.Generator().manual_seed(0))[:MOST_CELLS]
    return cells[drawn.sort().values.to(cells.device)]


__all__ = ["RestOfCity"]
