"""A small classifier of sentences that refuse and of answers that evade, trained here from written examples."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from core.documents.table import buffers
from core.filters.refusal_speech import SET_APART, own_words, sentences

EXAMPLES = Path(__file__).with_name("refusal_examples")
HASH_BITS = 22  # 4M weights: few enough features of a text fall on one that was learned by chance
REGULARIZATION = 100.0  # scikit-learn's C
FEWEST_WORDS = 4  # in less than that, "No.", "True.", "Never." are answers as well
WORD = r"[\pL\d']+"
STEM = r"(\pL{6})\pL+"  # "stereotypes", "stereotyping", ... are one word by their first six letters
BEGIN, END = "⟨", "⟩"
DECIMALS = 4  # of the weights: fewer than those in which one machine's arithmetic differs from another's
SHOWN = 160  # characters of a sentence
CONTRACTIONS = {
    "can't": "can not",
    "cannot": "can not",
    "won't": "will not",
    "n't": " not",
    "'m": " am",
    "'re": " are",
    "'ll": " will",
    "'d": " would",
    "'ve": " have",
    "'s": " is",
}


@dataclass(frozen=True)
class Linear:
    """score = sigmoid(bias + sum of the weights of the text's words and pairs of words / root of their number).

    weights: float32[2**HASH_BITS].
    """

    weights: NDArray[np.float32]
    bias: float

    def scores(self, texts: pa.LargeStringArray) -> NDArray[np.float64]:
        """The probability that each text is like the positive examples, float64[rows]."""
        if not len(texts):
            return np.zeros(0)
        ends, found = features(texts)
        sums = np.add.reduceat(self.weights[found].astype(np.float64), ends[:-1])  # no text is without features
        return np.asarray(1 / (1 + np.exp(-self.bias - sums / np.sqrt(np.diff(ends)))))


@dataclass(frozen=True)
class Classifier:
    """refuses: of one sentence, that it declines or changes the subject, or says that a machine has no opinion.

    evades: of a sentence or a whole answer, that it refuses, moralises, sends the asker elsewhere or says nothing.
    """

    refuses: Linear
    evades: Linear


@cache
def classifier() -> Classifier:
    """Trained at the first call in a process, in less than half a second; the same each time."""
    refusals, lectures, empty_words, answers = map(examples, ("refuses", "lectures", "empty_words", "answers"))
    _, refusing = sentences(refusals)
    _, others = sentences(pa.concat_arrays([lectures, answers]))
    refuses = _trained(refusing.filter(_enough_words(refusing)), others.filter(_enough_words(others)))
    return Classifier(refuses, _trained(pa.concat_arrays([refusals, lectures, empty_words]), answers))


def unanswered(viewed: pa.LargeStringArray, whole: pa.LargeStringArray, min_score: float) -> pa.Array:
    """What shows, for each answer, that it refuses or evades; null where the classifier is not sure of it.

    An answer refuses if one of its sentences does. It evades if it does nothing else: good answers preach as well,
    beside what was asked. viewed: the own words in which a refusal is looked for; whole: all own words.
    """
    model = classifier()
    found: dict[int, str] = {}
    rows, parts = sentences(viewed)
    scores = np.where(_enough_words(parts), model.refuses.scores(parts), 0.0)
    for place in np.flatnonzero(scores >= min_score)[::-1].tolist():  # backwards: the first one is shown
        found[int(rows[place])] = _shown(scores[place], parts[place].as_py())

    candidates = [row for row in _wholly(_evading(model, parts), rows) if row not in found]
    texts = whole.take(pa.array(candidates, pa.int64()))
    rows, parts = sentences(texts)
    scores = np.where(_enough_words(texts), model.evades.scores(texts), 0.0)
    firsts = dict(zip(rows[::-1].tolist(), range(len(rows) - 1, -1, -1), strict=True))
    for row in _wholly(_evading(model, parts), rows):
        if scores[row] >= min_score:
            found[candidates[row]] = _shown(scores[row], parts[firsts[row]].as_py())
    return pa.array([found.get(row) for row in range(len(viewed))], pa.string())


def examples(name: str) -> pa.LargeStringArray:
    """The own words of the examples in a file, one a line; those that begin with # are remarks."""
    lines = (EXAMPLES / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return own_words(pa.array([line for line in lines if line and not line.startswith("#")], pa.large_string()))


def features(texts: pa.LargeStringArray) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The hashed words and pairs of words of each text between marks of its begin and end, as the kernel gives them."""
    from core.filters.quality_kernels import features as hashed

    plain = pc.utf8_lower(texts)
    for short, long in CONTRACTIONS.items():
        plain = pc.replace_substring(plain, short, long)
    plain = pc.replace_substring_regex(plain, STEM, r"\1")
    begin, end, space = (pa.scalar(mark, pa.large_string()) for mark in (BEGIN, END, " "))
    ends, found = hashed(*buffers(pc.binary_join_element_wise(begin, plain, end, space)), HASH_BITS)
    return ends, found


def _trained(positive: pa.LargeStringArray, negative: pa.LargeStringArray) -> Linear:
    from scipy.sparse import csr_array
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    ends, found = features(pa.concat_arrays([positive, negative]))
    sizes = np.diff(ends)
    seen, columns = np.unique(found, return_inverse=True)
    values = np.repeat(1 / np.sqrt(sizes), sizes)
    rows = csr_array((values, columns.astype(np.int32), ends.astype(np.int32)), shape=(len(sizes), len(seen)))
    rows.sum_duplicates()
    fit = LogisticRegression(C=REGULARIZATION, class_weight="balanced", solver="liblinear", max_iter=1000)
    with threadpool_limits(1):  # liblinear's vectors are short: threads would only wait for each other, for seconds
        fit.fit(rows, np.repeat([1, 0], [len(positive), len(negative)]))
    weights = np.zeros(1 << HASH_BITS, np.float32)
    weights[seen] = fit.coef_[0].round(DECIMALS)
    return Linear(weights, round(float(fit.intercept_[0]), DECIMALS))


def _enough_words(texts: pa.LargeStringArray) -> NDArray[np.bool_]:
    return np.asarray(pc.greater_equal(pc.count_substring_regex(texts, WORD), FEWEST_WORDS).to_numpy(False), bool)


def _evading(model: Classifier, parts: pa.LargeStringArray) -> NDArray[np.bool_]:
    """Which sentences are rather evasive than not; a block of code or of others' words never is."""
    own = pc.invert(pc.match_substring(parts, SET_APART.strip())).to_numpy(False)
    return np.asarray(own & (model.evades.scores(parts) >= 0.5), bool)


def _wholly(evading: NDArray[np.bool_], rows: NDArray[np.int64]) -> list[int]:
    """The rows of which all sentences are evasive, ascending."""
    return sorted(set(rows.tolist()) - set(rows[~evading].tolist()))


def _shown(score: float, sentence: str) -> str:
    text = sentence if len(sentence) <= SHOWN else f"{sentence[:SHOWN]}…"
    return f"classifier {score:.2f}: '{text}'"
