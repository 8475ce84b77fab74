"""The model before any phase: what the recipe names or declares, and where it must be made before training, made."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from core.artifacts.atomic import writable
from core.artifacts.fingerprint import code_version, files_identity, fingerprint
from core.artifacts.stage import Stage
from core.models.create import fetch_model
from core.models.extend import extend_depth
from core.recipe.schema import Recipe
from core.tokens.tokenizer import load_tokenizer
from core.training.options import BASE
from core.training.phase import Start
from ray_jobs.job import Job
from ray_jobs.parallel import each

SHALLOW = ".shallow"  # a model that the recipe declares, before it is extended


def model_fingerprint(recipe: Recipe) -> str:
    """What the first phase starts from: the recipe's model section, and a local base's files."""
    files = files_identity(Path(recipe.model.base)) if recipe.model.base else []
    return fingerprint({"model": recipe.model.model_dump(mode="json"), "files": files})


def first_start(job: Job, tokenizer: list[Any]) -> tuple[Path | None, str]:
    """Where the model before any phase lies, and its fingerprint.

    Nowhere (None) where each worker makes or loads it by the recipe. A deeper model is made once, as the stage `base`.
    tokenizer: its files in the manifest of `tokenize`. Raises as `extend_depth` does.
    """
    recipe = job.recipe
    declared, extension = recipe.model, recipe.model.extend
    if extension is None:
        return None, model_fingerprint(recipe)
    stage = Stage.open(
        job.run_dir,
        BASE,
        recipe=extension.model_dump(mode="json"),
        seed=recipe.seed,
        code=code_version("core/models"),
        inputs={"model": model_fingerprint(recipe), "tokenizer": fingerprint(tokenizer)},
    )
    directory = stage.directory / "model"
    if stage.manifest is None:
        tokenizer_dir = job.run_dir / "tokenize" / "tokenizer"
        job.reporter.say(f"base: {len(extension.blocks)} blocks, made of the model's own")

        def make(target: Path) -> None:
            if declared.config is not None:
                source = target.with_name(SHALLOW)
                if not source.exists():  # whole, of a try that was cut off
                    write_base(recipe, tokenizer_dir, source)
            else:
                source = fetch_model(str(declared.base), declared.revision)
            extend_depth(source, target, extension)
            load_tokenizer(tokenizer_dir).save_pretrained(target)
            shutil.rmtree(target.with_name(SHALLOW), ignore_errors=True)

        for _ in each(job.session, make, [directory]):
            pass
        stage.finish({"blocks": len(extension.blocks)}, exclude=(SHALLOW,))
    else:
        job.reporter.say("base: made earlier")
    return directory, stage.fingerprint


def write_base(recipe: Recipe, tokenizer_dir: Path, directory: Path) -> None:
    """Writes the model that the recipe names or declares, not extended, with the tokenizer, whole or not at all."""
    tokenizer = load_tokenizer(tokenizer_dir)
    temporary = directory.with_name(f".{directory.name}.unfinished")
    model = Start(recipe.model, None, recipe.seed).load(tokenizer)
    with writable(directory):
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        temporary.rename(directory)
