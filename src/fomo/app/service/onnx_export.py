"""Weights as two ONNX graphs and a JSON file that says how to drive them.

`encoder.onnx` runs once per window; `denoiser.onnx` once per step of the sampler, for all members together. What is
observed of a window (`fomo.windows.observation.observe`) is computed outside, as it branches on the data. Each graph is
for one size of window and any number of windows and members. Beside their inputs, `network.json` holds the levels of
noise of the sampler with the process's coefficients, so that a driver is a loop of a few lines.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from fomo import __version__
from fomo.app.errors import UsageError
from fomo.app.service.onnx_graphs import (
    ENCODED,
    FREE_AXES,
    NOISED,
    SAID,
    DenoiserGraph,
    EncoderGraph,
    Port,
    encoder_ports,
    tensors_of,
)
from fomo.files import whole_file
from fomo.forecasters.fomo import FoMo, load
from fomo.sources.synthetic import synthetic_city
from fomo.windows.batch import Batch, collate
from fomo.windows.observation import Observation, observe
from fomo.windows.task import forecast_task

FORMAT_VERSION = 1
ENCODER, DENOISER, DESCRIPTION = "encoder.onnx", "denoiser.onnx", "network.json"
#: What a window has at most: beyond it, export takes too long and the network was not trained.
LARGEST_WINDOW = (256, 64, 64)
#: Rows and members of the example that is traced: not 1, which would be taken as fixed, and not equal.
ROWS, MEMBERS = 3, 5
NEEDED = ("onnx", "onnxscript")


@dataclass(frozen=True)
class Exported:
    """What was written."""

    files: tuple[Path, ...]
    window: tuple[int, int, int]
    name: str


def export_onnx(weights: str | Path, out: str | Path, window: tuple[int, int, int] = (64, 8, 8)) -> Exported:
    """Write the graphs of these weights for windows of `window` (steps, rows, columns) and their description.

    Every file is written whole; the description, with the graphs' hashes, comes last. Raises `UsageError`: packages are
    missing, `window` is too small or too large, or `out` is a file; `CheckpointError`: no such weights.
    """
    _check(Path(out), window)
    model = load(weights)
    if math.prod(model.network.config.token_shape.grid(*window)) < 2:
        raise UsageError(f"--window {_words(window)} is a single token: take a larger one, as 64 8 8")
    batch, observation = _example(model, window)
    folder = Path(out)
    graphs = {
        "encoder": _write_encoder(folder / ENCODER, model, batch, observation),
        "denoiser": _write_denoiser(folder / DENOISER, model, batch, observation),
    }
    with whole_file(folder / DESCRIPTION) as fresh:
        fresh.write_text(json.dumps(_description(model, window) | graphs, indent=1) + "\n", encoding="utf-8")
    return Exported((folder / ENCODER, folder / DENOISER, folder / DESCRIPTION), window, model.checkpoint.name)


def _check(out: Path, window: tuple[int, int, int]) -> None:
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise UsageError(f"{' and '.join(missing)} not installed, which ONNX export needs: pip install 'fomo[onnx]'")
    if (
        window[0] < 2
        or min(window[1:]) < 1
        or any(size > most for size, most in zip(window, LARGEST_WINDOW, strict=True))
    ):
        raise UsageError(f"--window {_words(window)}: steps, rows and columns, from 2 1 1 to {_words(LARGEST_WINDOW)}")
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file: name a folder")


def _words(window: tuple[int, int, int]) -> str:
    return " ".join(map(str, window))


def _example(model: FoMo, window: tuple[int, int, int]) -> tuple[Batch, Observation]:
    """Windows of a made city with all that is known of it; only their shapes matter."""
    time, height, width = window
    city = synthetic_city(height=height, width=width, days=8 + time // 24)
    asked = max(1, time // 4)
    task = forecast_task(city, asked, time - asked, context="past")
    batch = collate([model.window(task, model.reference(city))] * ROWS)
    return batch, observe(batch)


def _write_encoder(path: Path, model: FoMo, batch: Batch, observation: Observation) -> dict[str, Any]:
    graph = EncoderGraph(model.network, batch, observation)
    given = tuple(tensors_of(batch, observation).values())
    ports = encoder_ports(batch, observation)
    shapes = (tuple(_free(port) for port in ports),)  # one entry: they are all `*tensors`
    return _write(path, graph, given, shapes, ports, ENCODED)


def _write_denoiser(path: Path, model: FoMo, batch: Batch, observation: Observation) -> dict[str, Any]:
    with torch.no_grad():
        encoded = EncoderGraph(model.network, batch, observation)(*tensors_of(batch, observation).values())
    _, _, projected, adapt, turn, attend = encoded
    kept = torch.arange(attend.shape[1])
    noised = torch.zeros(ROWS, MEMBERS, *batch.share.shape[1:])
    given = (
        *(noised, torch.zeros(1), batch.hidden),
        *(projected[:, kept], adapt[:, kept], turn[:, :, kept], attend[:, kept], kept),
    )
    return _write(path, DenoiserGraph(model.network), given, tuple(_free(port) for port in NOISED), NOISED, SAID)


def _free(port: Port) -> dict[int, Any]:
    """The axes of an input that may have any length, for `torch.export`."""
    return {at: Dim(axis) if axis in FREE_AXES else Dim.STATIC for at, axis in enumerate(port.axes)}


def _write(
    path: Path,
    graph: nn.Module,
    given: tuple[Tensor, ...],
    shapes: tuple[Any, ...],
    inputs: Sequence[Port],
    outputs: Sequence[Port],
) -> dict[str, Any]:
    """Trace, write and describe one graph; inputs that nothing in it reads are left out."""
    names = [port.name for port in inputs]
    with _quiet(), torch.no_grad():
        traced = torch.export.export(graph, given, dynamic_shapes=shapes, strict=False)
        program = torch.onnx.export(
            traced, dynamo=True, verbose=False, input_names=names, output_names=[port.name for port in outputs]
        )
    assert program is not None
    written = program.model.graph
    _leave_out_unread(written)
    for values, ports in ((written.inputs, inputs), (written.outputs, outputs)):
        by_name = {port.name: port for port in ports}
        for value in values:
            _name_axes(value, by_name[value.name].axes)
    with whole_file(path) as fresh:
        program.save(str(fresh), external_data=False)
        digest = hashlib.sha256(fresh.read_bytes()).hexdigest()
    used = {value.name: value for value in (*written.inputs, *written.outputs)}
    return {
        "file": path.name,
        "sha256": digest,
        "opset": program.model.opset_imports[""],
        "inputs": [_said_of(port, used[port.name]) for port in inputs if port.name in used],
        "outputs": [_said_of(port, used[port.name]) for port in outputs],
    }


def _leave_out_unread(graph: Any) -> None:
    """Inputs whose values nothing reads. Where the tracer asks one for the number of windows, another one is asked."""
    read = [value for value in graph.inputs if any(node.op_type != "Shape" for node, _ in value.uses())]
    for value in [value for value in graph.inputs if value not in read]:
        for node, place in tuple(value.uses()):
            first, last = (node.attributes[name].as_int() for name in ("start", "end"))
            assert (first, last) == (0, 1), f"{value.name} is asked for more than its windows"
            node.replace_input_with(place, read[0])
        graph.inputs.remove(value)


def _name_axes(value: Any, axes: Sequence[str]) -> None:
    """Free axes by their names in place of the tracer's symbols."""
    import onnx_ir

    sizes = [size if isinstance(size, int) else axis for size, axis in zip(value.shape, axes, strict=True)]
    value.shape = onnx_ir.Shape(sizes)


