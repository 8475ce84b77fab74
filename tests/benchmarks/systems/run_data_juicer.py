"""data-juicer: its command `dj-process` with document_minhash_deduplicator, 16 bands of 8 rows, in one process."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

RECIPE = """
project_name: benchmark
dataset_path: {corpus}
export_path: {directory}/kept.jsonl
work_dir: {directory}
np: 1
open_tracer: false
process:
  - document_minhash_deduplicator:
      tokenization: space
      window_size: 5
      lowercase: true
      num_permutations: 128
      jaccard_threshold: 0.8
      num_bands: 16
      num_rows_per_band: 8
"""


def main(corpus: str, answer: str, directory: str) -> None:
    recipe = Path(directory) / "recipe.yaml"
    recipe.write_text(RECIPE.format(corpus=corpus, directory=directory))
    sys.argv = ["dj-process", "--config", str(recipe)]
    from data_juicer.tools.process_data import main as process

    process()
    with (Path(directory) / "kept.jsonl").open() as file:
        kept = [json.loads(line)["row"] for line in file]
    Path(answer).write_text(json.dumps({"version": version("py-data-juicer"), "kept": kept}))


if __name__ == "__main__":
    main(*sys.argv[1:4])
