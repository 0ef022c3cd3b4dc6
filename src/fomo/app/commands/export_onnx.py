"""`fomo export-onnx`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from fomo.app.commands.console import working, wrote


@dataclass(frozen=True)
class ExportOnnx:
    """Weights as ONNX graphs, for runtimes other than PyTorch.

    Writes encoder.onnx, denoiser.onnx and network.json, which names inputs, outputs, units and the sampler's levels.
    What is observed of a window is computed outside the graphs.
    """

    weights: Annotated[
        str,
        Positional,
        arg(metavar="W", help="Name of shipped weights, or the folder 'weights' of a run of 'fomo train'."),
    ] = "fomo-tiny"
    out: Annotated[Path, arg(metavar="DIR", help="Folder for the three files.")] = Path("onnx")
    window: Annotated[
        tuple[int, int, int],
        arg(metavar="STEPS ROWS COLUMNS", help="Size of a window, fixed in the graphs; windows and members are free."),
    ] = (64, 8, 8)

    def run(self) -> int:
        """Export and say where it lies."""
        with working("exporting"):
            from fomo.app.service.onnx_export import export_onnx

            found = export_onnx(self.weights, self.out, self.window)
        print(f"{found.name}: windows of {' x '.join(map(str, found.window))}, any number of windows and members")
        wrote(found.files)
        return 0
