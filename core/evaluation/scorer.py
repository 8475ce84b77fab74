"""A model that answers chunks of requests, in whatever process it lives."""

from __future__ import annotations

import contextlib
import logging
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from core.errors import ResourceError, first_line
from core.evaluation.chunks import Answer, Chunk, Likelihoods, StockLikelihoods, StockTexts, Texts
from core.models.memory import free_memory, is_out_of_memory

if TYPE_CHECKING:
    from core.evaluation.shared_prefix import Room

FILLED_BY_WEIGHTS = 0.8  # of a GPU's memory, at most


@dataclass(frozen=True)
class ScoredModel:
    """A model directory, and how it is asked: on "cpu" or "cuda", requests in a stock batch, by whom.

    exact: as lm-eval does. devices: GPUs that its blocks are spread over, one after the other.
    """

    directory: Path
    device: str
    batch_size: int
    backend: str = "transformers"
    exact: bool = False
    devices: int = 1

    @property
    def dtype(self) -> str:
        """Numbers are fp32 on a CPU and bf16 on a GPU; where it is to be exact, the model's own: lm-eval's "auto"."""
        if self.exact:
            return "auto"
        return "bfloat16" if self.device.startswith("cuda") else "float32"


def weight_bytes(directory: Path, bytes_each: int | None = None) -> int:
    """Bytes of a model directory's weights: as its files have them, or with so many for each number.

    Raises ResourceError for a file of weights that is none.
    """
    files = _weight_files(directory)
    if bytes_each is None:
        return sum(path.stat().st_size for path in files)
    return bytes_each * sum(map(_numbers, files))


def _weight_files(directory: Path) -> list[Path]:
    """Those that are loaded: a directory may hold the same weights twice, as Mistral's do."""
    index, whole = directory / "model.safetensors.index.json", directory / "model.safetensors"
    if index.exists():
        return sorted({directory / name for name in orjson.loads(index.read_bytes())["weight_map"].values()})
    return [whole] if whole.exists() else sorted(directory.glob("*.safetensors"))


def _numbers(path: Path) -> int:
    """How many numbers are in a file of weights, by its header: https://huggingface.co/docs/safetensors."""
    with path.open("rb") as file:
        try:
            header = orjson.loads(file.read(int.from_bytes(file.read(8), "little")))
            return sum(math.prod(each["shape"]) for name, each in header.items() if name != "__metadata__")
        except (orjson.JSONDecodeError, TypeError, KeyError, AttributeError, OverflowError, MemoryError) as error:
            raise ResourceError(f"{path}: not a whole file of weights ({first_line(error)})") from error


def devices_for(weights: float, memory: float) -> int:
    """GPUs of so many bytes that a model's weights are spread over, with room beside them to be asked.

    A power of two, as vLLM divides attention's heads among them.
    """
    least = max(1, math.ceil(weights / (FILLED_BY_WEIGHTS * memory)))
    return 1 << (least - 1).bit_length()


class Scorers(Protocol):
    """Whoever answers: one process, or many."""

    def score(self, model: ScoredModel, chunks: Sequence[Chunk]) -> Iterator[tuple[int, list[Answer]]]:
        """Answers of each chunk with its number, in whatever order they come."""

    def why_stock(self, model: ScoredModel) -> str | None:
        """Why a model can be asked in no other way than stock lm-eval's; None where prefixes can be shared."""

    def room(self, model: ScoredModel) -> Room:
        """How much memory has room for at once, where prefixes are shared."""


