"""The filters beside datatrove's on the same documents: decisions, documents and megabytes per second.

    python -m tests.benchmarks.filters --with ENVIRONMENT/bin/python --out filters.json

ENVIRONMENT has `pip install "datatrove[processing]==0.10.1" spacy`. The documents are pieces of the Python
installation's own files, of test data where there are some, and some at the edge (other scripts, no words, repeats).

"agree" is the share of the documents that both keep or both drop (or leave with the same text, white space around
lines aside), "prose" that without source code, whose words without white space between them are as long as a line;
"same words" is the share with datatrove's words split at white space as ours are, not into spaCy's tokens.
Times are CPU seconds of one process, ours the fastest of three: only the ratios within a run say something.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import site
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import pyarrow as pa

from core.documents.editing import edited
from core.documents.ledger import Verdict
from core.documents.table import DOCUMENTS, content
from core.filters.c4 import C4, c4
from core.filters.fasttext_model import carried_model
from core.filters.fineweb import FineWeb, fineweb
from core.filters.heuristics import Heuristics, heuristics
from core.filters.language import Language, language
from core.filters.personal_data import PersonalData, personal_data
from core.filters.repetition import Repetition, repetition

SEED = 42
PROSE, CODE = {".txt", ".rst", ".md", ".gz"}, {".py", ".html", ".json", ".h"}
EDGES = [
    *("", "\n", " \n\t\n", "...", "…", "- \n" * 60, "the and of to be that have with " * 20),
    *(
        text * times
        for text in ("今天天气很好。我们去公园吧！\n", "नमस्ते दुनिया। यह एक परीक्षण है।\n")
        for times in (1, 30)
    ),
    *("🙂 e\u0301 a\u2028b\u0085c\n" * 20, "Write to a.b@example.org or 8.8.8.8, not 10.0.0.1.\n" * 3),
    *("It is [1] so [citation needed]. Click here to use cookies.\nA line of six words here.[2]\n" * 4, "{ }"),
]
# As datatrove has them: C4's paper's first version, and a single quotation mark more.
AS_DATATROVE = C4(line_ends=[".", "?", "!", '"', "'"], min_words_per_line=3, min_sentences=5)
OURS: dict[str, Callable[[pa.Table], Verdict]] = {
    "heuristics": lambda documents: heuristics(documents, Heuristics()),
    "repetition": lambda documents: repetition(documents, Repetition()),
    "c4": lambda documents: c4(documents, AS_DATATROVE),
    "fineweb": lambda documents: fineweb(documents, FineWeb()),
    "language": lambda documents: language(documents, Language(languages=["en"])),
    "personal_data": lambda documents: personal_data(documents, PersonalData(phone_number=None)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--with", dest="python", required=True, help="Python of an environment with datatrove")
    parser.add_argument("--documents", type=int, default=3000)
    parser.add_argument("--show", type=int, default=0, help="print so many differences of each filter")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()

    texts, prose = corpus(arguments.documents)
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    theirs = asked(arguments.python, texts)
    print(f"{len(texts):,} documents, {megabytes:.1f} MB; datatrove {theirs['version']}\n")
    columns = {"agree": 8, "prose": 8, "same words": 12, "dropped": 9, "MB/s": 9, "theirs": 9, "ratio": 8, "docs/s": 10}
    print(" " * 14 + "".join(f"{title:>{width}}" for title, width in columns.items()))
    rows = []
    for name, judge in OURS.items():
        ours = decided(judge, texts)
        own, same = (theirs["filters"][words][name] for words in ("own", "white space"))
        row = {
            "filter": name,
            "agree": mean(agreements(ours, own)),
            "agree_prose": mean(
                [agrees for agrees, is_prose in zip(agreements(ours, own), prose, strict=True) if is_prose]
            ),
            "agree_same_words": mean(agreements(ours, same)),
            "dropped": sum(reason is not None for reason in ours["reasons"]),
            "dropped_theirs": sum(reason is not None for reason in own["reasons"]),
            "mb_per_second": megabytes / ours["seconds"],
            "mb_per_second_theirs": megabytes / own["seconds"],
            "documents_per_second": len(texts) / ours["seconds"],
            "ratio": own["seconds"] / ours["seconds"],
        }
        rows.append(row)
        print(
            f"{name:14}{row['agree']:8.4f}{row['agree_prose']:8.4f}{row['agree_same_words']:12.4f}{row['dropped']:9,}{row['mb_per_second']:9.1f}"
            f"{row['mb_per_second_theirs']:9.2f}{row['ratio']:8.1f}{row['documents_per_second']:10,.0f}"
        )
        for number in [n for n, agrees in enumerate(agreements(ours, same)) if not agrees][: arguments.show]:
            print(f"    {ours['reasons'][number]} | {same['reasons'][number]} | {texts[number][:100]!r}")
    if arguments.out:
        about = {"documents": len(texts), "megabytes": megabytes, "datatrove": theirs["version"], "seed": SEED}
        arguments.out.write_text(json.dumps({"corpus": about, "filters": rows}, indent=2) + "\n")


def corpus(documents: int) -> tuple[list[str], list[bool]]:
    """Texts of up to 20,000 characters, the same on the same machine, and whether each is prose."""
    drawn = random.Random(SEED)
    data = os.environ.get("RAYCIPE_TEST_DATA", "../shared/data")
    folders = [sysconfig.get_paths()["stdlib"], *site.getsitepackages(), data]
    files = sorted({path for folder in folders for path in Path(folder).rglob("*") if path.suffix in PROSE | CODE})
    drawn.shuffle(files)
    texts: list[str] = []
    prose: list[bool] = []
    for path in files:
        if len(texts) >= documents - len(EDGES):
            break
        try:
            raw = path.read_bytes()
            text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
        except (UnicodeDecodeError, OSError):
            continue
        if "IS_ALPHA" not in text:  # datatrove's tokenizer cannot have it
            size = drawn.randint(500, 20_000)
            texts += [text[start : start + size] for start in range(0, min(len(text), 5 * size), size)]
            prose += [path.suffix in PROSE] * (len(texts) - len(prose))
    kept = documents - len(EDGES)
    return [*texts[:kept], *EDGES], [*prose[:kept], *([True] * len(EDGES))]


def asked(python: str, texts: list[str]) -> dict[str, Any]:
    """What datatrove says."""
    with tempfile.TemporaryDirectory() as folder:
        question, answer = Path(folder, "texts.json"), Path(folder, "answer.json")
        question.write_text(json.dumps(texts))
        script = Path(__file__).with_name("datatrove_filters.py")
        subprocess.run([python, str(script), str(question), carried_model(), str(answer)], check=True)
        return dict(json.loads(answer.read_text()))


def decided(judge: Callable[[pa.Table], Verdict], texts: list[str]) -> dict[str, Any]:
    """Reason and text afterwards of each document, and CPU seconds."""
    documents = pa.Table.from_pylist([{"id": "", "source": "", "text": text} for text in texts], DOCUMENTS)
    judge(documents.slice(0, 10))  # compiles
    seconds = float("inf")
    for _ in range(3):
        start = time.process_time()
        verdict = judge(documents)
        seconds = min(seconds, time.process_time() - start)
    after = documents if verdict.spans is None else edited(documents, verdict.spans)
    return {"seconds": seconds, "reasons": verdict.reason.to_pylist(), "texts": content(after).to_pylist()}


def agreements(ours: dict[str, Any], theirs: dict[str, Any]) -> list[bool]:
    """Whether both dropped the document, or kept it with the same text."""
    pairs = zip(ours["reasons"], theirs["reasons"], ours["texts"], theirs["texts"], strict=True)
    return [
        (mine is None) == (other is None) and (mine is not None or stripped(text) == stripped(other_text))
        for mine, other, text, other_text in pairs
    ]


def stripped(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines())


if __name__ == "__main__":
    main()
