"""Modules that torch.fx does not trace layer by layer are pushed as the programs that torch.export makes of them."""

from __future__ import annotations

import io

import pytest
import torch
from torch import nn

import delc.client
from delc.server.errors import InvalidParameter
from support.cluster import Connection
from support.workplace import value

CLASSES = ["a", "b", "c"]


class LastStep(nn.Module):
    """A recurrent layer, of which the last step is used."""

    def __init__(self, kind: type[nn.RNNBase], layers: int = 1, both: bool = False) -> None:
        super().__init__()
        self.recurrent = kind(3, 5, num_layers=layers, bidirectional=both, batch_first=True)  # type: ignore[call-arg]
        self.head = nn.Linear(10 if both else 5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        steps, _ = self.recurrent(x)
        result: torch.Tensor = self.head(steps[:, -1])
        return result


class LastState(LastStep):
    """A recurrent layer, of which the last state is used."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        _, states = self.recurrent(x)
        states = states[0] if isinstance(states, tuple) else states
        result: torch.Tensor = self.head(states[-1])
        return result


class Attention(nn.Module):
    """A sequence that attends to itself."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        embedded = self.embed(x)
        attended, _ = self.attention(embedded, embedded, embedded)
        result: torch.Tensor = self.head((embedded + attended).mean(1))
        return result


class Encoder(nn.Module):
    """A transformer's encoder, whose code asks what it is given."""

    def __init__(self, causal: bool = False, layers: int = 1, nested: bool = False) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=nested)
        self.head = nn.Linear(8, 3)
        self._causal = causal

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1]) if self._causal else None
        result: torch.Tensor = self.head(self.encoder(self.embed(x), mask=mask, is_causal=self._causal)[:, -1])
        return result


MODULES = {
    "lstm": lambda: LastStep(nn.LSTM),
    "gru": lambda: LastStep(nn.GRU),
    "rnn": lambda: LastStep(nn.RNN),
    "both ways": lambda: LastStep(nn.LSTM, both=True),
    "stacked": lambda: LastStep(nn.GRU, layers=2),
    "state of lstm": lambda: LastState(nn.LSTM),
    "state of gru": lambda: LastState(nn.GRU, layers=2),
    "attention": Attention,
    "encoder": Encoder,
    "encoder of two": lambda: Encoder(layers=2, nested=True),
    "causal encoder": lambda: Encoder(causal=True),
}


def module(name: str) -> nn.Module:
    torch.manual_seed(4)
    return MODULES[name]()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODULES)
def test_a_module_that_fx_does_not_trace_computes_the_same(cdb: Connection, name: str) -> None:
    pushed, rows = module(name), torch.randn(6, 4, 3)
    assert delc.client.push(cdb, "m", pushed, input_shape=[4, 3], labels=CLASSES) == "m@1"
    with torch.inference_mode():
        expected = pushed.eval()(rows)
        found = delc.client.pull(cdb, "m", tensors="module")(rows)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    predicted = [delc.client.predict(cdb, "m", row) for row in rows]
    assert predicted == [CLASSES[code] for code in expected.argmax(1).tolist()]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODULES)
def test_it_is_the_same_version_as_the_imported_program(cdb: Connection, name: str) -> None:
    pushed = module(name).eval()
    delc.client.push(cdb, "pushed", pushed, input_shape=[4, 3], labels=CLASSES)
    file, rows = io.BytesIO(), torch.export.Dim("rows")
    program = torch.export.export(pushed, (torch.zeros(2, 4, 3),), dynamic_shapes=({0: rows},))
    torch.export.save(program, file)
    imported = "SELECT delc.import_program('imported', %s, labels => %s, input_shape => '{4,3}')"
    assert value(cdb, imported, file.getvalue(), CLASSES) == "imported@1"
    differences = "SELECT count(*) FROM delc.diff_models('pushed', 'imported') WHERE aspect <> 'options'"
    assert value(cdb, differences) == 0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["lstm", "state of gru", "attention", "causal encoder"])
