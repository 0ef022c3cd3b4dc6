"""SpectraGAN: Xu et al., "SpectraGAN: spectrum based generation of city scale spatiotemporal mobile network traffic
data", CoNEXT 2021.

An encoder of the context (a CNN over the grid), a generator of the spectrum of each cell's window, which is held to its
strongest Fourier components, a generator of what is left in time, and a discriminator for each: of spectra and of
series. Both generators read noise. The paper's context is a map of the city, and it only generates; here the context is
everything that is known of the window, the observed traffic among it, so that the network forecasts, too. The parts are
sized for a short training and have spectral normalisation. Under the paper's L1 loss the noise dies out; here the loss
is the L1 distance of several draws to the truth less half the distance between the draws (the energy form of the CRPS,
Gneiting and Raftery, 2007), which keeps them as far apart as they miss.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from einops import rearrange, repeat
from jaxtyping import Complex, Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from fomo.forecasters.rivals.adversarial import NOISE, Noise, completed, energy
from fomo.forecasters.rivals.inputs import CHANNELS, Inputs
from fomo.forecasters.rivals.network import Player, RivalNetwork, asked_mean

#: Share of the Fourier components that count as the spectrum, the strongest ones; the rest is the residual's.
KEPT = 0.25


class SpectraGAN(RivalNetwork):
    """Spectrum and residual of every cell, from context and noise."""

    antithetic = True

    def __init__(
        self,
        width: int = 96,
        layers: int = 4,
        patch: int = 4,
        steps: int = 64,
        draws: int = 4,
        spectral: float = 0.03,
        adversarial: float = 0.01,
    ) -> None:
        """`steps`: of a window; `draws`: members per window in training; then the weights of two of the losses."""
        super().__init__()
        self.patches, self.draws, self.spectral, self.adversarial = steps // patch, draws, spectral, adversarial
        self.encoder = ContextEncoder(width, layers, patch, self.patches)
        self.spectrum = SpectrumGenerator(width, self.patches, steps // 2 + 1)
        self.residual = TimeGenerator(width, patch)
        self.of_spectra = SpectrumDiscriminator(width, steps // 2 + 1)
        self.of_series = SeriesDiscriminator(width, patch)

    def generate(
        self, inputs: Inputs, noise: Noise
    ) -> tuple[Float[Tensor, "batch sample time y x"], Complex[Tensor, "batch sample frequency y x"]]:
        """Members of the windows, and the spectra that they are made of."""
        tokens = self.encoder(inputs)
        cells, spectrum = self.spectrum(tokens, noise)
        smooth = torch.fft.irfft(spectrum, n=inputs.value.shape[1], dim=2, norm="forward")
        return smooth + self.residual(tokens, cells, noise), spectrum

    def players(self) -> list[Player]:
        """The discriminators, then the generators."""
        judges = [*self.of_spectra.parameters(), *self.of_series.parameters()]
        makers = [*self.encoder.parameters(), *self.spectrum.parameters(), *self.residual.parameters()]
        return [Player(judges, self.discriminate), Player(makers, self.deceive)]

    def discriminate(self, inputs: Inputs, target: Tensor, random: torch.Generator) -> Tensor:
        """The hinge loss: opinions of real windows are to be above 1, of made ones below -1."""
        # Every second window will do, and saves half of a forward pass of the generators.
        inputs, target = inputs.rows(slice(0, None, 2)), target[::2]
        b, _, y, x = target.shape
        with torch.no_grad():
            drawn, _ = self.generate(inputs, Noise.draw(b, 1, self.patches, y, x, random))
        wrong = [
            nn.functional.relu(1 - sign * self.opinion(series, inputs))
            for series, sign in ((target, 1.0), (drawn[:, 0], -1.0))
        ]
        return asked_mean(wrong[0] + wrong[1], inputs)

    def deceive(self, inputs: Inputs, target: Tensor, random: torch.Generator) -> Tensor:
        """Members near the truth and as far apart as they miss it, spectra near the real ones, and good opinions."""
        b, _, y, x = target.shape
        drawn, spectrum = self.generate(inputs, Noise.draw(b, self.draws, self.patches, y, x, random))
        real = strongest(torch.fft.rfft(completed(target, inputs), dim=1, norm="forward"))
        off = (spectrum.mean(1) - real).abs().sum(1, keepdim=True).expand_as(target)
        loss = energy(drawn, target) + self.spectral * off - self.adversarial * self.opinion(drawn[:, 0], inputs)
        return asked_mean(loss, inputs)

    def opinion(self, series: Float[Tensor, "batch time y x"], inputs: Inputs) -> Float[Tensor, "batch time y x"]:
        """How real the asked values look, among the observed ones: the mean of both discriminators."""
        whole = completed(series, inputs)
        spectrum = strongest(torch.fft.rfft(whole, dim=1, norm="forward"))
        return (self.of_spectra(spectrum, inputs) + self.of_series(whole, inputs)) / 2

    def sample(self, inputs: Inputs, samples: int, random: torch.Generator) -> Float[Tensor, "batch sample time y x"]:
        """One draw of noise per member, members 2i and 2i + 1 of opposite noise."""
        b, y, x = inputs.level.shape
        return self.generate(inputs, Noise.draw(b, samples, self.patches, y, x, random, antithetic=True))[0]


class ContextEncoder(nn.Module):
    """Patches of all that is known, convolved in time and over the grid."""

    def __init__(self, width: int, layers: int, patch: int, patches: int) -> None:
        """`patch`: steps; `patches`: of a window."""
        super().__init__()
        self.patch = patch
        self.embed = nn.Linear(CHANNELS * patch, width)
        self.place = nn.Parameter(0.02 * torch.randn(patches, 1, 1, width))
        # 1, 2, 4, 8 patches apart: the first and the last of a window hear each other.
        self.layers = nn.ModuleList(Convolution(width, 2 ** (layer % 4)) for layer in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, inputs: Inputs) -> Float[Tensor, "batch patch y x width"]:
        """Features of every patch of every cell."""
        tokens = self.embed(rearrange(inputs.channels, "b c (p s) y x -> b p y x (c s)", s=self.patch)) + self.place
        for layer in self.layers:
            tokens = layer(tokens)
        return self.norm(tokens)


class Convolution(nn.Module):
    """Neighbours in time and neighbours on the grid, side by side, added to what was there."""

    def __init__(self, width: int, apart: int) -> None:
        """`apart`: patches between a patch and its neighbour in time."""
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.time = nn.Conv1d(width, width, 3, padding=apart, dilation=apart)
        self.grid = nn.Conv2d(width, width, 3, padding=1, groups=4)
        self.mix = nn.Linear(width, width)

    def forward(self, tokens: Float[Tensor, "batch patch y x width"]) -> Float[Tensor, "batch patch y x width"]:
        """One round."""
        b, y = tokens.shape[0], tokens.shape[2]
        normal = self.norm(tokens)
        time = self.time(rearrange(normal, "b p y x w -> (b y x) w p"))
        grid = self.grid(rearrange(normal, "b p y x w -> (b p) w y x"))
        both = rearrange(time, "(b y x) w p -> b p y x w", b=b, y=y) + rearrange(grid, "(b p) w y x -> b p y x w", b=b)
        return tokens + self.mix(nn.functional.gelu(both))


class SpectrumGenerator(nn.Module):
    """All patches of a cell at once, and noise, to its Fourier components."""

    def __init__(self, width: int, patches: int, frequencies: int) -> None:
        """`frequencies`: of a real series, half its steps and one."""
        super().__init__()
        self.known = nn.Linear(patches * width, 2 * width)
        self.noise = nn.Linear(2 * NOISE, 2 * width)
        self.inner = nn.Linear(2 * width, 2 * width)
        self.outer = nn.Linear(2 * width, 2 * frequencies)

    def forward(
        self, tokens: Float[Tensor, "batch patch y x width"], noise: Noise
    ) -> tuple[Float[Tensor, "batch sample y x hidden"], Complex[Tensor, "batch sample frequency y x"]]:
        """What is decided of the cells, and their spectra; component 0 is the mean of the series."""
        known = self.known(rearrange(tokens, "b p y x w -> b 1 y x (p w)"))
        hidden = nn.functional.gelu(known + self.noise(noise.both))
        hidden = nn.functional.gelu(self.inner(hidden))
        real, imaginary = rearrange(self.outer(hidden), "b s y x (two f) -> two b s f y x", two=2)
        return hidden, torch.complex(real, imaginary)


class TimeGenerator(nn.Module):
    """The residual of every patch: its features, what was decided of its cell, and noise of its own."""

    def __init__(self, width: int, patch: int) -> None:
        """`patch`: steps that are made at once."""
        super().__init__()
        self.known, self.cell = nn.Linear(width, width), nn.Linear(2 * width, width)
        self.noise = nn.Linear(NOISE, width)
        self.outer = nn.Sequential(nn.Linear(width, width // 2), nn.GELU(), nn.Linear(width // 2, patch))

    def forward(
        self,
        tokens: Float[Tensor, "batch patch y x width"],
        cells: Float[Tensor, "batch sample y x hidden"],
        noise: Noise,
    ) -> Float[Tensor, "batch sample time y x"]:
        """Values of every step."""
        hidden = self.known(tokens)[:, None] + self.cell(cells)[:, :, None] + self.noise(noise.patch)
        return rearrange(self.outer(nn.functional.gelu(hidden)), "b s p y x step -> b s (p step) y x")


class SpectrumDiscriminator(nn.Module):
    """Is this the spectrum of a real cell?"""

    def __init__(self, width: int, frequencies: int) -> None:
        """`frequencies`: of a spectrum."""
        super().__init__()
        sizes = (2 * frequencies + 3, width, width, 1)
        self.layers = nn.ModuleList(spectral_norm(nn.Linear(*pair)) for pair in pairwise(sizes))

    def forward(self, spectrum: Complex[Tensor, "batch frequency y x"], inputs: Inputs) -> Float[Tensor, "batch 1 y x"]:
        """High: real. Beside it reads how much of the cell is asked, and its level."""
        asked = inputs.asked.to(inputs.level.dtype).mean(1)
        beside = torch.stack([asked, inputs.level, inputs.own_level.to(asked.dtype)], 1)
        # Amplitudes fall with the frequency and are far below 1.
        hidden = rearrange(torch.cat([8 * spectrum.real, 8 * spectrum.imag, beside], 1), "b c y x -> b y x c")
        for layer in self.layers[:-1]:
            hidden = nn.functional.leaky_relu(layer(hidden), 0.2)
        return rearrange(self.layers[-1](hidden), "b y x 1 -> b 1 y x")


class SeriesDiscriminator(nn.Module):
    """Is this the traffic of a real cell, around each patch and given what else is known?"""

    def __init__(self, width: int, patch: int) -> None:
        """`patch`: steps that are judged at once."""
        super().__init__()
        self.patch = patch
        self.layers = nn.Sequential(
            spectral_norm(nn.Conv1d(1 + CHANNELS, width, patch, stride=patch)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv1d(width, width, 3, padding=1)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv1d(width, 1, 1)),
        )

    def forward(self, whole: Float[Tensor, "batch time y x"], inputs: Inputs) -> Float[Tensor, "batch time y x"]:
        """High: real. One opinion for all steps of a patch."""
        b, _, y, x = whole.shape
        series = rearrange(torch.cat([whole[:, None], inputs.channels], 1), "b c t y x -> (b y x) c t")
        return repeat(self.layers(series), "(b y x) 1 p -> b (p s) y x", b=b, y=y, x=x, s=self.patch)


def strongest(spectrum: Complex[Tensor, "batch frequency y x"]) -> Complex[Tensor, "batch frequency y x"]:
    """The spectrum with its weak components, all but `KEPT` of them, set to 0."""
    magnitude = spectrum.abs()
    return spectrum * (magnitude >= magnitude.quantile(1 - KEPT, dim=1, keepdim=True))


__all__ = ["SpectraGAN"]
