"""What datatrove's filters decide about texts, and how long they take: run by its own Python, for `filters.py`.

    PYTHON datatrove_filters.py TEXTS.json MODEL ANSWER.json

Each filter is asked twice: with datatrove's own words (spaCy's tokens), and with words that end at white space.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datatrove.pipeline.filters.fineweb_quality_filter as fineweb
import datatrove.pipeline.filters.gopher_quality_filter as gopher_quality
import datatrove.pipeline.filters.gopher_repetition_filter as gopher_repetition
from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    LanguageFilter,
)
from datatrove.pipeline.formatters import PIIFormatter
from fasttext.FastText import _FastText

USERS_OF_WORDS = (gopher_quality, gopher_repetition, fineweb)


def main() -> None:
    texts = json.loads(Path(sys.argv[1]).read_text())
    spacy_words = gopher_quality.split_into_words
    answer: dict[str, Any] = {"version": importlib.metadata.version("datatrove"), "filters": {}}
    for words, split in (("own", spacy_words), ("white space", lambda text, language: text.split())):
        for module in USERS_OF_WORDS:
            module.split_into_words = split
        answer["filters"][words] = {name: asked(judge, texts) for name, judge in judges().items()}
        spacy_words.__globals__["split_into_parts"].cache_clear()
    Path(sys.argv[3]).write_text(json.dumps(answer))


def judges() -> dict[str, Callable[[Document], bool | tuple[bool, str]]]:
    language = LanguageFilter(languages=["en"])
    language.model._model = _FastText(sys.argv[2])
    personal = PIIFormatter(email_replacement="email@example.com", ip_replacement="192.0.2.1")

    def replaced(document: Document) -> bool:
        document.text = personal.format(document.text)
        return True

    return {
        "heuristics": GopherQualityFilter().filter,
        "repetition": GopherRepetitionFilter().filter,
        "c4": C4QualityFilter().filter,
        "fineweb": FineWebQualityFilter().filter,
        "language": language.filter,
        "personal_data": replaced,
    }


def asked(judge: Callable[[Document], bool | tuple[bool, str]], texts: list[str]) -> dict[str, Any]:
    """Reason (null: kept) and text afterwards of each document, and CPU seconds."""
    documents = [Document(text=text, id=str(number)) for number, text in enumerate(texts)]
    judge(Document(text="Loads what is loaded once.", id=""))
    reasons: list[str | None] = []
    start = time.process_time()
    for document in documents:
        try:
            found = judge(document)
        except ZeroDivisionError:
            found = (False, "division by zero")
        kept, reason = found if isinstance(found, tuple) else (found, "dropped")
        reasons.append(None if kept else reason)
    seconds = time.process_time() - start
    return {"seconds": seconds, "reasons": reasons, "texts": [document.text for document in documents]}


if __name__ == "__main__":
    main()
