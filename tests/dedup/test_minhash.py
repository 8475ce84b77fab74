from __future__ import annotations

from collections import defaultdict
from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from core.dedup.candidates import CROWD, NEIGHBOURS, candidate_pairs
from core.dedup.minhash import MinhashDedup, band_keys, find_near_duplicates, near_duplicates
from core.dedup.ngrams import Unit, shingles
from core.dedup.verification import exact_jaccards, jaccard
from tests.dedup.reference import words_of

SEED = 42
unhurried = settings(deadline=None)  # the first example waits for the compiler
TEXT = st.lists(st.sampled_from(["a", "B", "c", "Σ", "中文", "é", "."]), max_size=12).map(" ".join)


def column(*texts: str) -> pa.LargeStringArray:
    return pa.array(texts, pa.large_string())


def grams(text: str, n: int) -> set[tuple[str, ...]]:
    words = words_of(text)
    if 0 < len(words) < n:
        return {tuple(words)}
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def true_jaccard(one: set[tuple[str, ...]], other: set[tuple[str, ...]]) -> float:
    return len(one & other) / len(one | other) if one | other else 0.0


def random_words(rng: np.random.Generator, count: int) -> list[str]:
    return [f"w{number}" for number in rng.integers(0, 1_000_000, count)]


def edited(rng: np.random.Generator, words: list[str], similarity: float) -> list[str]:
    """A copy whose 5-grams have about that Jaccard similarity: single words replaced, each in five of them."""
    edits = round(len(words) * (1 - similarity) / (1 + similarity) / 5)
    copy = list(words)
    for place in rng.choice(len(words) // 6, edits, replace=False) * 6:
        copy[place] = f"x{rng.integers(1_000_000_000)}"
    return copy


def sharing_a_key(keys: NDArray[np.uint64]) -> set[tuple[int, int]]:
    return {(i, k) for i, k in combinations(range(len(keys)), 2) if ((keys[i] == keys[k]) & (keys[i] != 0)).any()}


def components(pairs: set[tuple[int, int]]) -> list[list[int]]:
    """Connected components by plain merging."""
    group: dict[int, set[int]] = {}
    for one, other in pairs:
        merged = group.get(one, {one}) | group.get(other, {other})
        group.update(dict.fromkeys(merged, merged))
    return sorted(sorted(found) for found in {id(found): found for found in group.values()}.values())


class TestOptions:
    def test_bands_without_rows_per_band_are_refused(self) -> None:
        with pytest.raises(ValidationError, match="bands is given without rows_per_band"):
            MinhashDedup(bands=16)
        with pytest.raises(ValidationError, match="rows_per_band is given without bands"):
            MinhashDedup(rows_per_band=8)

    def test_a_priority_and_keep_priority_go_together(self) -> None:
        with pytest.raises(ValidationError, match="keep: priority and priority"):
            MinhashDedup(keep="priority")
        with pytest.raises(ValidationError, match="keep: priority and priority"):
            MinhashDedup(priority=["a"])
        with pytest.raises(ValidationError, match="more than once: a, a"):
            MinhashDedup(keep="priority", priority=["a", "a"])

    def test_representatives_need_verification(self) -> None:
        with pytest.raises(ValidationError, match="needs verify: true"):
            MinhashDedup(linkage="representative", verify=False)

    def test_a_preset_fills_in_what_is_not_given(self) -> None:
        fineweb = MinhashDedup(preset="fineweb")
        assert (fineweb.ngram, fineweb.banding, fineweb.verify) == (5, (14, 8), False)
        slimpajama = MinhashDedup(preset="slimpajama")
        assert (slimpajama.ngram, slimpajama.unit, slimpajama.threshold) == (13, "character", 0.8)
        assert (slimpajama.verify, slimpajama.across_sources) == (True, True)
        assert MinhashDedup(preset="slimpajama", verify=False).banding == (9, 13)
        the_stack = MinhashDedup(preset="the_stack", threshold=0.7)
        assert (the_stack.threshold, the_stack.permutations, the_stack.ngram) == (0.7, 256, 1)
        assert (the_stack.verify, the_stack.linkage) == (True, "representative")
        assert MinhashDedup(**the_stack.model_dump()) == the_stack
        own = MinhashDedup(preset="fineweb", bands=None, rows_per_band=None)
        assert own.banding == MinhashDedup(threshold=0.75, permutations=112, verify=False).banding != (14, 8)
        with pytest.raises(ValidationError, match="preset"):
            MinhashDedup(preset="redpajama")  # type: ignore[arg-type]

    def test_more_bands_than_the_signature_holds_are_refused_with_the_numbers(self) -> None:
        with pytest.raises(ValidationError, match="16 x 9 = 144, more than permutations, 128"):
            MinhashDedup(bands=16, rows_per_band=9)

    @pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.85, 0.9])
    @pytest.mark.parametrize("permutations", [64, 128, 256])
    def test_with_verification_hardly_a_pair_above_the_threshold_is_missed(
        self, threshold: float, permutations: int
    ) -> None:
        bands, rows = MinhashDedup(threshold=threshold, permutations=permutations).banding
        assert bands * rows <= permutations
        assert 1 - (1 - threshold**rows) ** bands > 0.99
        similarity = np.linspace(threshold, 1, 100)
        assert np.mean(1 - (1 - similarity**rows) ** bands) > 0.999

    def test_without_verification_both_errors_weigh_the_same(self) -> None:
        assert MinhashDedup(verify=False).banding == (9, 13)  # as datasketch has it
        assert MinhashDedup(verify=False, bands=16, rows_per_band=8).banding == (16, 8)
        assert MinhashDedup(permutations=1).banding == (1, 1)


