"""Evaluation items that the training documents hold, found by the sequences of words they share.

As Llama 2 was examined (Touvron et al. 2023, https://arxiv.org/abs/2307.09288, appendix A.6): a word is seen if it is
in a sequence of 8 words of the item that a training document has too (10 tokens there, which are as many words), an
item is dirty if 80 % of its words or more are seen, and clean with less than 20 %. One 13-gram, as for GPT-3 and
DataComp-LM, is what curation goes by (core.dedup.decontaminate): it finds what that has left, and a common phrase
makes no item dirty. By the share of 8-grams, as for PaLM, one changed word in a short question would hide a leak.
The 4 words that may differ within a sequence of Llama 2's are left out: these count as not seen.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from core.dedup.sequence_search import Sequences, word_hashes
from core.evaluation.paired import is_right_or_wrong
from core.evaluation.statistics import wilson_interval

NGRAM = 8
CLEAN_BELOW = 0.2
DIRTY_FROM = 0.8
SUBSETS = ("all", "clean", "dirty")
Subsets = dict[str, list[int]]  # the `doc_id`s of a task's items
BLANK = re.compile(r"(?<!\w)_+(?!\w)")  # to be filled in, as in WinoGrande


@dataclass(frozen=True)
class ItemIndex:
    """The sequences of words that documents are searched for. Arrays alone, so it is cheap to send to processes."""

    known: Sequences
    entry: NDArray[np.int64]  # [sequences of all parts, with repeats], into known.hashes
    part: NDArray[np.int64]  # that each of them is of
    first_word: NDArray[np.int64]  # of each of them, among the words of all parts
    part_begins: NDArray[np.int64]  # [parts + 1], the first word of each
    part_items: NDArray[np.int64]  # [parts], the item that each is of
    items: int

    @staticmethod
    def build(items: Sequence[Sequence[str]]) -> ItemIndex:
        """items: the parts of each (`own_parts`). Parts of fewer than 8 words are not searched for."""
        from core.dedup import match_kernels as kernels

        texts = pa.array([part for parts in items for part in parts], pa.large_string())
        words, begins = word_hashes(texts)
        found, _, places = kernels.sequences(words, begins, NGRAM, NGRAM)
        hashes, entry = np.unique(found, return_inverse=True)
        return ItemIndex(
            Sequences.build(NGRAM, np.array([NGRAM]), hashes, hashes),
            entry,
            places[:, 0],
            begins[places[:, 0]] + places[:, 1],
            begins,
            np.repeat(np.arange(len(items)), [len(parts) for parts in items]),
            len(items),
        )

    def search(self, content: pa.LargeStringArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The entries of `known` that documents hold, each once, and the row of the first document that does.

        In linear time; two different sequences count as one with a probability of 2**-64.
        """
        from core.dedup import match_kernels as kernels

        known = self.known
        for array in (known.lengths, known.hashes, known.bits):
            array.flags.writeable = False  # as it is in another process: the kernel is compiled once
        hits = kernels.hits(
            *word_hashes(content), known.minimum, known.lengths, known.hashes, known.bits, np.uint64(known.shift)
        )
        entries, first = np.unique(hits[:, 3], return_index=True)
        return entries, hits[first, 0]

    def shares(self, seen: NDArray[np.bool_]) -> NDArray[np.float64]:
        """What share of the words of each item was seen, float64[items]: of its parts, the highest; NaN without any.

        seen: bool[known], whether any document holds a sequence.
        """
        first = self.first_word[seen[self.entry]]
        words = self.part_begins[-1] + 1
        opened = np.bincount(first, minlength=words) - np.bincount(first + NGRAM, minlength=words)
        before = np.append(0, np.cumsum(np.cumsum(opened) > 0))
        part = np.unique(self.part)
        begin, end = self.part_begins[part], self.part_begins[part + 1]
        shares = np.full(self.items, np.nan)
        np.fmax.at(shares, self.part_items[part], (before[end] - before[begin]) / (end - begin))
        return shares

    def sequences_of(self) -> list[NDArray[np.int64]]:
        """The entries of each item."""
        item = self.part_items[self.part]
        order = np.argsort(item, kind="stable")
        return np.split(self.entry[order], np.searchsorted(item[order], np.arange(1, self.items)))


def read_items(samples: Path) -> dict[int, dict[str, Any]]:
    """lm-eval's samples (JSON lines) by `doc_id`; of several filters' samples the first."""
    found: dict[int, dict[str, Any]] = {}
    with samples.open("rb") as lines:
        for sample in map(orjson.loads, lines):
            found.setdefault(sample["doc_id"], sample)
    return found


def own_parts(documents: Sequence[Any]) -> list[list[str]]:
    """The texts of each of a task's documents: its question, passage, choices, answer, whatever it has.

    Cut where something is to be filled in. What more than half of the documents have is the task's, not theirs.
    """
    parts = [
        list(dict.fromkeys(part for text in _strings(document) for part in BLANK.split(text))) for document in documents
    ]
    held = Counter(part for of_one in parts for part in of_one)
    common = {part for part, count in held.items() if count > max(1, len(documents) / 2)}
    return [[part for part in of_one if part not in common] for of_one in parts]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _strings(inner)


def question_and_answer(sample: Mapping[str, Any]) -> str:
    """The question of one of lm-eval's samples and its right answer, as one text, without examples or a template.

    The question is the longest text of the document that stands in the prompt, else the longest of all. The answer is
    the text of the right choice, else the target.
    """
    document, target = sample["doc"], sample["target"]
    arguments = [list(each.values()) if isinstance(each, Mapping) else each for each in _each(sample["arguments"])]
    prompt = str(arguments[0][0]) if arguments else ""
    texts = list(_strings(document))
    question = max([text for text in texts if text.strip() and text in prompt] or texts or [prompt], key=len)
    if isinstance(target, list):
        target = target[0] if target else ""
    if str(target).isdecimal() and int(target) < len(arguments) > 1:
        choices = max(_lists(document, len(arguments)), key=lambda found: sum(map(len, found)), default=None)
        target = choices[int(target)] if choices else arguments[int(target)][-1]
    return f"{question.strip()} {str(target).strip()}".strip()


def _each(arguments: Any) -> Iterable[Any]:
    return arguments.values() if isinstance(arguments, Mapping) else arguments


def _lists(value: Any, length: int) -> Iterator[list[str]]:
    """The lists of so many texts in a document."""
    if isinstance(value, list) and len(value) == length and all(isinstance(each, str) for each in value):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _lists(inner, length)


def subsets(shares: Mapping[int, float]) -> Subsets:
    """A task's items by what share of each was seen. NaN, which was too short to be searched for, is no subset's."""
    return {
        "all": list(shares),
        "clean": [item for item, share in shares.items() if share < CLEAN_BELOW],
        "dirty": [item for item, share in shares.items() if share >= DIRTY_FROM],
    }


def subset_score(scores: Mapping[int, float], chosen: Iterable[int]) -> dict[str, Any]:
    """The mean over the items that are chosen of those that have a score, with Wilson's interval of an accuracy."""
    values = [scores[item] for item in chosen if item in scores]
    low, high = None, None
    if values and is_right_or_wrong(values):
        low, high = wilson_interval(int(sum(values)), len(values))
    return {"items": len(values), "value": mean(values), "low": low, "high": high}


def mean(values: Sequence[float]) -> float | None:
    """None of nothing."""
    return float(np.mean(values)) if len(values) else None
