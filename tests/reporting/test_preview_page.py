from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from core.documents.table import DOCUMENTS
from core.reporting.preview_page import MOST_TOKENS, preview_page
from core.reporting.preview_words import Preview, SourcePreview, differing, ends
from core.tokens.decoding import Piece
from core.tokens.options import PhaseData
from core.tokens.preview import preview_phase
from core.tokens.tokenizer import train_tokenizer
from tests.reporting.chromium import Chromium
from tests.reporting.made_run import CONTROLS, HOSTILE
from tests.reporting.page_reader import read_page

EVIL = f"{HOSTILE} {CONTROLS} مرحبا 漢字 👨‍👩‍👧\r\n\tend"
ANSWER = f"The answer:\n{EVIL}"


def described(row: dict[str, Any]) -> dict[str, Any]:
    """A document as the preview's job describes it."""
    drop = {"step": EVIL, "reason": EVIL, "evidence": EVIL}
    return {**row, "content": row["text"] or "", "meta": EVIL, "dropped_by": [drop], "cut_by": [drop], "not_asked": []}


@pytest.fixture(scope="module")
def preview() -> Preview:
    """Texts, dialogues and pairs that try to break the page."""
    turns = [{"role": "user", "content": EVIL}, {"role": "assistant", "content": ANSWER}]
    unanswered = [{"role": "user", "content": "Nobody answers."}]
    rows = [
        {"id": "chat:0", "source": "chat", "messages": turns},
        {"id": EVIL, "source": "chat", "messages": unanswered},
        {"id": "long:0", "source": "chat", "text": "a b c d e f g h " * 1000},
        {"id": "pair:0", "source": "pairs", "prompt": EVIL, "chosen": f"Paris. {EVIL}", "rejected": f"London. {EVIL}"},
        {"id": "pair:1", "source": "pairs", "prompt": "Why?", "chosen": "So it is", "rejected": "So was it"},
    ]
    table = pa.Table.from_pylist(rows, DOCUMENTS)
    tokenizer = train_tokenizer(lambda: [table], vocabulary=400, characters=10_000)
    chat, pairs = table.slice(0, 3), table.slice(3)
    return Preview(
        recipe=EVIL,
        description=EVIL,
        tokenizer=EVIL,
        sources={
            EVIL: SourcePreview([described(row) for row in chat.to_pylist()], 3, True, {EVIL: 1}, 2),
            "pairs": SourcePreview([described(row) for row in pairs.to_pylist()], 2, False, {}, 2),
        },
        phases={
            "sft": preview_phase(chat, tokenizer, PhaseData(sources=["chat"], sequence_length=8192), 3),
            "dpo": preview_phase(pairs, tokenizer, PhaseData(sources=["pairs"], sequence_length=512), 3),
        },
        not_asked=[EVIL],
    )


@pytest.fixture(scope="module")
def written(preview: Preview, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("preview") / "preview.html"
    path.write_bytes(preview_page(preview))
    return path


def marked(page: Path) -> list[tuple[str, str, str]]:
    """Element, hint and text of every token within a <mark>."""
    runs = re.findall(r"<mark>(.*?)</mark>", page.read_text("utf-8"), re.S)
    return [
        (kind, hint, html.unescape(text))
        for run in runs
        for kind, hint, text in re.findall(r"<([ib]) title=\"([\d ]+)\">(.*?)</\1>", run, re.S)
    ]


def test_trained_tokens_are_marked_and_tell_their_ids(preview: Preview, written: Path) -> None:
    pieces = [piece for piece in preview.phases["sft"].samples[0].pieces if piece.trained]
    found = marked(written)[: len(pieces)]
    assert [hint for _, hint, _ in found] == [" ".join(map(str, piece.ids)) for piece in pieces]
    assert [kind for kind, _, _ in found] == ["b" if piece.special else "i" for piece in pieces]
    text = "".join(text for _, _, text in found)
    assert text.startswith("The answer:⏎\n<script>")
    assert text.endswith("👨‍👩‍👧[U+000D]⏎\n⇥\tend<|im_end|><|endoftext|>")


def test_every_text_of_a_preview_is_escaped(written: Path) -> None:
    read = read_page(written)
    assert read.tags.count("script") == 1  # the frame's own
    assert not {"img", "iframe"} & set(read.tags)
    assert not [name for _, name, _ in read.attributes if name.startswith("on")]
    assert "{{ 7 * 7 }}" in read.text
    assert "[U+202E]evil" in read.text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e]", written.read_text("utf-8"))