def _said_of(port: Port, value: Any) -> dict[str, Any]:
    """One input or output as JSON: a free axis has its name for its length."""
    shape = [size if isinstance(size, int) else str(size.value) for size in value.shape]
    kind = str(value.dtype).lower()
    return {"name": port.name, "type": kind, "axes": list(port.axes), "shape": shape, "meaning": port.meaning}


def _description(model: FoMo, window: tuple[int, int, int]) -> dict[str, Any]:
    """What a driver needs beside the graphs."""
    sampling, process, config = model.sampling, model.drawing.process, model.network.config
    sigmas = model.drawing.levels()
    rows = zip(sigmas[:-1].tolist(), *(part.tolist() for part in process.coefficients(sigmas[:-1])), strict=True)
    return {
        "format_version": FORMAT_VERSION,
        "fomo_version": __version__,
        "name": model.checkpoint.name,
        "weights_sha256": model.weights,
        "window": dict(zip(("time", "y", "x"), window, strict=True)),
        "token": dict(zip(("time", "y", "x"), config.token, strict=True)),
        "reads_context": model.reads_context,
        "context_unknown": "inputs of a context that is not known are all 0: then it changes nothing",
        "temperature": model.checkpoint.temperature,
        "process": {
            "name": model.checkpoint.process,
            "standardise": process.standardise,
            "denoised": "D(x; sigma) = c_skip x + c_out F(c_in x; c_noise)",
        },
        "sampling": {
            "sampler": sampling.sampler,
            "antithetic": sampling.antithetic,
            "levels": [dict(zip(("sigma", "c_skip", "c_out", "c_in", "c_noise"), row, strict=True)) for row in rows],
            "last_sigma": float(sigmas[-1]),
            "members": "fomo.diffusion.members.members_of with mean (relative_mean + 1) unit and scale temperature "
            "exp(log_scale) unit, after remembered and in_common of fomo.diffusion.memory, where standardise; else "
            "share = (D + 1) / 2, not below 0",
        },
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of packages that it misses and of its own deprecations."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning)
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            yield
    finally:
        logger.setLevel(before)


__all__ = ["DENOISER", "DESCRIPTION", "ENCODER", "FORMAT_VERSION", "Exported", "export_onnx"]
