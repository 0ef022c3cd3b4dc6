"""One of several processes: train made recipes together, disagree, lose one; what came of it is left in a folder.

RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT say which one; `python several.py FOLDER PLAN.json`. A plan has `runs`
(name -> recipe, shard, until) and, where it has a run `killed`, ends with the death of process 1 in that.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from small_training import made_training

import fomo
from fomo.processes import ProcessError
from fomo.training.loop import run
from fomo.training.recipe import Recipe
from fomo.training.together import Together, joined


class Left(BaseException):
    """The run ends here."""


def play(asked: dict[str, Any], folder: Path, together: Together) -> None:
    """Train until the step at which the run is left, with a snapshot there."""
    together = replace(together, shard=asked.get("shard", False))
    training = made_training(Recipe.model_validate(asked["recipe"]), together=together)

    def leave(step: int, numbers: dict[str, float]) -> None:
        if step == asked.get("until"):
            training.save(folder / "snapshot")
            raise Left

    try:
        run(training, folder, report=leave)
    except Left:
        return
    average = training.whole_average()
    if together.first:
        torch.save(average.state_dict(), folder / "average.pt")


def disagree(together: Together) -> dict[str, str]:
    """What processes say whose recipes, data or versions are not the same, or one of which cannot read them."""
    other = not together.first

    def said(read: Callable[[], dict[str, Any]]) -> str:
        try:
            together.agree(read, lambda facts: facts)
        except (ProcessError, OSError) as error:
            return f"{type(error).__name__}: {error}"
        return ""

    def cannot() -> dict[str, Any]:
        if other:
            raise FileNotFoundError("no data in /here")
        return {}

    found = {
        "same": said(lambda: {"recipe": {"seed": 3}}),
        "recipe": said(lambda: {"recipe": {"seed": 3 + other}}),
        "data": said(lambda: {"data": {"milan": "0b" if other else "0a"}}),
        "cannot": said(cannot),
    }
    version, fomo.__version__ = fomo.__version__, f"{fomo.__version__}.post{together.place.rank}"
    found["version"] = said(dict)
    fomo.__version__ = version
    try:
        together.from_first(lambda: 1 / 0)
    except (ProcessError, ZeroDivisionError) as error:
        found["first fails"] = f"{type(error).__name__}: {error}"
    try:
        together.same("the windows drawn", together.place.rank)
    except ProcessError as error:
        found["draws"] = str(error)
    return found


def lose_one(asked: dict[str, Any], folder: Path, together: Together) -> None:
    """Process 1 is killed in the sixth step."""
    training = made_training(Recipe.model_validate(asked["recipe"]), together=together)

    def die(step: int, numbers: dict[str, float]) -> None:
        if step == 5 and not together.first:
            os.kill(os.getpid(), signal.SIGKILL)

    run(training, folder, report=die)


if __name__ == "__main__":
    torch.set_num_threads(1)
    where, plan = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    began = time.monotonic()
    try:
        with joined("cpu", patience=60) as joint:
            for name, asked in plan["runs"].items():
                play(asked, where / name, joint)
            if "killed" in plan:
                (where / f"said-{joint.place.rank}.json").write_text(json.dumps(disagree(joint)))
                began = time.monotonic()
                lose_one(plan["killed"], where / "killed", joint)
    except ProcessError as error:
        (where / "lost.json").write_text(json.dumps({"said": str(error), "seconds": time.monotonic() - began}))
        sys.stdout.flush()
        os._exit(2)
