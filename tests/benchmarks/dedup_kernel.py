"""Near-deduplication in one process, beside datasketch and rensa where they are installed.

    python -m tests.benchmarks.dedup_kernel --documents 60000 --out dedup.json

The corpus is the Python installation's own files, cut into documents, and copies of some of them with words replaced,
at Jaccard similarities from .97 to .60. The truth is every pair of documents at or above the threshold, found without
MinHash and without the compiled kernels. All systems cluster their pairs alike and drop all but the first of a cluster;
recall and precision are those of the dropped documents. Times are CPU seconds of the process and vary with the machine
and its other users: only the ratios within a run say something.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import re
import site
import sysconfig
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from core.dedup.minhash import MinhashDedup, find_near_duplicates, near_duplicates
from core.dedup.ngrams import ordered_ngrams

SEED = 42
NGRAM = 5
SIMILARITIES = (0.97, 0.95, 0.9, 0.85, 0.82, 0.78, 0.75, 0.7, 0.65, 0.6)
SUFFIXES = {".py", ".pyi", ".txt", ".rst", ".md", ".h", ".c", ".json", ".html"}

Pairs = NDArray[np.int64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=10_000, help="documents, with the planted ones")
    parser.add_argument("--planted", type=float, default=0.2, help="share of planted near-duplicates")
    parser.add_argument("--threshold", type=float, default=0.8, help="Jaccard similarity of duplicates")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each of ours, of which the fastest counts")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()

    texts = corpus(arguments.documents, arguments.planted)
    content = pa.array(texts, pa.large_string())
    truth = dropped(similar_pairs(texts, arguments.threshold), len(texts))
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    print(f"{len(texts):,} documents, {megabytes:.1f} MB, {len(truth):,} true duplicates at {arguments.threshold}\n")

    rows: list[dict[str, Any]] = []
    for name, run, repeats in systems(content, texts, arguments.threshold, arguments.repeats):
        if run is None:
            rows.append({"system": name, "note": "not installed"})
            continue
        seconds, found = timed(run, repeats)
        row: dict[str, Any] = {"system": name, "cpu_seconds": seconds}
        row |= {"documents_per_cpu_second": len(texts) / seconds, "mb_per_cpu_second": megabytes / seconds}
        if found is not None:
            hits = len(truth & found)
            row |= {"dropped": len(found), "recall": hits / len(truth), "precision": hits / max(len(found), 1)}
        rows.append(row)
    print_table(rows)
    if arguments.out:
        about: dict[str, Any] = {
            "documents": len(texts),
            "megabytes": megabytes,
            "duplicates": len(truth),
            "ngram": NGRAM,
        }
        about |= {"threshold": arguments.threshold, "seed": SEED}
        arguments.out.write_text(json.dumps({"corpus": about, "systems": rows}, indent=2) + "\n")


def systems(
    content: pa.LargeStringArray, texts: list[str], threshold: float, repeats: int
) -> Iterator[tuple[str, Callable[[], set[int] | None] | None, int]]:
    """Name, what it does (the rows it drops; None for a pass that drops nothing), and how often it is run."""
    verified = MinhashDedup(threshold=threshold, ngram=NGRAM)
    unverified = MinhashDedup(
        threshold=threshold, ngram=NGRAM, verify=False, permutations=128, bands=16, rows_per_band=8
    )

    def hash_alone() -> None:
        ordered_ngrams(content, NGRAM)

    def deduplicate(options: MinhashDedup) -> set[int]:
        return rows_of(find_near_duplicates(content, options, SEED))

    def theirs(pairs: Callable[[list[str], float], Pairs]) -> set[int]:
        return dropped(pairs(texts, threshold), len(texts))

    ours: dict[str, Callable[[], set[int] | None]] = {
        "n-gram hashes alone": hash_alone,
        f"raycipe {'x'.join(map(str, verified.banding))}": partial(deduplicate, verified),
        "raycipe 16x8, not verified": partial(deduplicate, unverified),
    }
    for name, run in ours.items():
        run()  # compiles
        yield name, run, repeats
    for package, pairs in (("rensa", rensa_pairs), ("datasketch", datasketch_pairs)):
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            yield package, None, 0
        else:
            yield f"{package} {version} 16x8", partial(theirs, pairs), 1


def timed(run: Callable[[], set[int] | None], repeats: int) -> tuple[float, set[int] | None]:
    """CPU seconds of the fastest run, and what it found."""
    fastest, found = float("inf"), None
    for _ in range(repeats):
        start = time.process_time()
        found = run()
        fastest = min(fastest, time.process_time() - start)
    return fastest, found


def rows_of(removed: pa.Table) -> set[int]:
    return set(removed["row"].to_pylist())


def dropped(pairs: Pairs, documents: int) -> set[int]:
    """All but the first document of each cluster of pairs."""
    options = MinhashDedup(verify=False)
    return rows_of(near_duplicates(pairs, None, np.ones(documents, np.int64), options))


def words_of(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def grams_of(text: str) -> list[str]:
    words = words_of(text)
    return [" ".join(words[i : i + NGRAM]) for i in range(max(len(words) - NGRAM + 1, 1 if words else 0))]


def datasketch_pairs(texts: list[str], threshold: float) -> Pairs:
    from datasketch import MinHash, MinHashLSH  # type: ignore[import-not-found, unused-ignore]

    index = MinHashLSH(threshold=threshold, num_perm=128, params=(16, 8))
    pairs = []
    for row, text in enumerate(texts):
        grams = grams_of(text)
        if not grams:
            continue
        signature = MinHash(num_perm=128, seed=SEED)
        signature.update_batch([gram.encode() for gram in grams])
        pairs += [(other, row) for other in index.query(signature)]
        index.insert(row, signature, check_duplication=False)
    return np.array(pairs, np.int64).reshape(-1, 2)


def rensa_pairs(texts: list[str], threshold: float) -> Pairs:
    from rensa import RMinHash, RMinHashLSH  # type: ignore[import-not-found, unused-ignore]

    index = RMinHashLSH(threshold=threshold, num_perm=128, num_bands=16)
    signatures = RMinHash.from_token_sets(map(grams_of, texts), 128, SEED)
    index.insert_many(signatures)
    found = index.query_all(signatures)
    pairs = [(row, other) for row, others in enumerate(found) for other in others if other > row]
    return np.array(pairs, np.int64).reshape(-1, 2)


def corpus(documents: int, planted: float) -> list[str]:
    """Originals and edited copies, shuffled."""
    rng = np.random.default_rng(SEED)
    copies = int(documents * planted)
    originals = []
    for text in pieces():
        originals.append(text)
        if len(originals) == documents - copies:
            break
    texts = list(originals)
    for number in rng.integers(0, len(originals), copies):
        texts.append(edited(originals[number], float(rng.choice(SIMILARITIES)), rng))
    return [texts[number] for number in rng.permutation(len(texts))]


def pieces() -> Iterator[str]:
    """The texts of the Python installation, cut at line ends into documents of mostly 1,000 to 5,000 characters."""
    rng = np.random.default_rng(SEED)
    roots = [Path(sysconfig.get_paths()["stdlib"]), *map(Path, site.getsitepackages())]
    files = sorted({path for root in roots for path in root.rglob("*") if path.suffix in SUFFIXES and path.is_file()})
    for number in rng.permutation(len(files)):
        text = files[number].read_bytes()[:200_000].decode("utf-8", errors="replace")
        start = 0
        while start < len(text):
            end = text.find("\n", start + int(rng.integers(1000, 5000))) + 1 or len(text)
            if end - start >= 200:
                yield text[start:end]
            start = end


def edited(text: str, similarity: float, rng: np.random.Generator) -> str:
    """A copy in which so many words are replaced that about this share of the n-grams is in both."""
    words = list(re.finditer(r"\w+", text))
    edits = round(len(words) * (1 - similarity) / (1 + similarity) / NGRAM)
    chosen = rng.choice(max(len(words) // NGRAM, 1), min(max(edits, 1), max(len(words) // NGRAM, 1)), replace=False)
    parts: list[str] = []
    end = 0
    for place in np.sort(chosen) * NGRAM:
        if place < len(words):
            parts += [text[end : words[place].start()], f"new{rng.integers(1_000_000_000)}"]
            end = words[place].end()
    return "".join([*parts, text[end:]])


def similar_pairs(texts: list[str], threshold: float) -> Pairs:
    """All pairs at or above the threshold, exactly, by prefix filtering (Chaudhuri et al., 2006; Bayardo et al., 2007):
    of two sets that are similar enough, the rarest few elements have one in common.
    """
    vocabulary: dict[str, int] = {}
    multipliers = np.random.default_rng(SEED).integers(2**63, size=NGRAM, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    sets = []
    for text in texts:
        words = np.array([vocabulary.setdefault(word, len(vocabulary) + 1) for word in words_of(text)], np.uint64)
        if 0 < len(words) < NGRAM:
            words = np.pad(words, (0, NGRAM - len(words)))
        windows = np.lib.stride_tricks.sliding_window_view(words, NGRAM) if len(words) else np.empty((0, NGRAM))
        sets.append(np.unique(_scrambled(windows.astype(np.uint64) * multipliers).sum(axis=1, dtype=np.uint64)))

    grams, number, counts = np.unique(np.concatenate(sets), return_inverse=True, return_counts=True)
    by_rarity = np.argsort(np.lexsort((grams, counts)))[number]
    sizes = np.array([len(found) for found in sets])
    ends = np.cumsum(sizes)
    holders: dict[int, list[int]] = {}
    pairs = []
    for row in np.argsort(sizes, kind="stable").tolist():
        prefix = np.sort(by_rarity[ends[row] - sizes[row] : ends[row]])
        candidates: set[int] = set()
        for gram in prefix[: sizes[row] - int(np.ceil(threshold * sizes[row])) + 1].tolist():
            candidates.update(holders.setdefault(gram, []))
            holders[gram].append(row)
        for other in candidates:
            if sizes[other] >= threshold * sizes[row]:
                common = len(np.intersect1d(sets[row], sets[other], assume_unique=True))
                if common >= threshold * (sizes[row] + sizes[other] - common):
                    pairs.append((min(row, other), max(row, other)))
    return np.array(sorted(pairs), np.int64).reshape(-1, 2)


def _scrambled(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mixed, so that sums of small numbers' multiples do not coincide."""
    values = (values ^ (values >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
    return values ^ (values >> np.uint64(29))


def print_table(rows: list[dict[str, Any]]) -> None:
    first = next(row for row in rows if "recall" in row)
    print(f"{'system':28}{'docs/CPU-s':>12}{'MB/CPU-s':>10}{'ratio':>8}{'recall':>9}{'precision':>11}")
    for row in rows:
        if "note" in row:
            print(f"{row['system']:28}{row['note']:>22}")
            continue
        row["ratio"] = first["cpu_seconds"] / row["cpu_seconds"]
        line = f"{row['documents_per_cpu_second']:>12,.0f}{row['mb_per_cpu_second']:>10.1f}{row['ratio']:>8.2f}"
        if "recall" in row:
            line += f"{row['recall']:>9.4f}{row['precision']:>11.4f}"
        print(f"{row['system']:28}{line}")


if __name__ == "__main__":
    main()
