"""Log-likelihoods and greedy answers with every shared beginning computed once.

A question's choices are branches of one sequence, kept apart by the attention mask (as in speculative decoding's token
trees: SpecInfer, Miao et al. 2023, section 4). What all questions of a task begin with is computed once, and its keys
and values are kept once for all rows: attention to it and to a row's own tokens is computed apart and joined by their
softmax sums (Hydragen, Juravsky et al. 2024, section 3). The output layer runs only where an output is asked for.
Answers are drafted from their own text, and a step reads several tokens where drafts were right
(`core.evaluation.drafts`).
"""

from __future__ import annotations

import contextlib
import math
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import AttentionInterface
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from core.errors import first_line
from core.evaluation.chunks import Likelihoods, Question, Texts, Tokens
from core.evaluation.drafts import MANY, Drafts
from core.models.memory import is_out_of_memory

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

ATTENTION = "raycipe_shared_prefix"  # its name among transformers' ways to attend
PREFIXES = 2  # kept at once
SCORES = 1 << 27  # attention scores that are held at once, as fp32, where no kernel does without them
MEASURED = (8, 256)  # questions and tokens of each, by which a token's memory is measured
FILLED = 0.9  # of a GPU's memory
RESERVE = 4 << 30  # bytes beside it for attention's scores and the output layer's, which grow little with a batch
MARGIN = 1.5  # of a token's memory: what is measured has no prefix before it
TOLERANCE = 1e-3  # of a log-likelihood, between ways to compute it, before a model is said not to allow this one
PLAIN = {  # what a model's own generation settings may say, for its greedy answers to be those computed here
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "num_beams": 1,
    "min_length": 0,
    "renormalize_logits": False,
}
UNSET = (
    "bad_words_ids",
    "suppress_tokens",
    "begin_suppress_tokens",
    "sequence_bias",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "min_new_tokens",
    "guidance_scale",
    "exponential_decay_length_penalty",
)


@dataclass(frozen=True)
class Room:
    """How much is computed at once: tokens of a batch of questions, and of a batch of prompts the tokens that are held
    with their answers, and its rows."""

    tokens: int = 2048
    held_tokens: int = 65536
    rows: int = 64


