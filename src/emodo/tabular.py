"""Tables as people read them, on a terminal and in Markdown, and what has to be known to read them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

Rows = Sequence[Sequence[str]]


def show(tables: Sequence[tuple[Sequence[str], Rows]], notes: Sequence[str], words: Sequence[str] = ()) -> None:
    """Print sentences, tables, (headings, rows), and notes on stdout; a table without rows is left out."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 160)
    for sentence in words:
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    for head, body in tables:
        if body:
            shown = Table(box=box.SIMPLE)
            for at, heading in enumerate(head):
                shown.add_column(heading, justify="right" if at else "left", overflow="fold")
            for row in body:
                shown.add_row(*row)
            console.print(shown, markup=False)
    for note in notes:
        console.print(f"- {note}", markup=False, highlight=False, soft_wrap=True)


def markdown(tables: Sequence[tuple[Sequence[str], Rows]], notes: Sequence[str], words: Sequence[str] = ()) -> str:
    """The same as a Markdown page; a table without rows is left out."""
    page = [f"- {sentence.replace(chr(10), ' ')}" for sentence in words] + [""] * bool(words)
    for head, body in tables:
        if not body:
            continue
        cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in (head, *body)]
        written = [f"| {' | '.join(row)} |" for row in cells]
        page += [written[0], "|---" * len(head) + "|", *written[1:], ""]
    return "\n".join([*page, *(f"- {note.replace(chr(10), ' ')}" for note in notes)]) + "\n"


def with_interval(value: float, interval: Mapping[str, Any], sign: str = "") -> str:
    """A fraction in %, with its interval {low, high} where there is one: `61.2 [58.0, 64.4]`; sign: of a format."""
    text = f"{100 * value:{sign}.1f}"
    if interval["low"] is None:
        return text
    return f"{text} [{100 * interval['low']:{sign}.1f}, {100 * interval['high']:{sign}.1f}]"


def counted(number: int, what: str) -> str:
    """A number of things, as in `1 seed` and `3 seeds`."""
    return f"{number} {what}{'s' * (number != 1)}"


@cache
def templates(escape: bool = True) -> Environment:
    """What fills the templates of this package; escape: HTML in what they are given is shown as text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("emodo"),
        autoescape=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
