"""The special tokens that tasks need of a model's tokenizer."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from core.errors import RecipeError
from core.evaluation.options import Evaluate
from core.evaluation.task_definitions import setting
from core.evaluation.task_files import TaskFile


def check_tokens(tokenizer: PreTrainedTokenizerBase, model: str, tasks: Sequence[TaskFile], options: Evaluate) -> None:
    """Whether a model's tokenizer can ask all tasks. Raises RecipeError with what it lacks and which task needs it.

    An answer ends at eos_token, a text whose likelihood is computed begins with bos_token or eos_token, and shorter
    texts of a batch are filled up with pad_token, unk_token or eos_token.
    """
    if options.chat_template and not tokenizer.chat_template:
        raise RecipeError(
            f"evaluate.chat_template: the tokenizer of {model} has no chat template; set it to false, or score a model "
            "that a phase with data.chat_template has trained"
        )
    has = {name for name in ("bos", "eos", "pad", "unk") if getattr(tokenizer, f"{name}_token_id") is not None}
    for task in tasks:
        answers = setting(task.path, "output_type") in (None, "generate_until")
        needs = [("eos",) if answers else ("bos", "eos"), ("pad", "unk", "eos")]
        if lacking := [names for names in needs if not has & set(names)]:
            wanted = " and ".join(" or ".join(f"{name}_token" for name in names) for names in lacking)
            raise RecipeError(
                f"evaluate.tasks: {task.name} needs a tokenizer with {wanted}; that of {model} has none. Add it to its "
                "tokenizer_config.json"
            )
