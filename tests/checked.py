"""Shapes and types of FoMo's functions, checked while the tests run, at a third of what checking all would cost."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_args, get_type_hints

import jaxtyping

_checking_shapes = jaxtyping.jaxtyped
#: A whole number may stand where a float is asked (PEP 484).
CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"


def check_calls(package: str) -> None:
    """Check every call of the package's functions. Before it is imported.

    What jaxtyping's hook does, but a function whose signature tells no shape gets the checker of plain types alone,
    and one that is defined inside another gets none: it would be compiled anew whenever the outer one is called.
    """
    jaxtyping.jaxtyped = _checked  # what the hook writes before each function
    jaxtyping.install_import_hook(package, CHECKER)


def _checked(function: Any = None, *, typechecker: Callable[[Any], Any]) -> Any:
    """A function, a class or what a decorator made of them, with the checks that it needs."""
    if function is None:
        return lambda given: _checked(given, typechecker=typechecker)
    if isinstance(function, classmethod | staticmethod):
        return type(function)(_checked(function.__func__, typechecker=typechecker))
    if not inspect.isfunction(function):
        return _checking_shapes(function, typechecker=typechecker)
    if "<locals>" in function.__qualname__:
        return function
    hints = {name: _resolved(hint, function.__globals__) for name, hint in function.__annotations__.items()}
    if any(map(_tells_shape, hints.values())):
        return _checking_shapes(function, typechecker=typechecker)
    function.__annotations__ = hints
    return typechecker(function)


def _resolved(hint: Any, names: dict[str, Any]) -> Any:
    """What an annotation stands for; anything where it names what is imported for type checkers only."""

    def holder(value: hint) -> None: ...

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
