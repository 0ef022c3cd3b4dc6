"""Shapes and types of FoMo's functions, checked while the tests run, at a fraction of what checking all would cost."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any, get_args, get_type_hints

import jaxtyping

_checking_shapes = jaxtyping.jaxtyped
#: A whole number may stand where a float is asked (PEP 484).
CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"


def check_calls(package: str) -> None:
    """Check every call of the package's functions. Before it is imported.

    What jaxtyping's hook does, with less to do: checks are made when a function is called for the first time, one
    whose signature tells no shape gets the checker of plain types alone, and one that is defined inside another gets
    none, as it would be made anew whenever the outer one is called.
    """
    jaxtyping.jaxtyped = _checked  # what the hook writes before each function
    jaxtyping.install_import_hook(package, CHECKER)


def _checked(what: Any = None, *, typechecker: Callable[[Any], Any]) -> Any:
    """A function or a class with the checks that it needs; the hook gives them before other decorators see them."""
    if what is None:
        return lambda given: _checked(given, typechecker=typechecker)
    if is_dataclass(what) and "__init__" in vars(what):
        what.__init__ = _checked(what.__init__, typechecker=typechecker)
    if not inspect.isfunction(what) or "<locals>" in what.__qualname__:
        return what
    made: list[Callable[..., Any]] = []

    @functools.wraps(what)
    def call(*args: Any, **named: Any) -> Any:
        if not made:
            made.append(_with_checks(what, typechecker))
        return made[0](*args, **named)

    return call


def _with_checks(function: Any, typechecker: Callable[[Any], Any]) -> Callable[..., Any]:
    hints = {name: _resolved(hint, function.__globals__) for name, hint in function.__annotations__.items()}
    if any(map(_tells_shape, hints.values())):
        return _checking_shapes(function, typechecker=typechecker)
    function.__annotations__ = hints
    return typechecker(function)


def _resolved(hint: Any, names: dict[str, Any]) -> Any:
    """What an annotation stands for; anything where it names what is imported for type checkers only."""

    def holder(value: Any) -> None: ...

    holder.__annotations__["value"] = hint
    try:
        return get_type_hints(holder, names, include_extras=True)["value"]
    except NameError:
        return Any


def _tells_shape(hint: Any) -> bool:
    if isinstance(hint, list):  # the arguments of a callable
        return any(map(_tells_shape, hint))
    if inspect.isclass(hint) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    return any(map(_tells_shape, get_args(hint)))
