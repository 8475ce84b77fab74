"""What steps need besides documents, made before the first pass: evaluation items, a trained classifier."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from core.artifacts.atomic import atomic_path, write_json
from core.artifacts.seeds import derive_seed
from core.dedup.decontaminate import Decontaminate, EvaluationIndex
from core.documents.files import find_file
from core.documents.ledger import DROPPED
from core.documents.reading import Shard
from core.documents.source import Source
from core.documents.table import content
from core.errors import DataError
from core.filters.language import Language, check_language
from core.filters.quality import FastTextQuality, Quality
from core.filters.quality_model import QualityModel, train_quality
from core.instructions.corrupted_solutions import CorruptedSolutions, worked_examples
from core.instructions.reading import EXAMPLE_ROWS, is_of_tasks, read_shard, shards
from core.instructions.score_sampling_options import SampleByScore
from core.instructions.worked_examples import Example
from core.recipe.schema import Step
from ray_jobs.progress import Reporter

PREPARED = ("decontaminate", "quality")  # steps that need more than their options
FILES = ("model", "bad_words", "scores")  # settings of steps that are paths
TELLS_APART = 0.6  # AUC below which a classifier is doubted
SHOWN = 100  # items that matched, in the report

MATCHED = pa.schema([(name, pa.string()) for name in ("id", "source", "step", "item")] + [("words", pa.large_string())])


def other_shards(step: Step, recipe_dir: Path) -> list[Shard]:
    """The shards that a step reads for itself, besides the recipe's sources."""
    return [
        shard
        for name, source in other_sources(step).items()
        for shard in shards(name, source, recipe_dir, split="heldout" if step.kind == "decontaminate" else "train")
    ]


def other_sources(step: Step) -> Mapping[str, Source]:
    """The sources that a step has of its own, by name: test sets, examples."""
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
            try:
                found[name] = str(find_file(given, recipe_dir))
            except DataError as error:
                raise DataError(f"{step.kind}.{name}: {error}") from error
    return Step(**{step.kind: step.options.model_copy(update=found)}) if found else step


def named_files(step: Step) -> list[Path]:
    """The files that a step names, once it is `located`."""
    return [Path(given) for name in FILES if (given := getattr(step.options, name, None)) is not None]


class Preparing(NamedTuple):
    """What steps may need while they are prepared."""

    seed: int  # the recipe's
    stage: Path  # curation's directory
    reporter: Reporter
    sources: Sequence[Shard]  # of the recipe
    scores: Mapping[str, Path]  # what the run's infer stage has scored, by source


def prepare(step: Step, label: str, found: Sequence[Shard], preparing: Preparing) -> Any:
    """What `judge` or a barrier needs besides the step's options, which every task is sent; None where that is all.

    found: the step's own shards. What cannot be read of them, where they say skip, is told and kept in `unreadable/`.
    """
    options = step.options
    if isinstance(options, Language):
        check_language(options)
    if isinstance(options, Decontaminate):
        return _evaluation_index(options, label, _Reader(found, label, preparing), preparing.reporter)
    if isinstance(options, CorruptedSolutions):
        return _worked_examples(options, preparing) if options.few_shot else None
    if isinstance(options, SampleByScore):
        return _scores(options, label, preparing)
    if not isinstance(options, Quality):
        return None
    if options.model is not None:
        given = FastTextQuality(options.model, options.label)
        given.check()
        return given
    return _classifier(options, label, _Reader(found, label, preparing), preparing.reporter)


def _worked_examples(options: CorruptedSolutions, preparing: Preparing) -> list[Example]:
    """Of the first documents of the sources that become pairs."""
    examples: list[Example] = []
    for shard in preparing.sources:
        if options.sources is None or shard.source in options.sources:
            for documents, _ in read_shard(shard, preparing.seed):
                examples += worked_examples(documents.slice(0, EXAMPLE_ROWS), options)
                if len(examples) >= EXAMPLE_ROWS:
                    return examples[:EXAMPLE_ROWS]
    return examples


