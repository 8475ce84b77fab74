from __future__ import annotations

import base64
import hashlib
import math
import re
from pathlib import Path

import pyarrow as pa
import pytest

from core.reporting.charts import Canvas, draw
from core.reporting.formats import count
from core.reporting.frame import (
    Card,
    Cell,
    Code,
    Column,
    Facts,
    Mark,
    Page,
    Part,
    Quote,
    Quotes,
    Section,
    Table,
    Text,
    render,
)
from tests.reporting.made_run import CONTROLS, HOSTILE
from tests.reporting.page_reader import read_page

EVIL = HOSTILE + CONTROLS + "\ud800"


@pytest.fixture(scope="module")
def evil_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page whose every text is hostile."""

    def paint(canvas: Canvas) -> None:
        canvas.figure.add_subplot().plot([0, 1])

    page = Page(
        title=EVIL,
        kind="test",
        lead=EVIL,
        cards=[Card(EVIL, EVIL, EVIL, "good", EVIL)],
        marks=[Mark(EVIL, "done", EVIL)],
        sections=[
            Section(
                EVIL,
                [
                    Text(EVIL, "note"),
                    Facts([(EVIL, EVIL)]),
                    Table(EVIL, [Column(EVIL, hint=EVIL), Column(EVIL)], [[EVIL, Cell(EVIL, "quiet")]], EVIL),
                    Code(EVIL, "yaml"),
                    Quotes(EVIL, EVIL, [Quote([(EVIL, EVIL)], [Part(EVIL, EVIL), Part("", EVIL * 20)])]),
                    draw(EVIL, EVIL, pa.table({"x": [0, 1]}), paint, lambda narrow: 100),
                ],
                EVIL,
            )
        ],
        footer=EVIL,
    )
    path = tmp_path_factory.mktemp("evil") / "index.html"
    path.write_bytes(render(page))
    return path


def test_every_text_is_escaped(evil_page: Path) -> None:
    read = read_page(evil_page)
    assert read.tags.count("script") == 1  # the frame's own
    assert not {"img", "b", "iframe"} & set(read.tags)
    assert not [name for _, name, _ in read.attributes if name.startswith("on")]
    assert read.text.count("<script>document.title") >= 20
    assert "{{ 7 * 7 }}" in read.text
    assert "[U+202E]evil" in read.text
    assert "\ufffd" in read.text


def test_a_page_asks_for_nothing(evil_page: Path, page_path: Path) -> None:
    for path in (evil_page, page_path):
        read = read_page(path)
        targets = [value for _, name, value in read.attributes if name in ("href", "src", "xlink:href", "action")]
        assert targets
        assert all(target.startswith(("#", "data:")) for target in targets)
        style = re.search(r"<style>(.*?)</style>", path.read_text("utf-8"), re.S)
        assert style is not None
        assert not re.search(r"url\(|@import|@font-face", style[1])


def test_the_policy_forbids_the_network_and_lets_only_the_frames_script_run(evil_page: Path) -> None:
    html = evil_page.read_text("utf-8")
    (policy,) = [
        value for tag, name, value in read_page(evil_page).attributes if name == "content" and "default-src" in value
    ]
    scripts = re.findall(r"<script>(.*?)</script>", html, re.S)
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert policy.startswith("default-src 'none';")
    assert f"script-src 'sha256-{digest}';" in policy
    assert "http" not in policy
    assert html.index("Content-Security-Policy") < html.index("<style>")


def test_a_page_is_semantic_and_can_be_walked_by_keyboard(page_path: Path) -> None:
    read = read_page(page_path)
    assert {"header", "nav", "main", "footer", "section", "caption", "figure", "figcaption"} <= set(read.tags)
    assert read.tags.count("h1") == 1
    assert ("a", "class", "skip") in read.attributes
    assert ("html", "lang", "en") in read.attributes
    ids = [value for _, name, value in read.attributes if name == "id"]
    assert len(set(ids)) == len(ids)
    links = {value[1:] for tag, name, value in read.attributes if tag == "a" and name == "href" and value[0] == "#"}
    assert links <= set(ids)


def test_numbers_sort_by_their_value_and_missing_ones_are_dashes() -> None:
    table = Table("T", [Column("name"), Column("n", count)], [["a", 1234], ["b", None], ["c", math.nan]])
    assert [row[1] for row in table.cells()] == [
        ("1,234", "1234", "number"),
        ("–", "", "number"),
        ("not a number", "", "number"),
    ]


def test_long_text_is_folded_and_short_text_is_not(tmp_path: Path) -> None:
    quotes = Quotes("Q", "2", [Quote([], [Part("", "short")]), Quote([], [Part("", "long " * 200)])])
    path = tmp_path / "index.html"
    path.write_bytes(render(Page("T", "test", "", [Section("S", [quotes])])))
    classes = [value for tag, name, value in read_page(path).attributes if (tag, name) == ("details", "class")]
    assert classes == ["fold", "long"]


def test_the_same_page_gives_the_same_bytes() -> None:
    page = Page("T", "test", "", [Section("S", [Text("text")])])
    assert render(page) == render(page)
