"""What curation leaves beside its ledger: statistics, duplicates, cut passages; and ledgers of any size."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.documents.ledger import CUT, DROPPED

EDGES = [0, *(1 << number for number in range(31))]
LABELS = {"skills": {"en": 6500, "de": 88}, "python_library": {"en": 3700, "la": 121, "zh": 61}}
CUTS = {
    ("skills", "exact_substring"): {"repeated_span": {"documents": 40, "spans": 52, "bytes": 9100}},
    ("python_library", "exact_substring"): {
        "repeated_span": {"documents": 210, "spans": 300, "bytes": 80_000},
        "e_mail": {"documents": 7, "spans": 9, "bytes": 162},
    },
}
MATRIX = [[200, 41], [12, 390]]  # skills, python_library


def write_curation(directory: Path, hostile: str) -> None:
    """All of it but the ledger, for the sources skills and python_library."""
    lengths = {source: {"read": _bell(7, 5000), "kept": _bell(8, 3000)} for source in LABELS}
    statistics = {"lengths": {"unit": "tokens", "edges": EDGES, "sources": lengths}, "labels": {"language": LABELS}}
    _write(directory / "statistics.json", statistics)
    _write(directory / "duplicates" / "minhash_dedup.json", duplicates(hostile))
    _write(directory / "contamination" / "decontaminate.json", contamination(hostile))
    rows = [
        _passage(source, step, reason, number, hostile)
        for (source, step), reasons in CUTS.items()
        for reason, amounts in reasons.items()
        for number in range(amounts["spans"])
    ]
    (directory / "cut").mkdir()
    for part in range(2):
        table = pa.Table.from_pylist(rows[part::2], CUT)
        pq.write_table(table, directory / "cut" / f"pass-{part}-00000.parquet", row_group_size=100)


def duplicates(hostile: str) -> dict[str, Any]:
    """Two clusters, the first with hostile text."""
    kept = {"id": "skills:0:1", "source": "skills", "text": f"The quick brown fox jumps. {hostile} 敏捷的狐狸"}
    near = {"id": "python_library:3:9", "source": "python_library", "jaccard": 0.8214}
    text = f"The quick red fox jumps over. {hostile} 敏捷的狗"
    long = "one two three " * 50
    return {
        "step": "minhash_dedup",
        "sources": ["skills", "python_library"],
        "matrix": MATRIX,
        "clusters": [
            {"documents": 90, "kept": kept, "removed": [near | {"text": text}, near | {"text": kept["text"]}]},
            {
                "documents": 2,
                "kept": {"id": "skills:0:7", "source": "skills", "text": long[:600]},
                "removed": [{"id": "skills:0:8", "source": "skills", "text": f"new {long}"[:600], "jaccard": None}],
            },
        ],
        "removed": 643,
        "candidate_pairs": 4021,
    }


def contamination(hostile: str) -> dict[str, Any]:
    """Three test items found."""
    example = {"id": "skills:0:3", "source": "skills", "words": f"which colour is grass {hostile}"}
    matches = [{"item": f"quiz:{n}", "documents": 30 - 9 * n, "example": example} for n in range(3)]
    return {"items": 400, "too_short": 12, "matches": matches, "documents": 60}


def ledger_of(sources: int, steps: dict[str, dict[str, float]], documents: int = 1000) -> dict[str, Any]:
    """A ledger that adds up. steps: of each the shares of what comes to it that its reasons drop."""
    accounts = {}
    for number in range(sources):
        now = read = documents * (1 + number % 7)
        entries = []
        for step, shares in steps.items():
            dropped = {reason: int(now * share) for reason, share in shares.items()}
            left = now - sum(dropped.values())
            amounts = {"documents_in": now, "documents_kept": left, "dropped": dropped, "cut": {}}
            sizes = {"bytes_in": 900 * now, "bytes_kept": 900 * left, "tokens_in": 200 * now, "tokens_kept": 200 * left}
            entries.append({"step": step, **amounts, **sizes})
            now = left
        ends = {"read": read, "kept": now}
        accounts[f"source-{number:02d}"] = {
            **{when: {"documents": n, "bytes": 900 * n, "tokens": 200 * n} for when, n in ends.items()},
            "steps": entries,
        }
    return {"steps": list(steps), "sources": accounts}


def write_dropped(directory: Path, ids: list[str], files: int, step: str = "length") -> Path:
    """Documents whose reason is the part of their id before the colon, in files one after the other."""
    directory.mkdir(exist_ok=True)
    empty = dict.fromkeys(DROPPED.names)
    rows = [
        {**empty, "id": key, "source": "web", "text": key, "step": step, "reason": key.split(":")[0]} for key in ids
    ]
    for number in range(files):
        part = rows[len(rows) * number // files : len(rows) * (number + 1) // files]
        pq.write_table(pa.Table.from_pylist(part, DROPPED), directory / f"{number:03d}.parquet", row_group_size=3)
    return directory


def _bell(middle: int, documents: int) -> list[int]:
    chance = random.Random(middle)
    counts = [0] * len(EDGES)
    for _ in range(documents):
        counts[min(max(round(chance.gauss(middle, 1.5)), 0), len(EDGES) - 1)] += 1
    return counts


def _passage(source: str, step: str, reason: str, number: int, hostile: str) -> dict[str, Any]:
    return {
        "id": f"{source}:0:{number}",
        "source": source,
        "step": step,
        "reason": reason,
        "evidence": None if number % 2 else f"{source}:0:0",
        "begin": 10 * number,
        "end": 10 * number + 7,
        "text": None if reason == "e_mail" else f"cut {number} {hostile if number == 0 else ''}",
    }


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