def test_its_parameters_come_back_under_their_own_names(cdb: Connection, name: str) -> None:
    pushed = module(name)
    delc.client.push(cdb, "m", pushed, input_shape=[4, 3], labels=CLASSES)
    other = MODULES[name]()
    other.load_state_dict(delc.client.pull(cdb, "m", tensors="torch"))
    state = pushed.state_dict()
    assert all(torch.equal(tensor, state[each]) for each, tensor in other.state_dict().items())
    assert delc.client.push(cdb, "m", other.state_dict()) == "m@2"


@pytest.mark.filterwarnings("ignore")
def test_the_next_version_takes_its_inputs_from_the_last(cdb: Connection) -> None:
    delc.client.push(cdb, "m", module("lstm"), input_shape=[4, 3], labels=CLASSES)
    assert delc.client.push(cdb, "m", module("gru")) == "m@2"
    kind = "SELECT kind FROM delc.layers JOIN delc.model_versions AS version ON version.id = version_id"
    assert value(cdb, f"{kind} WHERE version.number = 2 AND position = 1") == "gru"


@pytest.mark.filterwarnings("ignore")
def test_a_module_in_training_stays_so(cdb: Connection) -> None:
    pushed = module("causal encoder")
    assert isinstance(pushed, Encoder)
    pushed.train()
    pushed.head.eval()
    delc.client.push(cdb, "m", pushed, input_shape=[4, 3], labels=CLASSES)
    assert [name for name, part in pushed.named_modules() if not part.training] == ["head"]


class TwoInputs(LastStep):
    """A recurrent layer over embedded tokens, and numbers beside it."""

    def __init__(self) -> None:
        super().__init__(nn.LSTM)
        self.embed = nn.Embedding(9, 3)
        self.beside = nn.Linear(2, 3)

    def forward(self, words: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = super().forward(self.embed(words)) + self.beside(numbers)
        return result


@pytest.mark.filterwarnings("ignore")
def test_several_inputs_are_found_by_their_names(cdb: Connection) -> None:
    features = {
        "numbers": {"kind": "array", "shape": [2], "input": "numbers"},
        "words": {"kind": "tokens", "shape": [4], "size": 9},
    }
    torch.manual_seed(4)
    pushed = TwoInputs().eval()
    delc.client.push(cdb, "m", pushed, features=features, labels=CLASSES)
    words, numbers = torch.tensor([[1, 2, 3, 8]]), torch.tensor([[0.5, -2.0]])
    row = {"words": words[0].int().numpy(), "numbers": numbers[0].numpy()}
    expected = CLASSES[int(pushed(words, numbers).argmax())]
    assert delc.client.predict(cdb, "m", row) == expected


def test_without_inputs_the_error_says_what_to_give(cdb: Connection) -> None:
    with pytest.raises(InvalidParameter) as caught:
        delc.client.push(cdb, "m", module("lstm"), labels=CLASSES)
    assert "Give input_shape" in str(caught.value.hint)


class Sorted(nn.Module):
    """What no layer does."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sort(x)[0]


@pytest.mark.filterwarnings("ignore")
def test_what_no_layer_does_is_told_of_both_ways(cdb: Connection) -> None:
    with pytest.raises(InvalidParameter, match=r"does what the module does: sort\(\)") as caught:
        delc.client.push(cdb, "m", Sorted(), input_shape=[4], labels=["a", "b", "c", "d"])
    assert "As a program: no kind of layer does what the file does: the operation sort" in str(caught.value.detail)


class Branching(nn.Module):
    """What depends on the numbers themselves."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 if x.sum() > 0 else x


@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_exported_is_told(cdb: Connection) -> None:
    with pytest.raises(InvalidParameter, match=r"torch\.fx cannot trace") as caught:
        delc.client.push(cdb, "m", Branching(), input_shape=[4], labels=["a", "b", "c", "d"])
    assert "torch.export cannot write it" in str(caught.value.detail)
