"""Log-likelihoods and greedy answers with every shared beginning computed once.

A question's choices are branches of one sequence, kept apart by the attention mask (as in speculative decoding's token
trees: SpecInfer, Miao et al. 2023, section 4); what all questions of a task begin with is computed once, and kept as
keys and values. The output layer runs only where an output is asked for.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

from core.errors import first_line
from core.evaluation.chunks import Likelihoods, Question, Texts, Tokens

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

ATTENTION = "raycipe_shared_prefix"  # its name among transformers' ways to attend
PREFIXES = 2  # kept at once
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
        mask = batch.mask()
        options: dict[str, Any] = {"use_cache": False}
        if before:
            options = {"use_cache": True, "past_key_values": self._cache(chunk.prefix, len(batch.ids))}
        if mask is not None:
            options["attention_mask"] = torch.from_numpy(mask).to(self.device)[:, None]
        with self._outputs_at(batch.rows, batch.columns):
            logits = self.model(input_ids=ids, position_ids=positions, **options).logits[0].float()
        wanted = torch.from_numpy(batch.wanted).to(self.device)
        found = logits.gather(1, wanted[:, None])[:, 0] - logits.logsumexp(1)
        likeliest = logits.argmax(1) == wanted
        parts = zip(found.cpu().split(batch.lengths), likeliest.cpu().split(batch.lengths), strict=True)
        return [(float(values.sum()), bool(right.all())) for values, right in parts]

    @torch.inference_mode()
    def texts(self, chunk: Texts, tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
        """Greedy tokens that follow each prompt, up to an end token, a text of `until`, or the most allowed."""
        lengths = torch.tensor([len(prompt) for prompt in chunk.prompts], device=self.device)
        logits, cache, visible = self._prompts_read(chunk, lengths)
        place = lengths[:, None] + len(chunk.prefix)
        found: list[list[int]] = [[] for _ in chunk.prompts]
        stop = _Stop(tokenizer, chunk.until, self._end_tokens())
        alive = list(range(len(found)))  # row of the batch -> prompt; finished ones stay in the batch until half are
        running = [True] * len(found)
        with _attending(self.model, self._prefix(chunk.prefix) if chunk.prefix else []):
            for step in range(chunk.max_new_tokens):
                chosen = logits.argmax(-1)
                for row, token in enumerate(chosen.tolist()):
                    if running[row]:
                        found[alive[row]].append(token)
                        running[row] = not stop(found[alive[row]])
                if not any(running) or step + 1 == chunk.max_new_tokens:
                    break
                if 2 * sum(running) <= len(running):
                    kept = [row for row, is_running in enumerate(running) if is_running]
                    rows = torch.tensor(kept, device=self.device)
                    cache.batch_select_indices(rows)
                    chosen, place, visible = chosen[rows], place[rows], visible[rows]
                    alive, running = [alive[row] for row in kept], [True] * len(kept)
                mask = visible[:, None, None, : cache.get_seq_length() + 1]
                options = {"position_ids": place, "attention_mask": mask, "past_key_values": cache, "use_cache": True}
                logits = self.model(chosen[:, None], **options).logits[:, -1]
                place = place + 1
        return found

    def _prompts_read(self, chunk: Texts, lengths: torch.Tensor) -> tuple[torch.Tensor, Cache, torch.Tensor]:
        """Logits [prompts, vocabulary] after each prompt, keys and values of the prompts alone with room for answers,
        and which of their places hold tokens, bool[prompts, room]."""
        rows, before, width = len(chunk.prompts), len(chunk.prefix), int(lengths.max())
        ids = np.zeros((rows, width), np.int64)
        for row, prompt in enumerate(chunk.prompts):
            ids[row, : len(prompt)] = prompt
        cache = self._cache(chunk.prefix, rows)
        mask = torch.ones(rows, 1, width, before + width, dtype=torch.bool, device=self.device)
        mask[..., before:] = torch.ones(width, width, dtype=torch.bool, device=self.device).tril()
        positions = torch.arange(before, before + width, device=self.device).expand(rows, width)
        options: dict[str, Any] = {"use_cache": True, "past_key_values": cache, "attention_mask": mask}
        with self._outputs_at(np.arange(rows), lengths.cpu().numpy() - 1):
            logits = self.model(torch.from_numpy(ids).to(self.device), position_ids=positions, **options).logits[0]
        roomy = DynamicCache()
        roomy.layers = [_Roomy(layer, before, chunk.max_new_tokens) for layer in cache.layers]
        visible = torch.ones(rows, width + chunk.max_new_tokens, dtype=torch.bool, device=self.device)
        visible[:, :width] = torch.arange(width, device=self.device) < lengths[:, None]
        return logits, roomy, visible

    def allowed(self, vocabulary: int, tokenizer: PreTrainedTokenizerBase) -> str | None:
        """Why this way cannot be had with the model; None where it gives what a plain forward pass gives."""
        window = getattr(self.model.config.get_text_config(), "sliding_window", None)
        tokens = np.random.default_rng(0).integers(0, vocabulary, 40).tolist()
        if window is not None and window < len(tokens):
            return f"its sliding window of {window} tokens is very short"
        try:
            return self._wrong_likelihood(tokens) or self._wrong_text(tokens, tokenizer)
        except (TypeError, ValueError, RuntimeError, AttributeError, IndexError, NotImplementedError) as error:
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
        prefix, prompts = tuple(tokens[:16]), (tuple(tokens[16:30]), tuple(tokens[30:38]))
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

    def _cache(self, prefix: Tokens, rows: int) -> Cache:
        """Keys and values of the prefix for every row."""
        cache = DynamicCache()
        for layer, (keys, values) in enumerate(self._prefix(prefix) if prefix else []):
            cache.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), layer)
        return cache

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
    def _outputs_at(self, rows: np.ndarray[Any, Any], columns: np.ndarray[Any, Any]) -> Iterator[None]:
        """Has the output layer run at these places alone: logits[1, places, vocabulary]."""
        at = (torch.from_numpy(rows).to(self.device), torch.from_numpy(columns).to(self.device))

        def pick(module: torch.nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
            return (inputs[0][at][None],)

        hook = self.model.get_output_embeddings().register_forward_pre_hook(pick)
        try:
            yield
        finally:
            hook.remove()


class _Trees:
    """Questions as a padded batch: token ids, positions, the mask, and the places whose output is asked for."""

    def __init__(self, questions: tuple[Question, ...], before: int) -> None:
        self.questions, self.before = questions, before
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

    def mask(self) -> np.ndarray[Any, Any] | None:
        """Which tokens each token sees, bool[questions, width, prefix + width]; None where it is plainly causal."""
        if not self.before and all(len(question.branches) == 1 for question in self.questions):
            return None
        width = self.ids.shape[1]
        mask = np.zeros((len(self.questions), width, self.before + width), bool)
        mask[:, :, : self.before] = True
        triangle = np.tri(width, dtype=bool)
        own = mask[:, :, self.before :]
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
        return mask


class _Roomy(DynamicLayer):  # type: ignore[misc]
    """A layer of a cache with place for all that will come, which is not copied when a token is added."""

    def __init__(self, filled: DynamicLayer, begin: int, room: int) -> None:
        """Takes over keys and values [rows, heads, tokens, width] from a place on."""
        super().__init__()
        self.lazy_initialization(filled.keys, filled.values)
        self.length = filled.keys.shape[2] - begin
        self._keys, self._values = (_with_room(each[:, :, begin:], room) for each in (filled.keys, filled.values))
        self._show()

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **named: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Appends keys and values [rows, heads, tokens, width]; returns all so far."""
        end = self.length + key_states.shape[2]
        self._keys[:, :, self.length : end] = key_states
        self._values[:, :, self.length : end] = value_states
        self.length = end
        self._show()
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keeps these rows of the batch alone."""
        self._keys, self._values = self._keys[indices], self._values[indices]
        self._show()

    def _show(self) -> None:
        self.keys, self.values = self._keys[:, :, : self.length], self._values[:, :, : self.length]


def _with_room(states: torch.Tensor, room: int) -> torch.Tensor:
    rows, heads, tokens, width = states.shape
    roomy = states.new_empty(rows, heads, tokens + room, width)
    roomy[:, :, :tokens] = states
    return roomy


_prefix_states: list[tuple[torch.Tensor, torch.Tensor]] = []  # of the answers that are being generated, by layer


@contextlib.contextmanager
def _attending(model: PreTrainedModel, prefix: list[tuple[torch.Tensor, torch.Tensor]]) -> Iterator[None]:
    """Has a model attend to a prefix's keys and values, kept once for all rows, beside those in its cache."""
    AttentionInterface.register(ATTENTION, _attend)
    AttentionMaskInterface.register(ATTENTION, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    usual = model.config._attn_implementation
    _prefix_states[:] = prefix
    model.set_attn_implementation(ATTENTION)
    try:
        yield
    finally:
        model.set_attn_implementation(usual)
        _prefix_states.clear()


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    scaling: float | None = None,
    **named: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of one new token in each row to the prefix and to the row's own tokens.

    query: [rows, heads, 1, width]; key, value: [rows, key heads, tokens, width]; attention_mask: bool, those that a row
    has. The heads that share a key head are taken together, and so are all rows where they attend to the prefix.
    """
    rows, heads, _, width = query.shape
    shared = key.shape[1]
    query = query.view(rows, shared, heads // shared, width) * (width**-0.5 if scaling is None else scaling)
    scores = [query @ key.transpose(2, 3)]
    scores[0].masked_fill_(~attention_mask, -torch.inf)
    values = [value]
    if _prefix_states:
        before, before_values = _prefix_states[int(module.layer_idx)]  # type: ignore[arg-type]
        together = query.transpose(0, 1).reshape(shared, -1, width) @ before[0].transpose(1, 2)
        scores.insert(0, together.view(shared, rows, heads // shared, -1).transpose(0, 1))
        values.insert(0, before_values)
    weights = torch.cat(scores, -1).softmax(-1, torch.float32).to(value.dtype)
    output = weights[..., -value.shape[2] :] @ value
    if _prefix_states:
        of_prefix = weights[..., : values[0].shape[2]].transpose(0, 1).reshape(shared, -1, values[0].shape[2])
        output += (of_prefix @ values[0][0]).view(shared, rows, heads // shared, -1).transpose(0, 1)
    return output.reshape(rows, 1, heads, -1), None


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


def plain_generation(settings: GenerationConfig) -> bool:
    """Whether a model's own generation settings ask for nothing that changes its greedy answers."""
    plain = all(getattr(settings, name, None) in (None, value) for name, value in PLAIN.items())
    return plain and all(getattr(settings, name, None) is None for name in UNSET)
