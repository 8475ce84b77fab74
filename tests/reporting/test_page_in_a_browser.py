"""The run's page as a real browser shows it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.reporting.options import Report
from core.reporting.run_report import write_run_report
from tests.reporting.chromium import Chromium
from tests.reporting.made_curation import ledger_of

COLUMN = "Array.from(document.querySelectorAll('{table} tbody tr:not([hidden])'), row => row.cells[{n}].textContent)"


def test_the_page_is_rendered_asks_for_nothing_and_complains_of_nothing(browser: Chromium, page_path: Path) -> None:
    browser.open(page_path, 1280)
    assert browser.evaluate("'ready' in document.documentElement.dataset")
    assert browser.evaluate("document.querySelectorAll('main > section').length") == 8
    assert browser.requests() == [page_path.absolute().as_uri()]
    assert browser.complaints() == []


def test_a_planted_script_does_not_run(browser: Chromium, page_path: Path) -> None:
    browser.open(page_path, 1280)
    assert browser.evaluate("document.title") == "quickstart – run report"
    assert browser.evaluate("document.scripts.length") == 1
    assert browser.evaluate("document.images.length") == 0


def test_even_a_script_that_got_into_the_page_is_refused(browser: Chromium, page_path: Path, tmp_path: Path) -> None:
    injected = tmp_path / "injected.html"
    attack = "<script>document.title = 'ran'</script><img src='https://example.org/x.png' onerror='document.title=1'>"
    injected.write_text(page_path.read_text("utf-8").replace("<main", f"{attack}<main", 1), "utf-8")
    browser.open(injected, 1280)
    assert browser.evaluate("document.title") == "quickstart – run report"
    assert browser.complaints() != []


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_runs_over_the_side(browser: Chromium, page_path: Path, width: int, dark: bool) -> None:
    browser.open(page_path, width, dark)
    browser.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    assert browser.evaluate("innerWidth") == width
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    outside = (
        "Array.from(document.querySelectorAll('main *, header *'))"
        ".filter(part => !part.closest('.scroll, pre, svg') && part.getBoundingClientRect().right > innerWidth + 1)"
        ".map(part => part.outerHTML.slice(0, 90))"
    )
    assert browser.evaluate(outside) == []


@pytest.mark.parametrize(("width", "kind"), [(1280, "wide"), (390, "narrow")])
def test_charts_have_a_drawing_for_the_width(browser: Chromium, page_path: Path, width: int, kind: str) -> None:
    browser.open(page_path, width)
    shown = "Array.from(document.querySelectorAll('figure svg')).filter(svg => svg.clientHeight > 50)"
    assert set(browser.evaluate(f"{shown}.map(svg => svg.getAttribute('class'))")) == {kind}
    assert browser.evaluate(f"{shown}.length") == 18


def test_of_charts_to_choose_from_one_is_shown(browser: Chromium, page_path: Path) -> None:
    browser.open(page_path, 1280)
    shown = "Array.from(document.querySelectorAll('.choice')[0].querySelectorAll('figcaption'))"
    shown += ".filter(caption => caption.offsetHeight).map(caption => caption.textContent)"
    assert browser.evaluate(shown) == ["Documents left after each step"]
    browser.evaluate("document.querySelectorAll('.choice')[0].querySelectorAll('input')[2].click()")
    assert browser.evaluate(shown) == ["Tokens left after each step"]
    assert browser.evaluate("document.querySelectorAll('.choice')[1].querySelectorAll('input')[0].checked")


def test_many_charts_are_chosen_from_a_list(browser: Chromium, tmp_path: Path) -> None:
    run = tmp_path / "many"
    (run / "curate").mkdir(parents=True)
    (run / "curate" / "ledger.json").write_text(json.dumps(ledger_of(6, {"length": {"short": 0.7}})))
    browser.open(write_run_report(run, Report()), 1280)
    browser.evaluate(
        "(() => { const list = document.querySelector('.choice select'); list.selectedIndex = 4;"
        " list.dispatchEvent(new Event('change')); })()"
    )
    shown = "Array.from(document.querySelectorAll('.option:not([hidden])'), option => option.dataset.name)"
    assert browser.evaluate(shown) == ["documents", "documents", "source-01"]
    assert browser.complaints() == []


def test_without_its_script_the_page_shows_every_chart(browser: Chromium, page_path: Path, tmp_path: Path) -> None:
    dead = tmp_path / "dead.html"
    dead.write_text(page_path.read_text("utf-8").replace('"use strict";', "throw 0;"), "utf-8")
    browser.open(dead, 1280)
    assert browser.evaluate("Array.from(document.querySelectorAll('.option')).every(each => each.offsetHeight > 50)")


def test_on_paper_the_chosen_charts_stand_without_their_buttons(browser: Chromium, page_path: Path) -> None:
    browser.open(page_path, 1280)
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.evaluate("getComputedStyle(document.querySelector('.choose')).display") == "none"
    assert browser.evaluate("document.querySelector('.option:not([hidden]) svg.wide').clientHeight > 50")


def test_differing_words_are_marked_in_the_pages_colours(browser: Chromium, page_path: Path) -> None:
    colours = []
    for dark in (False, True):
        browser.open(page_path, 1280, dark)
        colours.append(browser.evaluate("getComputedStyle(document.querySelector('.words del')).color"))
    assert colours[0] != colours[1]


def test_a_table_sorts_by_number_and_by_text(browser: Chromium, page_path: Path) -> None:
    browser.open(page_path, 1280)
    browser.evaluate("document.querySelectorAll('table')[1].id = 'reasons'")
    documents = COLUMN.format(table="#reasons", n=2)
    click = "document.querySelectorAll('#reasons th button')[{n}].click()"
    browser.evaluate(click.format(n=2))
    assert browser.evaluate(documents) == ["1,416", "1,250", "643", "246", "60", "31", "3"]
    assert browser.evaluate("document.querySelector('#reasons th[aria-sort]').ariaSort") == "descending"
    browser.evaluate(click.format(n=2))
    assert browser.evaluate(documents) == ["3", "31", "60", "246", "643", "1,250", "1,416"]
    browser.evaluate(click.format(n=0))
    assert browser.evaluate(COLUMN.format(table="#reasons", n=0))[:2] == ["broken_utf8", "exact_duplicate"]


def test_missing_values_stay_last_whichever_way_a_table_is_sorted(browser: Chromium, page_path: Path) -> None:
    browser.open(page_path, 1280)
    browser.evaluate("document.querySelector('#Scores table').id = 'scores'")
    for _ in range(2):
        browser.evaluate("document.querySelectorAll('#scores th button')[3].click()")
        assert browser.evaluate(COLUMN.format(table="#scores", n=3))[-1] == "–"


def test_a_table_filters_by_words(browser: Chromium, page_path: Path) -> None:
    browser.open(page_path, 1280)
    browser.evaluate("document.querySelector('#Curation [data-filter] table').id = 'steps'")
    browser.evaluate(
        "(() => { const input = document.querySelector('#Curation input[type=search]');"
        " input.value = 'LENGTH skills'; input.dispatchEvent(new Event('input')); })()"
    )
    assert browser.evaluate(COLUMN.format(table="#steps", n=0)) == ["length"]
    assert browser.evaluate("document.querySelector('#Curation .filter [role=status]').textContent") == "1 of 16"


def test_the_dark_page_is_dark_and_its_charts_with_it(browser: Chromium, page_path: Path) -> None:
    colours = []
    for dark in (False, True):
        browser.open(page_path, 1280, dark)
        background = "getComputedStyle(document.body).backgroundColor"
        bar = "getComputedStyle(document.querySelector('figure svg path[style*=series-1]')).fill"
        text = "getComputedStyle(document.querySelector('figure svg text')).fill"
        colours.append([browser.evaluate(expression) for expression in (background, bar, text)])
    light, dark_colours = colours
    assert light[0] == "rgb(255, 255, 255)"
    assert all(one != other for one, other in zip(light, dark_colours, strict=True))


def test_every_control_can_be_reached_by_keyboard(browser: Chromium, page_path: Path) -> None:
    browser.open(page_path, 1280)
    controls = "document.querySelectorAll('button, summary, input, a[href]')"
    assert browser.evaluate(f"Array.from({controls}).every(control => control.tabIndex === 0)")
    browser.call("Input.dispatchKeyEvent", type="keyDown", key="Tab", code="Tab", windowsVirtualKeyCode=9)
    assert browser.evaluate("document.activeElement.className") == "skip"
