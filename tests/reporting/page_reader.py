"""Reads a page back as a reader finds it: its tables, facts and text."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "link", "input", "br", "img", "path", "use"}


@dataclass
class Cell:
    text: str = ""
    key: str | None = None


@dataclass
class ReadPage:
    """tables: caption to rows of cells, the heading row first. facts: of every dt its dd's, in order.
    tags: every element's name. attributes: every (element, name, value)."""

    tables: dict[str, list[list[Cell]]] = field(default_factory=dict)
    facts: dict[str, list[str]] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    attributes: list[tuple[str, str, str]] = field(default_factory=list)
    text: str = ""

    def column(self, table: str, heading: str) -> dict[str, Cell]:
        """One column of a table, by the name of the row."""
        headings, *rows = self.tables[table]
        place = [cell.text for cell in headings].index(heading)
        return {row[0].text: row[place] for row in rows}


def read_page(path: Path) -> ReadPage:
    """Parses a page's HTML."""
    reader = _Reader()
    reader.feed(path.read_text("utf-8"))
    reader.close()
    return reader.page


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = ReadPage()
        self._open: list[str] = []
        self._rows: list[list[Cell]] = []
        self._caption = self._term = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.page.tags.append(tag)
        self.page.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self._rows, self._caption = [], ""
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append(Cell(key=dict(attrs).get("data-key")))
        elif tag == "dt":
            self._term = ""
        elif tag == "dd":
            self.page.facts.setdefault(self._term, []).append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self._open.pop() == tag, f"</{tag}> closes something else"
        if tag == "table":
            self.page.tables[self._caption] = self._rows

    def handle_data(self, data: str) -> None:
        inside = self._open[-1] if self._open else ""
        if inside in ("script", "style"):
            return
        self.page.text += data
        if inside == "caption":
            self._caption += data
        elif {"td", "th"} & set(self._open):
            self._rows[-1][-1].text += data
        elif inside == "dt":
            self._term += data
        elif "dd" in self._open:
            self.page.facts[self._term][-1] += data
