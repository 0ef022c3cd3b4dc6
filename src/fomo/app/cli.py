"""The command line: `fomo --help` is a table of contents. Errors of the user are one line, exit code 2.

A verb is a frozen dataclass under `commands/`; its fields are its options. tyro makes parser and help of them.
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Annotated, Any, Protocol, cast, runtime_checkable

import tyro

from fomo import __version__
from fomo.app.commands.city import City
from fomo.app.commands.data import Data
from fomo.app.commands.demo import Demo
from fomo.app.commands.evaluate import Evaluate
from fomo.app.commands.export_onnx import ExportOnnx
from fomo.app.commands.finetune import Finetune
from fomo.app.commands.forecast import Fill, Forecast, Generate
from fomo.app.commands.plan import Plan
from fomo.app.commands.scoreboard import Scoreboard
from fomo.app.commands.train import INTERRUPTED, Train
from fomo.app.commands.verify import Verify
from fomo.app.errors import is_for_the_user, one_line


@runtime_checkable
class Verb(Protocol):
    """Options that can be run."""

    def run(self) -> int:
        """Do it; returns the exit code."""
        ...


VERBS: tuple[type[Verb], ...] = (
    Demo,
    Data,
    City,
    Train,
    Finetune,
    Forecast,
    Generate,
    Fill,
    Verify,
    Plan,
    Evaluate,
    Scoreboard,
    ExportOnnx,
)

DESCRIPTION = """FoMo: forecast the mobile traffic of any city, with its uncertainty.

'fomo demo' needs no data; 'fomo VERB --help' says what a verb takes.
--debug anywhere: show the traceback of an error. --version: print the version."""
USER_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 2 for an error of the user, 130 for Ctrl-C."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [word for word in given if word != "--debug"]
    if given == ["--version"]:
        print(f"fomo {__version__}")
        return 0
    try:
        verb = parse(given or ["--help"])
    except SystemExit as left:  # help, or options that tyro has explained
        return left.code if isinstance(left.code, int) else USER_ERROR
    with warnings.catch_warnings():
        warnings.showwarning = _warn
        try:
            code = verb.run()
            sys.stdout.flush()
            return code
        except KeyboardInterrupt:
            print("fomo: stopped; files are written whole or not at all, so what was there is kept", file=sys.stderr)
            return INTERRUPTED
        except BrokenPipeError:  # the reader, e.g. `head`, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except Exception as error:
            if debug or not is_for_the_user(error):
                raise
            print(f"fomo: {one_line(error)}", file=sys.stderr)
            return USER_ERROR


def parse(arguments: Sequence[str]) -> Verb:
    """The verb with its options. Raises `SystemExit`, with the help or the fault printed."""
    brief = arguments[0].startswith("-")  # the table of contents has one line a verb
    choices: tuple[Any, ...] = tuple(
        Annotated[
            kind,
            tyro.conf.subcommand(verb_name(kind), description=(kind.__doc__ or "").split("\n")[0] if brief else None),
        ]
        for kind in VERBS
    )
    config = (tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone)
    verbs = cast("type[Verb]", reduce(or_, choices))
    return tyro.cli(verbs, prog="fomo", description=DESCRIPTION, args=arguments, config=config)


def verb_name(kind: type[Verb]) -> str:
    """A verb as it is typed: `ExportOnnx` is `export-onnx`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__).lower()


def _warn(message: Warning | str, category: type[Warning], *place: object, **more: object) -> None:
    """A warning as one line, without the place in the code."""
    print(f"fomo: note: {' '.join(str(message).split())}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
