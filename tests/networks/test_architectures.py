"""Ready architectures: they fit the inputs at hand, and learn."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from delc.networks import ARCHITECTURES, BuiltNetwork, InputSpec, build, network_from
from delc.server.errors import InvalidParameter

NUMBERS = InputSpec((30,))
TOKENS = InputSpec((12,), "int64", 100)
CITY = InputSpec((), "int64", 30)

FITTING: list[tuple[Any, dict[str, InputSpec]]] = [
    ("linear", {"input": NUMBERS}),
    ("linear", {"input": InputSpec((1, 8, 8))}),
    ("linear", {"city": CITY}),
    ({"architecture": "linear", "bias": False}, {"input": InputSpec(())}),
    ("mlp", {"input": NUMBERS, "city": CITY}),
    ("mlp", {"hidden1": CITY, "output": CITY}),
    ({"architecture": "mlp", "hidden": []}, {"input": NUMBERS}),
    ({"architecture": "mlp", "hidden": [8, 8], "normalisation": "batch", "dropout": 0.2}, {"input": NUMBERS}),
    ({"architecture": "mlp", "normalisation": "layer", "activation": "gelu"}, {"input": NUMBERS}),
    ("cnn", {"input": InputSpec((64,))}),
    ("cnn", {"input": InputSpec((8, 8))}),
    ("cnn", {"input": InputSpec((1, 8, 8))}),
    ("cnn", {"input": InputSpec((3, 33, 32))}),
    ("cnn", {"input": InputSpec((16, 17, 3))}),
    ("cnn", {"input": InputSpec((1, 1, 1))}),
    ("cnn", {"input": InputSpec((2, 6, 6, 6))}),
    ({"architecture": "cnn", "shape": [3, 8, 8]}, {"input": InputSpec((192,))}),
    ({"architecture": "cnn", "dimensions": 1}, {"input": InputSpec((50,))}),
    ({"architecture": "cnn", "dimensions": 1}, {"input": InputSpec((4, 50))}),
    ({"architecture": "cnn", "dimensions": 3}, {"input": InputSpec((6, 6, 6))}),
    ({"architecture": "cnn", "channels": [4] * 6, "pooling": "avg", "hidden": []}, {"input": InputSpec((8, 8))}),
    ({"architecture": "cnn", "normalisation": "none", "pooling": "none", "dropout": 0}, {"input": InputSpec((8, 8))}),
    ("resnet_small", {"input": InputSpec((64,))}),
    ("resnet_small", {"input": InputSpec((3, 17, 17))}),
    ({"architecture": "resnet_small", "blocks": 1, "dropout": 0.1}, {"input": InputSpec((1, 1, 1))}),
    ({"architecture": "resnet_small", "dimensions": 1}, {"input": InputSpec((2, 50))}),
    ("text_classifier", {"review": TOKENS}),
    ("text_classifier", {"input": TOKENS}),
    ("text_classifier", {"output": TOKENS, "embedding": CITY, "input": NUMBERS}),
    ({"architecture": "text_classifier", "encoder": "transformer", "hidden": [8]}, {"review": TOKENS, "city": CITY}),
    (
        {"architecture": "text_classifier", "input": "review"},
        {"review": InputSpec((1,), "int64", 9), "input": InputSpec((2, 3))},
    ),
    ("sequence_classifier", {"input": InputSpec((12, 3))}),
    ("sequence_classifier", {"input": InputSpec((12,))}),
    ({"architecture": "sequence_classifier", "cell": "lstm", "layers": 2, "dropout": 0.1}, {"review": TOKENS}),
    ({"architecture": "sequence_classifier", "bidirectional": True}, {"review": TOKENS, "input": NUMBERS}),
]


def sample(inputs: dict[str, InputSpec], rows: int) -> dict[str, torch.Tensor]:
    return {
        name: torch.randn(rows, *spec.shape)
        if spec.dtype == "float32"
        else torch.randint(0, spec.categories or 2, (rows, *spec.shape))
        for name, spec in inputs.items()
    }


def train_step(built: BuiltNetwork, rows: dict[str, torch.Tensor], labels: torch.Tensor) -> float:
    optimiser = torch.optim.SGD(built.module.parameters(), lr=0.01)
    built.module.train()
    loss = nn.functional.cross_entropy(built.module(rows), labels)
    loss.backward()
    optimiser.step()
    return float(loss.detach())


@pytest.mark.parametrize(("definition", "inputs"), FITTING)
def test_an_architecture_fits_its_inputs_and_trains_a_step(definition: Any, inputs: dict[str, InputSpec]) -> None:
    built = build(network_from(definition, inputs, 3), inputs, 3)
    before = [parameter.detach().clone() for parameter in built.module.parameters()]
    assert train_step(built, sample(inputs, 6), torch.tensor([0, 1, 2] * 2)) > 0
    changed = [not torch.equal(old, new) for old, new in zip(before, built.module.parameters(), strict=True)]
    assert any(changed)
    assert built.module.eval()(sample(inputs, 1)).shape == (1, 3)


def test_every_architecture_is_tried() -> None:
    tried = {definition if isinstance(definition, str) else definition["architecture"] for definition, _ in FITTING}
    assert tried == set(ARCHITECTURES)


REFUSED: list[tuple[Any, dict[str, InputSpec], str]] = [
    ("mlp", {"review": TOKENS}, 'architecture mlp cannot read the input "review"'),
    ("mlp", {"input": NUMBERS, "review": TOKENS}, 'architecture mlp cannot read the input "review"'),
    ("cnn", {"input": NUMBERS}, "architecture cnn cannot tell the image from 30 numbers in a row"),
    ("cnn", {"input": InputSpec((2,) * 5)}, "architecture cnn cannot read the shape (rows, 2, 2, 2, 2, 2)"),
    ({"architecture": "cnn", "dimensions": 3}, {"input": InputSpec((8, 8))}, "architecture cnn cannot read the shape"),
    ({"architecture": "cnn", "shape": [1, 5, 5]}, {"input": NUMBERS}, 'argument "shape" of architecture cnn is [1, 5'),
    ("text_classifier", {"input": NUMBERS}, "architecture text_classifier needs an input of tokens (int64)"),
    ("text_classifier", {"a": TOKENS, "b": TOKENS}, "architecture text_classifier reads one input of tokens, but"),
    ({"architecture": "text_classifier", "input": "c"}, {"a": TOKENS}, 'unknown input of tokens "c"'),
    ("sequence_classifier", {"input": InputSpec((1, 8, 8))}, "architecture sequence_classifier cannot read the shape"),
]


@pytest.mark.parametrize(("definition", "inputs", "message"), REFUSED)
def test_inputs_that_an_architecture_cannot_read_are_errors(
    definition: Any, inputs: dict[str, InputSpec], message: str
) -> None:
    with pytest.raises(InvalidParameter) as error:
        network_from(definition, inputs, 3)
    assert error.value.message.startswith(message)


def test_heads_that_do_not_divide_are_an_error() -> None:
    inputs = {"review": TOKENS}
    definition = {"architecture": "text_classifier", "encoder": "transformer", "heads": 7}
    with pytest.raises(InvalidParameter) as error:
        build(network_from(definition, inputs, 3), inputs, 3)
    assert "the heads divide" in str(error.value.detail)


def test_a_default_cnn_learns_the_digits() -> None:
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    training, held_out = train_test_split(torch.arange(len(y)), test_size=0.2, stratify=y, random_state=0)
    inputs = {"input": InputSpec((64,))}
    module = build(network_from("cnn", inputs, 10), inputs, 10).module
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-3)
    order = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(10):
            for batch in training[torch.randperm(len(training), generator=order)].split(64):
                optimiser.zero_grad()
                nn.functional.cross_entropy(module(x[batch]), y[batch]).backward()
                optimiser.step()
    with torch.inference_mode():
        predicted = module.eval()(x[held_out]).argmax(1)
    assert (predicted == y[held_out]).double().mean() >= 0.97
