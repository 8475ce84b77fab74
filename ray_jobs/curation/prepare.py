"""What steps need besides documents, made before the first pass: evaluation items, a trained classifier."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.artifacts.atomic import write_json
from core.artifacts.seeds import derive_seed
from core.dedup.decontaminate import Decontaminate, EvaluationIndex
from core.documents.reading import Shard, read_shard, shards
from core.documents.source import Source
from core.documents.table import content
from core.errors import DataError
from core.filters.quality import FastTextQuality, Quality
from core.filters.quality_model import QualityModel, train_quality
from core.recipe.schema import Step
from ray_jobs.progress import Reporter

PREPARED = ("decontaminate", "quality")  # steps that need more than their options
FILES = ("model", "bad_words")  # settings of steps that are paths
SHOWN = 100  # items that matched, in the report

MATCHED = pa.schema([(name, pa.string()) for name in ("id", "source", "step", "item")] + [("words", pa.large_string())])


def other_shards(step: Step, recipe_dir: Path) -> list[Shard]:
    """The shards that a step reads for itself, besides the recipe's sources."""
    return [
        shard
        for name, source in _other_sources(step).items()
        for shard in shards(name, source, recipe_dir, split="heldout" if step.kind == "decontaminate" else "train")
    ]


def _other_sources(step: Step) -> Mapping[str, Source]:
    if isinstance(step.options, Decontaminate):
        return step.options.against
    if isinstance(step.options, Quality) and step.options.train is not None:
        return {**step.options.train.positive, **step.options.train.negative}
    return {}


def located(step: Step, recipe_dir: Path) -> Step:
    """The step with the files that it names as absolute paths: beside the recipe, else in the current directory.

    Raises DataError for one that is not there.
    """
    found = {}
    for name in FILES:
        if (given := getattr(step.options, name, None)) is not None:
            places = [base / Path(given).expanduser() for base in (recipe_dir.absolute(), Path.cwd())]
            there = next((path for path in places if path.is_file()), None)
            if there is None:
                looked = " and ".join(str(path.parent) for path in dict.fromkeys(places))
                raise DataError(f"{step.kind}.{name}: {given}: no such file (looked in {looked})")
            found[name] = str(there)
    return Step(**{step.kind: step.options.model_copy(update=found)}) if found else step


def named_files(step: Step) -> list[Path]:
    """The files that a step names, once it is `located`."""
    return [Path(given) for name in FILES if (given := getattr(step.options, name, None)) is not None]


def prepare(step: Step, label: str, found: Sequence[Shard], seed: int, stage: Path, reporter: Reporter) -> Any:
    """What `judge` or a barrier needs besides the step's options, which every task is sent; None where that is all."""
    if isinstance(step.options, Decontaminate):
        return _evaluation_index(step.options, label, found, seed, reporter)
    if not isinstance(step.options, Quality):
        return None
    if step.options.model is not None:
        given = FastTextQuality(step.options.model, step.options.label)
        given.check()
        return given
    return _classifier(step.options, label, found, seed, stage, reporter)


def _evaluation_index(
    options: Decontaminate, label: str, found: Sequence[Shard], seed: int, reporter: Reporter
) -> EvaluationIndex:
    ids: list[str] = []
    items = [pa.array([], pa.large_string())]
    for shard in found:
        for documents, _ in read_shard(shard, seed):
            ids += documents["id"].to_pylist()
            items.append(content(documents))
    index = EvaluationIndex.build(ids, pa.concat_arrays(items), options)
    if index.too_short:
        least = f"fewer than {options.minimum} words"
        reporter.say(f"{label}: {index.too_short:,} of {len(ids):,} items have {least} and are not searched for")
    return index


def _classifier(
    options: Quality, label: str, found: Sequence[Shard], seed: int, stage: Path, reporter: Reporter
) -> QualityModel:
    """Trained once, and kept beside the documents that it judged."""
    directory = stage / "classifiers" / label
    if not (directory / "quality.json").exists():
        assert options.train is not None
        texts = {
            name: _texts([shard for shard in found if shard.source in sources], seed)
            for name, sources in (("positive", options.train.positive), ("negative", options.train.negative))
        }
        reporter.say(f"{label}: training the classifier")
        model = train_quality(texts["positive"], texts["negative"], options.training, derive_seed(seed, label))
        model.save(directory)
        held_out = f"accuracy {model.report['accuracy']:.3f}, AUC {model.report['auc']:.3f}"
        reporter.say(f"{label}: on examples held out, {held_out}")
    return QualityModel.load(directory)


def _texts(found: Sequence[Shard], seed: int) -> Iterator[pa.LargeStringArray]:
    for shard in found:
        for documents, _ in read_shard(shard, seed):
            yield content(documents)


def report_contamination(stage: Path, label: str, index: EvaluationIndex) -> None:
    """Sums up what the passes found: `contamination/<label>.json`, from `contamination/*.parquet`."""
    counts: Counter[str] = Counter()
    examples: dict[str, dict[str, str]] = {}
    documents = 0
    for path in sorted((stage / "contamination").glob("*.parquet")):
        found = pq.read_table(path, filters=[("step", "==", label)]).to_pylist()
        documents += len({match["id"] for match in found})
        for match in found:
            counts[match["item"]] += 1
            examples.setdefault(match["item"], {name: match[name] for name in ("id", "source", "words")})
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]
    summary = {
        "step": label,
        "items": len(index.item_ids),
        "too_short": index.too_short,
        "documents": documents,
        "matched_items": len(counts),
        "matches": [{"item": item, "documents": count, "example": examples[item]} for item, count in most],
    }
    write_json(stage / "contamination" / f"{label}.json", summary)
