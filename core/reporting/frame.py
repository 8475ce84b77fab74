"""The frame of every page: one look for the run report and for whatever pages come after it.

A page is one HTML file that makes no request. Its Content-Security-Policy forbids the network and every script
but the frame's own, so text from data could not act even where escaping failed. What a page says is given as
the blocks below; how it looks is decided in `page/` and in `charts.COLOURS`, and nowhere else.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from core.reporting.charts import COLOURS, Chart, slug
from core.reporting.formats import count, shortened, visible

FILTERED_FROM = 9  # rows: a shorter table is read at a glance
PAGE = 50  # rows shown at once of a paged table
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3.5" '
    'fill="#1f6f8b"/><path d="M3.5 12V9m3 3V6m3 6V8m3 4V4" stroke="#fff" stroke-width="1.7"/></svg>'
)


@dataclass(frozen=True)
class Text:
    """A paragraph. tone: "" plain, "note" set apart, "bad" something the reader must know."""

    text: str
    tone: str = ""


@dataclass(frozen=True)
class Column:
    """show: how a value is written; given one, the column holds numbers, sorts as such and stands right."""

    title: str
    show: Callable[[Any], str] | None = None
    hint: str = ""


@dataclass(frozen=True)
class Cell:
    """A value with a tone: "good", "bad", "quiet", "whole" (kept on one line), "wordy" (not made narrow), or "hash"."""

    value: Any
    tone: str = ""
    text: str | None = None  # in place of what the column would write


@dataclass(frozen=True)
class Table:
    """rows hold plain values or Cells, the first of which names the row; None is shown as a dash.

    paged: of many rows `PAGE` are shown at once, and the others wait as data: a long table does not slow the page.
    urls: where the name of each row leads; only http(s) is followed.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    note: str = ""
    folded: bool = False
    paged: bool = False
    urls: Sequence[str | None] = ()

    @property
    def pages(self) -> bool:
        """Whether it has more rows than are shown at once."""
        return self.paged and len(self.rows) > PAGE

    @property
    def first_page(self) -> Table:
        """The rows that are shown at first."""
        return replace(self, rows=self.rows[:PAGE]) if self.pages else self

    def links(self) -> list[str]:
        """Where each row's name leads; "": nowhere."""
        urls = [*self.urls, *[None] * (len(self.rows) - len(self.urls))]
        return [url if url and url.startswith(("https://", "http://")) else "" for url in urls]

    def data(self) -> Markup:
        """All rows as JSON for the page's script: [link, *cells]; a cell is its text, or [text, sort key, classes]."""
        rows = [
            [link, *(_packed(*cell, bool(column.show)) for cell, column in zip(cells, self.columns, strict=True))]
            for link, cells in zip(self.links(), self.cells(), strict=True)
        ]
        # Nothing in a JSON string may end the script element.
        return Markup(json.dumps(rows, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"))

    @property
    def filtered(self) -> bool:
        """Whether it is long enough for a filter."""
        return len(self.rows) >= FILTERED_FROM

    def cells(self) -> list[list[tuple[str, str, str]]]:
        """Text, sort key ("" for the text itself) and CSS classes of every cell."""
        return [[self._cell(column, cell) for column, cell in zip(self.columns, row, strict=True)] for row in self.rows]

    @staticmethod
    def _cell(column: Column, cell: Any) -> tuple[str, str, str]:
        cell = cell if isinstance(cell, Cell) else Cell(cell)
        tone = f"{cell.tone} number".strip() if column.show else cell.tone
        if cell.value is None:
            return cell.text or "–", "", tone
        if column.show is None:
            return cell.text or str(cell.value), "", tone
        missing = isinstance(cell.value, float) and math.isnan(cell.value)
        return cell.text or column.show(cell.value), "" if missing else str(cell.value), tone


def _packed(text: str, key: str, classes: str, number: bool) -> str | list[Any]:
    plain = classes == ("number" if number else "")
    if plain and not key:
        return visible(text)
    cell: list[Any] = [visible(text), float(key) if key else None]
    return cell if plain else [*cell, classes]


@dataclass(frozen=True)
class Facts:
    """A few figures, each with its name."""

    facts: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Code:
    """A file to read and copy. language: a pygments lexer's name."""

    text: str
    language: str = "text"


@dataclass(frozen=True)
class Part:
    """One passage of a quote, e.g. an answer. tone: as a Cell's.

    pieces: the text in pieces, each with "", "ins" (only here) or "del" (not here); none: one plain piece.
    """

    label: str
    text: str
    tone: str = ""
    pieces: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Quote:
    """Something that data says: its facts in a line, and its text, folded where it is long."""

    facts: Sequence[tuple[str, str]]
    parts: Sequence[Part]


@dataclass(frozen=True)
class Quotes:
    """Quotes that belong together, folded under one heading."""

    title: str
    note: str
    quotes: Sequence[Quote]


@dataclass(frozen=True)
class OpenQuotes(Quotes):
    """Quotes that stand open."""


@dataclass(frozen=True)
class Choice:
    """Charts of which the reader sees one at a time, by its name; without the page's script all of them."""

    title: str
    options: Sequence[tuple[str, Chart]]


Block = Text | Facts | Table | Code | Quotes | Chart | Choice


@dataclass(frozen=True)
class Section:
    """A heading with its blocks. state: "", or a word beside the heading, e.g. "not run"."""

    title: str
    blocks: Sequence[Block]
    state: str = ""

    @property
    def anchor(self) -> str:
        """Where the table of contents leads."""
        return slug(self.title)


@dataclass(frozen=True)
class Card:
    """A headline: what it is, the figure, and a line that qualifies it. wide: takes the room of two."""

    label: str
    figure: str
    note: str = ""
    tone: str = ""
    before: str = ""  # a figure that this one is to be seen against
    wide: bool = False


@dataclass(frozen=True)
class Mark:
    """A stage in the line under the headlines: its name, how it stands, how long it took."""

    name: str
    state: str
    note: str = ""


@dataclass(frozen=True)
class Page:
    """A whole page. kind: what sort of page; lead: the story in one sentence or two."""

    title: str
    kind: str
    lead: str
    sections: Sequence[Section]
    cards: Sequence[Card] = ()
    marks: Sequence[Mark] = ()
    footer: str = ""
    charts: list[Chart] = field(init=False)

    def __post_init__(self) -> None:
        found: list[Chart] = []
        for block in (block for section in self.sections for block in section.blocks):
            if isinstance(block, Chart):
                found.append(block)
            elif isinstance(block, Choice):
                found += [chart for _, chart in block.options]
        object.__setattr__(self, "charts", found)


def render(page: Page) -> bytes:
    """The page as UTF-8 HTML. The same page gives the same bytes."""
    script = _file("frame.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    html = (
        _templates()
        .get_template("frame.html")
        .render(
            page=page,
            policy=f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
            "img-src data:; base-uri 'none'; form-action 'none'",
            # The frame's own files, and never text from data, are let through as they are.
            script=Markup(script),
            style=Markup(_theme() + _file("frame.css")),
            icon=_data_url("image/svg+xml", ICON.encode()),
        )
    )
    return html.encode("utf-8")


def highlighted(code: Code) -> Markup:
    """Source text with its parts marked for colour; escaped by pygments."""
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import get_lexer_by_name

    lexer = get_lexer_by_name(code.language, stripnl=False)
    return Markup(highlight(visible(code.text), lexer, HtmlFormatter(nowrap=True)))


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_file),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Every text passes here on its way to the page.
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    environment.filters |= {"slug": slug, "count": count, "shortened": shortened, "highlighted": highlighted}
    environment.tests["block"] = lambda value, kind: type(value).__name__ == kind
    environment.globals["svg_url"] = lambda chart: _data_url("image/svg+xml", chart.svg.encode())
    environment.globals["csv_url"] = lambda chart: _data_url("text/csv", chart.csv())
    return environment


def _file(name: str) -> str:
    return (resources.files("core.reporting") / "page" / name).read_text("utf-8")


def _theme() -> str:
    """The colours as CSS variables: light, and dark where the reader's system asks for it, but not on paper."""
    light, dark = ("".join(f"--{role}:{pair[shade]};" for role, pair in COLOURS.items()) for shade in range(2))
    return f":root{{{light}}}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"


def _data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
