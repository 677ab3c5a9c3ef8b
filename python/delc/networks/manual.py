"""The manual of layers and architectures, written from their registries: ``python -m delc.networks.manual``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

from delc.networks import ARCHITECTURES, KINDS
from delc.networks.arguments import INFERRED, REQUIRED, Argument
from delc.networks.kinds import Kind

INTRODUCTION = """\
# Layers and architectures

This page is written by `python -m delc.networks.manual`.

## Defining a network

A network is an architecture's name, an architecture with arguments, or a list of layers:

```json
"mlp"
```

```json
{"architecture": "cnn", "channels": [16, 32], "dropout": 0.1}
```

```json
[{"kind": "conv2d", "out_channels": 16, "kernel_size": 3, "padding": "same"},
 {"kind": "relu"},
 {"kind": "max_pool2d", "kernel_size": 2},
 {"kind": "flatten"},
 {"kind": "linear"}]
```

A layer has a **kind** (the names below; torch's class names, such as `Conv2d`, are understood too) and, where wanted:

* a **name**: letters, digits, `_` and `-`, up to 63 bytes. Left out, it is the kind with a number: `conv1`, `relu1`.
  Parameters are called after it: `conv1.weight`.
* **arguments**, beside the kind or as an object `"arguments"`. Sizes that follow from what arrives are inferred; the
  last layer's `out_features` is the number of outputs.
* **inputs**: the name of the layer that it reads, or a list of them. Left out, it reads the layer before it; the first
  layer reads `"input"`. A residual block, for example:

```json
[{"name": "first", "kind": "linear", "out_features": 32},
 {"kind": "relu"},
 {"name": "second", "kind": "linear", "out_features": 32},
 {"kind": "add", "inputs": ["first", "second"]},
 {"kind": "linear"}]
```

A string stands for a layer of that kind without arguments. Every layer must lead to the last one.

**Shapes** are written with the rows of a batch in front: `(rows, channels, height, width)`. Dimensions are counted as
in torch: 0 is the rows, 1 the first of a row's own, -1 the last.

**Inputs**: numbers arrive as `input`. Texts, tokens and categories with a learned embedding are inputs of their own,
named after their column. Categories that no layer names are embedded and put beside the numbers by themselves, in a
layer called `features`.

The network gives numbers before softmax or sigmoid (logits): training and prediction apply those themselves.
"""


def manual() -> str:
    """The whole page, in Markdown."""
    parts = [INTRODUCTION, _architectures(), *(_chapter(name) for name in _chapters())]
    return "\n".join(parts)


def _chapters() -> list[str]:
    return list(dict.fromkeys(kind.chapter for kind in KINDS.values()))


def _architectures() -> str:
    parts = ["## Architectures\n"]
    for each in ARCHITECTURES.values():
        parts.append(f"### {each.name}\n\n{each.text}\n\n{_table(each.arguments)}")
    return "\n".join(parts)


def _chapter(name: str) -> str:
    kinds = [kind for kind in KINDS.values() if kind.chapter == name]
    return "\n".join([f"## {name}\n", *map(_kind, kinds)])


def _kind(kind: Kind) -> str:
    parts = [f"### {kind.name}\n\n{kind.text}{_inputs(kind)}\n"]
    if kind.arguments:
        parts.append(_table(kind.arguments))
    parts.append(f"{example(kind)}\n")
    return "\n".join(parts)


def _inputs(kind: Kind) -> str:
    if kind.least == kind.most:
        return "" if kind.least == 1 else f" Inputs: {kind.least}."
    return f" Inputs: {kind.least} or more." if kind.most is None else f" Inputs: {kind.least} to {kind.most}."


def example(kind: Kind) -> str:
    """One line: a use of the kind, what arrives and what it gives."""
    layer = json.dumps({"kind": kind.name, **kind.example.arguments})
    arguments = {argument.name: None for argument in kind.arguments if argument.default in (None, INFERRED)}
    arguments |= {argument.name: argument.default for argument in kind.arguments if argument.name not in arguments}
    output = kind.rule({**arguments, **kind.example.arguments}, kind.example.inputs)
    arriving = " and ".join(f"`{value}`" for value in kind.example.inputs)
    return f"Example: `{layer}` makes `{output}` of {arriving}."


def _table(arguments: Iterable[Argument]) -> str:
    rows = ["| argument | allowed | default | meaning |", "|---|---|---|---|"]
    for argument in arguments:
        cells = (f"`{argument.name}`", argument.type.allowed, _default(argument.default), argument.text)
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows) + "\n"


def _default(default: Any) -> str:
    if default is REQUIRED or default is INFERRED:
        return str(default)
    return f"`{json.dumps(default)}`"


if __name__ == "__main__":
    sys.stdout.write(manual())
