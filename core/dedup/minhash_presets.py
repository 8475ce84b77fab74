"""What other systems take for near-deduplication, under their names.

`slimpajama` (Soboleva et al., 2023): `dedup/to_hash.py` of github.com/Cerebras/modelzoo lower-cases, takes out
punctuation and hashes 13-grams of CHARACTERS into signatures of 128; pairs come from LSH at .8 with datasketch's
optimum of bands, 9 x 13, and make connected components over all sources. They verify none: of the pairs at .8 their
bands find two in five. Ours are those that miss least, and every pair is verified; `verify: false` gives theirs. Our
characters are those of the words joined by single spaces: a punctuation mark inside a word parts it here, and is left
out there.

`the_stack` (Kocetkov et al., 2022, arxiv.org/abs/2211.15533, section 3, "near-deduplication"; codeparrot's
`minhash_deduplication.py` in github.com/huggingface/transformers): sets of single words, 256 permutations, and in each
cluster a file is removed only for one that is kept and has an exact similarity of .85 with it. They let candidates go
by datasketch's optimum of bands; all are verified, so ours are the ones that miss least. They leave out files of
fewer than 10 words.

`fineweb` (Penedo et al., 2024, arxiv.org/abs/2406.17557, section 3.4; `examples/fineweb.py` of
github.com/huggingface/datatrove): 5-grams of words, 14 bands of 8, not verified, aimed at a similarity of .75. They
take each crawl by itself: `across_sources: false` with a source for each does that.
"""

from __future__ import annotations

from typing import Any, Literal

Preset = Literal["slimpajama", "the_stack", "fineweb"]

PRESETS: dict[Preset, dict[str, Any]] = {
    "slimpajama": {
        "threshold": 0.8,
        "ngram": 13,
        "unit": "character",
        "permutations": 128,
        "verify": True,
        "across_sources": True,
    },
    "the_stack": {
        "threshold": 0.85,
        "ngram": 1,
        "unit": "word",
        "permutations": 256,
        "verify": True,
        "linkage": "representative",
    },
    "fineweb": {
        "threshold": 0.75,
        "ngram": 5,
        "unit": "word",
        "permutations": 112,
        "bands": 14,
        "rows_per_band": 8,
        "verify": False,
    },
}
