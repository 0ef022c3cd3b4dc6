"""Which errors are the user's to mend: they become one line on the command line, everything else is a fault of FoMo.

Classes are told apart by name, so that nothing is imported to find out what went wrong.
"""

from __future__ import annotations

import errno

#: Errors whose message names the variable, the place and the remedy.
FOR_THE_USER = frozenset(
    {
        "fomo.app.errors.UsageError",
        "fomo.config.ConfigError",
        "fomo.evaluation.protocol.EvaluationError",
        "fomo.forecast.ForecastError",
        "fomo.forecasters.registry.UnknownForecaster",
        "fomo.given.CityError",
        "fomo.ingest.ledger.IngestError",
        "fomo.model.checkpoint.CheckpointError",
        "fomo.planning.load.PlanError",
        "fomo.processes.ProcessError",
        "builtins.FloatingPointError",
        "builtins.OSError",
    }
)


class UsageError(ValueError):
    """Options that do not go together, or a path that cannot be used; the message says what to do."""


def is_for_the_user(error: BaseException) -> bool:
    """Whether the message alone helps, without a traceback."""
    return any(f"{kind.__module__}.{kind.__qualname__}" in FOR_THE_USER for kind in type(error).__mro__)


def one_line(error: BaseException) -> str:
    """The message on one line."""
    if isinstance(error, OSError) and error.strerror and not type(error).__module__.startswith("fomo"):
        where = f": {error.filename}" if error.filename else ""
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "; make room and run the same command again" if full else ""
        return f"{error.strerror}{where}{remedy}"
    return " ".join(str(error).split()) or type(error).__name__


__all__ = ["FOR_THE_USER", "UsageError", "is_for_the_user", "one_line"]