class TestBandKeys:
    @unhurried
    @given(st.lists(TEXT, max_size=8), st.data())
    def test_keys_of_shards_put_together_are_those_of_the_whole(self, texts: list[str], data: st.DataObject) -> None:
        options, cut = MinhashDedup(ngram=2), data.draw(st.integers(0, len(texts)))
        parts = [band_keys(column(*texts[:cut]), options, SEED), band_keys(column(*texts[cut:]), options, SEED)]
        assert np.array_equal(np.concatenate(parts), band_keys(column(*texts), options, SEED))

    @unhurried
    @given(TEXT, TEXT)
    def test_documents_have_the_same_keys_if_they_have_the_same_ngrams(self, one: str, other: str) -> None:
        keys = band_keys(column(one, other), MinhashDedup(ngram=2), SEED)
        assert (keys[0] == keys[1]).all() == (grams(one, 2) == grams(other, 2))

    def test_only_a_document_without_tokens_has_no_keys(self) -> None:
        keys = band_keys(column("", "...", "word", "中"), MinhashDedup(), SEED)
        assert (keys == 0).all(axis=1).tolist() == [True, True, False, False]
        assert (keys[2:] != 0).all()

    def test_another_seed_is_another_signature(self) -> None:
        text, options = column("a text of a few words"), MinhashDedup()
        assert not (band_keys(text, options, 1) == band_keys(text, options, 2)).any()

    @pytest.mark.parametrize("words", [8, 40, 400])
    @pytest.mark.parametrize("unit", ["word", "character"])
    def test_the_estimate_of_the_similarity_is_within_its_theoretical_error(self, words: int, unit: Unit) -> None:
        """Agreeing minima are J of all on average, with variance J (1 - J) / permutations."""
        permutations, ngram, rng = 256, 2 if unit == "word" else 9, np.random.default_rng(words)
        options = MinhashDedup(
            permutations=permutations, bands=permutations, rows_per_band=1, ngram=ngram, unit=unit, verify=False
        )
        texts = []
        for shared in np.linspace(0.1, 0.95, 40):
            first = random_words(rng, words)
            kept = rng.random(words) < shared
            texts += [" ".join(first), " ".join(w if keep else f"n{w}" for w, keep in zip(first, kept, strict=True))]
        pairs = np.arange(80).reshape(-1, 2)
        truth = jaccard(pairs, shingles(column(*texts), ngram, unit))
        errors = []
        for seed in range(10):
            keys = band_keys(column(*texts), options, seed)
            errors.append((keys[pairs[:, 0]] == keys[pairs[:, 1]]).mean(axis=1) - truth)
        deviation = np.sqrt(truth * (1 - truth) / permutations)
        score = np.array(errors)[:, deviation > 0] / deviation[deviation > 0]
        assert abs(score.mean()) < 4 / np.sqrt(score.size)  # unbiased
        assert 0.8 < np.sqrt((score**2).mean()) < 1.2
        assert np.abs(score).max() < 5


