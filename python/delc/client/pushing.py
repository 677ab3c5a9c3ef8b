"""Weights from the application into the database: one COPY, then one function that makes the version."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from psycopg import Connection, Cursor
from psycopg.rows import tuple_row

from delc.client import copying
from delc.client.wire import dense, header

if TYPE_CHECKING:
    from delc.server.inputs import InputSpec

CHUNK_BYTES = 16 * 1024 * 1024
"""Larger parameters travel in several rows: the server works on one while the client takes another, and neither holds
much at a time."""


def push(
    connection: Connection[Any],
    model: str,
    source: Any,
    *,
    network: str | Sequence[Any] | Mapping[str, Any] | None = None,
    input_shape: Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    features: Mapping[str, Any] | None = None,
    task: str | None = None,
    target: Sequence[str] | str | None = None,
    based_on: str | None = None,
    message: str | None = None,
) -> str:
    """Stores a module or its state as a new version of ``model``; returns the version's name, ``model@7``.

    ``source``: a ``torch.nn.Module``, or a mapping from names to numpy arrays or torch tensors, such as a
    ``state_dict()``. ``network``: the layers as JSON values (docs/layers.md) or an architecture's name; a module's are
    traced where it is not given, or read from the program that torch.export makes of it in evaluation mode.
    ``input_shape``: one row's shape without the rows. ``labels``: the classes in the order of the outputs, or names for
    the numbers that the network gives. ``columns``: names of the input's numbers where they are columns of a table.
    ``features``: what several inputs are, see ``delc.import_parameters``. ``task``: classification, multilabel or
    regression. ``target``: the column that ``evaluate`` compares with. ``based_on``: the version that network, inputs
    and labels are taken from where they are not given; by default the model itself where it exists.

    Parameters travel in one COPY in the binary format and are stored bit for bit. It works in the transaction that is
    under way, or in one of its own. Raises ``psycopg.Error`` with what the server says, ``TypeError`` for values that
    are no tensors.
    """
    told = {"input_shape": input_shape, "columns": columns, "features": features}
    state, traced = _state_of(
        source, needs_network=network is None and based_on is None, inputs=lambda: _inputs(connection, model, told)
    )
    options = {
        "network": _network_text(network if network is not None else traced),
        "input_shape": None if input_shape is None else list(input_shape),
        "labels": None if labels is None else [str(label) for label in labels],
        "columns": None if columns is None else list(columns),
        "features": None if features is None else json.dumps(features),
        "task": task,
        "target": [target] if isinstance(target, str) else None if target is None else list(target),
        "based_on": based_on,
        "message": message,
    }
    with connection.transaction(), connection.cursor(row_factory=tuple_row) as cursor:
        snapshot = _one(cursor.execute("SELECT delc.begin_import()"))
        with cursor.copy(_COPY) as copy:
            copy.write(copying.SIGNATURE)
            for row in _rows(snapshot, state):
                copy.write(row)
            copy.write(copying.END)
        return str(_one(cursor.execute(_FINISH, {"snapshot": snapshot, "model": model, **options})))


def _one(cursor: Cursor[tuple[Any, ...]]) -> Any:
    found = cursor.fetchone()
    assert found is not None
    return found[0]


_COPY = "COPY delc.parameters (snapshot_id, name, chunk, shape, learnable, value) FROM STDIN (FORMAT binary)"

_FINISH = """
    SELECT delc.finish_import(%(snapshot)s, %(model)s::text, network => %(network)s::text,
        input_shape => %(input_shape)s::integer[], labels => %(labels)s::text[], columns => %(columns)s::text[],
        features => %(features)s::jsonb, task => %(task)s::text, target => %(target)s::text[],
        based_on => %(based_on)s::text, message => %(message)s::text)
"""


def _state_of(
    source: Any, *, needs_network: bool, inputs: Callable[[], Mapping[str, InputSpec] | None]
) -> tuple[Mapping[str, Any], Any]:
    """The tensors by name, and the network that a module is, where that is needed."""
    if isinstance(source, Mapping):
        return source, None
    if not hasattr(source, "state_dict"):
        raise TypeError(f"a {type(source).__name__} cannot be pushed; give a torch.nn.Module or a mapping of tensors")
    if not needs_network:
        return {str(name): tensor for name, tensor in source.state_dict().items()}, None
    from delc.exchange.module_reading import read_module

    network, state = read_module(source, inputs)
    return state, network.to_json()


def _inputs(connection: Connection[Any], model: str, told: Mapping[str, Any]) -> Mapping[str, InputSpec] | None:
    """What the model reads: as told, or as its newest version does; None where neither says."""
    from delc.exchange.interface import Description, features_of
    from delc.features import FittedFeatures

    description = Description(**told)
    if description.says_inputs:
        return features_of(description).input_specs()
    with connection.transaction(), connection.cursor(row_factory=tuple_row) as cursor:
        found = cursor.execute(_DOCUMENT, [model]).fetchone()
    return None if found is None else FittedFeatures.from_json(json.loads(found[0])["features"]).input_specs()


_DOCUMENT = "SELECT delc.model_document(model.name)::text FROM delc.models AS model WHERE model.name = %s::text"


def _network_text(network: Any) -> str | None:
    return network if network is None or isinstance(network, str) else json.dumps(network)


def _rows(snapshot: int, state: Mapping[str, Any]) -> Iterator[bytes]:
    """The rows (snapshot_id, name, chunk, shape, learnable, value) of all parameters."""
    number = snapshot.to_bytes(8, "big")
    for name, value in state.items():
        dtype, shape, numbers = dense(value)
        size = len(numbers)
        count = max(1, -(-size // CHUNK_BYTES))
        step = CHUNK_BYTES if count > 1 else size
        elements = max(1, _elements(shape))
        for chunk in range(count):
            part = numbers[chunk * step : (chunk + 1) * step]
            shape_of_part = shape if count == 1 else (len(part) * elements // size,)
            value = [header(dtype, shape_of_part), part]
            yield copying.written_row(
                [[number], [name.encode()], copying.integer(chunk), copying.bigints(shape), [b"\x01"], value]
            )


def _elements(shape: Sequence[int]) -> int:
    product = 1
    for size in shape:
        product *= size
    return product
