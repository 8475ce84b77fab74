"""Reading a source as a worker does."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from core.documents.ledger import DROPPED
from core.documents.reading import read_shard, shards
from core.documents.source import Source
from core.documents.table import DOCUMENTS

Read = Callable[..., tuple[pa.Table, pa.Table]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads all shards of a source called "s", declared as in a recipe in tmp_path: documents and rejected rows."""

    def read(part: Any = "train", **declared: Any) -> tuple[pa.Table, pa.Table]:
        source = Source.model_validate(declared)
        found = shards("s", source, tmp_path, part)
        assert [shard.number for shard in found] == list(range(len(found)))
        pairs = [pair for shard in found for pair in read_shard(pickle.loads(pickle.dumps(shard)), seed=1)]
        documents = [DOCUMENTS.empty_table(), *(documents for documents, _ in pairs)]
        rejected = [DROPPED.empty_table(), *(rejected for _, rejected in pairs)]
        return pa.concat_tables(documents), pa.concat_tables(rejected)

    return read
