"""The last walk of an explanation as a picture: a grid for two dimensions, a row of tables for one.

Read cells are dark and numbered, saved ones light and crossed out, so it reads in grey too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Literal

from vmem.explain.entries import LEVEL_NAMES
from vmem.explain.model import Explanation, Step

State = Literal["read", "saved", "absent"]

_CELL, _GAP, _LEFT, _TOP = 64, 14, 168, 108
_PITCH = _CELL + _GAP
_INK, _READ, _SAVED, _FAULT = "#1a1a1a", "#1f4e79", "#e3e3e3", "#c8551b"
_FONT = "font-family='DejaVu Sans, Verdana, Helvetica, sans-serif'"


@dataclass(frozen=True)
class Cell:
    """One possible reference, for the guest's level `row` (0: the data), of the host's level `column`.

    Column 0 is the guest's own entry.
    """

    row: int
    column: int
    state: State
    number: int = 0
    faulted: bool = False


def draw(explanation: Explanation) -> str:
    """A complete SVG document."""
    walks = explanation.reads()
    walk = walks[-1] if walks else []
    if explanation.mmu == "nested":
        cells, rows = _grid(explanation, walk), [*range(explanation.guest_levels, 0, -1), 0]
        columns = [*range(explanation.host_levels, 0, -1), 0]
    else:
        cells, rows = _line(explanation, walk), [-1]
        columns = list(range(explanation.guest_levels, 0, -1))
    return _document(explanation, cells, rows, columns, len(walk))


def _by_row(walk: list[Step]) -> dict[int, list[Step]]:
    """The references of the walk by the guest's level that they serve; 0 is the data."""
    rows: dict[int, list[Step]] = {}
    pending: list[Step] = []
    for step in walk:
        pending.append(step)
        if step.table == "guest":
            rows[step.level] = pending
            pending = []
    if pending:
        reached = min(rows, default=None)
        # What is read after the leaf is for the data; a walk that stopped before had one more table to find.
        leaf = reached is not None and (reached == 1 or "page at" in rows[reached][-1].bits)
        rows[0 if leaf or reached is None else reached - 1] = pending
    return rows


def _grid(explanation: Explanation, walk: list[Step]) -> list[Cell]:
    rows = _by_row(walk)
    deepest = max(rows, default=0)
    lowest = min((level for level in rows if level), default=0)
    last = walk[-1] if walk else None
    cells = []
    for row in [*range(explanation.guest_levels, 0, -1), 0]:
        reads = {(step.level if step.table != "guest" else 0): step for step in rows.get(row, [])}
        used = [level for level in reads if level]
        for column in [*range(explanation.host_levels, 0, -1), 0]:
            if column in reads:
                step = reads[column]
                cells.append(Cell(row, column, "read", step.number, step is last and _stopped(step)))
            elif row == 0 and column == 0:
                continue
            else:
                below = row != 0 and row not in rows and row < lowest
                beyond_leaf = column != 0 and used and column < min(used)
                unreached = row not in rows and row < deepest and (row == 0 and bool(last and _stopped(last)))
                absent = below or beyond_leaf or unreached
                cells.append(Cell(row, column, "absent" if absent else "saved"))
    return cells


def _line(explanation: Explanation, walk: list[Step]) -> list[Cell]:
    reads = {step.level: step for step in walk}
    last = walk[-1] if walk else None
    cells = []
    for level in range(explanation.guest_levels, 0, -1):
        if level in reads:
            step = reads[level]
            cells.append(Cell(-1, level, "read", step.number, step is last and _stopped(step)))
        else:
            state: State = "absent" if reads and level < min(reads) else "saved"
            cells.append(Cell(-1, level, state))
    return cells


def _stopped(step: Step) -> bool:
    return step.bits.startswith("not present")


def _text(
    x: float, y: float, words: str, size: int = 13, anchor: str = "start", weight: str = "normal"
) -> str:
    return (
        f"<text x='{x:g}' y='{y:g}' font-size='{size}' text-anchor='{anchor}' font-weight='{weight}' {_FONT} "
        f"fill='{_INK}'>{escape(words)}</text>"
    )


def _rectangle(x: float, y: float, size: int, style: str) -> str:
    return f"<rect x='{x:g}' y='{y:g}' width='{size}' height='{size}' rx='{size // 10 + 1}' {style}/>"


_ABSENT_STYLE = "fill='none' stroke='#b5b5b5' stroke-dasharray='3 3'"
_SAVED_STYLE = f"fill='{_SAVED}' stroke='#9a9a9a'"


