"""A batch that does not fit into memory is computed in halves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from core.models.create import create_model
from core.models.options import ModelConfig
from core.tokens.tokenizer import train_tokenizer
from tests.tokens.conftest import text_documents

LIMITED = """\
import json, resource, sys
from dataclasses import replace
from pathlib import Path
from core.evaluation.chunks import Likelihoods, Question, StockLikelihoods
from core.evaluation.scorer import ScoredModel, Scorer
from core.errors import ResourceError

model, wide = ScoredModel(Path(sys.argv[1]), "cpu", 16), int(sys.argv[2])
inputs = [tuple(range(start, start + wide)) for start in range(5, 21)]
questions = tuple(Question(tokens, ((),), ((0, tokens[1:]),)) for tokens in inputs)
scorer = Scorer()
requests = tuple(((tokens[0],), tokens[1:]) for tokens in inputs)
alone = [scorer.score(model, Likelihoods((), (question,)))[0] for question in questions]
alone += [scorer.score(model, StockLikelihoods((request,)))[0] for request in requests]
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (300 << 20), size + (300 << 20)))
together = scorer.score(model, Likelihoods((), questions))
together += scorer.score(model, StockLikelihoods(requests))
try:
    scorer.score(replace(model, exact=True), StockLikelihoods(requests))
    said = ""
except ResourceError as error:
    said = str(error)
print(json.dumps([alone, together, said]))
"""


def test_a_batch_that_does_not_fit_is_halved_until_it_does(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(lambda: [text_documents(["some words of a text " * 20])], 400, 10_000)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = create_model(ModelConfig(**sizes, max_position_embeddings=1024), tokenizer, seed=1)
    model.resize_token_embeddings(40_000)  # whose outputs are large: 16 questions' take 1.3 GB
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    done = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path), "500"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    alone, together, said = json.loads(done.stdout.splitlines()[-1])
    assert all(abs(one[0] - other[0]) < 1e-2 and one[1] == other[1] for one, other in zip(alone, together, strict=True))
    assert len(alone) == 32
    assert "a batch of requests does not fit into memory" in said  # which is stock lm-eval's own, and stays whole
    assert "lower evaluate.batch_size" in said