class Scorer:
    """Loads a model when it is first asked of, and keeps it until another is."""

    def __init__(self) -> None:
        self._of: ScoredModel | None = None
        self._lm: Any = None
        self._shared: Any = None
        self._too_much: dict[str, float] = {}  # of each kind of chunk the least cost that memory did not suffice for

    def score(self, model: ScoredModel, chunk: Chunk) -> list[Answer]:
        """The answers to a chunk's requests, in order; in halves where memory does not suffice.

        Raises ResourceError where not even one fits, or the model cannot be loaded.
        """
        self.load(model)
        halves = None if model.exact else chunk.halves()
        if halves is None or chunk.cost() < self._too_much.get(chunk.kind, math.inf):
            try:
                return self._answers(chunk)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                reason = first_line(error)
            self._too_much[chunk.kind] = min(chunk.cost(), self._too_much.get(chunk.kind, math.inf))
        if halves is None:
            hint = (
                "lower evaluate.batch_size" if isinstance(chunk, StockLikelihoods | StockTexts) else "one is too long"
            )
            raise ResourceError(f"{model.directory}: a batch of requests does not fit into memory ({reason}); {hint}")
        free_memory(model.device)
        return [answer for half in halves for answer in self.score(model, half)]

    def why_stock(self, model: ScoredModel) -> str | None:
        """Why prefixes cannot be shared; None where they can. Raises ResourceError where memory is full."""
        self.load(model)
        vocabulary = self._lm.model.get_input_embeddings().weight.shape[0]
        with _memory_told(model):
            reason: str | None = self._shared.allowed(vocabulary, self._lm.tokenizer)
        return reason

    def room(self, model: ScoredModel) -> Room:
        """How much memory has room for at once. Raises ResourceError where it is full."""
        self.load(model)
        with _memory_told(model):
            room: Room = self._shared.room()
        return room

    def _answers(self, chunk: Chunk) -> list[Answer]:
        import torch

        match chunk:
            case Likelihoods():
                return list(self._shared.log_likelihoods(chunk))
            case Texts():
                tokens = self._shared.texts(chunk, self._lm.tokenizer)
                return [_cut(self._lm.tok_decode(each), chunk.until) for each in tokens]
            case StockLikelihoods(requests=requests):
                return list(self._lm.answers_to(requests))
            case StockTexts(prompts=prompts, settings=settings, seed=seed):
                if seed is not None:
                    torch.manual_seed(seed)
                instances = [SimpleNamespace(args=(prompt, settings)) for prompt in prompts]
                with quiet():
                    return list(self._lm.generate_until(instances, disable_tqdm=True))

    def load(self, model: ScoredModel) -> None:
        """Loads a model in place of another. Raises ResourceError where it cannot be had."""
        if self._of == model:
            return
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
        import torch

        self._of = None
        self._lm = self._shared = None
        self._too_much.clear()
        if model.device == "cpu":
            torch.set_num_threads(1)  # one scorer for each CPU: the same bytes, however many there are
        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        try:
            with quiet():
                self._lm = _loaded(model)
        except Exception as error:  # a file that ends early alone is told in three ways
            raise ResourceError(f"{model.directory}: the model cannot be loaded ({first_line(error)})") from error
        if model.backend == "transformers":
            from core.evaluation.shared_prefix import SharedPrefix

            self._shared = SharedPrefix(self._lm.model)
        self._of = model


def _loaded(model: ScoredModel) -> Any:
    """lm-eval's own model of a backend."""
    options: dict[str, Any] = {"pretrained": str(model.directory), "dtype": model.dtype}
    if model.backend == "vllm":
        from lm_eval.models.vllm_causallms import VLLM

        return VLLM(**options, batch_size="auto", tensor_parallel_size=model.devices)
    from core.evaluation.stock_model import StockModel

    spread = {"parallelize": True} if model.devices > 1 else {}
    return StockModel(**options, device=model.device, batch_size=model.batch_size, **spread)


@contextlib.contextmanager
def _memory_told(model: ScoredModel) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise ResourceError(
            f"{model.directory}: the model leaves no memory to be asked anything ({first_line(error)})"
        ) from error


class LocalScorers:
    """One scorer, in this process."""

    def __init__(self) -> None:
        self._scorer = Scorer()

    def score(self, model: ScoredModel, chunks: Iterable[Chunk]) -> Iterator[tuple[int, list[Answer]]]:
        """Answers of each chunk with its number, in order."""
        for number, chunk in enumerate(chunks):
            yield number, self._scorer.score(model, chunk)

    def why_stock(self, model: ScoredModel) -> str | None:
        """Why prefixes cannot be shared; None where they can."""
        return self._scorer.why_stock(model)

    def room(self, model: ScoredModel) -> Room:
        """How much memory has room for at once."""
        return self._scorer.room(model)


def _cut(text: str, until: Iterable[str]) -> str:
    """A text up to the first of the texts that end it, as lm-eval cuts it."""
    for stop in until:
        if stop:
            text = text.split(stop)[0]
    return text


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars of lm-eval and transformers, some of which no setting turns off."""
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
        yield
