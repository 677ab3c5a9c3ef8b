"""Sizes: what is inferred, what is counted, and the errors of layers that do not fit."""

from __future__ import annotations

from typing import Any

import pytest

from delc.networks import InputSpec, Network, ResolvedNetwork, build, resolve
from delc.server.errors import DelcError, InvalidParameter, LimitExceeded

FLAT = InputSpec((64,))
IMAGE = InputSpec((1, 8, 8))
TOKENS = InputSpec((12,), "int64", 100)


def resolved(definition: Any, spec: InputSpec = FLAT, outputs: int | None = None) -> ResolvedNetwork:
    return resolve(Network.parse(definition), {"input": spec}, outputs)


def test_sizes_are_inferred_layer_by_layer() -> None:
    network = resolved(
        [
            {"kind": "conv2d", "out_channels": 4, "kernel_size": 3},
            "batch_norm2d",
            "relu",
            {"kind": "max_pool2d", "kernel_size": 2},
            "flatten",
            {"kind": "linear", "out_features": 5},
        ],
        IMAGE,
    )
    assert [layer.output_shape for layer in network.layers] == [(4, 6, 6), (4, 6, 6), (4, 6, 6), (4, 3, 3), (36,), (5,)]
    assert network.layers[0].arguments["in_channels"] == 1
    assert network.layers[1].arguments["num_features"] == 4
    assert network.layers[5].arguments["in_features"] == 36


def test_reports_count_parameters_bytes_and_operations() -> None:
    network = resolved([{"kind": "linear", "out_features": 5}, "batch_norm1d"])
    linear, norm = network.layers
    assert (linear.position, linear.name, linear.kind, linear.inputs) == (1, "linear1", "linear", ("input",))
    assert (linear.parameters, linear.parameter_bytes, linear.flops) == (64 * 5 + 5, 4 * (64 * 5 + 5), 2 * 64 * 5)
    assert (norm.parameters, norm.parameter_bytes, norm.flops) == (10, 4 * 20 + 8, 0)
    assert network.parameters == 335
    assert network.parameter_bytes == linear.parameter_bytes + norm.parameter_bytes
    assert network.flops(rows=3) == 3 * 640


def test_missing_out_features_of_the_last_layer_are_the_outputs() -> None:
    network = resolved([{"kind": "linear", "out_features": 5}, "relu", "linear"], outputs=3)
    assert network.layers[-1].arguments["out_features"] == 3


def test_missing_out_features_are_filled_in_before_layers_that_keep_the_shape() -> None:
    network = resolved(["linear", "dropout", "log_softmax"], outputs=3)
    assert network.layers[0].arguments["out_features"] == 3
    assert network.output_shape == (3,)


def test_missing_out_features_elsewhere_are_an_error() -> None:
    with pytest.raises(InvalidParameter) as error:
        resolved(["linear", "linear"], outputs=3)
    assert error.value.message == 'layer "linear1" (linear) needs the argument "out_features"'


def test_without_outputs_the_network_is_taken_as_it_is() -> None:
    assert resolved([{"kind": "conv2d", "out_channels": 4, "kernel_size": 3}], IMAGE).output_shape == (4, 6, 6)


def check_error(error: DelcError, message: str, detail: str, hint: str | None) -> None:
    assert (error.message, error.detail, error.hint) == (message, detail, hint)


def test_linear_of_a_wrong_size_says_what_arrived_and_what_was_expected() -> None:
    with pytest.raises(InvalidParameter) as error:
        resolved([{"name": "fc1", "kind": "linear", "in_features": 32, "out_features": 5}])
    check_error(
        error.value,
        'layer "fc1" (linear) cannot take the shape (rows, 64) from "input"',
        "Expected is a last dimension of 32, because in_features is 32.",
        "Leave in_features out: it is inferred.",
    )


def test_linear_that_wanted_a_flat_input_says_so() -> None:
    with pytest.raises(InvalidParameter) as error:
        resolved([{"name": "fc1", "kind": "linear", "in_features": 64, "out_features": 5}], IMAGE)
    check_error(
        error.value,
        'layer "fc1" (linear) cannot take the shape (rows, 1, 8, 8) from "input"',
        "Expected is (rows, 64), because in_features is 64.",
        "Add a flatten layer before it.",
    )


def test_convolution_of_a_flat_square_says_how_to_make_an_image() -> None:
    with pytest.raises(InvalidParameter) as error:
        resolved([{"kind": "conv2d", "out_channels": 4, "kernel_size": 3}])
    check_error(
        error.value,
        'layer "conv1" (conv2d) cannot take the shape (rows, 64) from "input"',
        "Expected is (rows, channels, height, width).",
        'Add {"kind": "reshape", "shape": [1, 8, 8]} before it.',
    )


