"""Which files are meant: a file, a folder of them, a glob; in the order of their names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from fomo.ingest.ledger import IngestError

#: Endings of counter files, before a .gz or .zst.
ENDINGS = (".csv", ".tsv", ".txt", ".parquet", ".xml", ".json")
COMPRESSED = (".gz", ".zst")
#: Files that are all named where there are no more.
MOST_NAMED = 3


def input_files(named: Sequence[str | Path]) -> tuple[Path, ...]:
    """Files by what was named, each once. Raises `IngestError` where something names none.

    In a folder those with a usual ending count, at any depth; hidden ones do not.
    """
    found: dict[Path, None] = {}
    for name in named:
        path = Path(name)
        if path.is_dir():
            here = [file for file in sorted(path.rglob("*")) if file.is_file() and _is_counters(file, path)]
            missing = f"the folder {path} holds no file that ends in {', '.join(ENDINGS)} (or these with .gz, .zst)"
        elif path.is_file():
            here, missing = [path], ""
        else:
            root = Path(path.anchor or ".")
            try:
                here = [match for match in sorted(root.glob(str(path.relative_to(path.anchor)))) if match.is_file()]
            except ValueError as error:  # a glob that is none
                raise IngestError(f"{name} is no glob ({error}): name files or a folder") from None
            missing = f"there is no file {name}: check the path, and put a glob into quotes"
        if not here:
            raise IngestError(missing)
        found |= dict.fromkeys(here)
    return tuple(found)


def named_shortly(names: Iterable[str]) -> str:
    """Names of files in order; of many the first, the last and their number."""
    ordered = sorted(set(names))
    if len(ordered) <= MOST_NAMED:
        return ", ".join(ordered)
    return f"{ordered[0]} to {ordered[-1]} ({len(ordered)} files)"


def size_of(file: Path) -> int:
    """Bytes of a file; 0 of one that cannot be looked at, which is named when it comes to be read."""
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _is_counters(file: Path, folder: Path) -> bool:
    if any(part.startswith(".") for part in file.relative_to(folder).parts):
        return False
    endings = [ending.lower() for ending in file.suffixes]
    while endings and endings[-1] in COMPRESSED:
        endings.pop()
    return bool(endings) and endings[-1] in ENDINGS


__all__ = ["input_files", "named_shortly", "size_of"]
