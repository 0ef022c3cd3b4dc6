"""What a cached result depends on, as one short text: it is used again only where nothing of it has changed."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import fomo

ROOT = Path(fomo.__file__).parent


def digest(content: Any) -> str:
    """16 hexadecimal digits of plain data."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def code_digest(parts: Iterable[str]) -> str:
    """Of what modules and folders below `fomo` do; comments, docstrings and layout do not count."""
    files = sorted(
        file
        for part in parts
        for file in ([ROOT / part] if part.endswith(".py") else sorted((ROOT / part).rglob("*.py")))
    )
    return digest([(str(file.relative_to(ROOT)), _code(file)) for file in files])


def with_imports(part: str) -> tuple[str, ...]:
    """A module below `fomo` and those of its own folder that it imports, and they import."""
    found, waiting = set(), [part]
    while waiting:
        one = waiting.pop()
        if one in found:
            continue
        found.add(one)
        folder = str(Path(one).parent)
        inside = f"fomo.{folder.replace('/', '.')}."
        for node in ast.walk(ast.parse((ROOT / one).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(inside):
                waiting.append(f"{folder}/{(node.module or '')[len(inside) :]}.py")
    return tuple(sorted(found))


@cache
def _code(file: Path) -> str:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return ast.dump(tree)


__all__ = ["code_digest", "digest", "with_imports"]
