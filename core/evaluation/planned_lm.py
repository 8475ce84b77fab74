"""The language model that lm-eval sees: it tokenises, plans the batches, and has others answer them."""

from __future__ import annotations

import contextlib
import functools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import orjson
import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import Collator, handle_stop_sequences, normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

from core.artifacts.fingerprint import fingerprint
from core.artifacts.seeds import derive_seed
from core.errors import DataError, RecipeError, ResourceError, first_line
from core.evaluation.answer_cache import AnswerCache
from core.evaluation.chunks import (
    Answer,
    Chunk,
    Question,
    StockLikelihoods,
    StockTexts,
    Tokens,
    alike,
    likelihood_chunks,
    question_tree,
    text_chunks,
)
from core.evaluation.options import Evaluate
from core.evaluation.scorer import ScoredModel, Scorers
from core.evaluation.shared_prefix import Room, plain_generation
from core.evaluation.token_pairs import encode_alike, encode_texts, encoded_pairs

OUTPUTS = 1 << 26  # numbers that the output layer gives at once (places × vocabulary)
CHECKED = 200  # one request in so many, and one of each task, is also asked as stock lm-eval asks it
VLLM_ROWS = 512  # prompts that vLLM is given at once
TEXT_TOKENS = 32  # times as many tokens are held while answers are generated, one by one
KEPT_TEXT = 1 << 21  # characters up to which a task's tokens are kept
GREEDY = {"do_sample", "until", "max_gen_toks", "temperature"}  # settings that a greedy answer may have


