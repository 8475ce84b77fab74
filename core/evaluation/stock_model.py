"""lm-eval's Hugging Face model, to the last digit, with less work around the forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM

from core.evaluation.chunks import Tokens


class StockModel(HFLM):  # type: ignore[misc]
    """Batches are padded and computed as stock lm-eval does; the softmax runs only where an output is asked for.

    Stock lm-eval takes it of every place of a batch. It is taken of each place alone, so that the numbers are the same.
    """

    _lengths: list[int]  # of the batch's rows, which lm-eval sorts by it
    _most = 0  # tokens asked for in a row

    def answers_to(self, requests: Sequence[tuple[Tokens, Tokens]]) -> list[tuple[float, bool]]:
        """Of a batch of contexts and continuations, in order: log-likelihood, and whether greedy decoding gives it."""
        rows = {(*context, *wanted[:-1]) for context, wanted in requests}  # lm-eval computes equal inputs once
        self._lengths = sorted((min(len(row), self.max_length) for row in rows), reverse=True)
        self._most = max(len(wanted) for _, wanted in requests)
        asked = [(("", ""), list(context), list(wanted)) for context, wanted in requests]
        answers: list[tuple[float, bool]] = self._loglikelihood_tokens(asked, disable_tqdm=True)
        return answers

    def _model_call(self, inps: torch.Tensor, *masks: Any, **named: Any) -> torch.Tensor:
        """Logits at the last places of each row, [rows, most tokens asked for, vocabulary]."""
        logits: torch.Tensor = super()._model_call(inps, *masks, **named)
        ends = torch.tensor(self._lengths, device=logits.device)[:, None]
        places = (ends - torch.arange(self._most, 0, -1, device=logits.device)).clamp(min=0)
        return logits.gather(1, places[:, :, None].expand(-1, -1, logits.shape[2]))

    def _select_cont_toks(
        self, logits: torch.Tensor, contlen: int | None = None, inplen: int | None = None
    ) -> torch.Tensor:
        """Logits [tokens asked for, vocabulary] of a row of `_model_call`."""
        assert contlen and contlen <= self._most
        return logits[self._most - contlen :]
