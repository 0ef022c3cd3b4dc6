"""One batch, many processes: each computes some of its windows, and the sums of all are those of one process.

All processes draw the same batch from the same seed, and process r of N takes the windows r, r + N, r + 2 N, ...; so
the windows that the denoiser sees, the first of the batch, are shared evenly too. A loss is a weighted mean over the
HIDDEN values of the whole batch,

    sum over processes of [ own sum(value weight) / S ],    S = sum over processes of [ own sum(weight) ],

so every process divides its own sum by the S of all. The loss of the batch is then the plain sum of the parts, and
its gradient the plain sum of the processes' gradients, however unevenly hidden values lie in the windows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from fomo.model.layers import AdaptiveBlock, EncoderBlock
from fomo.model.transformer import MaskedDiffusionTransformer, evenly


def unchanged(part: Tensor) -> Tensor:
    """The sum over one process."""
    return part


@dataclass(frozen=True)
class Share:
    """Process `rank` of `size` that compute one batch. `add` sums a tensor over them, without a gradient."""

    rank: int = 0
    size: int = 1
    add: Callable[[Tensor], Tensor] = unchanged

    def rows(self, windows: int) -> Int64[Tensor, " own"]:
        """The own ones of so many windows."""
        return torch.arange(self.rank, windows, self.size)

    def own(self, windows: int) -> int:
        """How many of the first `windows` of a batch are one's own."""
        return len(range(self.rank, windows, self.size))

    def take(self, rows: Tensor) -> Tensor:
        """One's own rows of a tensor with a row per window."""
        return rows if self.size == 1 else rows[self.rank :: self.size].contiguous()

    def of_all(self, value: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """The part in a sum over processes of a value that each has computed for all, with its own gradient."""
        return value if self.size == 1 else value.detach() / self.size + (value - value.detach())

    def blocks(self, suitable: Bool[Tensor, "batch token"], most: int) -> Blocks:
        """At most `most` of the suitable blocks of the whole batch, those that one process would take."""
        if self.size == 1:
            return Blocks(evenly(suitable, most), None, 0, self.add)
        windows, tokens = suitable.shape
        marked = torch.zeros(self.size, windows, tokens, device=suitable.device)
        marked[self.rank] = suitable.float()
        everyones = rearrange(self.add(marked), "r b n -> (b r) n") > 0
        chosen = evenly(everyones, most)
        window, token = chosen // tokens, chosen % tokens
        place = (window % self.size == self.rank).nonzero()[:, 0]
        return Blocks((window // self.size * tokens + token)[place], place, len(chosen), self.add)


@dataclass(frozen=True)
class Blocks:
    """Blocks of a batch: `here` among one's own, at `place` among the `count` of all processes (None: alone)."""

    here: Int64[Tensor, " own"]
    place: Int64[Tensor, " own"] | None
    count: int
    add: Callable[[Tensor], Tensor]

    def everyones(self, own: Float[Tensor, "own width"]) -> Float[Tensor, "block width"]:
        """The tokens of all processes in the order of one process; only the own ones have a gradient."""
        if self.place is None:
            return own
        mine = torch.zeros(self.count, own.shape[1], device=own.device).index_copy(0, self.place, own.float())
        return self.add(mine.detach()) - mine.detach() + mine


#: A share of everything.
ALONE = Share()


class SharedDropout(nn.Dropout):
    """Dropout of one's own windows with the numbers that one process would draw for the whole batch.

    Every process draws the numbers of all windows, so that the generators stay in step; `windows` is how many there
    are.
    """

    def __init__(self, p: float, share: Share) -> None:
        """`windows` is set before every step."""
        super().__init__(p)
        self.share, self.windows = share, 0

    def forward(self, input: Float[Tensor, "own *axes"]) -> Float[Tensor, "own *axes"]:
        """Own windows, some values 0 and the others larger."""
        if not self.training or self.p == 0:
            return input
        ones = torch.ones((self.windows, *input.shape[1:]), dtype=input.dtype, device=input.device)
        return input * nn.functional.dropout(ones, self.p, True)[self.share.rank :: self.share.size]


def share_dropout(network: MaskedDiffusionTransformer, share: Share) -> None:
    """Put `SharedDropout` in place of the dropout of every block."""
    for block in (*network.encoder, *network.denoiser):
        assert isinstance(block, (EncoderBlock, AdaptiveBlock))
        block.dropout = SharedDropout(block.dropout.p, share)


def set_windows(network: MaskedDiffusionTransformer, encoded: int, denoised: int) -> None:
    """Say to the shared dropouts how many windows of the whole batch the encoder and the denoiser see."""
    for blocks, windows in ((network.encoder, encoded), (network.denoiser, denoised)):
        for block in blocks:
            if isinstance(block.dropout, SharedDropout):
                block.dropout.windows = windows


__all__ = ["ALONE", "Blocks", "Share", "SharedDropout", "set_windows", "share_dropout", "unchanged"]
