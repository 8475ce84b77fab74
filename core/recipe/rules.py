"""What must hold between the fields of a recipe."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path

import orjson

from core.recipe.loading import Loc, Tree
from core.recipe.problems import Problem, key_path, place
from core.recipe.schema import Recipe


def broken_rules(tree: Tree, recipe: Recipe) -> Iterator[Problem]:
    """Every cross-field rule that the recipe breaks."""
    for rule in (
        _known_sources,
        _sequence_fits_model,
        _no_pairs,
        _names_not_taken,
        _workers_divide,
        _new_model_in_full,
        _adapters_and_zero,
        _known_models,
        _chat_has_template,
    ):
        for loc, found, expected, nearest in rule(tree, recipe):
            if loc[0] == "train" and loc[1] not in written_names(tree, "train"):
                continue  # a placeholder's
            yield Problem(place(tree, loc), key_path(loc), found, expected, nearest)


def written_names(tree: Tree, *loc: str) -> list[str]:
    """The keys of a mapping as the recipe writes them, whether what they hold is right or not."""
    node = tree.values
    for part in loc:
        node = node.get(part) if isinstance(node, dict) else None  # type: ignore[assignment]
    return list(node) if isinstance(node, dict) else []


Broken = Iterator[tuple[Loc, str, str, str | None]]


def _known_sources(tree: Tree, recipe: Recipe) -> Broken:
    """The mixture, the steps, the phases and the tokenizer name only sources that there are."""
    sources = written_names(tree, "data", "sources")
    if not sources:
        return  # what is wrong with them is said already
    named: list[tuple[Loc, Iterable[str]]] = [(("data", "mixture"), recipe.data.mixture or ())]
    named += [(("train", name, "data", "sources"), phase.data.sources) for name, phase in recipe.train.items()]
    for number, step in enumerate(recipe.data.steps):
        for key in ("sources", "priority"):
            named.append((("data", "steps", number, step.kind, key), getattr(step.options, key, None) or ()))
    tokenizer = recipe.model.tokenizer
    if tokenizer and tokenizer.train and tokenizer.train.sources:
        named.append((("model", "tokenizer", "train", "sources"), tokenizer.train.sources))
    for loc, names in named:
        for name in names:
            if name not in sources:
                here = (*loc, name) if loc[-1] == "mixture" else loc
                nearest = next(iter(difflib.get_close_matches(name, sources, n=1)), None)
                yield here, f"unknown source '{name}'", f"one of data.sources: {', '.join(sources)}", nearest
    mixture = recipe.data.mixture
    if mixture is None or not set(mixture) <= set(sources):
        return
    for name, phase in recipe.train.items():
        for source in phase.data.sources:
            if source in sources and not mixture.get(source):
                loc = ("train", name, "data", "sources")
                yield (
                    loc,
                    f"'{source}', of which the mixture takes nothing",
                    "a source with a count in data.mixture",
                    None,
                )


def _sequence_fits_model(tree: Tree, recipe: Recipe) -> Broken:
    limit = model_length(recipe)
    for name, phase in recipe.train.items():
        if limit is not None and phase.data.sequence_length > limit:
            loc = ("train", name, "data", "sequence_length")
            yield (
                loc,
                f"{phase.data.sequence_length} tokens",
                f"at most the model's {limit} (max_position_embeddings)",
                None,
            )


def model_length(recipe: Recipe) -> int | None:
    """The longest sequence of the recipe's model, in tokens; None for a model on a hub, known only once loaded."""
    if recipe.model.config is not None:
        return recipe.model.config.max_position_embeddings
    config = Path(str(recipe.model.base)) / "config.json"
    if not config.is_file():
        return None
    try:
        length = orjson.loads(config.read_bytes()).get("max_position_embeddings")
    except orjson.JSONDecodeError:
        return None  # loading the model will say what is wrong with it
    return int(length) if length else None


def _no_pairs(tree: Tree, recipe: Recipe) -> Broken:
    for name, phase in recipe.train.items():
        for source in phase.data.sources:
            declared = recipe.data.sources.get(source)
            if declared is not None and declared.fields is not None and declared.fields.form == "pair":
                loc = ("train", name, "data", "sources")
                yield loc, f"'{source}', whose documents are preference pairs", "sources of text or dialogues", None


def _names_not_taken(tree: Tree, recipe: Recipe) -> Broken:
    for name in ("base", "tokenizer"):
        if name in recipe.train:
            yield ("train", name), f"a phase called '{name}'", "another name: this one has a meaning of its own", None


def _workers_divide(tree: Tree, recipe: Recipe) -> Broken:
    workers = recipe.resources.workers
    for name, phase in recipe.train.items():
        if workers != "auto" and phase.global_batch_size % (phase.micro_batch_size * workers):
            loc = ("train", name, "global_batch_size")
            expected = f"a multiple of micro_batch_size {phase.micro_batch_size} times {workers} workers"
            yield loc, str(phase.global_batch_size), expected, None


def _new_model_in_full(tree: Tree, recipe: Recipe) -> Broken:
    """Adapters on frozen random weights would learn nothing worth having."""
    name = next(iter(written_names(tree, "train")), "")
    phase = recipe.train.get(name)
    if recipe.model.config is not None and phase is not None and phase.method != "full":
        expected = "full: the first phase of a model made from model.config trains all its weights"
        yield ("train", name, "method"), f"'{phase.method}'", expected, None


def _adapters_and_zero(tree: Tree, recipe: Recipe) -> Broken:
    """DeepSpeed does not shard bitsandbytes' 4-bit weights: each GPU would hold them all."""
    for name, phase in recipe.train.items():
        if phase.method == "qlora" and phase.zero_stage == 3:
            loc = ("train", name, "zero_stage")
            expected = "0, 1 or 2: with qlora the 4-bit weights would not shard (or method lora, which does)"
            yield loc, "3 with method qlora", expected, None


def _known_models(tree: Tree, recipe: Recipe) -> Broken:
    known = ["base", *written_names(tree, "train")]
    for name in (recipe.evaluate.models or []) if recipe.evaluate else []:
        if name not in known:
            nearest = next(iter(difflib.get_close_matches(name, known, n=1)), None)
            yield ("evaluate", "models"), f"unknown model '{name}'", f"one of {', '.join(known)}", nearest


def _chat_has_template(tree: Tree, recipe: Recipe) -> Broken:
    for name, phase in recipe.train.items():
        tokenizer = recipe.model.tokenizer
        if phase.data.chat_template == "tokenizer" and tokenizer is not None and tokenizer.train is not None:
            loc = ("train", name, "data", "chat_template")
            yield (
                loc,
                "'tokenizer' with a tokenizer trained here",
                "chatml: a new tokenizer has no template of its own",
                None,
            )