def _cross(x: float, y: float, size: int) -> str:
    """Two diagonals, an eighth inside the box."""
    inset, span = size / 8, size * 3 / 4
    path = f"M{x + inset:g} {y + inset:g} l{span:g} {span:g} m0 {-span:g} l{-span:g} {span:g}"
    return f"<path d='{path}' stroke='#7a7a7a' stroke-width='2' fill='none'/>"


def _box(x: float, y: float, cell: Cell) -> Iterator[str]:
    if cell.state == "absent":
        yield _rectangle(x, y, _CELL, _ABSENT_STYLE)
    elif cell.state == "saved":
        yield _rectangle(x, y, _CELL, _SAVED_STYLE)
        yield _cross(x, y, _CELL)
    else:
        edge = f"stroke='{_FAULT}' stroke-width='5'" if cell.faulted else f"stroke='{_INK}'"
        yield _rectangle(x, y, _CELL, f"fill='{_READ}' {edge}")
        place = f"x='{x + _CELL / 2:g}' y='{y + _CELL / 2 + 8:g}' text-anchor='middle'"
        number = f"{cell.number}{'!' if cell.faulted else ''}"
        yield f"<text {place} font-size='23' font-weight='bold' {_FONT} fill='white'>{number}</text>"


def _document(
    explanation: Explanation, cells: list[Cell], rows: list[int], columns: list[int], references: int
) -> str:
    two = explanation.mmu == "nested"
    width = _LEFT + len(columns) * _PITCH + 28
    width = max(width, 560)
    height = _TOP + len(rows) * _PITCH + 64
    size = f"width='{width}' height='{height}'"
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' {size} viewBox='0 0 {width} {height}'>",
        f"<title>Page walk of {escape(explanation.access)} at {explanation.address:#x}</title>",
        f"<rect {size} fill='white'/>",
        _text(20, 30, _title(explanation, references), 15, weight="bold"),
        _text(20, 52, _caption(explanation), 13),
    ]
    for i, column in enumerate(columns):
        x = _LEFT + i * _PITCH + _CELL / 2
        parts.append(_text(x, _TOP - 30, _head(explanation, column)[0], 13, "middle", "bold"))
        parts.append(_text(x, _TOP - 13, _head(explanation, column)[1], 12, "middle"))
    for j, row in enumerate(rows):
        y = _TOP + j * _PITCH + _CELL / 2
        first, second = _row_name(explanation, row)
        parts.append(_text(20, y - 1, first, 13, weight="bold"))
        parts.append(_text(20, y + 16, second, 12))
    for cell in cells:
        x = _LEFT + columns.index(cell.column) * _PITCH
        y = _TOP + rows.index(cell.row) * _PITCH
        parts.extend(_box(x, y, cell))
    if two:
        x = _LEFT + (len(columns) - 1) * _PITCH + _CELL / 2
        y = _TOP + (len(rows) - 1) * _PITCH + _CELL / 2
        parts.append(_text(x, y + 5, "data", 14, "middle"))
    parts.extend(_legend(_TOP + len(rows) * _PITCH + 22))
    return "\n".join([*parts, "</svg>\n"])


def _legend(y: float) -> Iterator[str]:
    for x, style, words in (
        (20, f"fill='{_READ}'", "entry read, in this order"),
        (226, _SAVED_STYLE, "saved by a cache"),
        (382, _ABSENT_STYLE, "not part of this walk"),
    ):
        yield _rectangle(x, y, 18, style)
        yield _text(x + 26, y + 14, words, 12)
    yield _cross(226, y, 18)


def _title(explanation: Explanation, references: int) -> str:
    return f"{explanation.access} at gVA {explanation.address:#x}: {_outcome(explanation, references)}"


def _outcome(explanation: Explanation, references: int) -> str:
    if references == 0:
        return "no walk, the TLB had it"
    return f"{references} reference{'s' if references > 1 else ''} in the last walk"


def _caption(explanation: Explanation) -> str:
    if explanation.mmu == "nested":
        return "Each row: the host's walk to a guest table, then the guest's entry in it."
    whose = "the hypervisor's shadow table" if explanation.mmu == "shadow" else "the guest's own table"
    return f"The processor walks {whose}, one dimension."


def _head(explanation: Explanation, column: int) -> tuple[str, str]:
    if explanation.mmu != "nested":
        return (f"level {column}", LEVEL_NAMES[column])
    return ("guest", "entry") if column == 0 else (f"host {column}", LEVEL_NAMES[column])


def _row_name(explanation: Explanation, row: int) -> tuple[str, str]:
    if row == -1:
        return (
            ("shadow table", "gVA to hPA") if explanation.mmu == "shadow" else ("guest table", "gVA to gPA")
        )
    return ("data", "the page itself") if row == 0 else (f"guest level {row}", LEVEL_NAMES[row])