class TestCandidates:
    @unhurried
    @given(st.lists(st.lists(st.integers(0, 5), min_size=3, max_size=3), min_size=1, max_size=30))
    def test_rows_that_share_a_key_are_connected_and_no_others_are_paired(self, rows: list[list[int]]) -> None:
        keys = np.array(rows, np.uint64)
        keys[(keys == 0).any(axis=1)] = 0
        expected = sharing_a_key(keys)
        found = [(int(one), int(other)) for one, other in candidate_pairs(keys)]
        assert found == sorted(set(found))
        assert set(found) <= expected
        assert components(set(found)) == components(expected)
        first_of_its_kind = {row for row in range(len(rows)) if rows.index(rows[row]) == row}
        assert {pair for pair in expected if set(pair) <= first_of_its_kind} <= set(found)

    def test_a_true_pair_is_found_in_a_bucket_that_thousands_share(self) -> None:
        """Documents of one template agree in some bands with all others; duplicates among them in many bands."""
        rng = np.random.default_rng(0)
        rows, bands = 4000, 21
        keys = rng.integers(1, 2**63, (rows, bands)).astype(np.uint64)
        keys[:, [0, 7, 14]] = [1, 2, 3]
        duplicates = rng.permutation(rows).reshape(-1, 2)
        agree = rng.random((len(duplicates), bands)) < 0.35  # a Jaccard similarity of .84 in bands of six
        agree[:, 1] = True
        keys[duplicates[:, 1]] = np.where(agree, keys[duplicates[:, 0]], keys[duplicates[:, 1]])
        keys[:, 1] = rng.integers(1, 40, rows)  # so that the band they surely share is crowded, too
        keys[duplicates[:, 1], 1] = keys[duplicates[:, 0], 1]
        found = {tuple(pair) for pair in candidate_pairs(keys).tolist()}
        missed = {tuple(pair) for pair in np.sort(duplicates, axis=1).tolist()} - found
        assert len(missed) <= 0.002 * len(duplicates)
        assert len(found) <= rows * CROWD / 2  # not the eight million pairs of the bucket

    def test_documents_of_one_template_are_found_as_by_brute_force(self) -> None:
        """A thousand texts of a hundred words, up to eight of them replaced: all agree in many bands."""
        rng = np.random.default_rng(1000)
        template = rng.integers(0, 5000, 100)
        texts = []
        for _ in range(1000):
            own = template.copy()
            own[rng.integers(0, 100, rng.integers(1, 9))] = rng.integers(0, 5000)
            texts.append(" ".join(f"w{number}" for number in own))
        sets = [{*zip(*(text.split()[start:] for start in range(5)), strict=False)} for text in texts]
        similar = [
            (left, right)
            for left in range(len(sets))
            for right in range(left)
            if len(sets[left] & sets[right]) >= 0.8 * len(sets[left] | sets[right])
        ]
        graph = coo_array((np.ones(len(similar)), np.array(similar).T), shape=(len(sets), len(sets)))
        expected = len(sets) - connected_components(graph, directed=False)[0]
        found = find_near_duplicates(column(*texts), MinhashDedup(), SEED).num_rows
        assert expected > 100
        assert found >= 0.99 * expected

    def test_rows_of_different_sources_are_not_paired(self) -> None:
        keys = np.array([[1, 2], [1, 2], [1, 3], [0, 0], [1, 2], [0, 0]], np.uint64)
        pairs = candidate_pairs(keys, np.array([7, 3, 7, 3, 3, 3]))
        assert pairs.tolist() == [[0, 2], [1, 4]]
        assert candidate_pairs(keys[:0], np.empty(0, np.int64)).shape == (0, 2)


class TestJaccard:
    @unhurried
    @given(st.lists(TEXT, min_size=1, max_size=8), st.integers(1, 4))
    def test_it_is_that_of_the_sets_of_ngrams(self, texts: list[str], n: int) -> None:
        pairs = np.array([(i, k) for i in range(len(texts)) for k in range(len(texts))])
        expected = [true_jaccard(grams(texts[i], n), grams(texts[k], n)) for i, k in pairs]
        assert jaccard(pairs, shingles(column(*texts), n)).tolist() == expected

    def test_in_chunks_it_is_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        texts = column(*(f"a b c {number % 5} d e {number % 3}" for number in range(30)))
        pairs = np.array(list(combinations(range(30), 2)))
        whole = exact_jaccards(texts, pairs, 2, "word")
        monkeypatch.setattr("core.dedup.verification.CHUNK", 50)
        assert exact_jaccards(texts, pairs, 2, "word").tolist() == whole.tolist()