def test_convolution_of_an_image_without_channels_says_how_to_add_them() -> None:
    with pytest.raises(InvalidParameter) as error:
        resolved([{"kind": "conv2d", "out_channels": 4, "kernel_size": 3}], InputSpec((8, 8)))
    assert error.value.hint == 'Add {"kind": "unsqueeze", "dim": 1} before it.'


def test_too_many_pools_say_which_one_does_not_fit() -> None:
    with pytest.raises(InvalidParameter) as error:
        resolved([{"kind": "max_pool2d", "kernel_size": 4}, {"kind": "max_pool2d", "kernel_size": 4}], IMAGE)
    check_error(
        error.value,
        'layer "max_pool2" (max_pool2d) cannot take the shape (rows, 1, 2, 2) from "max_pool1"',
        "Expected is a height that the kernel of size 4 fits into.",
        "Use a smaller kernel or dilation, more padding, or fewer pools before it.",
    )


def test_tokens_into_a_layer_of_numbers_want_an_embedding() -> None:
    with pytest.raises(InvalidParameter) as error:
        resolved([{"name": "fc1", "kind": "linear", "out_features": 5}], TOKENS)
    check_error(
        error.value,
        'layer "fc1" (linear) cannot take the shape (rows, 12) of int64 from "input"',
        "Expected is numbers (float32).",
        'Tokens and codes go through a layer of kind "embedding" first.',
    )


def test_numbers_into_an_embedding_are_an_error() -> None:
    with pytest.raises(InvalidParameter, match="tokens or codes"):
        resolved([{"kind": "embedding", "embedding_dim": 5}])


def test_inputs_of_different_shapes_cannot_be_added() -> None:
    definition = [
        {"name": "a", "kind": "linear", "out_features": 5},
        {"name": "b", "kind": "linear", "out_features": 6, "inputs": "input"},
        {"name": "sum", "kind": "add", "inputs": ["a", "b"]},
    ]
    with pytest.raises(InvalidParameter) as error:
        resolved(definition)
    check_error(
        error.value,
        'layer "sum" (add) cannot take the shape (rows, 5) from "a", (rows, 6) from "b"',
        "Expected is sizes that are equal, or 1, in every dimension.",
        None,
    )


def test_values_of_different_ranks_are_not_broadcast_over_the_rows() -> None:
    definition = [{"name": "a", "kind": "flatten"}, {"kind": "add", "inputs": ["a", "input"]}]
    with pytest.raises(InvalidParameter, match="as many dimensions"):
        resolved(definition, IMAGE)


@pytest.mark.parametrize("dim", [0, -2])
def test_the_rows_are_no_dimension_of_a_layer(dim: int) -> None:
    with pytest.raises(InvalidParameter) as error:
        resolved([{"kind": "softmax", "dim": dim}])
    assert error.value.detail == f"Expected is a dimension other than the rows, but dim is {dim}."


def test_an_output_that_is_not_one_number_for_each_output_is_an_error() -> None:
    with pytest.raises(InvalidParameter) as error:
        resolved([{"name": "fc", "kind": "linear", "out_features": 5}], outputs=3)
    check_error(
        error.value,
        'the network gives (rows, 5), from its last layer "fc" (linear)',
        "Expected is (rows, 3): one number for each of the 3 outputs.",
        'Set out_features of layer "fc" to 3, or leave it out.',
    )


def test_an_output_that_still_is_an_image_asks_for_flatten() -> None:
    with pytest.raises(InvalidParameter) as error:
        resolved([{"name": "fc", "kind": "linear"}], IMAGE, outputs=3)
    check_error(
        error.value,
        'the network gives (rows, 1, 8, 3), from its last layer "fc" (linear)',
        "Expected is (rows, 3): one number for each of the 3 outputs.",
        'Add a flatten or global_average_pool layer before layer "fc".',
    )


def test_an_output_of_another_kind_asks_for_a_linear_layer() -> None:
    with pytest.raises(InvalidParameter) as error:
        resolved(["relu"], outputs=3)
    assert error.value.hint == 'Add {"kind": "linear"} at the end: the last layer gets the number of outputs by itself.'


def test_an_image_at_the_end_asks_for_a_linear_layer_too() -> None:
    with pytest.raises(InvalidParameter) as error:
        resolved([{"kind": "conv2d", "out_channels": 4, "kernel_size": 3}], IMAGE, outputs=3)
    assert error.value.hint == 'Add a flatten or global_average_pool layer and a linear layer after layer "conv1".'


def test_a_wrong_number_of_inputs_is_an_error() -> None:
    with pytest.raises(InvalidParameter) as error:
        resolved([{"kind": "relu", "inputs": ["input", "input"]}])
    check_error(
        error.value,
        'layer "relu1" (relu) has 2 inputs: input, input',
        "A layer of this kind takes 1.",
        "Layers of the kinds concat and add make one of several.",
    )


