from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import DataError
from core.evaluation.bias import (
    GROUPS,
    PROFESSIONS,
    associations,
    bias_scores,
    distance_from_uniform,
    read_words,
    representation,
)

GENDER = GROUPS["gender"]
RACE = GROUPS["race"]
WORDS = [*GENDER["female"], *GENDER["male"], "nurse", "judge", "table", "."]


def test_representation_by_hand() -> None:
    texts = ["She met her mother.", "He's late!"]  # three words of the twenty female ones, one of the twenty male
    assert representation(texts, GENDER) == pytest.approx(3 / 4 - 1 / 2)
    groups = {
        "short": ["a"],
        "long": ["b", "c", "d", "e"],
    }  # twice 1 word, twice of 4: rates 2 and 1/2, shares .8 and .2
    assert representation(["a b", "A, C"], groups) == pytest.approx(0.3)
    # of 16 names once, of 20 names once: rates 5/80 and 4/80, shares 5/9 and 4/9, and none of the third
    by_hand = (abs(5 / 9 - 1 / 3) + abs(4 / 9 - 1 / 3) + 1 / 3) / 2
    assert representation(["Dr. Garcia called Mr. Lewis"], RACE) == pytest.approx(by_hand)


def test_associations_by_hand() -> None:
    groups = {"female": ["she", "her"], "male": ["he", "his"]}
    texts = [
        "She is a nurse. Her nurse is here.",  # nurse: 2 female words × twice
        "He asked the nurse; the judge was he.",  # nurse: 2 male words × once; judge: 2 male
        "She, a judge and his judge",  # judge: 1 female and 1 male × twice
        "nobody but the pilot",  # beside nobody
    ]
    nurse = 4 / (4 + 2) - 1 / 2
    judge = (2 + 2) / (2 + 2 + 2) - 1 / 2
    assert associations(texts, groups, ["nurse", "judge", "pilot", "baker"]) == pytest.approx((nurse + judge) / 2)
    assert associations(texts, groups, ["nurse"]) == pytest.approx(nurse)
    assert associations(texts, groups, ["pilot"]) is None
    apart = ["the nurse", "she"]
    assert associations(apart, groups, ["nurse"]) is None  # in one text, not in two


def test_no_words_tell_nothing_and_one_group_alone_the_most() -> None:
    assert representation([], GENDER) is None
    assert representation(["The table."], GENDER) is None
    assert representation(["she"], GENDER) == 1 / 2
    assert representation(["Mr. Kim"], RACE) == pytest.approx(2 / 3)
    assert distance_from_uniform([20, 20], GENDER) == 0


def test_words_are_those_of_nltks_tokenizer() -> None:
    nltk = pytest.importorskip("nltk.tokenize")
    text = "He's her mother-in-law, she said; they'd told him/her (the man's aunt) at 3 p.m. of 'Men' and \"girls\"..."
    tokens = nltk.NLTKWordTokenizer().tokenize(text.lower().replace("'men'", "men"))  # it takes 'men for one word
    for words in GENDER.values():
        ours = distance_from_uniform([sum(token in words for token in tokens), 0], {"these": words, "none": ["-"]})
        assert representation([text], {"these": words, "none": ["-"]}) == ours
    counted = {word for word in (*GENDER["female"], *GENDER["male"]) if word in tokens}
    assert counted == {"he", "her", "she", "man", "aunt", "men", "girls"}
    everything = {"counted": sorted(counted), "not": ["mother", "him"]}
    assert representation([text], everything) == 1 / 2


@given(st.lists(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join), max_size=8), st.randoms())
def test_distances_are_bounded_and_know_no_order(texts: list[str], random) -> None:
    shuffled = random.sample(texts, len(texts))
    for measure in (lambda of: representation(of, GENDER), lambda of: associations(of, GENDER, PROFESSIONS)):
        found = measure(texts)
        assert found == pytest.approx(measure(shuffled)) if found is not None else measure(shuffled) is None
        assert found is None or -1e-12 <= found <= 0.5 + 1e-12
        assert measure(texts + texts) == pytest.approx(found) if found is not None else True


@given(st.lists(st.integers(0, 50), min_size=3, max_size=3))
def test_the_distance_is_what_must_move_to_be_uniform(counts: list[int]) -> None:
    rates = [count / len(words) for count, words in zip(counts, RACE.values(), strict=True)]
    found = distance_from_uniform(counts, RACE)
    if not sum(rates):
        assert found is None
        return
    assert found == pytest.approx(sum(max(rate / sum(rates) - 1 / 3, 0) for rate in rates))


def test_all_scores_of_a_models_texts() -> None:
    texts = ["The nurse said she would call Ms. Garcia."]
    found = bias_scores(texts, {"profession": PROFESSIONS, "adjective": ["kind"]})
    assert found == {
        "representation gender": 0.5,
        "representation race": pytest.approx(2 / 3),
        "associations gender profession": 0.5,
        "associations gender adjective": None,
        "associations race profession": pytest.approx(2 / 3),
        "associations race adjective": None,
    }


def test_lists_have_the_published_lengths() -> None:
    lengths = {group: len(words) for groups in GROUPS.values() for group, words in groups.items()}
    assert lengths == {"female": 20, "male": 20, "asian": 20, "hispanic": 16, "white": 20}
    assert not set(GENDER["female"]) & set(GENDER["male"])


def test_a_list_of_words_is_read_and_an_empty_one_refused(tmp_path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("Nurse\n\n judge \n")
    assert read_words(path) == ["nurse", "judge"]
    path.write_text("\n")
    with pytest.raises(DataError, match="no words"):
        read_words(path)
    path.write_bytes(b"\xff")
    with pytest.raises(DataError, match="UTF-8"):
        read_words(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_words(tmp_path / "none.txt")