class SharedPrefix:
    """A causal language model that is asked in chunks with a common prefix."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model, self.device = model, model.device
        self._prefixes: OrderedDict[Tokens, list[tuple[torch.Tensor, torch.Tensor]]] = OrderedDict()

    @torch.inference_mode()
    def log_likelihoods(self, chunk: Likelihoods) -> list[tuple[float, bool]]:
        """Of each request, in order: the sum over its tokens (natural log), and whether each is the likeliest."""
        before = len(chunk.prefix)
        batch = _Trees(chunk.questions, before)
        ids, positions = (torch.from_numpy(array).to(self.device) for array in (batch.ids, batch.positions))
        seen = batch.seen()
        mask = None if seen is None else torch.from_numpy(seen).to(self.device, self.model.dtype)[:, None]
        if mask is not None:
            mask = mask.log_()  # 0 where a token is seen, minus infinity elsewhere
        with self._after(chunk.prefix), self._outputs_at(batch.rows, batch.columns):
            output = self.model(input_ids=ids, position_ids=positions, attention_mask=mask, use_cache=False)
        logits = output.logits[0].float()
        wanted = torch.from_numpy(batch.wanted).to(self.device)
        found = logits.gather(1, wanted[:, None])[:, 0] - logits.logsumexp(1)
        likeliest = logits.argmax(1) == wanted
        parts = zip(found.cpu().split(batch.lengths), likeliest.cpu().split(batch.lengths), strict=True)
        return [(float(values.sum()), bool(right.all())) for values, right in parts]

    @torch.inference_mode()
    def texts(self, chunk: Texts, tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
        """Greedy tokens that follow each prompt, up to an end token, a text of `until`, or the most allowed."""
        lengths = torch.tensor([len(prompt) for prompt in chunk.prompts], device=self.device)
        chosen, cache = self._prompts_read(chunk, lengths)
        limits = lengths + chunk.max_new_tokens - 1  # of places among a row's own tokens
        found: list[list[int]] = [[] for _ in chunk.prompts]
        stop = _Stop(tokenizer, chunk.until, self._end_tokens())
        drafts = Drafts(chunk.prefix, chunk.prompts)
        drafted: list[list[int]] = [[] for _ in found]
        alive = list(range(len(found)))  # row of the batch -> prompt; finished ones stay in the batch until half are
        running = [True] * len(found)
        with self._after(chunk.prefix):
            while True:
                grown = [0] * len(alive)
                for row, tokens in enumerate(chosen.tolist()):
                    if running[row]:
                        answer = found[alive[row]]
                        grown[row], running[row] = _taken(answer, tokens, drafted[row], stop, chunk.max_new_tokens)
                        drafts.add(alive[row], answer[-grown[row] :])
                went_on = [count - 1 for count in grown if count]
                drafts.told(len(went_on) * (chosen.shape[1] - 1), sum(went_on))
                if not any(running):
                    return found
                lengths = lengths + torch.tensor(grown, device=self.device)
                if 2 * sum(running) <= len(running):
                    kept = [row for row, is_running in enumerate(running) if is_running]
                    rows = torch.tensor(kept, device=self.device)
                    cache.batch_select_indices(rows)
                    lengths, limits = lengths[rows], limits[rows]
                    alive, running = [alive[row] for row in kept], [True] * len(kept)
                width = drafts.width()
                drafted = [
                    drafts.of(prompt, min(width, chunk.max_new_tokens - len(found[prompt]) - 1)) if is_running else []
                    for prompt, is_running in zip(alive, running, strict=True)
                ]
                given = [[found[prompt][-1], *draft] for prompt, draft in zip(alive, drafted, strict=True)]
                chosen = self._read_on(cache, given, lengths - 1, limits, len(chunk.prefix))

    def _read_on(
        self, cache: Cache, given: list[list[int]], begins: torch.Tensor, limits: torch.Tensor, before: int
    ) -> torch.Tensor:
        """The likeliest token after each of the tokens given to each row, [rows, most tokens].

        begins, limits: places of the first among the row's own, and the last that there may be. before: of the prefix.
        """
        most = max(map(len, given))
        ids = torch.tensor([[*tokens, *[0] * (most - len(tokens))] for tokens in given], device=self.device)
        places = begins[:, None] + torch.arange(most, device=self.device)
        end = int(places.max()) + 1
        for layer in cache.layers:  # each of which may lie on a GPU of its own
            layer.places, layer.end = places.to(layer.keys.device), end
        logits: torch.Tensor = self.model(
            ids,
            position_ids=before + torch.minimum(places, limits[:, None]),
            attention_mask=torch.arange(end, device=self.device) <= places[:, None, :, None],
            past_key_values=cache,
            use_cache=True,
        ).logits
        return logits.argmax(-1)

    def _prompts_read(self, chunk: Texts, lengths: torch.Tensor) -> tuple[torch.Tensor, Cache]:
        """The likeliest token after each prompt, [prompts, 1], and keys and values of the prompts alone, with room for
        answers."""
        rows, before, width = len(chunk.prompts), len(chunk.prefix), int(lengths.max())
        ids = np.zeros((rows, width), np.int64)
        for row, prompt in enumerate(chunk.prompts):
            ids[row, : len(prompt)] = prompt
        cache = DynamicCache()
        positions = torch.arange(before, before + width, device=self.device).expand(rows, width)
        options: dict[str, Any] = {"use_cache": True, "past_key_values": cache, "position_ids": positions}
        with self._after(chunk.prefix), self._outputs_at(np.arange(rows), lengths.cpu().numpy() - 1):
            logits = self.model(torch.from_numpy(ids).to(self.device), **options).logits[0]
        roomy = DynamicCache()
        roomy.layers = [_Roomy(layer, chunk.max_new_tokens + MANY) for layer in cache.layers]
        return logits.argmax(-1)[:, None], roomy

    @torch.inference_mode()
    def room(self) -> Room:
        """How much a GPU's memory has room for beside the model, by what a small batch takes; on a CPU the default,
        as larger batches are no faster there."""
        if self.device.type != "cuda":
            return Room()
        rows, width = MEASURED
        on_gpus = {each.device.index for each in self.model.parameters() if each.device.type == "cuda"}
        devices = sorted(on_gpus)
        before = {device: torch.cuda.memory_allocated(device) for device in devices}
        for device in devices:
            torch.cuda.reset_peak_memory_stats(device)
        questions = (Question((0,) * width, ((),), ((0, (0,)),)),) * rows
        self.log_likelihoods(Likelihoods((), questions))
        peaks = {device: torch.cuda.max_memory_allocated(device) for device in devices}
        cache = DynamicCache()
        self.model(torch.zeros(1, width, dtype=torch.long, device=self.device), past_key_values=cache)
        kept = dict.fromkeys(devices, 0)
        for layer in cache.layers:
            kept[layer.keys.device.index] += layer.keys.nbytes + layer.values.nbytes
        rooms = [
            room_for(
                FILLED * _free(device) - RESERVE,
                (peaks[device] - before[device]) / (rows * width),
                kept[device] / width,
            )
            for device in devices
        ]
        return Room(*(min(getattr(room, part.name) for room in rooms) for part in fields(Room)))

    def allowed(self, vocabulary: int, tokenizer: PreTrainedTokenizerBase) -> str | None:
        """Why this way cannot be had with the model; None where it gives what a plain forward pass gives.

        Raises RuntimeError where the model leaves no memory to find out.
        """
        window = getattr(self.model.config.get_text_config(), "sliding_window", None)
        tokens = np.random.default_rng(0).integers(0, vocabulary, 40).tolist()
        if window is not None and window < len(tokens):
            return f"its sliding window of {window} tokens is very short"
        try:
            return self._wrong_likelihood(tokens) or self._wrong_text(tokens, tokenizer)
        except (TypeError, ValueError, RuntimeError, AttributeError, IndexError, NotImplementedError) as error:
            if is_out_of_memory(error):
                raise
            return f"{type(error).__name__}: {first_line(error)}"
        finally:
            self._prefixes.clear()

    def _wrong_likelihood(self, tokens: list[int]) -> str | None:
        prefix, trunk, one, other = (tuple(tokens[a:b]) for a, b in ((0, 16), (16, 24), (24, 30), (30, 38)))
        chunk = Likelihoods(prefix, (Question(trunk, (one, other), ((0, (*one[1:], 1)), (1, (*other[1:], 2)))),))
        found = [value for value, _ in self.log_likelihoods(chunk)]
        for value, branch, last in zip(found, (one, other), (1, 2), strict=True):
            scores = self._plain([*prefix, *trunk, *branch]).log_softmax(-1)[-len(branch) :]
            wanted = torch.tensor([*branch[1:], last], device=self.device)
            expected = float(scores.gather(1, wanted[:, None]).sum())
            off = abs(value - expected) / max(1, abs(expected))
            if off > self._tolerance():
                return f"a log-likelihood would be off by {off:.2g} of itself"
        return None

    def _wrong_text(self, tokens: list[int], tokenizer: PreTrainedTokenizerBase) -> str | None:
        """Whether a token was chosen that a plain forward pass finds less likely than another."""
        prefix, prompts = tuple(tokens[:16]), (tuple(tokens[16:30]), tuple(3 * tokens[30:34]))  # which drafts are of
        answers = self.texts(Texts(prefix, prompts, (), 4), tokenizer)
        for prompt, answer in zip(prompts, answers, strict=True):
            scores = self._plain([*prefix, *prompt, *answer])[-len(answer) - 1 : -1]
            chosen = scores.gather(1, torch.tensor(answer, device=self.device)[:, None])[:, 0]
            off = float((scores.amax(1) - chosen).max())
            if off > self._tolerance() * max(1, float(scores.abs().max())):
                return f"a token would be chosen whose logit is {off:.2g} below the greatest"
        return None

    @torch.inference_mode()
    def _plain(self, tokens: list[int]) -> torch.Tensor:
        logits: torch.Tensor = self.model(torch.tensor([tokens], device=self.device)).logits
        return logits[0].float()

    def _tolerance(self) -> float:
        return TOLERANCE if self.model.dtype == torch.float32 else 30 * TOLERANCE

    def _end_tokens(self) -> frozenset[int]:
        ends = self.model.generation_config.eos_token_id
        return frozenset([ends] if isinstance(ends, int) else ends or [])

    def _prefix(self, prefix: Tokens) -> list[tuple[torch.Tensor, torch.Tensor]]:
        if prefix not in self._prefixes:
            while len(self._prefixes) >= PREFIXES:
                self._prefixes.popitem(last=False)
            cache = DynamicCache()
            with self._outputs_at(np.array([0]), np.array([0])):
                self.model(torch.tensor([prefix], device=self.device), past_key_values=cache, use_cache=True)
            self._prefixes[prefix] = [(layer.keys, layer.values) for layer in cache.layers]
        self._prefixes.move_to_end(prefix)
        return self._prefixes[prefix]

    @contextlib.contextmanager
    def _after(self, prefix: Tokens) -> Iterator[None]:
        """Has the model attend to a prefix beside its own tokens, with no mask where these are plainly causal."""
        states = self._prefix(prefix) if prefix else []
        AttentionInterface.register(ATTENTION, _attend)
        usual = self.model.config._attn_implementation
        _prefix_states[:] = states
        self.model.set_attn_implementation(ATTENTION)
        try:
            yield
        finally:
            self.model.set_attn_implementation(usual)
            _prefix_states.clear()

    @contextlib.contextmanager
    def _outputs_at(self, rows: np.ndarray[Any, Any], columns: np.ndarray[Any, Any]) -> Iterator[None]:
        """Has the output layer run at these places alone: logits[1, places, vocabulary]."""
        at = (torch.from_numpy(rows).to(self.device), torch.from_numpy(columns).to(self.device))

        def pick(module: torch.nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
            return (inputs[0][tuple(places.to(inputs[0].device) for places in at)][None],)

        hook = self.model.get_output_embeddings().register_forward_pre_hook(pick)
        try:
            yield
        finally:
            hook.remove()


class _Trees:
    """Questions as a padded batch: token ids, positions, who sees whom, and the places whose output is asked for."""

    def __init__(self, questions: tuple[Question, ...], before: int) -> None:
        self.questions = questions
        width = max(question.width() for question in questions)
        self.ids = np.zeros((len(questions), width), np.int64)
        self.positions = np.zeros((len(questions), width), np.int64)
        rows: list[int] = []
        columns: list[int] = []
        wanted: list[int] = []
        self.lengths: list[int] = []
        for row, question in enumerate(questions):
            trunk = len(question.trunk)
            self.ids[row, :trunk] = question.trunk
            self.positions[row, :trunk] = np.arange(before, before + trunk)
            begins = []
            end = trunk
            for branch in question.branches:
                begins.append(end)
                self.ids[row, end : end + len(branch)] = branch
                self.positions[row, end : end + len(branch)] = np.arange(before + trunk, before + trunk + len(branch))
                end += len(branch)
            for number, tokens in question.asked:
                whole = trunk + len(question.branches[number])
                for place in range(whole - len(tokens), whole):
                    rows.append(row)
                    columns.append(place if place < trunk else begins[number] + place - trunk)
                wanted += tokens
                self.lengths.append(len(tokens))
        self.rows, self.columns, self.wanted = (np.array(each, np.int64) for each in (rows, columns, wanted))

    def seen(self) -> np.ndarray[Any, Any] | None:
        """Which tokens of its row each of the last tokens sees, bool[questions, last tokens, width].

        The first, which are in the trunk of every row, are plainly causal. None: all are.
        """
        if all(len(question.branches) == 1 for question in self.questions):
            return None
        width = self.ids.shape[1]
        own = np.zeros((len(self.questions), width, width), bool)
        triangle = np.tri(width, dtype=bool)
        for row, question in enumerate(self.questions):
            trunk = len(question.trunk)
            own[row, :trunk, :trunk] = triangle[:trunk, :trunk]
            own[row, trunk:, :trunk] = True
            end = trunk
            for branch in question.branches:
                size = len(branch)
                own[row, end : end + size, end : end + size] = triangle[:size, :size]
                end += size
        places = np.arange(width)
        own[:, places, places] = True  # padding sees itself, so that no row is empty
        return own[:, min(len(question.trunk) for question in self.questions) :]


class _Roomy(DynamicLayer):  # type: ignore[misc]
    """A layer of a cache with place for all that will come; each row's tokens lie at their own places in it.

    Keys lie width first, as products of few queries with them are faster so.
    """

    places: torch.Tensor  # [rows, tokens], where the next go
    end: int  # of the places that are looked at

    def __init__(self, filled: DynamicLayer, room: int) -> None:
        """Takes over keys and values [rows, heads, tokens, width]."""
        super().__init__()
        self.lazy_initialization(filled.keys, filled.values)
        rows, heads, tokens, width = filled.keys.shape
        self.keys = filled.keys.new_zeros(rows, heads, width, tokens + room)
        self.keys[..., :tokens] = filled.keys.transpose(2, 3)
        self.values = filled.values.new_zeros(rows, heads, tokens + room, filled.values.shape[3])
        self.values[:, :, :tokens] = filled.values

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **named: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Puts keys and values [rows, heads, tokens, width] at their places; returns all up to the end."""
        at = self.places[:, None, :, None]
        self.keys.scatter_(3, at.transpose(2, 3).expand_as(key_states.transpose(2, 3)), key_states.transpose(2, 3))
        self.values.scatter_(2, at.expand_as(value_states), value_states)
        return self.keys[..., : self.end].transpose(2, 3), self.values[:, :, : self.end]

    def get_seq_length(self) -> int:
        """Tokens before those that are put in next."""
        return self.end - self.places.shape[1]

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keeps these rows of the batch alone."""
        rows = indices.to(self.keys.device)
        self.keys, self.values = self.keys[rows], self.values[rows]


_prefix_states: list[tuple[torch.Tensor, torch.Tensor]] = []  # keys and values of what all rows follow, by layer


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **named: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of tokens to the prefix and to their own row, for transformers: [rows, tokens, heads, width].

    query: [rows, heads, tokens, width]; key, value: [rows, key heads, tokens of the row, width].
    attention_mask: added to the scores of the last tokens; those before are plainly causal, as all are where it is
    None. Of few new tokens in each row: bool, the tokens that each sees.
    """
    if named.get("softcap") is not None or named.get("s_aux") is not None:
        raise NotImplementedError("its attention caps scores, or has sinks")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    prefix = _prefix_states[int(module.layer_idx)] if _prefix_states else None  # type: ignore[arg-type]
    if attention_mask is not None and attention_mask.dtype == torch.bool:
        return _attend_few(query, key, value, attention_mask, scale, prefix), None
    rows, heads, tokens, width = query.shape
    shared = key.shape[1]
    same = heads // shared  # heads that share a key head
    key, value = (states.repeat_interleave(same, 1) for states in (key, value))
    own, own_sum = _attend_own(query, key, value, attention_mask, scale)
    if prefix is None:
        return own.transpose(1, 2), None
    together = query.view(rows, shared, same, tokens, width).transpose(0, 1).reshape(1, shared, -1, width)
    before, before_sum = _with_sum(together, *prefix, None, False, scale)
    before = before.view(shared, rows, same, tokens, width).transpose(0, 1).reshape(own.shape)
    before_sum = before_sum.view(shared, rows, same, tokens).transpose(0, 1).reshape(own_sum.shape)
    share = (own_sum - before_sum).sigmoid()[..., None].to(own.dtype)
    return before.lerp(own, share).transpose(1, 2), None