@pytest.mark.parametrize(
    ("definition", "spec", "expected"),
    [
        ([{"kind": "conv2d", "out_channels": 4, "kernel_size": 3, "groups": 2}], IMAGE, "divisible by groups"),
        (
            [{"kind": "conv2d", "out_channels": 4, "kernel_size": 3, "padding": "same", "stride": 2}],
            IMAGE,
            "a stride of 1",
        ),
        (
            [{"kind": "conv1d", "out_channels": 4, "kernel_size": 3, "in_channels": 2}],
            InputSpec((3, 9)),
            "channels of 2",
        ),
        (
            [{"kind": "conv1d", "out_channels": 4, "kernel_size": 3, "padding": 9, "padding_mode": "reflect"}],
            InputSpec((3, 9)),
            "larger than the padding",
        ),
        ([{"kind": "max_pool2d", "kernel_size": 2, "padding": 2}], IMAGE, "at most half the kernel"),
        ([{"kind": "group_norm", "num_groups": 3}], FLAT, "the 3 groups divide"),
        ([{"kind": "instance_norm1d"}], InputSpec((3, 1)), "more than one value"),
        ([{"kind": "batch_norm1d"}], IMAGE, "(rows, features) or (rows, channels, length)"),
        ([{"kind": "layer_norm", "normalized_shape": [8, 7]}], IMAGE, "last dimensions of [8, 7]"),
        ([{"kind": "gru", "hidden_size": 4, "dropout": 0.5}], InputSpec((5, 3)), "num_layers is 1"),
        ([{"kind": "multihead_attention", "num_heads": 2}], InputSpec((5, 3)), "the heads divide"),
        ([{"kind": "embedding", "embedding_dim": 4}], InputSpec((5,), "int64"), "number of codes is known"),
        ([{"kind": "embedding", "embedding_dim": 4, "num_embeddings": 50}], TOKENS, "codes below 50"),
        ([{"kind": "embedding", "embedding_dim": 4, "padding_idx": 100}], TOKENS, "a padding_idx below"),
        ([{"kind": "reshape", "shape": [5, -1]}], FLAT, "to make [5, -1] of them"),
        ([{"kind": "reshape", "shape": [-1, -1]}], FLAT, "one of them may be -1"),
        ([{"kind": "permute", "dims": [1, 1]}], InputSpec((5, 3)), "name each of the dimensions 1 to 2 once"),
        ([{"kind": "select", "index": 64}], FLAT, "has a position 64"),
        ([{"kind": "slice", "start": 9, "end": 9}], FLAT, "between positions 9 and 9"),
        ([{"kind": "add"}], FLAT, "two inputs, or one and a constant"),
        ([{"kind": "divide", "constant": 0}], FLAT, "other than 0"),
        ([{"kind": "hardtanh", "min_val": 2}], FLAT, "min_val below max_val"),
        ([{"kind": "upsample", "mode": "bilinear"}], InputSpec((3, 8)), "mode nearest or linear"),
        ([{"kind": "mean", "dim": [1, -1]}], FLAT, "different dimensions"),
    ],
)
def test_arguments_that_do_not_fit_what_arrives_are_errors(definition: Any, spec: InputSpec, expected: str) -> None:
    with pytest.raises(InvalidParameter) as error:
        resolved(definition, spec)
    assert error.value.message.startswith("layer ")
    assert expected in str(error.value.detail)


def test_a_huge_layer_is_counted_and_not_allocated() -> None:
    network = resolved([{"kind": "linear", "out_features": 2**31 - 1}])
    assert network.parameter_bytes == 4 * 65 * (2**31 - 1)


def test_a_layer_too_large_to_be_counted_is_refused() -> None:
    with pytest.raises(LimitExceeded, match='the parameters of layer "linear2"'):
        resolved([{"kind": "linear", "out_features": 2**31 - 1}] * 2)


def test_activations_too_large_for_anything_are_refused() -> None:
    with pytest.raises(LimitExceeded, match='layer "pad2"'):
        resolved([{"kind": "pad", "pad": [2**31 - 1, 0]}, {"kind": "pad", "pad": [0, 0, 2**31 - 1, 0]}], IMAGE)


def test_the_caller_can_refuse_before_anything_is_allocated() -> None:
    asked = []

    def refuse(size: int, what: str) -> None:
        asked.append((size, what))
        raise LimitExceeded("too large")

    with pytest.raises(LimitExceeded):
        build(Network.parse(["linear"]), {"input": FLAT}, 2**31 - 1, require=refuse)
    assert asked == [(4 * 65 * (2**31 - 1), "the network's parameters")]


def test_memory_of_activations_is_what_lives_at_once() -> None:
    chain = resolved([{"kind": "linear", "out_features": 100}, "relu", {"kind": "linear", "out_features": 10}])
    assert chain.activation_bytes(1) == 4 * (64 + 100 + 100)
    assert chain.activation_bytes(7) == 7 * chain.activation_bytes(1)
    assert chain.activation_bytes(1, training=True) == 4 * (64 + 2 * (100 + 100 + 10))