def _scores(options: SampleByScore, label: str, preparing: Preparing) -> dict[str, Path]:
    """The file of scores of each source that is drawn from. Raises DataError where there are none."""
    instructions = {shard.source for shard in preparing.sources if is_of_tasks(shard)}
    wanted = [name for name in instructions if options.sources is None or name in options.sources]
    if options.scores is not None:
        return {name: Path(options.scores) for name in sorted(wanted)}
    missing = sorted(set(wanted) - set(preparing.scores))
    if missing or not wanted:
        raise DataError(f"{label}: no scores of {', '.join(missing) or 'any source'}: infer.sources leaves it out")
    return {name: preparing.scores[name] for name in sorted(wanted)}


class _Reader:
    """The texts of a step's own sources; what cannot be read is kept aside."""

    def __init__(self, found: Sequence[Shard], label: str, preparing: Preparing) -> None:
        self.found, self.label = found, label
        self.seed, self.stage, self.reporter = preparing.seed, preparing.stage, preparing.reporter
        self._rejects = [DROPPED.empty_table()]

    def documents(self, sources: Mapping[str, Source]) -> Iterator[pa.Table]:
        """The documents of these sources, a table at a time."""
        for shard in self.found:
            if shard.source in sources:
                for documents, rejects in read_shard(shard, self.seed):
                    self._rejects.append(rejects)
                    yield documents

    def close(self) -> None:
        """Tells of what could not be read, and keeps it."""
        rejects = pa.concat_tables(self._rejects)
        if rejects.num_rows:
            path = _unreadable(self.stage, self.label)
            with atomic_path(path) as temporary:
                pq.write_table(rejects, temporary)
            first = rejects["evidence"][0].as_py()
            self.reporter.say(f"{self.label}: {rejects.num_rows:,} rows cannot be read (first: {first}); see {path}")


def _unreadable(stage: Path, label: str) -> Path:
    return stage / "unreadable" / f"{label}.parquet"


def _evaluation_index(options: Decontaminate, label: str, reader: _Reader, reporter: Reporter) -> EvaluationIndex:
    ids: list[str] = []
    items = [pa.array([], pa.large_string())]
    for documents in reader.documents(options.against):
        ids += documents["id"].to_pylist()
        items.append(content(documents))
    reader.close()
    index = EvaluationIndex.build(ids, pa.concat_arrays(items), options)
    if index.too_short:
        least = f"fewer than {options.minimum} words"
        reporter.say(f"{label}: {index.too_short:,} of {len(ids):,} items have {least} and are not searched for")
    return index


def _classifier(options: Quality, label: str, reader: _Reader, reporter: Reporter) -> QualityModel:
    """Trained once, and kept beside the documents that it judged."""
    directory = reader.stage / "classifiers" / label
    if not (directory / "quality.json").exists():
        assert options.train is not None
        positive, negative = (
            map(content, reader.documents(sources)) for sources in (options.train.positive, options.train.negative)
        )
        reporter.say(f"{label}: training the classifier")
        model = train_quality(positive, negative, options.training, derive_seed(reader.seed, label))
        reader.close()
        model.save(directory)
        held_out = f"accuracy {model.report['accuracy']:.3f}, AUC {model.report['auc']:.3f}"
        doubt = "; it hardly tells one side from the other" if model.report["auc"] < TELLS_APART else ""
        reporter.say(f"{label}: on examples held out, {held_out}{doubt}")
    return QualityModel.load(directory)


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
    unreadable = _unreadable(stage, label)
    summary = {
        "step": label,
        "items": len(index.item_ids),
        "too_short": index.too_short,
        "unreadable": pq.read_metadata(unreadable).num_rows if unreadable.exists() else 0,
        "documents": documents,
        "matched_items": len(counts),
        "matches": [{"item": item, "documents": count, "example": examples[item]} for item, count in most],
    }
    write_json(stage / "contamination" / f"{label}.json", summary)
