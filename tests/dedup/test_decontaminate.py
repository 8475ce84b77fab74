from __future__ import annotations

import pickle
import time
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from core.dedup.decontaminate import (
    ITEMS_PER_SEQUENCE,
    MATCHES,
    Decontaminate,
    EvaluationIndex,
    contamination,
    find_leaks,
    matches,
)
from core.documents.fields import Fields
from core.documents.ledger import SPANS
from core.documents.source import Source
from tests.dedup.reference import in_word, words_of

AGAINST = {"questions": Source(files="questions.jsonl", fields=Fields(text="question"))}
LONG = "Natalia sold clips to 48 of her friends in April, and then she sold half as many in May."
SHORT = "What is the capital of the Swiss Confederation?"
unhurried = settings(deadline=None)  # the first example waits for the compiler


def column(*texts: str) -> pa.LargeStringArray:
    return pa.array(texts, pa.large_string())


def options(**given: Any) -> Decontaminate:
    return Decontaminate(against=AGAINST, **given)


def index(*items: str, **given: Any) -> EvaluationIndex:
    return EvaluationIndex.build([f"q{i}" for i in range(len(items))], column(*items), options(**given))


def evidence(found: EvaluationIndex, *texts: str) -> list[str | None]:
    verdict = contamination(column(*texts), found)
    hits: list[str | None] = verdict.evidence.to_pylist()
    assert verdict.reason.to_pylist() == [None if hit is None else "contaminated" for hit in hits]
    return hits


def test_thirteen_words_of_an_item_in_sequence_are_a_leak_and_twelve_are_not() -> None:
    part = LONG.split()[2:15]
    thirteen = "clips to 48 of her friends in april and then she sold half"
    assert evidence(index(LONG), "Before: " + "  ".join(part) + "!", " ".join(part[:-1]), " ".join(part[1:])) == [
        f"q0: {thirteen}",
        None,
        None,
    ]


def test_an_item_of_fewer_words_is_a_leak_as_a_whole() -> None:
    found = index(LONG, SHORT)
    whole = "what is the capital of the swiss confederation"
    assert evidence(
        found, f"Quiz. {SHORT.upper()} Bern.", SHORT[:-16], "is the capital of the Swiss Confederation?"
    ) == [
        f"q1: {whole}",
        None,
        None,
    ]


def test_items_shorter_than_the_minimum_are_counted_and_not_searched_for() -> None:
    found = index("one two three four five six seven", "", SHORT)
    assert found.too_short == 2
    assert evidence(found, "one two three four five six seven", "") == [None, None]


def test_case_and_punctuation_do_not_count_in_any_script() -> None:
    found = index(
        "Ο ΣΟΦΟΣ λέει: ένα δύο τρία τέσσερα πέντε", "हम सब — एक दो तीन चार पाँच छः", "你好 世界 一 二 三 四 五 六"
    )
    assert found.too_short == 0
    assert evidence(
        found,
        "«ο σοφος» ΛΈΕΙ ένα, δύο; ΤΡΊΑ τέσσερα πέντε",
        "ο σοφοσ λέει ένα δύο τρία τέσσερα πέντε",
        "हम, सब, एक, दो, तीन, चार, पाँच, छः।",
        "「你好」，世界。一、二、三、四、五、六！",
    ) == [
        "q0: ο σοφος λέει ένα δύο τρία τέσσερα πέντε",
        None,  # no final sigma
        f"q1: {' '.join(words_of('हम सब एक दो तीन चार पाँच छः'))}",
        "q2: 你好 世界 一 二 三 四 五 六",
    ]


def test_the_first_leak_in_the_text_is_told_and_at_one_place_the_longest() -> None:
    start = " ".join(words_of(LONG)[:9])
    found = index(SHORT, start, LONG)
    first_words = " ".join(words_of(LONG)[:13])
    assert evidence(found, f"{LONG} {SHORT}", f"{SHORT} {LONG}", f"{start} {SHORT}") == [
        f"q2: {first_words}",
        f"q0: {' '.join(words_of(SHORT))}",
        f"q1: {start}",
    ]


def test_of_items_with_the_same_words_the_first_is_told() -> None:
    assert evidence(index(SHORT, SHORT.lower()), SHORT) == [f"q0: {' '.join(words_of(SHORT))}"]


