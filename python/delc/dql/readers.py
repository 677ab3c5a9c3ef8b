"""Which layers of a network that is being changed a template stands for.

It is asked of the same SQL as of networks that are stored: a template means in ``delete`` what it means after ``has``.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from delc.dql.conditions import Scope, template_sql
from delc.dql.parameters import Bindings
from delc.dql.templates import Wanted
from delc.networks import KINDS, Network, resolve
from delc.server import queries
from delc.server.inputs import InputSpec


def readers_like(network: Network, node: str, wanted: Wanted, inputs: Mapping[str, InputSpec]) -> frozenset[str]:
    """The layers that read a node and are like a template. ``inputs``: what arrives at the network."""
    readers = network.consumers(node)
    if not readers:
        return frozenset()
    bindings = Bindings()
    layers = bindings.bind(json.dumps(_layers(network, readers, wanted, inputs)), "jsonb")
    edges = bindings.bind(json.dumps(_edges(network, readers)), "jsonb")
    condition = template_sql(wanted, "layer", Scope({}, bindings, edges="edges"))
    sql = (
        "WITH edges AS (SELECT * FROM jsonb_to_recordset("
        f"{edges}) AS edge(version_id bigint, from_layer text, to_layer text))"
        f" SELECT layer.name FROM jsonb_to_recordset({layers})"
        f" AS layer(version_id bigint, name text, kind text, arguments jsonb) WHERE {condition}"
    )
    with queries.as_owner():
        return frozenset(row["name"] for row in queries.rows(sql, *bindings.values))


def _layers(
    network: Network, names: Collection[str], wanted: Wanted, inputs: Mapping[str, InputSpec]
) -> list[dict[str, Any]]:
    """The layers as they will be stored: with the arguments that nobody gave, where the template asks for one."""
    asked = {argument.name for argument in wanted.arguments}
    whole = network
    for name in names:
        layer = network.layer(name)
        known = {argument.name for argument in KINDS[layer.kind].arguments}
        if not (asked & known) <= layer.arguments.keys():
            whole = resolve(network, inputs).network
            break
    found = [whole.layer(name) for name in names]
    return [
        {"version_id": 0, "name": layer.name, "kind": layer.kind, "arguments": dict(layer.arguments)}
        for layer in found
    ]


def _edges(network: Network, names: Collection[str]) -> list[dict[str, Any]]:
    return [
        {"version_id": 0, "from_layer": source, "to_layer": name}
        for name in names
        for source in network.layer(name).inputs
    ]
