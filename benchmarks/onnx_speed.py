"""The denoiser by PyTorch, by onnxruntime, fp32 and int8, and by OpenVINO, on one thread; the last line is JSON.

    python benchmarks/onnx_speed.py     # needs the extra `onnx`, and no data; OpenVINO where it is installed

32 members of one 64 x 8 x 8 window pass the network, as many as a forecast lets pass at once. All take turns, and
each has its least time of many. int8 is onnxruntime's dynamic quantisation of the linear layers (weights per output,
what goes in by its own range). Errors are root mean squares over that of what is right: of F at each noise level, and
of the residuals after the steps of the sampler; journal/2026-11-26-onnx.md.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

from fomo.app.service.onnx_export import DENOISER, ENCODER, export_onnx
from fomo.app.service.onnx_graphs import ENCODED, SAID, tensors_of
from fomo.diffusion.sampler import angle
from fomo.forecasters.fomo import load
from fomo.sources.synthetic import synthetic_city
from fomo.windows.batch import collate
from fomo.windows.observation import observe
from fomo.windows.task import forecast_task

try:
    import openvino
except ImportError:  # then its rows are left out
    openvino = None

WINDOW, MEMBERS = (64, 8, 8), 32
#: F of noised values at a noise label, both as tensors.
Network = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def session(path: Path) -> onnxruntime.InferenceSession:
    """A graph on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def by_openvino(path: Path, feeds: dict[str, np.ndarray]) -> Network:
    """A graph in OpenVINO on one thread, in float32, compiled for the shapes of `feeds`: it is slower without them."""
    core = openvino.Core()
    graph = core.read_model(path)
    graph.reshape({port.any_name: list(feeds[port.any_name].shape) for port in graph.inputs})
    settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(graph, "CPU", settings)
    request = compiled.create_infer_request()

    def run(noised: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        asked = feeds | {"noised": noised.numpy(), "noise_label": label.numpy()}
        found = request.infer({port: asked[port.any_name] for port in compiled.inputs}, share_inputs=True)
        return torch.from_numpy(np.array(found[SAID[0].name]))

    return run


def error(found: torch.Tensor, right: torch.Tensor) -> float:
    """Root mean square of the difference over that of what is right."""
    return float((found - right).square().mean().sqrt() / right.square().mean().sqrt())


def least_times(networks: dict[str, Network], noised: torch.Tensor, label: torch.Tensor, repeats: int):
    """Least seconds of each, the three taking turns."""
    times: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(repeats):
        for name, network in networks.items():
            began = time.perf_counter()
            network(noised, label)
            times[name].append(time.perf_counter() - began)
    return {name: min(found[1:]) for name, found in times.items()}  # the first warms up


def measure(folder: Path, horizon: int, weights: str, repeats: int) -> dict[str, object]:
    """Seconds, ratios and errors where `horizon` of the 64 steps are asked."""
    model = load(weights)
    city = synthetic_city(height=WINDOW[1], width=WINDOW[2], days=9, seed=3)
    task = forecast_task(city, horizon, WINDOW[0] - horizon, context="past")
    batch = collate([model.window(task, model.reference(city))])
    observation = observe(batch)
    condition = model.network.encode(batch, observation)
    encoder = session(folder / ENCODER)
    given = {name: tensor.numpy() for name, tensor in tensors_of(batch, observation).items()}
    said = encoder.run([port.name for port in ENCODED], {port.name: given[port.name] for port in encoder.get_inputs()})
    encoded = dict(zip((port.name for port in ENCODED), said, strict=True))
    kept = np.flatnonzero(encoded["attend"].any(0))
    fixed = {name: np.ascontiguousarray(encoded[name][..., kept, :]) for name in ("projected", "adapt", "turn")}
    fixed |= {"attend": encoded["attend"][:, kept], "kept": kept, "hidden": batch.hidden.numpy()}

    def by_graph(name: str) -> Network:
        graph = session(folder / name)

        def run(noised: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
            asked = {"noised": noised.numpy(), "noise_label": label.numpy(), **fixed}
            return torch.from_numpy(graph.run([SAID[0].name], asked)[0])

        return run

    networks: dict[str, Network] = {
        "pytorch": lambda noised, label: model.network.denoise(noised, label, condition),
        "onnxruntime": by_graph(DENOISER),
        "onnxruntime_int8": by_graph("int8.onnx"),
    }
    if openvino is not None:
        shaped = {"noised": np.zeros((1, MEMBERS, *WINDOW), np.float32), "noise_label": np.zeros(1, np.float32)}
        networks["openvino"] = by_openvino(folder / DENOISER, shaped | fixed)
    process = model.drawing.process
    levels = model.drawing.levels()
    noise = torch.randn(1, MEMBERS, *WINDOW, generator=torch.Generator().manual_seed(0))
    where = batch.hidden[:, None].expand(noise.shape)

    def drawn(network: Network) -> torch.Tensor:
        def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
            c_skip, c_out, c_in, c_noise = process.coefficients(torch.tensor([sigma], dtype=torch.float32))
            return c_skip * x + c_out * network((c_in * x).float(), c_noise)

        return angle(denoise, noise, levels)[where]

    seconds = least_times(networks, noise, torch.zeros(1), repeats)
    residuals = {name: drawn(network) for name, network in networks.items()}
    found: dict[str, object] = {"asked_steps": horizon, "kept_tokens": len(kept), "tokens": math.prod((16, 4, 4))}
    for name, right in (("relative_mean", condition.mean), ("log_scale", condition.log_scale)):
        # PyTorch says nothing of steps that are not asked.
        found[f"encoder_error_of_{name}"] = float(
            f"{error(torch.from_numpy(encoded[name])[batch.hidden], right[batch.hidden]):.2g}"
        )
    found |= {f"{name}_milliseconds": round(1e3 * least, 2) for name, least in seconds.items()}
    for name in list(networks)[1:]:
        found[f"{name}_speed_over_pytorch"] = round(seconds["pytorch"] / seconds[name], 3)
        for sigma in levels[:-1]:
            label = process.coefficients(sigma[None])[3]
            # c_in x has unit variance at every level, so the noise itself stands for it.
            wrong = error(networks[name](noise, label)[where], networks["pytorch"](noise, label)[where])
            found[f"{name}_error_of_F_at_{float(sigma):.2g}"] = float(f"{wrong:.2g}")
        found[f"{name}_error_of_residuals"] = float(f"{error(residuals[name], residuals['pytorch']):.2g}")
        spread = residuals[name].std() / residuals["pytorch"].std()
        found[f"{name}_spread_ratio"] = round(float(spread), 4)
    return found


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="fomo-tiny")
    parser.add_argument("--repeats", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export_onnx(options.weights, folder, WINDOW)
        quantize_dynamic(folder / DENOISER, folder / "int8.onnx", weight_type=QuantType.QInt8, per_channel=True)
        sizes = {path.stem: path.stat().st_size for path in (folder / DENOISER, folder / "int8.onnx")}
        with torch.inference_mode():
            found = [measure(folder, horizon, options.weights, options.repeats) for horizon in (16, 48)]
    versions = {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__}
    versions |= {} if openvino is None else {"openvino": openvino.__version__}
    print(json.dumps({"rows": found, "bytes": sizes, **versions}))


if __name__ == "__main__":
    main()
