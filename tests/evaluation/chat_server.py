"""Real servers of OpenAI's chat completions on this machine, and models for them, made here."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from core.models.create import create_model
from core.models.options import ModelConfig
from core.tokens.tokenizer import train_tokenizer
from tests.tokens.conftest import TEXTS, text_documents

Body = dict[str, Any]
JUDGED = "[[7]]"


@dataclass(frozen=True)
class Reply:
    """What a server sends."""

    body: Any  # as JSON; text as it is
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0  # before anything is sent


def completion(text: str | None, **usage: int) -> Reply:
    """A well-formed answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return Reply({"object": "chat.completion", "choices": [choice], **({"usage": usage} if usage else {})})


class ChatServer:
    """Answers each request by `respond`, given its number and body; keeps bodies and headers of all."""

    def __init__(self, respond: Callable[[int, Body], Reply]) -> None:
        self.requests: list[Body] = []
        self.headers: list[dict[str, str]] = []
        self.at_once = 0  # requests under way, at most
        lock, under_way = threading.Lock(), [0]
        this = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    number = len(this.requests)
                    this.requests.append({"path": self.path, **body})
                    this.headers.append(dict(self.headers))
                    under_way[0] += 1
                    this.at_once = max(this.at_once, under_way[0])
                reply = respond(number, body)
                time.sleep(reply.seconds)
                with lock:
                    under_way[0] -= 1
                data = reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
                try:
                    self.send_response(reply.status)
                    for name, value in {"Content-Length": str(len(data.encode())), **reply.headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(data.encode())
                except OSError:  # a client that no longer waits
                    self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> ChatServer:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def generating(model: Any, tokenizer: Any) -> Callable[[int, Body], Reply]:
    """Answers as a server that holds a model does: through its chat template, greedily, with the tokens counted."""
    import torch

    lock = threading.Lock()

    def respond(number: int, body: Body) -> Reply:
        ids = tokenizer.apply_chat_template(
            body["messages"], add_generation_prompt=True, return_tensors="pt", return_dict=False
        )
        with lock, torch.inference_mode():
            found = model.generate(ids, max_new_tokens=body["max_tokens"], do_sample=False)[0, ids.shape[1] :]
        text = tokenizer.decode(found, skip_special_tokens=True)
        return completion(text, prompt_tokens=ids.shape[1], completion_tokens=len(found))

    return respond


def chat_tokenizer() -> Any:
    """Byte-level BPE with ChatML's template, which has `[[` and `]]` as tokens."""
    return train_tokenizer(
        lambda: [text_documents([*TEXTS, "Rating: [[5]] [[7]]. " * 50])], vocabulary=400, characters=10_000
    )


def random_model(tokenizer: Any, **sizes: int) -> Any:
    """That says anything at all."""
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    return create_model(ModelConfig(**{**small, "max_position_embeddings": 4096, **sizes}), tokenizer, seed=1)


def judging_model(tokenizer: Any) -> Any:
    """A Mistral that says JUDGED to everything: its next token hangs on the last one alone.

    Its block adds nothing, each token's embedding is a direction of its own, and the output layer is the table.
    """
    import torch

    size = len(tokenizer)
    model = random_model(tokenizer, hidden_size=size, num_attention_heads=2, max_position_embeddings=16_384)
    written = [*tokenizer("\n")["input_ids"], *tokenizer(JUDGED)["input_ids"], tokenizer.eos_token_id]
    assert len(set(written)) == len(written)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.model.norm.weight.fill_(1)
        model.model.embed_tokens.weight.copy_(torch.eye(size))
        model.lm_head.weight.zero_()
        for token, following in itertools.pairwise(written):
            model.lm_head.weight[following, token] = 1
    return model


def save(model: Any, tokenizer: Any, directory: Path) -> Path:
    """A model directory."""
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory
