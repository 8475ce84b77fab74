"""Deeper models: a new one whose blocks are copies of an existing one's, made file by file.

Plain copies: depth up-scaling, Kim et al. 2023, https://arxiv.org/abs/2312.15166, section 2. Copies that add nothing at
first: LLaMA Pro, Wu et al. 2024, https://arxiv.org/abs/2401.02415, section 3.2. A block adds the outputs of o_proj and
down_proj to the residual stream: where both are zero, what goes in comes out, and both still get gradients.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from core.artifacts.atomic import atomic_path, writable, write_json
from core.errors import DataError, RecipeError, ResourceError, first_line
from core.models.options import DepthExtension, ModelConfig

if TYPE_CHECKING:
    import torch

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
ARCHITECTURES = ("llama", "mistral", "qwen2")  # whose blocks end in o_proj and down_proj, with nothing behind
BLOCK = re.compile(r"model\.layers\.(\d+)\.(.+)")
ADDING = ("o_proj.", "down_proj.")
LARGEST_FILE = 5_000_000_000  # bytes of tensors in one file, as transformers had it for years
NOT_COPIED = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx", ".index.json")  # weights


@dataclass(frozen=True)
class Tensor:
    """A tensor of the new model and where it comes from."""

    name: str
    source: str  # its name in the old model
    zero: bool
    bytes: int


def extended_config(config: ModelConfig, extension: DepthExtension) -> ModelConfig:
    """The configuration of a model made from a configuration and extended: for counting, not for creating it."""
    return config.model_copy(update={"num_hidden_layers": len(extension.blocks)})


def known_depth(directory: Path) -> int | None:
    """The number of blocks of the model in a directory; None where its config.json does not say it."""
    try:
        depth = orjson.loads((directory / CONFIG).read_bytes()).get("num_hidden_layers")
    except (OSError, orjson.JSONDecodeError, AttributeError):
        return None
    return depth if isinstance(depth, int) else None


def extend_depth(source: Path, directory: Path, extension: DepthExtension) -> None:
    """Writes the model in `source`, with other blocks, to `directory`, which is whole or not there.

    Weights are mapped from the old files, so that no more than the second copies in one new file (of 5 GB at most) are
    in memory. The tokenizer and everything else beside the weights is copied. What was in `directory` is replaced.
    Raises RecipeError where the model has no such blocks or is of a kind that is not known here, DataError for broken
    files, ResourceError where there are no safetensors weights or too little disk.
    """
    config, described = _described(source, extension)
    places = _places(source)
    tensors = _planned(source, places, config["num_hidden_layers"], extension)
    size = sum(tensor.bytes for tensor in tensors)
    temporary = directory.with_name(f".{directory.name}.unfinished")
    with writable(directory):
        directory.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        if size > (free := shutil.disk_usage(directory.parent).free):
            raise ResourceError(
                f"model.extend: the extended model needs {size / 1e9:.1f} GB on disk, and {directory.parent} has "
                f"{free / 1e9:.1f} GB free; free some, or choose another place with --runs-dir"
            )
        temporary.mkdir()
    try:
        _write_weights(source, temporary, places, tensors)
        for path in sorted(source.iterdir()):
            if path.is_file() and path.name != CONFIG and not path.name.endswith(NOT_COPIED):
                with atomic_path(temporary / path.name) as copy:
                    shutil.copyfile(path, copy)
        write_json(temporary / CONFIG, described)
        with writable(directory):
            shutil.rmtree(directory, ignore_errors=True)
            temporary.rename(directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _described(source: Path, extension: DepthExtension) -> tuple[dict[str, Any], dict[str, Any]]:
    """The old and the new model's config.json."""
    from transformers import AutoConfig

    try:
        config = orjson.loads((source / CONFIG).read_bytes())
        loaded = AutoConfig.from_pretrained(source, trust_remote_code=False)
        depth = int(config["num_hidden_layers"])
    except FileNotFoundError as error:
        raise ResourceError(f"model.extend: {source} has no {CONFIG}: give a model's directory") from error
    except Exception as error:  # of many kinds
        raise DataError(
            f"{source / CONFIG}: cannot be read as a model's configuration ({first_line(error)})"
        ) from error
    if config.get("model_type") not in ARCHITECTURES:
        raise RecipeError(
            f"model.extend: {source} is of type {config.get('model_type')}; known are {', '.join(ARCHITECTURES)}"
        )
    if "quantization_config" in config:
        raise RecipeError(f"model.extend: the weights of {source} are quantised; give the model that they were made of")
    if misfit := extension.misfit(depth):
        raise RecipeError(f"model.extend.blocks: found {misfit[0]}; expected {misfit[1]} ({source})")
    described = config | {"num_hidden_layers": len(extension.blocks)}
    if types := getattr(loaded, "layer_types", None):  # of attention, each block's; Qwen2's follow from another key
        described["layer_types"] = [types[block] for block in extension.blocks]
    return config, described


def _places(source: Path) -> dict[str, str]:
    """The file that holds each tensor, by the tensor's name."""
    if not (source / INDEX).is_file():
        if (source / WEIGHTS).is_file():
            with _opened(source / WEIGHTS) as file:
                return dict.fromkeys(file.keys(), WEIGHTS)
        others = [path.name for path in source.iterdir() if path.name.endswith(NOT_COPIED)]
        raise ResourceError(
            f"model.extend: {source} has neither {WEIGHTS} nor {INDEX}"
            + (f", only {', '.join(sorted(others)[:3])}" if others else "")
            + "; give a model with safetensors weights"
        )
    try:
        places = orjson.loads((source / INDEX).read_bytes())["weight_map"]
        return {str(name): str(file) for name, file in places.items()}
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{source / INDEX}: cannot be read as an index of weights: fetch the file again") from error


def _planned(source: Path, places: dict[str, str], depth: int, extension: DepthExtension) -> list[Tensor]:
    """The new model's tensors in the order in which they are written: those of no block first, then block by block."""
    sizes = dict(_sizes(source, places))
    blocks: dict[int, list[str]] = {number: [] for number in range(depth)}
    planned = []
    for name in sorted(places):
        if found := BLOCK.fullmatch(name):
            blocks.setdefault(int(found[1]), []).append(found[2])
        else:
            planned.append(Tensor(name, name, False, sizes[name]))
    if len(blocks) > depth or not all(blocks.values()):
        whole = sum(map(bool, blocks.values()))
        raise DataError(f"{source}: {CONFIG} says {depth} blocks, and there are weights of {whole}")
    if unlike := [number for number, parts in blocks.items() if parts != blocks[0]]:
        lacking = sorted(set(blocks[0]) ^ set(blocks[unlike[0]]))
        raise DataError(f"{source}: blocks 0 and {unlike[0]} have not the same weights; {lacking[0]} is in one of them")
    for number, block in enumerate(extension.blocks):
        again = extension.identity and block in extension.blocks[:number]
        for part in blocks[block]:
            name = f"model.layers.{block}.{part}"
            zero = again and any(each in part for each in ADDING)
            planned.append(Tensor(f"model.layers.{number}.{part}", name, zero, sizes[name]))
    return planned


def _sizes(source: Path, places: dict[str, str]) -> Iterator[tuple[str, int]]:
    """Each tensor's size in bytes."""
    for path, names in _by_file(places):
        with _opened(source / path) as file:
            if missing := set(names) - set(file.keys()):
                raise DataError(f"{source / path}: has no tensor {min(missing)}, which {INDEX} says it has")
            for name in names:
                yield name, file.get_tensor(name).nbytes  # mapped, not read


def _by_file(places: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
    for path in sorted(set(places.values())):
        yield path, [name for name in places if places[name] == path]


def _write_weights(source: Path, directory: Path, places: dict[str, str], tensors: list[Tensor]) -> None:
    from safetensors.torch import save_file

    files: list[list[Tensor]] = [[]]
    for tensor in tensors:
        if files[-1] and sum(each.bytes for each in files[-1]) + tensor.bytes > LARGEST_FILE:
            files.append([])
        files[-1].append(tensor)
    index: dict[str, str] = {}
    for number, held in enumerate(files, 1):
        name = WEIGHTS if len(files) == 1 else f"model-{number:05d}-of-{len(files):05d}.safetensors"
        index |= dict.fromkeys((tensor.name for tensor in held), name)
        with atomic_path(directory / name) as path:
            save_file(dict(_read(source, places, held)), path, metadata={"format": "pt"})
    if len(files) > 1:
        size = sum(tensor.bytes for tensor in tensors)
        write_json(directory / INDEX, {"metadata": {"total_size": size}, "weight_map": index})


def _read(source: Path, places: dict[str, str], tensors: list[Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors' values, mapped from the files but for zeros and second copies: safetensors refuses shared ones."""
    import torch

    mapped = set()
    for path in sorted({places[tensor.source] for tensor in tensors}):
        with _opened(source / path) as file:
            for tensor in tensors:
                if places[tensor.source] != path:
                    continue
                values = file.get_tensor(tensor.source)
                if tensor.zero:
                    values = torch.zeros_like(values)
                elif tensor.source in mapped:
                    values = values.clone()
                mapped.add(tensor.source)
                yield tensor.name, values


def _opened(path: Path) -> Any:
    """A safetensors file. Raises DataError where it is not there or not whole."""
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, framework="pt")
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: cannot be read as safetensors ({first_line(error)}): fetch the file again") from error