class TestClusters:
    PAIRS = np.array([[0, 3], [1, 4], [3, 5], [2, 5]])
    JACCARDS = np.array([0.8, 0.79, 0.9, 1.0])

    def test_all_but_the_first_of_a_cluster_go(self) -> None:
        """3 was compared with 0, which stays; 2 and 5 are compared with it now."""
        removed = near_duplicates(self.PAIRS, self.JACCARDS, np.ones(6, np.int64), MinhashDedup(), exact=self.exact)
        assert removed.to_pylist() == [
            {"row": 2, "kept_row": 0, "cluster": 0, "jaccard": 0.02},
            {"row": 3, "kept_row": 0, "cluster": 0, "jaccard": 0.8},
            {"row": 5, "kept_row": 0, "cluster": 0, "jaccard": 0.05},
        ]

    @staticmethod
    def exact(pairs: NDArray[np.int64]) -> NDArray[np.float64]:
        return (pairs[:, 0] * 10 + pairs[:, 1]) / 100

    def test_the_longest_stays_and_of_equals_the_first(self) -> None:
        lengths = np.array([1, 9, 3, 3, 3, 2])
        removed = near_duplicates(self.PAIRS, self.JACCARDS, lengths, MinhashDedup(keep="longest"), exact=self.exact)
        assert removed.to_pylist() == [
            {"row": 0, "kept_row": 2, "cluster": 0, "jaccard": 0.02},
            {"row": 3, "kept_row": 2, "cluster": 0, "jaccard": 0.23},
            {"row": 5, "kept_row": 2, "cluster": 0, "jaccard": 1.0},
        ]

    def test_without_verification_every_pair_counts_and_the_similarity_is_unknown(self) -> None:
        removed = near_duplicates(self.PAIRS, None, np.ones(6, np.int64), MinhashDedup(verify=False))
        assert removed["row"].to_pylist() == [2, 3, 4, 5]
        assert removed["jaccard"].null_count == 4

    def test_one_of_the_source_that_is_named_earliest_stays(self) -> None:
        options = MinhashDedup(keep="priority", priority=["good", "fair"])
        for sources, kept in (("xxxxgx", 0), ("xxfgxg", 3), ("xxfxxf", 2), ("xxxxxx", 0)):
            names = pa.array([{"x": "other", "g": "good", "f": "fair"}[name] for name in sources])
            removed = near_duplicates(self.PAIRS, self.JACCARDS, np.ones(6, np.int64), options, names)
            assert set(removed["kept_row"].to_pylist()) == {kept}

    @unhurried
    @given(st.sets(st.tuples(st.integers(0, 15), st.integers(0, 15)).filter(lambda pair: pair[0] < pair[1])))
    def test_clusters_are_the_connected_components(self, pairs: set[tuple[int, int]]) -> None:
        array = np.array(sorted(pairs), np.int64).reshape(-1, 2)
        removed = near_duplicates(array, np.ones(len(array)), np.ones(16, np.int64), MinhashDedup())
        clusters: dict[int, list[int]] = defaultdict(list)
        for row, cluster in zip(removed["row"].to_pylist(), removed["cluster"].to_pylist(), strict=True):
            clusters[cluster].append(row)
        assert sorted([first, *rest] for first, rest in clusters.items()) == components(pairs)
        assert removed["kept_row"].to_pylist() == removed["cluster"].to_pylist()


