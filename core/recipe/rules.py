"""What must hold between the fields of a recipe."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path

import orjson

from core.models.extend import known_depth
from core.recipe.loading import Loc, Tree
from core.recipe.problems import Problem, key_path, place
from core.recipe.schema import Recipe
from core.training.options import BASE


def broken_rules(tree: Tree, recipe: Recipe) -> Iterator[Problem]:
    """Every cross-field rule that the recipe breaks."""
    for rule in (
        _known_sources,
        _sequence_fits_model,
        _blocks_are_there,
        _pairs_and_texts,
        _scores_for_sampling,
        _metadata_is_kept,
        _names_not_taken,
        _workers_divide,
        _new_model_in_full,
        _adapters_and_zero,
        _known_models,
        _starts_are_earlier,
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


def _blocks_are_there(tree: Tree, recipe: Recipe) -> Broken:
    """A deeper model is made of blocks that its base has, as far as that is known before it is loaded."""
    model = recipe.model
    if model.extend is None:
        return
    depth = model.config.num_hidden_layers if model.config is not None else known_depth(Path(str(model.base)))
    if depth is not None and (misfit := model.extend.misfit(depth)):
        found, expected = misfit
        yield ("model", "extend", "blocks"), found, expected, None


def _pairs_and_texts(tree: Tree, recipe: Recipe) -> Broken:
    """A phase learns from preference pairs or from texts and dialogues, and says which."""
    for name, phase in recipe.train.items():
        known = [source for source in phase.data.sources if source in recipe.data.sources]
        pairs = [source for source in known if holds_pairs(recipe, source)]
        others = [source for source in known if source not in pairs]
        loc: Loc = ("train", name, "data", "sources")
        if pairs and others:
            found = f"'{pairs[0]}', of preference pairs, with '{others[0]}', of texts or dialogues"
            yield loc, found, "sources of one kind in a phase", None
        elif pairs and phase.preference is None:
            expected = "train." + name + ".preference: {beta: ..., dpop_lambda: ...}, or sources of texts or dialogues"
            yield loc, f"'{pairs[0]}', whose documents are preference pairs", expected, None
        elif others and phase.preference is not None:
            yield loc, f"'{others[0]}', whose documents are no preference pairs", "sources of preference pairs", None


def holds_pairs(recipe: Recipe, source: str) -> bool:
    """Whether a source's documents are preference pairs when curation is done with them."""
    if recipe.data.sources[source].holds_pairs:
        return True
    made = [step.options for step in recipe.data.steps if step.kind == "corrupted_solutions"]
    return any(options.sources is None or source in options.sources for options in made)


def _scores_for_sampling(tree: Tree, recipe: Recipe) -> Broken:
    """What is drawn by score is Natural Instructions, and is scored."""
    tasks = [name for name, source in recipe.data.sources.items() if source.natural_instructions is not None]
    asked: list[tuple[Loc, list[str]]] = []
    if recipe.infer is not None:
        asked.append((("infer", "sources"), recipe.infer.sources or []))
        if not tasks:
            yield ("infer",), "no source of natural_instructions", "one that can be scored", None
    for number, step in enumerate(recipe.data.steps):
        if step.kind != "sample_by_score":
            continue
        loc: Loc = ("data", "steps", number, step.kind)
        asked.append(((*loc, "sources"), step.options.sources or []))
        wanted = step.options.sources or tasks
        if not tasks:
            yield loc, "no source of natural_instructions", "one whose instances are scored", None
        elif step.options.scores is None and recipe.infer is None:
            yield loc, "no scores", "infer: {} in the recipe, or scores: a file of scores made before", None
        elif step.options.scores is None and recipe.infer is not None and recipe.infer.sources is not None:
            for name in set(wanted) & set(tasks) - set(recipe.infer.sources):
                yield (*loc, "sources"), f"'{name}', which infer.sources leaves out", "a source that is scored", None
    for loc, names in asked:
        for name in names:
            if name in recipe.data.sources and name not in tasks:
                expected = f"a source of natural_instructions: {', '.join(tasks) or 'there is none'}"
                yield loc, f"'{name}'", expected, None
            elif name not in recipe.data.sources and loc[0] == "infer":
                nearest = next(iter(difflib.get_close_matches(name, tasks, n=1)), None)
                yield loc, f"unknown source '{name}'", f"one of {', '.join(tasks)}", nearest


def _metadata_is_kept(tree: Tree, recipe: Recipe) -> Broken:
    """A value by which documents are chosen is kept beside them, where the source has columns."""
    for number, step in enumerate(recipe.data.steps):
        if step.kind != "metadata" or step.options.missing == "keep":
            continue
        for name in step.options.sources or recipe.data.sources:
            source = recipe.data.sources.get(name)
            if source is not None and source.fields is not None and step.options.key not in source.fields.meta:
                kept = ", ".join(source.fields.meta) or "none is kept"
                expected = f"a name in data.sources.{name}.fields.meta: {kept}"
                nearest = next(iter(difflib.get_close_matches(step.options.key, source.fields.meta, n=1)), None)
                yield ("data", "steps", number, step.kind, "key"), f"'{step.options.key}'", expected, nearest


def _names_not_taken(tree: Tree, recipe: Recipe) -> Broken:
    for name in (BASE, "tokenizer"):
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
    if recipe.model.config is None:
        return
    names = written_names(tree, "train")
    for name in names:
        phase = recipe.train.get(name)
        first = phase is not None and (phase.starts_from == BASE or (name == names[0] and not phase.starts_from))
        if phase is not None and first and phase.method != "full":
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
    known = [BASE, *written_names(tree, "train")]
    if recipe.evaluate is None:
        return
    for key in ("models", "compare"):
        for name in getattr(recipe.evaluate, key) or []:
            if name not in known:
                nearest = next(iter(difflib.get_close_matches(name, known, n=1)), None)
                yield ("evaluate", key), f"unknown model '{name}'", f"one of {', '.join(known)}", nearest
    scored = recipe.evaluate.models or [BASE, *written_names(tree, "train")[-1:]]
    for name in recipe.evaluate.compare or []:
        if name in known and name not in scored:
            expected = f"one of evaluate.models: {', '.join(scored)}"
            yield ("evaluate", "compare"), f"'{name}', which is not scored", expected, None


def _starts_are_earlier(tree: Tree, recipe: Recipe) -> Broken:
    """A phase starts from the base model or from a phase before it."""
    names = written_names(tree, "train")
    for number, name in enumerate(names):
        phase = recipe.train.get(name)
        earlier = [BASE, *names[:number]]
        if phase is not None and phase.starts_from not in (None, *earlier):
            yield ("train", name, "starts_from"), f"'{phase.starts_from}'", f"one of {', '.join(earlier)}", None


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
