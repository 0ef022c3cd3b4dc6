"""Text of strangers, such as names of cells and units, made harmless for figures, pages and terminals."""

from __future__ import annotations


def plain_text(text: object, most: int = 0) -> str:
    """Text on one line without control characters, cut after `most` characters (0: never)."""
    clean = "".join(letter if letter.isprintable() else " " if letter.isspace() else "\ufffd" for letter in str(text))
    return clean if not most or len(clean) <= most else clean[: most - 1] + "…"


__all__ = ["plain_text"]
