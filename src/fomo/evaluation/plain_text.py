"""Text for figures, pages and terminals: that of strangers made harmless, shares in words."""

from __future__ import annotations


def plain_text(text: object, most: int = 0) -> str:
    """Text on one line without control characters, cut after `most` characters (0: never)."""
    clean = "".join(letter if letter.isprintable() else " " if letter.isspace() else "\ufffd" for letter in str(text))
    return clean if not most or len(clean) <= most else clean[: most - 1] + "…"


def share_in_words(share: float) -> str:
    """A share in percent, with a digit more where it would look like none or all."""
    return f"{share:.0%}" if share == 0 or 0.01 <= share < 0.99 else f"{min(share, 0.999):.1%}"


__all__ = ["plain_text", "share_in_words"]
