"""Members without a part of what `fomo.diffusion.memory` gives them, to see what that part is worth."""

from __future__ import annotations

from contextlib import AbstractContextManager
from unittest.mock import patch


def members_without(*parts: str) -> AbstractContextManager[object]:
    """Inside, members are drawn without these: `remembered`, `in_common`; by default without both."""
    left_out = parts or ("remembered", "in_common")
    return patch.multiple("fomo.forecasters.drawing", **{name: lambda residual, *_: residual for name in left_out})


__all__ = ["members_without"]