def _attend_own(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `_with_sum`, of tokens of which the first are plainly causal. mask: of the last, as many as it has rows."""
    if mask is None:
        return _with_sum(query, key, value, None, True, scale)
    first = query.shape[2] - mask.shape[2]
    rest = _with_sum(query[:, :, first:], key, value, mask, False, scale)
    if not first:
        return rest
    causal = _with_sum(query[:, :, :first], key[:, :, :first], value[:, :, :first], None, True, scale)
    output, sums = (torch.cat(parts, 2) for parts in zip(causal, rest, strict=True))
    return output, sums


def _with_sum(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    causal: bool,
    scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention [rows, heads, tokens, width], and the logarithm of its softmax's sum [rows, heads, tokens]."""
    if query.device.type == "cpu":  # what torch's own scaled_dot_product_attention calls, which gives no sum
        attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        found: tuple[torch.Tensor, torch.Tensor] = attend(query, key, value, 0.0, causal, attn_mask=mask, scale=scale)
        return found
    return attention_by_products(query, key, value, mask, causal, scale)


def attention_by_products(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    causal: bool,
    scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention [rows, heads, tokens, width] and the logarithm of its softmax's sum, on any device.

    query, key, value: [rows, heads, tokens, width]. mask: added to the scores. Of many queries some at a time, so that
    no more than SCORES are held.
    """
    tokens = query.shape[2]
    step = max(1, SCORES // max(1, query.shape[0] * query.shape[1] * key.shape[2]))
    parts = []
    for begin in range(0, tokens, step):
        scores = (query[:, :, begin : begin + step] @ key.transpose(2, 3)).float().mul_(scale)
        if causal:
            later = torch.ones(scores.shape[2:], dtype=torch.bool, device=scores.device).triu_(begin + 1)
            scores.masked_fill_(later, -torch.inf)
        elif mask is not None:
            scores += mask[:, :, begin : begin + step]
        parts.append((scores.softmax(-1).to(value.dtype) @ value, scores.logsumexp(-1)))
    if len(parts) == 1:
        return parts[0]
    output, sums = (torch.cat(each, 2) for each in zip(*parts, strict=True))
    return output, sums


def _attend_few(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    visible: torch.Tensor,
    scale: float,
    prefix: tuple[torch.Tensor, torch.Tensor] | None,
) -> torch.Tensor:
    """`_attend` for few new tokens in each row, by plain products: its kernels are for many.

    visible: bool[rows, 1, tokens, tokens of the row]. The heads that share a key head are taken together, and so are
    all rows where they attend to the prefix.
    """
    rows, heads, tokens, width = query.shape
    shared = key.shape[1]
    query = (query * scale).reshape(rows, shared, -1, width)
    own = query @ key.transpose(2, 3)
    own.view(rows, shared, -1, tokens, own.shape[3]).masked_fill_(~visible[:, :, None], -torch.inf)
    if prefix is None:
        output = own.softmax(-1, torch.float32).to(value.dtype) @ value
    else:
        together = query.transpose(0, 1).reshape(shared, -1, width) @ prefix[0][0].transpose(1, 2)
        before = together.view(shared, rows, query.shape[2], -1).transpose(0, 1)
        weights = torch.cat([before, own], -1).softmax(-1, torch.float32).to(value.dtype)
        output = weights[..., before.shape[3] :] @ value
        of_prefix = weights[..., : before.shape[3]].transpose(0, 1).reshape(shared, -1, before.shape[3])
        output += (of_prefix @ prefix[1][0]).view(shared, rows, query.shape[2], -1).transpose(0, 1)
    return output.view(rows, heads, tokens, -1).transpose(1, 2)


def _taken(answer: list[int], read: list[int], draft: list[int], stop: _Stop, most: int) -> tuple[int, bool]:
    """Appends to an answer what was read up to the first draft that is wrong; how many, and whether it goes on."""
    for place, token in enumerate(read):
        answer.append(token)
        if len(answer) == most or stop(answer):
            return place + 1, False
        if place == len(draft) or draft[place] != token:
            break
    return place + 1, True


class _Stop:
    """Whether an answer has come to its end: by a token, or by a text, looked for where it could just have ended."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, until: tuple[str, ...], ends: frozenset[int]) -> None:
        self.tokenizer, self.ends = tokenizer, ends
        self.until = [text for text in until if text]
        longest = max((len(tokenizer.encode(text, add_special_tokens=False)) for text in self.until), default=0)
        self.window = longest + 2  # as lm-eval looks back
        self._may_end: dict[int, bool] = {}

    def __call__(self, tokens: list[int]) -> bool:
        last = tokens[-1]
        if last in self.ends:
            return True
        if last not in self._may_end:
            text = self.tokenizer.decode([last])
            self._may_end[last] = "\ufffd" in text or any(stop[-1] in text or stop[-1] == " " for stop in self.until)
        if not self._may_end[last]:
            return False
        said = self.tokenizer.decode(tokens[-self.window :])
        return any(stop in said for stop in self.until)


def room_for(free: float, per_token: float, kept_per_token: float) -> Room:
    """What so many bytes have room for. per_token: that a batch takes; kept_per_token: of its keys and values.

    These are there beside what reading a prompt takes, and then twice, while they are given place for the answer's.
    """
    default = Room()
    tokens = free / (MARGIN * per_token)
    held = free / max(2 * kept_per_token, kept_per_token + MARGIN * per_token)
    doubled = max(0, min(5, int(math.log2(max(tokens / default.tokens, 1)))))
    return Room(default.tokens << doubled, max(default.tokens, int(held)), 2 * default.rows)


def _free(device: int) -> int:
    """Bytes of a GPU that this process may still take."""
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + unused


def plain_generation(settings: GenerationConfig) -> bool:
    """Whether a model's own generation settings ask for nothing that changes its greedy answers."""
    plain = all(getattr(settings, name, None) in (None, value) for name, value in PLAIN.items())
    return plain and all(getattr(settings, name, None) is None for name in UNSET)
