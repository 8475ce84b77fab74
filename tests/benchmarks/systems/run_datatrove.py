"""datatrove: its four MinHash steps with its default word tokenizer, 16 buckets of 8 hashes, one task after the other.

It keeps any document of a cluster, so its clusters are told, of which the first one counts as kept here as elsewhere.
"""

from __future__ import annotations

import json
import struct
import sys
from importlib.metadata import version
from pathlib import Path

from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import JsonlWriter

BUCKETS = 16


def main(corpus: str, answer: str, directory: str) -> None:
    config = MinhashConfig(n_grams=5, num_buckets=BUCKETS, hashes_per_bucket=8)
    path = Path(corpus)

    def documents() -> ParquetReader:
        return ParquetReader(str(path.parent), glob_pattern=path.name, id_key="row")

    MinhashDedupSignature(f"{directory}/signatures", config).run(documents().run(), 0, 1)
    for bucket in range(BUCKETS):
        MinhashDedupBuckets(f"{directory}/signatures", f"{directory}/pairs", config=config).run(None, bucket, BUCKETS)
    MinhashDedupCluster(f"{directory}/pairs", f"{directory}/removed", config, save_cluster_id=True).run(None, 0, 1)
    kept = MinhashDedupFilter(f"{directory}/removed").run(documents().run(), 0, 1)
    for _ in JsonlWriter(f"{directory}/kept", compression=None).run(kept, 0, 1):
        pass
    clusters = list(struct.iter_unpack("<2I", (Path(directory) / "removed/000000.clusters").read_bytes()))
    Path(answer).write_text(json.dumps({"version": version("datatrove"), "clusters": clusters}))


if __name__ == "__main__":
    main(*sys.argv[1:4])
