"""delc for applications: tensors as numpy arrays, models and data sets in one COPY.

Needs numpy and psycopg only; torch is imported where tensors or modules of torch are asked for or given.

    import psycopg, delc.client

    connection = psycopg.connect("dbname=delc")
    delc.client.register(connection)
"""

from __future__ import annotations

from delc.client.adapters import register
from delc.client.calls import dql, evaluate, predict, predict_rows, save_config, save_query, train
from delc.client.pulling import pull
from delc.client.pushing import push
from delc.client.rows import read
from delc.client.wire import BFLOAT16

__all__ = [
    "BFLOAT16",
    "dql",
    "evaluate",
    "predict",
    "predict_rows",
    "pull",
    "push",
    "read",
    "register",
    "save_config",
    "save_query",
    "train",
]
