"""Ready architectures: networks drawn for the inputs and outputs at hand, from a name and a few arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from delc.networks.arguments import (
    Argument,
    Boolean,
    Choice,
    Integer,
    ListOf,
    Real,
    Text,
    complete,
    shorten_name,
)
from delc.networks.graph import INPUT, Network
from delc.networks.joining import free_name, joined_inputs, main_name, main_value
from delc.networks.kinds import TOKENS, Arguments, Shape, Value, show_shape
from delc.server.errors import InvalidParameter, unknown
from delc.server.inputs import InputSpec

Inputs = Mapping[str, InputSpec]

MOST_CELLS = 64
"""A cnn averages larger maps down to a grid before its hidden layers, which would otherwise be huge."""

GRID = {1: 16, 2: 4, 3: 2}
"""The sides of that grid over one, two and three dimensions."""

MOST_CHANNELS_LAST = 4
"""An image whose last dimension is at most this, and whose first is larger, has its channels last."""

DEFAULT_EMBEDDING = 64

ACTIVATION = Argument(
    "activation",
    Choice(("relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "tanh", "sigmoid", "softplus", "hardswish")),
    "kind of the activations",
    "relu",
)
WIDTHS = ListOf(Integer(), least=0, most=100)


def _dropout(default: float) -> Argument:
    return Argument("dropout", Real(least=0, below=1), "share dropped while training; 0 leaves the layers out", default)


class Sketch:
    """A definition in the making; each layer reads the one added before it unless told otherwise."""

    def __init__(self, inputs: Inputs, start: str = INPUT) -> None:
        self.layers: list[dict[str, Any]] = []
        self.end = start
        self.taken = {INPUT, *inputs}

    def add(self, kind: str, name: str, sources: Sequence[str] | None = None, **arguments: Any) -> str:
        """Add a layer and return its name, which is another than the one given where an input has that name."""
        name = free_name(name, self.taken)
        reads = list(sources) if sources is not None else [self.end]
        self.layers.append({"kind": kind, "name": name, "inputs": reads, "arguments": arguments})
        self.end = name
        return name

    def network(self) -> Network:
        """The network drawn so far."""
        return Network.parse(self.layers)


@dataclass(frozen=True)
class Architecture:
    """An entry of the list of architectures. ``draw`` adds its layers for complete arguments, inputs and outputs."""

    name: str
    text: str
    arguments: tuple[Argument, ...]
    draw: Callable[[Arguments, Inputs, int], Sketch]


def architecture(name: str, arguments: Mapping[str, Any], inputs: Inputs, outputs: int) -> Network:
    """The network of the architecture ``name`` for these inputs and outputs.

    ``InvalidParameter`` for an unknown name or argument (with the nearest), and for inputs that it cannot read.
    """
    if name not in ARCHITECTURES:
        raise unknown("architecture", shorten_name(name), ARCHITECTURES, kind=InvalidParameter)
    chosen = ARCHITECTURES[name]
    return chosen.draw(complete(f"architecture {name}", chosen.arguments, arguments), inputs, outputs).network()


# linear and mlp


def draw_linear(arguments: Arguments, inputs: Inputs, outputs: int) -> Sketch:
    sketch = _flat("linear", inputs)
    sketch.add("linear", "output", out_features=outputs, bias=arguments["bias"])
    return sketch


def draw_mlp(arguments: Arguments, inputs: Inputs, outputs: int) -> Sketch:
    sketch = _flat("mlp", inputs)
    _hidden_layers(sketch, arguments)
    sketch.add("linear", "output", out_features=outputs)
    return sketch


def _flat(architecture_name: str, inputs: Inputs) -> Sketch:
    sketch = Sketch(inputs)
    if len(_numbers(architecture_name, inputs).shape) != 1:
        sketch.add("flatten", "flat")
    return sketch


def _hidden_layers(sketch: Sketch, arguments: Arguments) -> None:
    """Linear, normalisation, activation, dropout; again for each width."""
    normalisation = arguments.get("normalisation", "none")
    for number, width in enumerate(arguments["hidden"], start=1):
        sketch.add("linear", f"hidden{number}", out_features=width)
        if normalisation in ("batch", "layer"):
            sketch.add("batch_norm1d" if normalisation == "batch" else "layer_norm", f"hidden_norm{number}")
        sketch.add(arguments["activation"], f"hidden_{arguments['activation']}{number}")
        if arguments["dropout"]:
            sketch.add("dropout", f"hidden_dropout{number}", p=arguments["dropout"])


def _numbers(architecture_name: str, inputs: Inputs) -> Value:
    """The value behind "input", which must be of numbers and all that there is."""
    value = main_value(inputs)
    read = {main_name(inputs), *joined_inputs(inputs)}
    others = [name for name in inputs if name not in read]
    if value is None or value.dtype == TOKENS or others:
        tokens = others or list(inputs)
        raise InvalidParameter(
            f'architecture {architecture_name} cannot read the input "{tokens[0]}"',
            detail="It reads numbers and categories.",
            hint="For texts and tokens there are text_classifier and sequence_classifier; or define the layers "
            "yourself.",
        )
    return value


# cnn and resnet_small


def draw_cnn(arguments: Arguments, inputs: Inputs, outputs: int) -> Sketch:
    sketch, shape = _image("cnn", arguments, inputs)
    sizes = list(shape[1:])
    over = len(sizes)
    for number, channels in enumerate(arguments["channels"], start=1):
        _convolution(sketch, arguments, f"{number}", over, channels, padding="same")
        if arguments["pooling"] != "none" and min(sizes) >= 2:
            sketch.add(f"{arguments['pooling']}_pool{over}d", f"pool{number}", kernel_size=2)
            sizes = [size // 2 for size in sizes]
    if math.prod(sizes) > MOST_CELLS:
        sketch.add(f"adaptive_avg_pool{over}d", "grid", output_size=GRID[over])
    sketch.add("flatten", "flat")
    _hidden_layers(sketch, arguments)
    sketch.add("linear", "output", out_features=outputs)
    return sketch


def _convolution(sketch: Sketch, arguments: Arguments, suffix: str, over: int, channels: int, **others: Any) -> None:
    """Convolution, batch normalisation where chosen, activation."""
    normalised = arguments["normalisation"] == "batch"
    kernel = arguments["kernel_size"]
    sketch.add(
        f"conv{over}d", f"conv{suffix}", out_channels=channels, kernel_size=kernel, bias=not normalised, **others
    )
    if normalised:
        sketch.add(f"batch_norm{over}d", f"norm{suffix}")
    sketch.add(arguments["activation"], f"{arguments['activation']}{suffix}")


def draw_resnet_small(arguments: Arguments, inputs: Inputs, outputs: int) -> Sketch:
    sketch, shape = _image("resnet_small", arguments, inputs)
    over, arriving = len(shape) - 1, arguments["channels"][0]
    _convolution(sketch, {**arguments, "kernel_size": 3, "normalisation": "batch"}, "0", over, arriving, padding=1)
    for stage, channels in enumerate(arguments["channels"], start=1):
        for block in range(1, arguments["blocks"] + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            _residual(sketch, arguments["activation"], f"{stage}_{block}", over, (arriving, channels), stride)
            arriving = channels
    sketch.add("global_average_pool", "average")
    if arguments["dropout"]:
        sketch.add("dropout", "dropout", p=arguments["dropout"])
    sketch.add("linear", "output", out_features=outputs)
    return sketch


def _residual(sketch: Sketch, activation: str, suffix: str, over: int, channels: tuple[int, int], stride: int) -> None:
    """Two convolutions beside a shortcut, which is a convolution of size 1 where the shape changes (He et al. 2015)."""
    start, (arriving, leaving) = sketch.end, channels
    conv, norm = f"conv{over}d", f"batch_norm{over}d"
    window: Arguments = {"out_channels": leaving, "kernel_size": 3, "padding": 1, "bias": False}
    sketch.add(conv, f"conv{suffix}a", stride=stride, **window)
    sketch.add(norm, f"norm{suffix}a")
    sketch.add(activation, f"{activation}{suffix}a")
    sketch.add(conv, f"conv{suffix}b", **window)
    main = shortcut = sketch.add(norm, f"norm{suffix}b")
    if stride == 1 and arriving == leaving:
        shortcut = start
    else:
        sketch.add(conv, f"shortcut{suffix}", [start], out_channels=leaving, kernel_size=1, stride=stride, bias=False)
        shortcut = sketch.add(norm, f"shortcut_norm{suffix}")
    sketch.add("add", f"sum{suffix}", [main, shortcut])
    sketch.add(activation, f"{activation}{suffix}b")


def _image(architecture_name: str, arguments: Arguments, inputs: Inputs) -> tuple[Sketch, Shape]:
    """A sketch that gives (channels, sizes …), and that shape; numbers in a row and channels last are rearranged."""
    arriving = _numbers(architecture_name, inputs).shape
    sketch = Sketch(inputs)
    told, over = arguments["shape"], arguments["dimensions"]
    if told is not None:
        if math.prod(told) != math.prod(arriving):
            raise InvalidParameter(
                f'argument "shape" of architecture {architecture_name} is {told}: {math.prod(told)} numbers',
                detail=f"The input has {math.prod(arriving)}, in the shape {show_shape(arriving)}.",
            )
        if tuple(told) != arriving:
            sketch.add("reshape", "image", shape=told)
        return sketch, _with_channels(architecture_name, sketch, tuple(told), over)
    if len(arriving) == 1 and over in (None, 2):
        arriving = _squared(architecture_name, sketch, arriving[0])
    return sketch, _with_channels(architecture_name, sketch, arriving, over)


def _squared(architecture_name: str, sketch: Sketch, numbers: int) -> Shape:
    side = math.isqrt(numbers)
    if side * side != numbers:
        raise InvalidParameter(
            f"architecture {architecture_name} cannot tell the image from {numbers} numbers in a row",
            detail="They do not form a square.",
            hint='Give "shape": [channels, height, width], or "dimensions": 1 for a series.',
        )
    sketch.add("reshape", "image", shape=[1, side, side])
    return (1, side, side)


def _with_channels(architecture_name: str, sketch: Sketch, shape: Shape, over: int | None) -> Shape:
    """The shape with channels in front: added where there are none, moved where an image has them last."""
    over = over or {1: 1, 2: 2, 3: 2, 4: 3}.get(len(shape))
    if over is None or len(shape) not in (over, over + 1):
        raise InvalidParameter(
            f"architecture {architecture_name} cannot read the shape {show_shape(shape)}"
            + (f" over {over} dimensions" if over else ""),
            detail="It reads (channels, length), (channels, height, width) or (channels, depth, height, width); "
            "one channel may be left out.",
            hint='Set "shape", without the rows, or "dimensions".',
        )
    if len(shape) == over:
        sketch.add("unsqueeze", "channel", dim=1)
        return (1, *shape)
    if over == 2 and shape[2] <= MOST_CHANNELS_LAST < shape[0]:
        sketch.add("permute", "channels_first", dims=[3, 1, 2])
        return (shape[2], shape[0], shape[1])
    return shape


# text_classifier and sequence_classifier


def draw_text_classifier(arguments: Arguments, inputs: Inputs, outputs: int) -> Sketch:
    tokens = _token_input("text_classifier", arguments["input"], inputs)
    if tokens is None:
        raise InvalidParameter(
            "architecture text_classifier needs an input of tokens (int64)",
            detail=f"The inputs are {', '.join(inputs)}.",
            hint="Choose a text or tokens column, or the architecture sequence_classifier for series of numbers.",
        )
    sketch = Sketch(inputs, tokens)
    sketch.add("embedding", "embedding", **_table(arguments, inputs[tokens]))
    if arguments["encoder"] == "transformer":
        _encoder(sketch, arguments, tokens)
    sketch.add("masked_mean", "pooled", [sketch.end, tokens], padding_index=arguments["padding_index"])
    _beside(sketch, tokens, inputs)
    if arguments["dropout"]:
        sketch.add("dropout", "dropout", p=arguments["dropout"])
    _hidden_layers(sketch, {**arguments, "dropout": 0.0})
    sketch.add("linear", "output", out_features=outputs)
    return sketch


def _encoder(sketch: Sketch, arguments: Arguments, tokens: str) -> None:
    sketch.add("positional_encoding", "positions", method="learned")
    for number in range(1, arguments["layers"] + 1):
        sketch.add(
            "transformer_encoder_layer",
            f"encoder{number}",
            [sketch.end, tokens],
            nhead=arguments["heads"],
            dropout=arguments["dropout"],
            activation="gelu",
            norm_first=True,
            padding_index=arguments["padding_index"],
        )
    sketch.add("layer_norm", "encoded")


def draw_sequence_classifier(arguments: Arguments, inputs: Inputs, outputs: int) -> Sketch:
    tokens = _token_input("sequence_classifier", arguments["input"], inputs)
    cell = {name: arguments[name] for name in ("hidden_size", "bidirectional")}
    cell |= {"num_layers": arguments["layers"], "output": "last"}
    cell["dropout"] = arguments["dropout"] if arguments["layers"] > 1 else 0.0
    if tokens is None:
        sketch = _series(arguments, inputs)
        sketch.add(arguments["cell"], "recurrent", **cell)
    else:
        sketch = Sketch(inputs, tokens)
        sketch.add("embedding", "embedding", **_table(arguments, inputs[tokens]))
        cell["padding_index"] = arguments["padding_index"]
        sketch.add(arguments["cell"], "recurrent", [sketch.end, tokens], **cell)
        _beside(sketch, tokens, inputs)
    if arguments["dropout"]:
        sketch.add("dropout", "dropout", p=arguments["dropout"])
    sketch.add("linear", "output", out_features=outputs)
    return sketch


def _series(arguments: Arguments, inputs: Inputs) -> Sketch:
    """A sketch that gives (length, features) from numbers in that shape, or from one number at each step."""
    shape = _numbers("sequence_classifier", inputs).shape
    sketch = Sketch(inputs)
    if len(shape) == 1:
        sketch.add("unsqueeze", "series", dim=2)
    elif len(shape) != 2:
        raise InvalidParameter(
            f"architecture sequence_classifier cannot read the shape {show_shape(shape)}",
            detail="It reads (rows, length, features), (rows, length), or tokens.",
            hint="The architectures cnn and resnet_small read images.",
        )
    return sketch


def _token_input(architecture_name: str, told: str | None, inputs: Inputs) -> str | None:
    """The input with several tokens in each row: the one told, or the only one; None when there is none."""
    found = [name for name, spec in inputs.items() if spec.dtype == TOKENS and len(spec.shape) == 1]
    if told is not None:
        if told not in found:
            raise unknown("input of tokens", shorten_name(told), found, kind=InvalidParameter)
        return told
    found = [name for name in found if name not in joined_inputs(inputs)]
    if len(found) > 1:
        raise InvalidParameter(
            f"architecture {architecture_name} reads one input of tokens, but there are {len(found)}",
            detail=f"They are {', '.join(found)}.",
            hint='Choose one with the argument "input", or define the layers yourself.',
        )
    return found[0] if found else None


def _table(arguments: Arguments, spec: InputSpec) -> Arguments:
    size = arguments["embedding_dim"] or spec.dimensions or DEFAULT_EMBEDDING
    return {"embedding_dim": size, "padding_idx": arguments["padding_index"]}


def _beside(sketch: Sketch, tokens: str, inputs: Inputs) -> None:
    """Put the numbers and categories that there are besides the tokens beside what has been read from these."""
    others = {name: spec for name, spec in inputs.items() if name != tokens}
    if not others:
        return
    value = _numbers("for texts", others)
    read = sketch.end
    source = INPUT if joined_inputs(others) or INPUT in others else next(iter(others))
    if len(value.shape) != 1:
        source = sketch.add("flatten", "numbers", [source])
    sketch.add("concat", "beside", [read, source])


HIDDEN = "widths of the hidden linear layers"
CHANNELS = "channels of the convolutions, one after the other"
SHAPE = Argument(
    "shape",
    ListOf(Integer(), most=4),
    "shape of the image without the rows, such as [1, 8, 8]; numbers in a row are otherwise taken for a square",
    None,
)
DIMENSIONS = Argument(
    "dimensions", Integer(1, 3), "1 for series, 2 for images, 3 for volumes; by default what the shape tells", None
)
TOKEN_INPUT = Argument("input", Text(), "the input of tokens, where there are several", None)
PADDING = Argument("padding_index", Integer(least=0), "the token that fills up short texts", 0)
EMBEDDING = Argument(
    "embedding_dim",
    Integer(),
    f"length of the learned vectors of tokens; by default what the feature says, or {DEFAULT_EMBEDDING}",
    None,
)

ARCHITECTURES: dict[str, Architecture] = {
    each.name: each
    for each in (
        Architecture(
            "linear",
            "One linear layer: logistic or linear regression.",
            (Argument("bias", Boolean(), "learn an additive bias", True),),
            draw_linear,
        ),
        Architecture(
            "mlp",
            "Hidden linear layers with activations, for tables and flat arrays.",
            (
                Argument("hidden", WIDTHS, HIDDEN, [128, 64]),
                ACTIVATION,
                Argument("normalisation", Choice(("none", "batch", "layer")), "after each hidden layer", "none"),
                _dropout(0.0),
            ),
            draw_mlp,
        ),
        Architecture(
            "cnn",
            "Convolutions with pools, then hidden linear layers; for images, series and volumes.",
            (
                Argument("channels", ListOf(Integer(), most=100), CHANNELS, [32, 64]),
                Argument("kernel_size", Integer(most=1000), "size of their windows", 3),
                ACTIVATION,
                Argument("normalisation", Choice(("batch", "none")), "after each convolution", "batch"),
                Argument("pooling", Choice(("max", "avg", "none")), "halves the image after each convolution", "max"),
                Argument("hidden", WIDTHS, HIDDEN, [128]),
                _dropout(0.25),
                SHAPE,
                DIMENSIONS,
            ),
            draw_cnn,
        ),
        Architecture(
            "resnet_small",
            "Residual blocks in stages that halve the image, then an average; for images, series and volumes.",
            (
                Argument("channels", ListOf(Integer(), most=100), "channels of the stages", [16, 32, 64]),
                Argument("blocks", Integer(most=100), "residual blocks in each stage", 2),
                ACTIVATION,
                _dropout(0.0),
                SHAPE,
                DIMENSIONS,
            ),
            draw_resnet_small,
        ),
        Architecture(
            "text_classifier",
            "Embedded tokens, a transformer encoder if wanted, and their mean; numbers and categories beside the text "
            "are read too.",
            (
                TOKEN_INPUT,
                EMBEDDING,
                Argument("encoder", Choice(("mean", "transformer")), "what reads the embedded tokens", "mean"),
                Argument("layers", Integer(most=100), "encoder layers of the transformer", 2),
                Argument("heads", Integer(most=1000), "heads of each", 4),
                Argument("hidden", WIDTHS, HIDDEN, []),
                ACTIVATION,
                _dropout(0.1),
                PADDING,
            ),
            draw_text_classifier,
        ),
        Architecture(
            "sequence_classifier",
            "A recurrent layer over a series of numbers (length, features) or tokens, and its last output.",
            (
                TOKEN_INPUT,
                Argument("cell", Choice(("gru", "lstm", "rnn")), "kind of the recurrent layer", "gru"),
                Argument("hidden_size", Integer(), "features of the hidden state", 64),
                Argument("layers", Integer(most=100), "how many recurrent layers are stacked", 1),
                Argument("bidirectional", Boolean(), "read in both directions", False),
                _dropout(0.0),
                EMBEDDING,
                PADDING,
            ),
            draw_sequence_classifier,
        ),
    )
}
