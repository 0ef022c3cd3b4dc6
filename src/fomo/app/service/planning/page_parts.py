"""Pieces of a page that asks for nothing else: everything that is written is escaped, pictures are in it."""

from __future__ import annotations

import base64
import html
from collections.abc import Collection, Sequence
from pathlib import Path

from fomo.evaluation.plain_text import plain_text

PNG = b"\x89PNG\r\n\x1a\n"


def escaped(text: object) -> str:
    """Text of strangers as text of a page: one line, no control characters, no markup."""
    return html.escape(plain_text(text))


def headline(text: str, level: int = 2) -> str:
    """A heading of a level."""
    return f"<h{level}>{escaped(text)}</h{level}>"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph; `kind` is a class of the page's style."""
    return f"<p{f' class={kind}' if kind else ''}>{escaped(text)}</p>"


def bullets(sentences: Sequence[str], kind: str = "") -> str:
    """A list of sentences; nothing where there is none."""
    items = "".join(f"<li>{escaped(sentence)}</li>" for sentence in sentences)
    return f"<ul{f' class={kind}' if kind else ''}>{items}</ul>" if items else ""


def table(
    columns: Sequence[object],
    rows: Sequence[Sequence[object]],
    *,
    numbers: Collection[int] = (),
    strong: Collection[int] = (),
) -> str:
    """A table whose heading is repeated on every printed page.

    A cell may be a pair: what is read first, and what is small below it. `numbers`: columns that are set to the right;
    `strong`: rows that stand out.
    """
    kinds = ["number" if place in numbers else "" for place in range(len(columns))]
    head = "".join(
        f'<th scope="col"{f" class={kind}" if kind else ""}>{escaped(text)}</th>'
        for text, kind in zip(columns, kinds, strict=True)
    )
    body = []
    for place, row in enumerate(rows):
        cells = "".join(
            f"<td{f' class={kind}' if kind else ''}>{_cell(text)}</td>" for text, kind in zip(row, kinds, strict=True)
        )
        body.append(f"<tr{' class=ours' if place in strong else ''}>{cells}</tr>")
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'


def _cell(content: object) -> str:
    if isinstance(content, tuple):
        first, below = content
        return f"{escaped(first)} <small>{escaped(below)}</small>"
    return escaped(content)


def picture(caption: str, alternative: str, png: str | Path | bytes) -> str:
    """A PNG, its bytes or where they are, with what it shows below it and for those who do not see it.

    Raises `ValueError` where it is no PNG, `OSError` where it cannot be read.
    """
    content = png if isinstance(png, bytes) else Path(png).read_bytes()
    if not content.startswith(PNG):
        raise ValueError(f"the figure {plain_text(caption, 60)!r} is no PNG: pass the bytes of one, or its path")
    data = base64.b64encode(content).decode()
    return (
        f'<figure><img alt="{escaped(alternative)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escaped(caption)}</figcaption></figure>"
    )


__all__ = ["bullets", "escaped", "headline", "paragraph", "picture", "table"]
