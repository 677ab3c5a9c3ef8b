"""The end of a network that was made elsewhere: delc applies softmax and sigmoid itself."""

from __future__ import annotations

from delc.networks import Network

_APPLIED = {"classification": {"softmax"}, "multilabel": {"sigmoid"}}
"""What prediction does to the outputs. After a log_softmax the softmax gives the same probabilities, so it may stay."""


def without_final_activation(network: Network, task: str) -> Network:
    """The network without the softmax (or sigmoid) at its end that prediction would apply a second time."""
    last = network.output
    if last.kind not in _APPLIED.get(task, ()) or len(network) == 1:
        return network
    return Network(tuple(layer for layer in network if layer is not last))