def test_a_hash_that_other_words_share_drops_nothing_and_the_search_goes_on() -> None:
    """Two items that trade their hashes: what a collision would look like."""
    found = index(SHORT, "one two three four five six seven eight", LONG)
    short = [int(np.flatnonzero(found.items == item)[0]) for item in (0, 1)]
    items = found.items.copy()
    items[short] = items[short[::-1]]
    colliding = replace(found, items=items)
    assert matches(column(f"{SHORT} {SHORT} {LONG}"), colliding)["item_id"].to_pylist() == ["q2"]
    leak = f"q2: {' '.join(words_of(LONG)[:13])}"
    assert evidence(colliding, SHORT, f"{SHORT} {SHORT} {LONG}", LONG) == [None, leak, leak]


def test_the_index_is_the_same_in_another_process() -> None:
    found = pickle.loads(pickle.dumps(index(LONG, SHORT)))
    assert evidence(found, SHORT) == evidence(index(LONG, SHORT), SHORT) != [None]


def test_nothing_to_search_for_or_in_drops_nothing() -> None:
    assert evidence(index(), SHORT) == [None]
    assert evidence(index("too short"), SHORT, "") == [None, None]
    assert evidence(index(SHORT)) == []


def test_a_minimum_beyond_the_ngram_is_refused() -> None:
    with pytest.raises(ValidationError, match="minimum is 14 words, more than the 13 of ngram"):
        options(minimum=14)


def cut(found: EvaluationIndex, *texts: str) -> list[list[tuple[str, str]]]:
    """What is cut of each text, and the item that the evidence names; the dropped ones have [("dropped", item)]."""
    verdict = contamination(column(*texts), found)
    assert verdict.spans is not None and verdict.spans.schema == SPANS
    assert set(verdict.spans["reason"].to_pylist()) <= {"contaminated"}
    parts: list[list[tuple[str, str]]] = [
        [] if hit is None else [("dropped", hit.split(":")[0])] for hit in verdict.evidence.to_pylist()
    ]
    for span in verdict.spans.to_pylist():
        text = texts[span["row"]].encode()[span["begin"] : span["end"]].decode()
        parts[span["row"]].append((text, span["evidence"].split(":")[0]))
    return parts


def test_the_span_is_cut_from_its_first_word_to_its_last() -> None:
    found = index(LONG, SHORT, action="span")
    assert cut(found, f"«Before: {SHORT}» After. {LONG}", "nothing", f"Été 中文🙂 {SHORT.upper()}") == [
        [(SHORT[:-1], "q1"), (LONG[:-1], "q0")],
        [],
        [(SHORT[:-1].upper(), "q1")],
    ]
    evidence = contamination(column(f"x {SHORT}"), found).spans
    assert evidence is not None
    assert evidence["evidence"].to_pylist() == [f"q1: {' '.join(words_of(SHORT))}"]


def test_spans_that_overlap_or_touch_are_one() -> None:
    a, b = "one two three four five six seven eight", "seven eight nine ten eleven twelve thirteen fourteen"
    found = index(a, b, action="span")
    whole = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    assert cut(found, f"x {whole} y") == [[(whole, "q0")]]


def test_letters_whose_lower_case_depends_on_their_neighbours_shift_no_span() -> None:
    item = "ο σοφος λεει ενα δυο τρια τεσσερα πεντε"
    found = index(item, "iki i̇stanbul üç dört beş altı yedi sekiz", action="span")
    greek = "Ο ΣΟΦΟΣ ΛΕΕΙ ΕΝΑ ΔΥΟ ΤΡΙΑ ΤΕΣΣΕΡΑ ΠΕΝΤΕ"
    turkish = "iki İstanbul üç dört beş altı yedi sekiz"
    assert cut(found, f"İİ Ⱥ «{greek}» Σ İ", f"İΣ {turkish} İ.", f"{turkish}İ") == [
        [(greek, "q0")],
        [(turkish, "q1")],
        [],
    ]


