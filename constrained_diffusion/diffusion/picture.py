"""A picture of a canvas as it settles: a line per pass, each token coloured by whether it is to stay."""

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from constrained_diffusion.diffusion.generation import PassRecord

_STAYS: Final = "green"
_WAVERS: Final = "yellow"
_CHANGED: Final = "red"
_LINE_BREAK: Final = "\u23ce"


def picture(trace: "Sequence[PassRecord]") -> Table:
    """The most probable text of each pass, coloured as ``Generation.picture`` says."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("canvas", "pass", "open", "log Z"):
        table.add_column(name, justify="right", no_wrap=True, style="dim")
    table.add_column("the most probable text", overflow="fold")
    last = _last_changes(trace)
    for record in trace:
        numbers = (str(record.canvas + 1), str(record.number), str(record.undetermined), f"{record.log_z:.1f}")
        table.add_row(*numbers, _coloured(record, last))
    return table


def _last_changes(trace: "Sequence[PassRecord]") -> dict[tuple[int, int], int]:
    """The last pass that changed each position, by canvas and position."""
    return {(record.canvas, position): record.number for record in trace for position in record.changed}


def _coloured(record: "PassRecord", last: dict[tuple[int, int], int]) -> Text:
    changed = set(record.changed)

    def style(position: int) -> str:
        if last.get((record.canvas, position), 0) <= record.number:
            return _STAYS
        return _CHANGED if position in changed else _WAVERS

    line = Text()
    for shared, positions in groupby(range(len(record.pieces)), style):
        line.append("".join(record.pieces[position] for position in positions).replace("\n", _LINE_BREAK), shared)
    return line
