"""From a question of a city to a forecast on disk, by one process or by several that share districts and members."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import fomo
from fomo.app.errors import UsageError
from fomo.app.service import parts as waiting
from fomo.app.service.outputs import Outputs
from fomo.app.service.parts import Parts, city_hash, folder_of
from fomo.app.service.pieces import save_array
from fomo.app.service.sharing import Piece, Work, shared_work
from fomo.city import City
from fomo.files import remove_left_overs
from fomo.forecast import Forecast, Region
from fomo.forecasters.apart import Apart
from fomo.forecasters.fomo import FoMo, load
from fomo.processes import Place, ProcessError


@dataclass(frozen=True)
class Question:
    """What is asked about a city, as calls of a model. Without `apart` all its districts are drawn together."""

    city: City
    facts: Mapping[str, Any]  # all that the answer depends on, beside city, weights and versions
    samples: int
    whole: Callable[[FoMo, range | None], Forecast]
    unit: int = 2  # members that are drawn together
    work: Callable[[FoMo], Work] | None = None
    apart: Callable[[FoMo], Apart] | None = None

    def work_of(self, model: FoMo) -> Work:
        """What the answer consists of."""
        return Work(1, self.samples, self.unit) if self.work is None else self.work(model)

    def apart_of(self, model: FoMo) -> Apart | None:
        """How the answer is drawn district by district, where there are several."""
        return None if self.apart is None or self.work_of(model).districts == 1 else self.apart(model)

    def facts_of(self, model: FoMo) -> dict[str, Any]:
        """All that the answer depends on."""
        import torch

        return {
            **self.facts,
            "city": city_hash(self.city),
            "weights": model.weights,
            "fomo": fomo.__version__,
            "torch": str(torch.__version__),
        }


@dataclass(frozen=True)
class Answer:
    """A forecast, the files it was written to and the seconds that the network took.

    In a process that is not the first of several there is no forecast, but what it drew for the first one, in words.
    """

    forecast: Forecast | None
    written: list[Path]
    seconds: float
    place: Place = Place()  # noqa: RUF009 (frozen)
    drew: str = ""
    joiner: int = 0

    @property
    def joined_by(self) -> str:
        """'process 0', which writes the forecast."""
        return f"process {self.joiner}"


def answer(question: Question, outputs: Outputs, weights: str, device: str, place: Place) -> Answer:
    """What is asked, by this process or by its share of the work. Raises `ProcessError`, `UsageError`."""
    outputs.check()
    model = model_of(weights, device, place)
    work = question.work_of(model)
    (shares,) = shared_work([work], place.size)
    if len(shares) < place.size:
        raise ProcessError(
            f"{question.samples} members are drawn {work.unit} at least in each process, so by {work.units} at most, "
            f"not by {place.size}: start fewer processes, or ask for more --samples"
        )
    return answer_together(model, question, outputs, place, shares)


def answer_together(
    model: FoMo, question: Question, outputs: Outputs, place: Place, shares: Mapping[int, Sequence[Piece]]
) -> Answer:
    """What is asked, by the processes that have a share of it, of which this is one.

    One process alone leaves pieces too where there are several districts, so that it holds only one of them.
    """
    if len(shares) == 1 and question.work_of(model).districts == 1:
        return answer_alone(model, question, outputs)
    parts, seconds = draw(model, question, outputs, place, shares)
    if not parts.joins:
        return Answer(None, [], seconds, place, in_words(parts.mine), min(shares))
    return join(model, question, outputs, parts, seconds)


def answer_alone(model: FoMo, question: Question, outputs: Outputs) -> Answer:
    """What is asked, drawn and written by this process."""
    remove_left_overs(folder_of(outputs.forecast))  # of several processes that answered before
    began = time.perf_counter()
    found = question.whole(model, None)
    seconds = time.perf_counter() - began
    return Answer(found, outputs.write(found, question.city), seconds)


def draw(
    model: FoMo, question: Question, outputs: Outputs, place: Place, shares: Mapping[int, Sequence[Piece]]
) -> tuple[Parts, float]:
    """The pieces of a forecast, those of this process drawn, and the seconds that it took."""
    parts = Parts(outputs.forecast, place, shares, question.facts_of(model) | {"processes": place.size})
    began = time.perf_counter()
    apart = question.apart_of(model)

    def save(piece: Piece, path: Path) -> None:
        if apart is None:
            question.whole(model, piece.members).save(path)
        else:
            save_array(apart.draw(piece.district, piece.members), path)

    parts.draw(save)
    return parts, time.perf_counter() - began


def join(model: FoMo, question: Question, outputs: Outputs, parts: Parts, seconds: float) -> Answer:
    """The forecast of all pieces, once they are there; this process took `seconds` for its own.

    One that was drawn in districts is not held in memory.
    """
    parts.wait(max(waiting.PATIENCE, seconds))
    apart = question.apart_of(model)
    if apart is None:
        found = parts.join()
        parts.checked(found.samples.values, found.asked.values)
        written = outputs.write(found, question.city)
    else:
        whole, read, asked = apart, parts.reader(), apart.shell.asked.values

        def values(region: Region) -> np.ndarray:
            return parts.checked(whole.put_together(region, read), asked[region[1:]])

        whole.shell.save_in_pieces(outputs.forecast, whole.samples, values)
        found = Forecast.open(outputs.forecast, held=False)
        written = [outputs.forecast, *outputs.write_beside(found, question.city)]
    parts.remove()
    return Answer(found, written, seconds, parts.place)


def in_words(pieces: Sequence[Piece]) -> str:
    """What pieces hold: '4 members', 'members of 3 districts'."""
    districts = {piece.district for piece in pieces}
    members = sum(len(piece.members) for piece in pieces)
    return f"{members} members" + (f" of {len(districts)} districts" if len(districts) > 1 else "")


def model_of(weights: str, device: str, place: Place) -> FoMo:
    """The model, on the GPU of this process where there are several."""
    chosen = choose_device(device)
    if place.alone or chosen != "cuda":
        return load(weights, device=chosen)
    import torch

    return load(weights, device=place.gpu(torch.cuda.device_count()))


def choose_device(device: str) -> str:
    """'cpu' or 'cuda'. Raises `UsageError` where a GPU is asked for and there is none."""
    from fomo.forecasters.fomo import device_of
    from fomo.model.checkpoint import CheckpointError

    try:
        return device_of(device)
    except CheckpointError as error:
        raise UsageError(f"--device: {error}") from None


__all__ = ["Answer", "Question", "answer", "answer_together", "choose_device", "draw", "in_words", "join", "model_of"]
