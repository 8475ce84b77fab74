"""MT-Bench: its questions, a model's answers, and a judge's ratings of them."""