class PlannedLM(HFLM):  # type: ignore[misc]
    """lm-eval's Hugging Face model without weights: its answers come from scorers, or from those kept earlier.

    exact: batches as stock lm-eval composes them, for each task as if it were alone. Else prefixes are shared, as far
    as the model allows it (`why_stock` says why not). told: called with how much of a request type's work is done, and
    how much there is.
    Raises ResourceError where the model directory cannot be read.
    """

    def __init__(
        self,
        model: ScoredModel,
        scorers: Scorers,
        cache: AnswerCache,
        options: Evaluate,
        seed: int,
        told: Callable[[int, int], None],
    ) -> None:
        try:
            config = AutoConfig.from_pretrained(model.directory)
            with torch.device("meta"):
                skeleton = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
            super().__init__(
                pretrained=skeleton, tokenizer=str(model.directory), backend="causal", batch_size=model.batch_size
            )
        except (OSError, ValueError, KeyError) as error:
            raise ResourceError(f"{model.directory}: the model cannot be loaded ({first_line(error)})") from error
        self.scored, self.scorers, self.cache, self.options, self.seed = model, scorers, cache, options, seed
        self.told = told
        self._longest = min(self.max_length, _alike_up_to(config.get_text_config()))
        self._plain_generation = plain_generation(_generation_settings(model))
        self.drift: dict[str, float] = {}  # of each task the most that a log-likelihood lay from stock lm-eval's
        self.in_stock_batches: set[str] = set()  # tasks that no prefix is shared in, though the model would allow it
        self.truncated: Counter[str] = Counter()  # requests of each task that were longer than the model

    @functools.cached_property
    def why_stock(self) -> str | None:
        """Why stock lm-eval's batches are kept to; None where prefixes are shared."""
        if self.options.exact:
            return "evaluate.exact"
        known = self.cache.note("why-stock")
        if known is None:
            known = self.scorers.why_stock(self.scored) or ""
            self.cache.keep_note("why-stock", known)
        return known or None

    @functools.cached_property
    def room(self) -> Room:
        """How much is computed at once, where prefixes are shared: as asked for, else what memory has room for.

        It is found once, and kept beside the answers: a batch's composition depends on it.
        """
        tokens, rows = self.options.batch_tokens, self.options.batch_rows
        if tokens is not None:
            return Room(tokens, TEXT_TOKENS * tokens, rows or Room.rows)
        known = self.cache.note("room")
        if known is None:
            known = orjson.dumps(self.scorers.room(self.scored)).decode()
            self.cache.keep_note("room", known)
        room = Room(**orjson.loads(known))
        return replace(room, rows=rows or room.rows)

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Of each request, in order: the log-likelihood of its continuation, and whether greedy decoding gives it."""
        texts = [request.args for request in requests]
        pairs = self._encoded(texts)
        most = self.max_length  # which looks through the model's configuration each time
        for request, (context, wanted) in zip(requests, pairs, strict=True):
            if not wanted:
                raise DataError(f"task {request.task_name}: a continuation without tokens")
            if len(wanted) > most:
                raise RecipeError(
                    f"task {request.task_name}: a continuation of {len(wanted)} tokens is longer than the model's "
                    f"maximum sequence length, {most}"
                )
            self.truncated[request.task_name] += len(context) + len(wanted) > most + 1
        documents = [(request.task_name, request.doc_id) for request in requests]
        return self._likelihoods(pairs, [request.task_name for request in requests], documents)

    def _encoded(self, texts: Sequence[tuple[str, str]]) -> list[tuple[Tokens, Tokens]]:
        """As `encoded_pairs`. Those of many short texts are kept beside the answers: to encode them takes longer."""
        exact = self.options.exact
        if sum(len(context) + len(continuation) for context, continuation in texts) > KEPT_TEXT:
            return encoded_pairs(self, texts, exact)
        name = f"tokens-{'exact-' if exact else ''}{fingerprint(texts)}"
        with contextlib.suppress(orjson.JSONDecodeError):  # what is not whole is done again
            kept = orjson.loads(self.cache.note(name) or "")
            return [(tuple(context), tuple(wanted)) for context, wanted in kept]
        pairs = encoded_pairs(self, texts, exact)
        self.cache.keep_note(name, orjson.dumps(pairs).decode())
        return pairs

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """Of each text, in order: its log-likelihood, in windows of the model's length."""
        pairs: list[tuple[Tokens, Tokens]] = []
        tasks: list[str] = []
        owners: list[int] = []
        for number, request in enumerate(requests):
            windows = get_rolling_token_windows(
                token_list=self.tok_encode(request.args[0]),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
            for context, wanted in map(make_disjoint_window, windows):
                pairs.append((tuple(context), tuple(wanted)))
                tasks.append(request.task_name)
                owners.append(number)
        documents = list(enumerate(tasks))  # windows share nothing
        found = self._likelihoods(pairs, tasks, documents, rolling=True)
        totals: list[list[float]] = [[] for _ in requests]
        for owner, (value, _) in zip(owners, found, strict=True):
            totals[owner].append(value)
        return [sum(values) for values in totals]

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Of each request, in order: the text that the model goes on with."""
        chunks: list[Chunk] = []
        members: list[list[int]] = []
        for task in dict.fromkeys(request.task_name for request in requests):
            numbers = [number for number, request in enumerate(requests) if request.task_name == task]
            for settings, same in _by_settings(requests, numbers):
                shared = self._shared_texts(requests, same, settings, task)
                if shared is None:
                    self.in_stock_batches.add(task)
                more, groups = shared or self._stock_texts(requests, same, task)
                chunks += more
                members += groups
        by = replace(self.scored, backend=self.options.backend)
        return [str(answer) for answer in self._asked(chunks, members, len(requests), by)]

    def _likelihoods(
        self,
        pairs: Sequence[tuple[Tokens, Tokens]],
        tasks: Sequence[str],
        documents: Sequence[Any],
        rolling: bool = False,
    ) -> list[tuple[float, bool]]:
        chunks: list[Chunk] = []
        members: list[list[int]] = []
        checked: list[int] = []  # requests that are asked in stock lm-eval's way too, to see how far the answers differ
        for task in dict.fromkeys(tasks):
            numbers = [number for number, of in enumerate(tasks) if of == task]
            longest = max(len(pairs[number][0]) + len(pairs[number][1]) for number in numbers) - 1
            if self.why_stock is not None or min(longest, self.max_length) > self._longest:
                self.in_stock_batches.add(task)
                more, groups = self._stock_likelihoods(pairs, numbers, rolling)
            else:
                more, groups = self._shared_likelihoods(pairs, numbers, documents)
                some = numbers[::CHECKED]
                stock, same = self._stock_likelihoods(pairs, some, rolling)
                places = {number: place for place, number in enumerate(some, len(pairs) + len(checked))}
                chunks += stock
                members += [[places[number] for number in group] for group in same]
                checked += some
            chunks += more
            members += groups
        answers: Any = self._asked(chunks, members, len(pairs) + len(checked))
        for number, (value, _) in zip(checked, answers[len(pairs) :], strict=True):
            self.drift[tasks[number]] = max(self.drift.get(tasks[number], 0.0), abs(value - answers[number][0]))
        return list(answers[: len(pairs)])

    def _shared_likelihoods(
        self, pairs: Sequence[tuple[Tokens, Tokens]], numbers: Sequence[int], documents: Sequence[Any]
    ) -> tuple[Sequence[Chunk], list[list[int]]]:
        """Requests on one document as trees; those of a task in batches after their common prefix."""
        by_document: dict[Any, list[int]] = {}
        for number in numbers:
            by_document.setdefault(documents[number], []).append(number)
        questions: list[Question] = []
        asked: list[list[int]] = []
        most = self.max_length
        for of_document in by_document.values():
            inputs = [((*pairs[n][0], *pairs[n][1])[-(most + 1) :][:-1], pairs[n][1]) for n in of_document]
            for group in alike(inputs):
                questions.append(question_tree([inputs[place] for place in group]))
                asked.append([of_document[place] for place in group])
        outputs = max(1, OUTPUTS // self.model.get_input_embeddings().weight.shape[0])
        chunks, batches = likelihood_chunks(questions, self.room.tokens, outputs)
        return chunks, [[number for question in batch for number in asked[question]] for batch in batches]

    def _stock_likelihoods(
        self, pairs: Sequence[tuple[Tokens, Tokens]], numbers: Sequence[int], rolling: bool
    ) -> tuple[Sequence[Chunk], list[list[int]]]:
        """Batches as `HFLM._loglikelihood_tokens` composes them, with lm-eval's own Collator."""
        if rolling:  # which stock lm-eval batches in the order they come
            size = self.scored.batch_size
            members = [list(numbers[begin : begin + size]) for begin in range(0, len(numbers), size)]
        else:
            asked = [(number, list(pairs[number][0]), list(pairs[number][1])) for number in numbers]
            same: dict[Tokens, list[int]] = {}
            for number, context, wanted in asked:
                same.setdefault((*context, *wanted[:-1]), []).append(number)
            ordered = Collator(
                asked,
                sort_fn=lambda request: (-len(request[1]) - len(request[2]), (*request[1], *request[2])),
                group_by="contexts",
                group_fn=lambda request: request[1] + request[2][:-1],
            )
            members = [
                sorted(number for _, context, wanted in batch for number in same[(*context, *wanted[:-1])])
                for batch in ordered.get_batched(n=self.scored.batch_size)
            ]
        return [StockLikelihoods(tuple(pairs[number] for number in batch)) for batch in members], members

    def _shared_texts(
        self, requests: Sequence[Any], numbers: Sequence[int], settings: dict[str, Any], task: str
    ) -> tuple[Sequence[Chunk], list[list[int]]] | None:
        """Batches of greedy prompts after their common prefix; None where stock lm-eval's way is to be gone."""
        said = normalize_gen_kwargs(settings, self.max_gen_toks)
        greedy = not said.get("do_sample") and not said.get("temperature") and said.keys() <= GREEDY
        if self.options.backend == "vllm" or not (greedy and self._plain_generation) or self.why_stock is not None:
            return None
        room = self._room(said["max_gen_toks"], task)
        eos = self.tok_decode(self.eot_token_id, skip_special_tokens=False)
        until = tuple(handle_stop_sequences(said.get("until"), eos=eos))
        encoded = encode_alike(self, [requests[number].args[0] for number in numbers])
        prompts = [tokens[-room:] for tokens in encoded]
        if max(map(len, prompts)) + said["max_gen_toks"] > self._longest:
            return None
        self.truncated[task] += sum(len(tokens) > room for tokens in encoded)
        chunks, members = text_chunks(prompts, until, said["max_gen_toks"], self.room.held_tokens, self.room.rows)
        return chunks, [[numbers[place] for place in group] for group in members]

    def _stock_texts(
        self, requests: Sequence[Any], numbers: Sequence[int], task: str
    ) -> tuple[Sequence[Chunk], list[list[int]]]:
        """Batches as `HFLM.generate_until` composes them."""
        asked = [(*requests[number].args[:2], number) for number in numbers]
        lengths = dict(zip(numbers, map(len, encode_texts(self, [prompt for prompt, _, _ in asked])), strict=True))
        room = self._room(normalize_gen_kwargs(asked[0][1], self.max_gen_toks)["max_gen_toks"], task)
        self.truncated[task] += sum(length > room for length in lengths.values())
        ordered = Collator(
            asked,
            sort_fn=lambda request: (-lengths[request[2]], request[0]),
            group_by="gen_kwargs",
            group_fn=lambda request: request[1],
        )
        chunks, members = [], []
        size = VLLM_ROWS if self.options.backend == "vllm" else self.scored.batch_size  # it makes batches of its own
        for place, batch in enumerate(ordered.get_batched(n=size)):
            settings = batch[0][1]
            sampled = normalize_gen_kwargs(settings, self.max_gen_toks).get("do_sample")  # also by a temperature alone
            seed = derive_seed(self.seed, "sampled answers", task, place) if sampled else None
            chunks.append(StockTexts(tuple(prompt for prompt, _, _ in batch), settings, seed))
            members.append([number for _, _, number in batch])
        return chunks, members

    def _room(self, answer: int, task: str) -> int:
        """Tokens that are left for a prompt. Raises RecipeError where there are none."""
        if answer >= self.max_length:
            raise RecipeError(
                f"task {task}: an answer of up to {answer} tokens does not fit the model's maximum sequence length, "
                f"{self.max_length}"
            )
        return int(self.max_length - answer)

    def _asked(
        self, chunks: Sequence[Chunk], members: Sequence[list[int]], count: int, by: ScoredModel | None = None
    ) -> list[Answer]:
        """The answer to each of so many requests. members: the numbers of the requests in each chunk."""
        answers: list[Answer | None] = [None] * count
        whole, done = sum(chunk.cost() for chunk in chunks), 0

        def take(place: int, found: Iterable[Answer]) -> None:
            nonlocal done
            for number, answer in zip(members[place], found, strict=True):
                answers[number] = answer
            done += chunks[place].cost()
            self.told(done, whole)

        missing = []
        for place in _long_tasks_first(chunks):
            kept = self.cache.get(chunks[place])
            if kept is None:
                missing.append(place)
            else:
                take(place, kept)
        for number, found in self.scorers.score(by or self.scored, [chunks[place] for place in missing]):
            if any(isinstance(answer, tuple) and math.isnan(answer[0]) for answer in found):
                raise DataError(f"{self.scored.directory}: the model's log-likelihoods are no numbers (NaN)")
            self.cache.put(chunks[missing[number]], found)
            take(missing[number], found)
        return answers  # type: ignore[return-value]


def _alike_up_to(config: Any) -> float:
    """Tokens up to which a model attends to all of them, and turns keys as it would in any shorter text.

    One mask serves for all layers then, and what a prefix was computed to be does not depend on what follows.
    """
    limits = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") in ("longrope", "dynamic"):
        limits.append(rope.get("original_max_position_embeddings") or config.max_position_embeddings)
    return min((limit for limit in limits if limit is not None), default=float("inf"))


def _generation_settings(model: ScoredModel) -> GenerationConfig:
    try:
        return GenerationConfig.from_pretrained(model.directory)
    except OSError:
        return GenerationConfig()


def _by_settings(requests: Sequence[Any], numbers: Sequence[int]) -> list[tuple[dict[str, Any], list[int]]]:
    """The numbers of requests with the same generation settings."""
    groups: list[tuple[dict[str, Any], list[int]]] = []
    for number in numbers:
        settings = requests[number].args[1]
        for known, members in groups:
            if known == settings:
                members.append(number)
                break
        else:
            groups.append((settings, [number]))
    return groups


def _long_tasks_first(chunks: Sequence[Chunk]) -> list[int]:
    """Places of chunks: those with a common prefix together, the ones with the longest chunk first, long before short.

    What runs out of memory does so at once, and the last to be computed are small.
    """
    groups: dict[Any, list[int]] = {}
    for place, chunk in enumerate(chunks):
        groups.setdefault((chunk.kind, getattr(chunk, "prefix", ())), []).append(place)
    for members in groups.values():
        members.sort(key=lambda place: (-chunks[place].cost(), place))
    ordered = sorted(groups.values(), key=lambda members: (-chunks[members[0]].cost(), members[0]))
    return [place for members in ordered for place in members]