def test_a_preview_asks_for_nothing(written: Path) -> None:
    targets = [value for _, name, value in read_page(written).attributes if name in ("href", "src", "action")]
    assert targets
    assert all(target.startswith(("#", "data:")) for target in targets)


def test_the_counts_of_each_phase_stand_in_a_table(preview: Preview, written: Path) -> None:
    read = read_page(written)
    for name, phase in preview.phases.items():
        for heading in ("samples", "tokens", "trained", "masked", "truncated", "rows"):
            value = getattr(phase.counts, heading, None)
            value = getattr(phase.counts, f"{heading}_tokens") if value is None else value
            assert read.column("Tokens of each phase", heading)[name].key == repr(value)
    assert "nothing_to_learn 1" in read.column("Tokens of each phase", "documents refused")["sft"].text
    assert "packing fill" in read.facts


def test_a_long_sample_is_shown_by_its_ends_and_says_what_is_left_out(preview: Preview, written: Path) -> None:
    long = preview.phases["sft"].samples[1]
    assert long.length > MOST_TOKENS
    left_out = len(long.pieces) - MOST_TOKENS
    assert f"… {left_out:,} tokens, {left_out:,} of them trained …" in read_page(written).text


def test_what_is_left_out_counts_tokens_not_pieces() -> None:
    pieces = [Piece("é", (1, 2), number % 2 == 0, False) for number in range(10)]
    first, said, last = ends(pieces, 4)
    assert (len(first), said, len(last)) == (2, "12 tokens, 6 of them trained", 2)
    assert ends(pieces, 10) == (pieces, "", ())


def test_words_in_which_completions_differ_are_marked_in_both(preview: Preview, written: Path) -> None:
    pair = preview.phases["dpo"].pairs[1]
    chosen, rejected = differing(pair)
    assert "".join(text for text, _ in chosen) == pair.chosen
    assert "".join(text for text, _ in rejected) == pair.rejected
    assert "was" in "".join(text for text, mark in rejected if mark)
    page = written.read_text("utf-8")
    assert "<ins>Paris</ins>" in page
    assert "<del>London</del>" in page


def test_the_same_preview_gives_the_same_bytes(preview: Preview, written: Path) -> None:
    assert preview_page(preview) == written.read_bytes()


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_a_preview_whole_and_runs_nothing_of_it(
    browser: Chromium, written: Path, width: int, dark: bool
) -> None:
    browser.open(written, width, dark)
    browser.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    outside = (
        "Array.from(document.querySelectorAll('main *, header *'))"
        ".filter(part => !part.closest('.scroll, pre, svg') && part.getBoundingClientRect().right > innerWidth + 1)"
        ".map(part => part.outerHTML.slice(0, 90))"
    )
    assert browser.evaluate(outside) == []
    assert "planted" not in browser.evaluate("document.title.replace(/<.*/s, '')")
    assert browser.evaluate("document.scripts.length") == 1
    assert browser.evaluate("document.images.length") == 0
    assert browser.requests() == [written.absolute().as_uri()]
    assert browser.complaints() == []


def test_trained_tokens_differ_from_masked_ones_in_light_and_dark(browser: Chromium, written: Path) -> None:
    grounds = []
    for dark in (False, True):
        browser.open(written, 1280, dark)
        ground = "getComputedStyle(document.querySelector('{}')).backgroundColor"
        selectors = (".tokens mark i", ".tokens > i", ".tokens mark b", ".tokens > b")
        grounds.append([browser.evaluate(ground.format(selector)) for selector in selectors])
        assert len(set(grounds[-1])) == 4
    assert all(light != dark for light, dark in zip(*grounds, strict=True) if "0, 0, 0, 0" not in light)
