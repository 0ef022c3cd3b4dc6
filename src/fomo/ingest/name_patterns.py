"""A pattern that takes the cells' names out of those of objects, shown where counters and site list do not match."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from itertools import islice

#: Names of counters, and of the list, among which an example is looked for.
OBJECTS, CELLS = 50, 20_000
#: A pattern is advised for a city's unknown names where it leads so many of them to its cells.
FIXED = 0.9
#: Fewer unknown names than this part of the cells, or this number, are single cells: renamed ones, or new ones.
FEW, MANY = 0.5, 100


def pattern_for(objects: Iterable[str], cells: Collection[str]) -> tuple[str, str, str] | None:
    """A pattern for `[cell] pattern`, an object's name and the cell's that it takes out of it; None without one."""
    names, cells = sorted(name for name in cells if name)[:CELLS], set(cells)
    some = list(islice((thing for thing in objects if thing not in cells), OBJECTS))
    best, most = None, 0
    for thing in some:
        within = max((name for name in names if name in thing and name != thing), key=len, default="")
        if not within:
            continue
        for pattern in _around(thing, within):
            found = re.search(pattern, thing)
            if found is None or found[1] != within:
                continue
            hits = sum((match := re.search(pattern, each)) is not None and match[1] in cells for each in some)
            if hits > most:
                best, most = (pattern, thing, within), hits
    return best


def advice(objects: Iterable[str], cells: Collection[str]) -> str:
    """What to do about counters of `objects` where the site list has `cells`: the option, with an example of these."""
    objects = list(objects)
    found = pattern_for(objects, cells)
    if found is not None:
        pattern, thing, cell = found
        return f"take the cell's name out of the object's with --cell-pattern '{pattern}' ({cell!r} of {thing!r})"
    keyed = next((match for name in objects[:OBJECTS] if (match := re.search(r"([^,;/|:=]+)=([^,=]+)$", name))), None)
    example = f"{_escaped(keyed[1].strip())}=([^,]+)" if keyed else "Cell Name=([^,]+)"
    return (
        "no name of the list is part of one of the counters': correct the list, or take the cell's name out of a "
        f"longer one with --cell-pattern, for example '{example}'"
    )


def advice_on_unknown(unknown: Collection[str], cells: Collection[str], *, patterned: bool = False) -> str:
    """What to do where a city of `cells` meets names that it does not know; '' of none.

    `patterned`: its mapping has a pattern already, so that these are parts of names, and none can be made of them.
    """
    if not unknown:
        return ""
    found = None if patterned else pattern_for(unknown, cells)
    pattern = found[0] if found is not None and _share(found[0], unknown, cells) >= FIXED else ""
    takes = f"build the city again and {advice(unknown, cells)}" if pattern else ""
    if pattern and len(unknown) >= min(MANY, FEW * len(cells)):
        return takes
    # A pattern is for all names: one that cells are lost by which are found now is no help.
    keeps = pattern and all((match := re.search(pattern, cell)) is not None and match[1] == cell for cell in cells)
    single = (
        f"a cell that has another name now is told by 'fomo city append' --cell-names {min(unknown)}=OLD (its name in "
        "the city), a new one needs the city built again with the new site list"
    )
    return f"{single}; where it is the form of all names that changed, {takes}" if keeps else single


def _share(pattern: str, names: Collection[str], cells: Collection[str]) -> float:
    """The part of names that a pattern leads to a cell."""
    known = set(cells)
    return sum((match := re.search(pattern, name)) is not None and match[1] in known for name in names) / len(names)


def _around(thing: str, cell: str) -> list[str]:
    """Patterns of the part of an object's name that holds the cell's, by what leads to it; the best guess first."""
    at = thing.rindex(cell)
    before, after = thing[:at], thing[at + len(cell) :]
    key = re.search(r"[^,;/|:\s=][^,;/|:=]*=\s*$", before)  # KEY=
    part = re.search(r"[^,;/|:]*$", before)  # all that is between separators
    leads = [key[0] if key else "", part[0].lstrip() if part else "", before[-1:]]
    stop = after[:1] or (before[-1:] if re.match(r"[,;/|:]", before[-1:]) else ",")
    return [f"{_escaped(lead) or '^'}([^{_escaped(stop)}]+)" for lead in leads if lead or not before]


def _escaped(text: str) -> str:
    """As it stands in a regular expression of Python's and of Rust's."""
    return re.sub(r"([\\.^$*+?{}\[\]|()&~-])", r"\\\1", text)


__all__ = ["advice", "advice_on_unknown", "pattern_for"]
