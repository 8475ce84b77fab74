"""A quality classifier: trained from examples, kept in two files, and asked for scores."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from core.artifacts.atomic import atomic_path, write_json
from core.documents.table import buffers
from core.errors import DataError
from core.options import Options

WEIGHTS, ABOUT = "quality.safetensors", "quality.json"
FEWEST = 10  # documents of each side
MAX_ITERATIONS = 200


class QualityTraining(Options):
    """How the classifier is trained: hashed words and pairs of words, logistic regression."""

    max_documents: int = Field(
        200_000, ge=FEWEST, description="Documents of each side at most, drawn by seed. DCLM: 200,000 of each."
    )
    held_out: float = Field(0.1, gt=0, lt=1, description="Share of each side's documents that it is tested on.")
    hash_bits: int = Field(20, ge=8, le=26, description="Base-2 logarithm of the number of weights.")
    regularization: float = Field(
        1e-6, gt=0, description="Factor of half the squared weights, which is added to the mean loss per document."
    )


@dataclass(frozen=True)
class QualityModel:
    """score = sigmoid(bias + mean weight of the document's words and pairs of words).

    weights: float32[2**hash_bits]; report: how it did on the documents held out, and how many there were.
    """

    weights: NDArray[np.float32]
    bias: float
    report: dict[str, Any]

    def save(self, directory: Path) -> None:
        """Writes both files. The second one stands for a whole model."""
        from safetensors.numpy import save_file

        with atomic_path(directory / WEIGHTS) as temporary:
            save_file({"weights": self.weights}, temporary)
        write_json(directory / ABOUT, {"bias": self.bias, "report": self.report})

    @classmethod
    def load(cls, directory: Path) -> QualityModel:
        """What `save` wrote. Raises DataError if it is not there or not whole."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            about = orjson.loads((directory / ABOUT).read_bytes())
            weights = load_file(directory / WEIGHTS)["weights"]
            return cls(weights, about["bias"], about["report"])
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise DataError(
                f"{directory}: no quality classifier can be read there ({error}): train it again"
            ) from error


def score(texts: pa.LargeStringArray, model: QualityModel) -> NDArray[np.float32]:
    """The probability that each text is like the positive examples, float32[rows]."""
    from core.filters import quality_kernels as kernels

    logits = model.bias + kernels.mean_weights(*buffers(texts), model.weights)
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def train_quality(
    positive: Iterable[pa.LargeStringArray],
    negative: Iterable[pa.LargeStringArray],
    options: QualityTraining,
    seed: int,
) -> QualityModel:
    """A linear classifier of hashed words and pairs of words, as DCLM's fastText model is but for the hidden layer.

    DCLM: arXiv:2406.11794, section 4.4; fastText's averaged features: arXiv:1607.01759, section 2. Which documents are
    taken and held out hangs on the seed and the order, not on how they are cut into batches.
    The report has accuracy (at .5) and AUC on the documents held out.
    Raises DataError if a side has too few documents.
    """
    from scipy.sparse import csr_array, vstack
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    generator = np.random.default_rng(seed)
    train, test, counts = [], [], {}
    for name, batches in (("negative", negative), ("positive", positive)):
        documents = _drawn(batches, options, generator)
        if len(documents) < FEWEST:
            raise DataError(
                f"quality.train.{name}: {len(documents)} documents with a word; a classifier needs {FEWEST} at least"
            )
        order = generator.permutation(len(documents))
        held_out = max(1, round(options.held_out * len(documents)))
        rows = _rows(documents, options.hash_bits)
        test.append(rows[np.sort(order[:held_out])])
        train.append(rows[np.sort(order[held_out:])])
        counts[name] = {"trained": len(documents) - held_out, "held_out": held_out}

    examples = csr_array(vstack(train))
    classes = np.repeat([0, 1], [part.shape[0] for part in train])
    seen, columns = np.unique(examples.indices, return_inverse=True)  # no weight for what never occurs
    examples = csr_array((examples.data, columns, examples.indptr), shape=(len(classes), len(seen)))
    fit = LogisticRegression(
        C=1 / (options.regularization * len(classes)), class_weight="balanced", max_iter=MAX_ITERATIONS
    ).fit(examples, classes)
    weights = np.zeros(1 << options.hash_bits, np.float32)
    weights[seen] = fit.coef_[0]
    bias = float(fit.intercept_[0])

    logits = vstack(test) @ weights.astype(float) + bias
    expected = np.repeat([0, 1], [part.shape[0] for part in test])
    report = {
        "accuracy": round(float(((logits > 0) == expected).mean()), 4),
        "auc": round(float(roc_auc_score(expected, logits)), 4),
        "documents": counts,
        "converged": bool(fit.n_iter_[0] < MAX_ITERATIONS),
    }
    return QualityModel(weights, bias, report)


def _drawn(
    batches: Iterable[pa.LargeStringArray], options: QualityTraining, generator: np.random.Generator
) -> list[NDArray[np.int32]]:
    """The features of `max_documents` documents drawn from all that have a word, in the order of the documents."""
    from core.filters import quality_kernels as kernels

    documents: list[NDArray[np.int32]] = []
    keys = np.empty(0)
    for texts in batches:
        ends, found = kernels.features(*buffers(texts), options.hash_bits)
        drawn = generator.random(len(texts))
        filled = np.flatnonzero(np.diff(ends))
        documents += [found[ends[row] : ends[row + 1]].copy() for row in filled]
        keys = np.concatenate([keys, drawn[filled]])
        if len(documents) > options.max_documents:
            smallest = np.sort(np.argsort(keys, kind="stable")[: options.max_documents])
            documents, keys = [documents[i] for i in smallest], keys[smallest]
    return documents


def _rows(documents: list[NDArray[np.int32]], bits: int) -> Any:
    """A sparse row for each document: its features' shares, float64[documents, 2**bits]."""
    from scipy.sparse import csr_array

    sizes = np.array([len(document) for document in documents])
    ends = np.concatenate([[0], np.cumsum(sizes)])
    rows = csr_array((np.repeat(1 / sizes, sizes), np.concatenate(documents), ends), shape=(len(documents), 1 << bits))
    rows.sum_duplicates()
    return rows
