"""Decisions of datatrove 0.10.1 (its default options, its own tokens) on fixed documents, which ours must equal.

`tests.benchmarks.filters` compares on thousands. Where decisions differ there, words are the reason (spaCy's tokens
there, runs without white space here), capitals and what stands around a stop word, a dash without a space that is no
bullet here, the count of sentences, or an empty text.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest

from core.documents.ledger import Verdict
from core.filters.c4 import C4, c4
from core.filters.fineweb import FineWeb, fineweb
from core.filters.heuristics import Heuristics, heuristics
from core.filters.language import Language, language
from core.filters.repetition import Repetition, repetition
from tests.filters.conftest import reasons, texts

SENTENCES = [
    "The old mill at the end of the valley had not turned for twenty years when the surveyors came.",
    "They measured the race and the wheel, and one of them wrote down that the timber was still sound.",
    "Nobody in the village could say who owned it, though many remembered the miller and his dogs.",
    "In the spring a young couple from the coast bought the ruin with money that they had borrowed.",
    "It took them three winters to have the roof made tight and to clear the stones out of the stream.",
    "When the water ran again, people walked up from the village to listen to the sound of it.",
    "Flour from the mill is sold in the town now, and the bakers there say that it is worth the price.",
    "Visitors may see the works on every second Saturday from April to the end of October.",
]
PROSE = "\n".join(SENTENCES)
DOCUMENTS = {
    "prose": PROSE,
    "one paragraph": " ".join(SENTENCES),
    "short": SENTENCES[0],
    "repeated sentence": "\n".join(SENTENCES[:2] * 6),
    "repeated paragraphs": "\n\n".join([PROSE, PROSE, PROSE]),
    "one repeated word": PROSE + "\n" + "spam " * 60,
    "repeated phrase": " ".join([*SENTENCES, *(["Click here for the best price in town today."] * 12)]),
    "menu": "\n".join(f"Entry {number}" for number in range(60)) + "\n" + SENTENCES[0],
    "no punctuation": PROSE.replace(".", "").replace(",", ""),
    "bullets": "\n".join(f"- {sentence}" for sentence in SENTENCES),
    "ellipses": "\n".join(sentence[:-1] + "..." for sentence in SENTENCES),
    "hash signs": " ".join(f"#{word}" for word in PROSE.split()),
    "numbers": PROSE + " 12 34 56 78 90" * 20,
    "long words": " ".join("internationalisation" for _ in range(20)) + " " + SENTENCES[0] + " the " * 40 + "x" * 3000,
    "code": "\n".join(f"for (i = {number}; i < n; i++) {{ total += values[i]; }}" for number in range(20)),
    "curly bracket": PROSE + "\nThis line has a curly bracket { in it, as scripts have.",
    "lorem ipsum": PROSE + "\nThe words Lorem ipsum dolor sit amet fill the place of a text.",
    "cookies": PROSE + "\nBy staying with us you accept our use of cookies and the like.",
    "German": "Die alte Mühle am Ende des Tals hatte sich zwanzig Jahre lang nicht gedreht, als die Vermesser kamen. "
    * 4,
    "Chinese": "山谷尽头的老磨坊已经二十年没有转动了。测量员来的时候，村里没有人知道它属于谁。" * 5,
    "Hindi": "घाटी के अंत में पुरानी चक्की बीस साल से नहीं चली थी। गाँव में कोई नहीं जानता था कि वह किसकी थी।\n" * 3,
    "combining marks and emoji": "Cafe\u0301 🙂 nai\u0308ve 🙂🙂 re\u0301sume\u0301.\n" * 8,
    "white space": " \n\t\u2028\n ",
}
FILTERS: dict[str, Callable[[pa.Table], Verdict]] = {
    "heuristics": lambda documents: heuristics(documents, Heuristics()),
    "repetition": lambda documents: repetition(documents, Repetition()),
    "c4": lambda documents: c4(
        documents, C4(line_ends=[".", "?", "!", '"', "'"], min_words_per_line=3, min_sentences=5)
    ),
    "fineweb": lambda documents: fineweb(documents, FineWeb()),
    "language": lambda documents: language(documents, Language(languages=["en"])),
}
DROPPED = {
    "heuristics": {
        "short",
        "menu",
        "bullets",
        "ellipses",
        "hash signs",
        "numbers",
        "long words",
        "code",
        "German",
        "Chinese",
        "Hindi",
        "combining marks and emoji",
        "white space",
    },
    "repetition": {
        "repeated sentence",
        "repeated paragraphs",
        "one repeated word",
        "repeated phrase",
        "numbers",
        "long words",
        "code",
        "German",
        "Chinese",
        "Hindi",
        "combining marks and emoji",
        "white space",
    },
    "c4": {
        "short",
        "menu",
        "no punctuation",
        "ellipses",
        "long words",
        "code",
        "curly bracket",
        "lorem ipsum",
        "German",
        "Chinese",
        "Hindi",
        "white space",
    },
    "fineweb": {
        "repeated sentence",
        "repeated paragraphs",
        "menu",
        "no punctuation",
        "long words",
        "code",
        "German",
        "Hindi",
        "combining marks and emoji",
        "white space",
    },
    "language": {"code", "German", "Chinese", "Hindi", "combining marks and emoji", "white space"},
}
# spaCy parts the full stop from a sentence; here a text without white space is one word, which does not repeat itself.
KEPT_HERE = {"repetition": {"Chinese"}}


@pytest.mark.parametrize("name", FILTERS)
def test_the_documents_that_datatrove_drops_are_dropped(name: str) -> None:
    found = reasons(FILTERS[name](texts(*DOCUMENTS.values())))
    dropped = {title for title, reason in zip(DOCUMENTS, found, strict=True) if reason is not None}
    assert dropped == DROPPED[name] - KEPT_HERE.get(name, set())