class TestNearDuplicates:
    def test_recall_and_precision_against_brute_force_are_at_least_99_percent(self) -> None:
        rng = np.random.default_rng(1)
        documents = [random_words(rng, int(rng.integers(60, 600))) for _ in range(700)]
        for original in rng.choice(700, 800):
            documents.append(edited(rng, documents[original], rng.choice([0.97, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6])))
        texts = [" ".join(documents[number]) for number in rng.permutation(len(documents))]
        sets = [grams(text, 5) for text in texts]
        holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for row, found in enumerate(sets):
            for gram in found:
                holders[gram].append(row)
        touching = {pair for rows in holders.values() for pair in combinations(rows, 2)}
        similar = {pair for pair in touching if true_jaccard(sets[pair[0]], sets[pair[1]]) >= 0.8}
        truth = {row for cluster in components(similar) for row in cluster[1:]}

        found = set(find_near_duplicates(column(*texts), MinhashDedup(), SEED)["row"].to_pylist())
        assert len(truth) > 300
        assert len(truth & found) / len(truth) >= 0.99
        assert len(truth & found) / len(found) >= 0.99

    def test_a_hundred_thousand_identical_documents_are_one_cluster_of_as_many_pairs(self) -> None:
        texts = column(*["the same text of a few words, and some more of them " * 2] * 100_000, "quite another text")
        options = MinhashDedup()
        assert len(candidate_pairs(band_keys(texts, options, SEED))) == 99_999
        removed = find_near_duplicates(texts, options, SEED)
        assert removed["row"].to_pylist() == list(range(1, 100_000))
        assert set(removed["kept_row"].to_pylist()) == {0}
        assert set(removed["jaccard"].to_pylist()) == {1.0}

    def test_a_hundred_thousand_nearly_identical_documents_are_one_cluster(self) -> None:
        """Each differs from all others in one word of sixty: .85 with the first, .71 with most of the others."""
        words = [f"w{number}" for number in range(60)]
        texts = [" ".join(words)]
        for number in range(100_000):
            place = 4 + number % 52
            texts.append(" ".join([*words[:place], f"n{number}", *words[place + 1 :]]))
        content = column(*texts)
        options = MinhashDedup(ngram=5, threshold=0.8)
        pairs = candidate_pairs(band_keys(content, options, SEED))
        assert len(pairs) < len(texts) * options.banding[0] * NEIGHBOURS
        removed = find_near_duplicates(content, options, SEED)
        assert removed.num_rows > 99_900
        assert min(removed["jaccard"].to_pylist()) > 0.6

    @pytest.mark.parametrize("verify", [True, False])
    def test_documents_without_a_word_are_duplicates_of_nothing(self, verify: bool) -> None:
        texts = column("", "", "...", "!!!", "word", "Word.")
        removed = find_near_duplicates(texts, MinhashDedup(verify=verify), SEED)
        assert removed["row"].to_pylist() == [5]

    def test_no_documents_have_no_duplicates(self) -> None:
        assert find_near_duplicates(column(), MinhashDedup(), SEED).num_rows == 0
        assert find_near_duplicates(column("a b", "c d"), MinhashDedup(), SEED).num_rows == 0

    def test_sources_are_compared_only_where_asked_for(self) -> None:
        texts, sources = column(*["one and the same text"] * 4), pa.array(["a", "b", "b", "a"])
        across = find_near_duplicates(texts, MinhashDedup(), SEED, sources)
        within = find_near_duplicates(texts, MinhashDedup(across_sources=False), SEED, sources)
        assert across["kept_row"].to_pylist() == [0, 0, 0]
        assert list(zip(within["row"].to_pylist(), within["kept_row"].to_pylist(), strict=True)) == [(2, 1), (3, 0)]
        with pytest.raises(ValueError, match="across_sources"):
            find_near_duplicates(texts, MinhashDedup(across_sources=False), SEED)

    @pytest.mark.parametrize("language", ["中文句子很长。", "हिन्दी में लिखा ", "Ένας ΣΟΦΟΣ λόγος. ", "👍 ok 👩‍👩‍👧 "])
    def test_every_script_is_deduplicated(self, language: str) -> None:
        rng = np.random.default_rng(3)
        words = [language + word for word in random_words(rng, 200)]
        texts = column(" ".join(words), " ".join(edited(rng, words, 0.9)), language * 200)
        removed = find_near_duplicates(texts, MinhashDedup(), SEED)
        assert removed["row"].to_pylist() == [1]
        assert removed["jaccard"].to_pylist() == [true_jaccard(grams(texts[0].as_py(), 5), grams(texts[1].as_py(), 5))]

    def test_a_document_of_five_megabytes_is_found_and_compared_exactly(self) -> None:
        rng = np.random.default_rng(4)
        words = random_words(rng, 700_000)
        one, other = " ".join(words), " ".join(edited(rng, words, 0.9))
        assert len(one) > 5_000_000
        removed = find_near_duplicates(column("short text", one, other), MinhashDedup(), SEED)
        assert removed.to_pylist() == [
            {"row": 2, "kept_row": 1, "cluster": 1, "jaccard": true_jaccard(grams(one, 5), grams(other, 5))}
        ]
