"""What a recipe, or `raycipe mt-bench`, can ask of MT-Bench."""

from __future__ import annotations

from pydantic import Field

from core.options import Options

URL = r"^https?://[^@\s]+$"  # a password belongs into an environment variable


class MtBench(Options):
    """Which questions are asked, and who judges the answers."""

    data: str = Field(
        description="Directory of question.jsonl, judge_prompts.jsonl and reference_answer/gpt-4.jsonl: FastChat's."
    )
    judge_url: str = Field(pattern=URL, description="OpenAI-compatible endpoint of the judge, e.g. https://host/v1.")
    judge_model: str = Field(min_length=1, description="The judge's name there.")
    judge_key_variable: str = Field("OPENAI_API_KEY", description="Environment variable of its key; it may be unset.")
    judge_max_tokens: int = Field(2048, ge=1, description="Longest judgment, in tokens.")
    max_new_tokens: int = Field(1024, ge=1, description="Longest answer, in tokens.")
    limit: int | None = Field(None, ge=1, description="Questions, the first ones; none: all.")
    batch_size: int = Field(16, ge=1, description="Questions that a model of ours answers together.")
    concurrency: int = Field(4, ge=1, le=256, description="Requests to an endpoint at once.")
    retries: int = Field(6, ge=0, le=20, description="More tries of a request that met 429, 5xx, silence or no server.")
    timeout: float = Field(
        300.0, gt=0, description="Seconds without a byte of an answer after which it is tried again."
    )
    prompt_price: float | None = Field(
        None, ge=0, description="Of a million tokens that the judge reads; none: not told."
    )
    completion_price: float | None = Field(None, ge=0, description="Of a million tokens that it writes.")
