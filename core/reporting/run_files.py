"""What a run directory holds, read back: the shapes of the files that the stages write, and their checks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from core.errors import DataError
from core.reporting.curation_files import Contamination, Duplicates, Ledger, Statistics
from core.reporting.instruction_files import Sampling, SelectedTasks
from core.reporting.training_files import Phase, read_phase
from core.reporting.written_files import Figure, Written, read_each, read_optional

State = Literal["done", "unfinished", "not run"]


class Split(Written):
    documents: int
    samples: int
    rows: int
    sequence_length: int
    tokens: int
    target_tokens: int
    fill: float | None = None
    truncated_tokens: int
    refused: dict[str, int]


class Tokenizer(Written):
    kind: str
    vocabulary: int


class Tokens(Written):
    """tokenize/summary.json"""

    tokenizer: Tokenizer
    phases: dict[str, dict[str, Split]]


class Score(Written):
    model: str
    task: str
    metric: str
    filter: str = "none"
    value: Figure
    stderr: float | None = None
    samples: int | None = None
    higher_is_better: bool | None = True
    trained_on: bool = False
    low: float | None = None
    high: float | None = None
    truncated: int = 0
    fingerprint: str | None = None


class PairedScore(Written):
    """How much better the second of two models is, on the same questions, with its 95 % interval."""

    task: str
    metric: str
    filter: str = "none"
    difference: Figure
    stderr: float | None = None
    low: float | None = None
    high: float | None = None
    samples: int
    tie: bool | None = None


class Comparison(Written):
    """refused: tasks that the two models were not asked in the same way, and what differs."""

    models: list[str]
    differences: list[PairedScore]
    refused: dict[str, dict[str, list[Any]]] = Field({})


class SuiteScore(Written):
    """A line of a suite, or the mean of its lines, where `line` is None."""

    model: str
    suite: str
    line: str | None = None
    metric: str = ""
    value: Figure
    stderr: float | None = None
    trained_on: bool = False


class Scores(Written):
    """evaluate/scores.json"""

    models: list[str]
    scores: list[Score]
    suites: list[SuiteScore] = Field([])
    comparison: Comparison | None = None


class SubsetScore(Written):
    items: int
    value: float | None = None


class SeenScore(Written):
    """A score on the questions that training has not seen, and on those that it has."""

    model: str
    task: str
    metric: str
    filter: str = "none"
    clean: SubsetScore
    dirty: SubsetScore


class Seen(Written):
    """contamination/contamination.json"""

    scores: list[SeenScore]


class ManifestFile(Written):
    path: str
    bytes: int
    xxh3_128: str


class Manifest(Written):
    """<stage>/manifest.json"""

    fingerprint: str
    inputs: dict[str, str] = Field({})
    seed: int
    code: str | int
    files: list[ManifestFile]
    packages: dict[str, str]
    hardware: dict[str, Any]
    started: str
    finished: str
    seconds: float
    git_commit: str | None = None


@dataclass(frozen=True)
class Run:
    """A run directory. What a stage has not written yet is None, or empty."""

    directory: Path
    recipe: str | None  # as text
    settings: dict[str, Any]  # the same, parsed
    manifests: dict[str, Manifest | None]  # by stage, in the order they run; None: without a manifest
    ledger: Ledger | None
    tokens: Tokens | None
    phases: list[Phase]
    scores: Scores | None
    seen: Seen | None = None
    states: dict[str, State] = field(default_factory=dict)
    statistics: Statistics | None = None
    duplicates: dict[str, Duplicates] = field(default_factory=dict)  # by step
    contamination: dict[str, Contamination] = field(default_factory=dict)  # by step
    selected_tasks: dict[str, SelectedTasks] = field(default_factory=dict)  # by source
    sampling: dict[str, Sampling] = field(default_factory=dict)  # by step

    @property
    def name(self) -> str:
        """The recipe's name, or else the directory's."""
        return str(self.settings.get("name") or self.directory.name)

    def remark(self, stage: str) -> str:
        """What must be said of a stage that is not done."""
        state = self.states[stage]
        return "" if state == "done" else state


def read_run(directory: Path) -> Run:
    """Reads all that a page says of a run, except the dropped documents and the answers it quotes.

    Raises DataError naming the file, and the place in it, where one is broken.
    """
    if not directory.is_dir():
        raise DataError(f"{directory}: there is no such run directory. `raycipe runs` lists those there are.")
    recipe, settings = _recipe(directory / "recipe.yaml")
    declared = settings.get("train")
    found = sorted(path.name for path in (directory / "train").glob("*") if path.is_dir())
    names = list(dict.fromkeys([*map(str, declared if isinstance(declared, dict) else ()), *found]))
    stages = ["curate", "tokenize", *(f"train/{name}" for name in names), "evaluate"]
    manifests = {stage: read_optional(directory / stage / "manifest.json", Manifest) for stage in stages}
    return Run(
        directory=directory,
        recipe=recipe,
        settings=settings,
        manifests=manifests,
        ledger=read_optional(directory / "curate" / "ledger.json", Ledger),
        tokens=read_optional(directory / "tokenize" / "summary.json", Tokens),
        phases=[read_phase(directory / "train" / name, _max_gradient_norm(declared, name)) for name in names],
        scores=read_optional(directory / "evaluate" / "scores.json", Scores),
        seen=_read_seen(directory, manifests["evaluate"]),
        states={stage: _state(directory / stage, manifest) for stage, manifest in manifests.items()},
        statistics=read_optional(directory / "curate" / "statistics.json", Statistics),
        duplicates=read_each(directory / "curate" / "duplicates", Duplicates),
        contamination=read_each(directory / "curate" / "contamination", Contamination),
        selected_tasks=read_each(directory / "curate" / "natural_instructions", SelectedTasks),
        sampling=read_each(directory / "curate" / "sampling", Sampling),
    )


def _read_seen(directory: Path, evaluated: Manifest | None) -> Seen | None:
    """What was found of the questions; none where they have been asked anew since."""
    manifest = read_optional(directory / "contamination" / "manifest.json", Manifest)
    if manifest is None or evaluated is None or manifest.inputs.get("evaluate") != evaluated.fingerprint:
        return None
    return read_optional(directory / "contamination" / "contamination.json", Seen)


def _max_gradient_norm(declared: Any, phase: str) -> float | None:
    """As the recipe gives it; none where it does not, or where nothing is clipped."""
    options = declared.get(phase) if isinstance(declared, dict) else None
    found = options.get("max_gradient_norm") if isinstance(options, dict) else None
    return float(found) if isinstance(found, int | float) and found > 0 else None


def _state(directory: Path, manifest: Manifest | None) -> State:
    if manifest is not None:
        return "done"
    return "unfinished" if directory.is_dir() and any(directory.iterdir()) else "not run"


def _recipe(path: Path) -> tuple[str | None, dict[str, Any]]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        text = path.read_bytes().decode("utf-8")
        settings = YAML(typ="safe", pure=True).load(text)
    except FileNotFoundError:
        return None, {}
    except (UnicodeDecodeError, YAMLError) as error:
        what = " ".join(str(error).split())
        raise DataError(f"{path}: not valid YAML ({what}). Run the recipe again to have it rewritten.") from error
    return text, settings if isinstance(settings, dict) else {}