@unhurried
@given(st.text(st.sampled_from("aAΣσςİiȺ\u0307中. '"), max_size=30), st.integers(1, 3))
def test_places_of_such_letters_are_those_of_a_search_character_by_character(text: str, length: int) -> None:
    item = "a i\u0307 σ ας αa aa ai ia a a i i σ σ aσ σa σς ⱥ aⱥ 中 aσ aς i i"
    known = [words_of(item)[i : i + length] for i in range(len(words_of(item)) - length + 1)]
    origin = [place for place, character in enumerate(text) for _ in character.lower()]
    runs = []
    for inside, run in groupby(enumerate(text.lower()), lambda place: in_word(place[1])):
        if inside:
            places, characters = zip(*run, strict=True)
            runs.append(("".join(characters), origin[places[0]], origin[places[-1]] + 1))
    expected = []
    for i in range(len(runs) - length + 1):
        here = runs[i : i + length]
        if [word for word, _, _ in here] in known:
            expected.append((len(text[: here[0][1]].encode()), len(text[: here[-1][2]].encode())))
    found = find_leaks(column(text), index(item, ngram=length, minimum=1))
    assert list(zip(found.begin.tolist(), found.end.tolist(), strict=True)) == expected


def test_a_span_may_end_within_the_two_characters_of_a_dotted_capital_i() -> None:
    """Its lower case is an i and a mark."""
    found = index("a b c d e f g i\u0307", action="span")
    assert cut(found, "x A B C D E F G İ y") == [[("A B C D E F G İ", "q0")]]


def test_margins_are_counted_in_characters_and_end_where_the_text_does() -> None:
    found = index(SHORT, action="span", margin_characters=3)
    whole = SHORT[:-1]
    assert cut(
        found, f"中文🙂é «{SHORT}", f"é{whole}", f"é {whole}.", f"{whole} 12345 {whole}", f"{whole} 12 {whole}"
    ) == [
        [(f"é «{SHORT}", "q0")],
        [],  # another word
        [(f"é {whole}.", "q0")],
        [(f"{whole} 12", "q0"), (f"45 {whole}", "q0")],
        [(f"{whole} 12 {whole}", "q0")],
    ]


def test_a_document_left_in_more_pieces_is_dropped_as_a_whole() -> None:
    whole = SHORT[:-1]
    texts = (f"{whole} a {whole}", f"x {whole} y {whole} z", f"x {whole} y")
    assert [len(parts) for parts in cut(index(SHORT, action="span"), *texts)] == [2, 2, 1]
    at_most_two = cut(index(SHORT, action="span", max_pieces=2), *texts)
    assert [len(parts) for parts in at_most_two] == [2, 1, 1]
    assert at_most_two[1] == [("dropped", "q0")]


def test_options_of_spans_are_refused_where_documents_are_dropped() -> None:
    for name in ("margin_characters", "max_pieces"):
        with pytest.raises(ValidationError, match=f"{name} is for action span"):
            options(**{name: 5})


def test_all_items_that_a_document_matches_are_told_once_with_their_first_place() -> None:
    found = index(LONG, SHORT, f"{SHORT} again", LONG.upper())
    text = f"«é» {SHORT} - {LONG} {SHORT}"
    table = matches(column("none", text, SHORT), found)
    assert table.schema == MATCHES
    begin = len("«é» ".encode())
    told = [(row["row"], row["item_id"], row["begin"]) for row in table.to_pylist()]
    later = begin + len(SHORT) + 3
    assert told == [(1, "q1", begin), (1, "q0", later), (1, "q3", later), (2, "q1", 0)]
    assert table["words"].to_pylist()[:2] == [" ".join(words_of(SHORT)), " ".join(words_of(LONG)[:13])]
    assert table["end"].to_pylist()[0] == begin + len(SHORT) - 1
    leaks = find_leaks(column("none", text, SHORT), found)
    assert matches(column("none", text, SHORT), found, leaks).equals(table)
    assert len(leaks.row) > table.num_rows


def test_of_a_sequence_that_very_many_items_share_the_first_of_them_are_told() -> None:
    found = index(*(f"{SHORT} {i}" for i in range(300)), ngram=8)
    table = matches(column(SHORT), found)
    assert table["item_id"].to_pylist() == [f"q{i}" for i in range(ITEMS_PER_SEQUENCE)]


def test_real_questions_are_found_in_documents_that_quote_them(shared_data: Path) -> None:
    names = sorted(shared_data.glob("mt_bench/*.jsonl"))
    turns = [
        turn for name in names for line in name.read_text().splitlines() for turn in orjson.loads(line).get("turns", [])
    ]
    if not turns:
        pytest.skip("no MT-Bench questions")
    found = index(*turns)
    long = [number for number, turn in enumerate(turns) if len(words_of(turn)) >= 8]
    assert found.too_short == len(turns) - len(long)
    table = matches(column(*(f"They asked: {turns[number]}\nNo answer." for number in long)), found)
    told = set(zip(table["row"].to_pylist(), table["item_id"].to_pylist(), strict=True))
    assert {(row, f"q{number}") for row, number in enumerate(long)} <= told


