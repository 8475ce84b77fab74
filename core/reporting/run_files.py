"""What a run directory holds, read back: the shapes of the files that the stages write, and their checks."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from core.errors import DataError

Shape = TypeVar("Shape", bound=BaseModel)
State = Literal["done", "unfinished", "not run"]
Figure = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]  # JSON has no NaN


class Written(BaseModel):
    """A part of a file that a stage wrote. What a newer version adds is no error."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Amount(Written):
    documents: int
    bytes: int


class LedgerStep(Written):
    step: str
    documents_in: int
    documents_kept: int
    bytes_in: int
    bytes_kept: int
    dropped: dict[str, int]  # by reason


class LedgerSource(Written):
    read: Amount
    steps: list[LedgerStep]
    kept: Amount


class Planted(Written):
    planted: int
    dropped_by: dict[str, int]  # by step
    kept: int


class Ledger(Written):
    """curate/ledger.json"""

    steps: list[str]
    sources: dict[str, LedgerSource]
    planted: dict[str, Planted] = {}


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


class TrainingSummary(Written):
    """train/<phase>/summary.json"""

    method: str
    steps: int
    epochs: float
    parameters: int
    trainable_parameters: int
    tokens: int
    target_tokens: int
    seconds: float
    tokens_per_second: float
    first_loss: float | None = None
    last_loss: float | None = None
    best_validation_loss: float | None = None
    best_step: int | None = None
    workers: int


class TrainingLine(Written):
    step: int
    loss: Figure
    learning_rate: Figure
    tokens: int
    tokens_per_second: Figure
    seconds: float


class ValidationLine(Written):
    step: int
    validation_loss: Figure


class Score(Written):
    model: str
    task: str
    metric: str
    filter: str = "none"
    value: Figure
    stderr: float | None = None
    samples: int | None = None
    higher_is_better: bool | None = True


class Scores(Written):
    """evaluate/scores.json"""

    models: list[str]
    scores: list[Score]


class ManifestFile(Written):
    path: str
    bytes: int
    xxh3_128: str


class Manifest(Written):
    """<stage>/manifest.json"""

    fingerprint: str
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
class Phase:
    """One training phase, as far as it has come."""

    name: str
    summary: TrainingSummary | None
    log: list[TrainingLine]
    validation: list[ValidationLine]


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
    states: dict[str, State] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The recipe's name, or else the directory's."""
        return str(self.settings.get("name") or self.directory.name)

    def remark(self, stage: str) -> str:
        """What must be said of a stage that is not done."""
        state = self.states[stage]
        return "" if state == "done" else state


def read_run(directory: Path) -> Run:
    """Reads all that a page says of a run, except the documents and answers it quotes.

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
        phases=[_phase(directory / "train" / name) for name in names],
        scores=read_optional(directory / "evaluate" / "scores.json", Scores),
        states={stage: _state(directory / stage, manifest) for stage, manifest in manifests.items()},
    )


def read_optional(path: Path, shape: type[Shape]) -> Shape | None:
    """A JSON file of a known shape; None where it is not there. Raises DataError naming what is wrong."""
    try:
        return _shaped(parse_json(path.read_bytes(), str(path)), shape, str(path))
    except FileNotFoundError:
        return None


def parse_json(data: bytes, place: str) -> Any:
    """Any JSON, with NaN and lone surrogates (shown as U+FFFD) as Python's json writes them."""
    try:
        text = data.decode("utf-8")
        value = json.loads(text)
        if "\\ud" in text.lower():
            value = json.loads(_LONE_SURROGATES.sub("\ufffd", json.dumps(value, ensure_ascii=False)))
        return value
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: not valid JSON ({error}). Run its stage again to have it rewritten.") from error


def read_lines(path: Path) -> list[tuple[str, Any]]:
    """The objects of a JSON Lines file, each with its place as file:line; none where there is no file.

    A last line without an end, as a process that was stopped leaves it, is left out.
    """
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    return [
        (place, parse_json(line, place))
        for place, line in ((f"{path}:{number}", line) for number, line in enumerate(lines, 1))
        if line.strip()
    ]


_LONE_SURROGATES = re.compile("[\ud800-\udfff]")


def _phase(directory: Path) -> Phase:
    training, validation = {}, {}
    for place, line in read_lines(directory / "log.jsonl"):
        if isinstance(line, dict) and "validation_loss" in line:
            measured = _shaped(line, ValidationLine, place)
            validation[measured.step] = measured
        else:
            logged = _shaped(line, TrainingLine, place)
            training[logged.step] = logged
    return Phase(
        name=directory.name,
        summary=read_optional(directory / "summary.json", TrainingSummary),
        log=[training[step] for step in sorted(training)],
        validation=[validation[step] for step in sorted(validation)],
    )


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


def _shaped(value: Any, shape: type[Shape], place: str) -> Shape:
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        key = ".".join(map(str, first["loc"])) or "the whole"
        found = f", found {str(first['input'])[:80]!r}" if first["type"] != "missing" else ""
        raise DataError(f"{place}: {key}: {first['msg']}{found}. Run its stage again to have it rewritten.") from error