def test_hundreds_of_thousands_of_items_stay_compact() -> None:
    numbers = np.random.default_rng(0).integers(0, 50_000, (200_000, 15))
    items = pa.array((" ".join(map(str, row)) for row in numbers.tolist()), pa.large_string())
    start = time.monotonic()
    found = EvaluationIndex.build([str(i) for i in range(len(items))], items, options())
    size = sum(
        array.nbytes for array in (found.known.hashes, found.known.bits, found.offsets, found.items, found.places)
    )
    assert size <= 32 * 3 * len(items)  # 3 sequences each
    texts = column(*(f"x {items[number].as_py()} y" for number in range(0, 200_000, 1000)))
    assert matches(texts, found)["item_id"].to_pylist() == [str(number) for number in range(0, 200_000, 1000)]
    assert time.monotonic() - start < 20


def test_a_document_of_50_megabytes_takes_seconds() -> None:
    text = "the same line again and again\n" * 1_700_000
    start = time.monotonic()
    texts = column(f"{text}{SHORT}")
    assert cut(index(SHORT, action="span"), texts[0].as_py()) == [[(SHORT[:-1], "q0")]]
    assert time.monotonic() - start < 10


def test_separators_alone_hold_nothing() -> None:
    assert evidence(index(SHORT), " \n\t。，", "", "🙂" * 100) == [None] * 3
    assert matches(column(" \n"), index(SHORT)).num_rows == 0


WORDS = st.lists(st.sampled_from(["a", "B", "c", "é", "中"]), max_size=12)


@unhurried
@given(st.lists(WORDS, max_size=4), st.lists(WORDS, min_size=1, max_size=4))
def test_leaks_are_those_of_a_brute_force_search(items: list[list[str]], texts: list[list[str]]) -> None:
    ngram, minimum = 4, 2
    sequences: dict[tuple[str, ...], list[int]] = {}
    for number, item in enumerate(items):
        whole = [word.lower() for word in item]
        size = min(len(whole), ngram)
        for i in range(len(whole) - size + 1 if size >= minimum else 0):
            told = sequences.setdefault(tuple(whole[i : i + size]), [])
            if number not in told:
                told.append(number)
    joined = [" ".join(text) for text in texts]
    leaks: list[tuple[int, int, int, int]] = []  # row, item, begin and end
    for row, text in enumerate(texts):
        begins = [len(" ".join([*text[:i], ""]).encode()) for i in range(len(text))]
        for i in range(len(text)):
            for size in range(ngram, minimum - 1, -1):
                if i + size <= len(text):
                    end = begins[i + size - 1] + len(text[i + size - 1].encode())
                    here = sequences.get(tuple(word.lower() for word in text[i : i + size]), [])
                    leaks += [(row, item, begins[i], end) for item in here]
    build = {"ngram": ngram, "minimum": minimum}
    names = [" ".join(item) for item in items]
    found = find_leaks(column(*joined), index(*names, **build))
    assert list(zip(found.row, found.item, found.begin, found.end, strict=True)) == leaks
    first = {leak[0]: leak[1] for leak in reversed(leaks)}
    told_first = [None if hit is None else hit.split(":")[0] for hit in evidence(index(*names, **build), *joined)]
    assert told_first == [f"q{first[row]}" if row in first else None for row in range(len(texts))]
    distinct = list({(row, item): (row, f"q{item}") for row, item, _, _ in leaks}.values())
    table = matches(column(*joined), index(*names, **build))
    assert list(zip(table["row"].to_pylist(), table["item_id"].to_pylist(), strict=True)) == distinct
    covered = [
        [
            any(own == row and begin <= place < end for own, _, begin, end in leaks)
            for place in range(len(text.encode()))
        ]
        for row, text in enumerate(joined)
    ]
    spans = contamination(column(*joined), index(*names, action="span", **build)).spans
    assert spans is not None
    for span in spans.to_pylist():
        assert all(covered[span["row"]][span["begin"] : span["end"]])
        covered[span["row"]][span["begin"] : span["end"]] = [False] * (span["end"] - span["begin"])
    assert not any(map(any, covered))
