"""Searching a repository of 10,000 versions, and trying models, against PyTorch and optuna by hand.

bench_dql.py [--versions 10000] [--part select|evaluate] [--rounds 3]

select: a synthetic catalog, versions of 20 to 100 layers each with 5 epochs of metrics and lineage in lines of ten;
every published form of select, and others, must answer within 100 ms. evaluate: query 4 on images of digits, against
the same trials written by hand: a client fetches the rows, builds the networks with torch, and searches with optuna.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

from harness import machine
from harness.measure import Goals, goals
from harness.server import connected, server
from support.cluster import Connection

ROUNDS = 7
GOAL_MS = 100.0

CATALOG = """
    SELECT setseed(0.42);
    -- Blocks of convolution, activation and, at places that differ, a pool; then fully connected layers.
    CREATE TEMPORARY TABLE built AS
    SELECT version, block, part,
           row_number() OVER (PARTITION BY version ORDER BY block, part) AS position,
           CASE part WHEN 1 THEN 'conv' WHEN 2 THEN 'relu' ELSE 'pool' END || block AS name,
           CASE part WHEN 1 THEN 'conv2d' WHEN 2 THEN 'relu'
                     ELSE CASE WHEN (version + block) %% 3 = 0 THEN 'avg_pool2d' ELSE 'max_pool2d' END END AS kind
    FROM generate_series(1, %(versions)s) AS version,
         LATERAL generate_series(1, 10 + version %% 37) AS block, generate_series(1, 3) AS part
    WHERE NOT (part = 2 AND (version + block) %% 4 = 0) AND NOT (part = 3 AND (version * 7 + block) %% 5 > 1);
    INSERT INTO delc.models (id, name, owner, last_number, created_at)
    SELECT i, (ARRAY['alexnet', 'vgg', 'resnet', 'lenet', 'inception'])[1 + i %% 5] || '_' || i, 'postgres', 10,
           timestamptz '2015-01-01' + i * interval '1 day'
    FROM generate_series(1, %(models)s) AS i;
    INSERT INTO delc.runs (id, operation, subject, arguments, username, outcome, started_at, finished_at, environment)
    SELECT i, 'train', 'm', '{}', 'postgres', 'succeeded', timestamptz '2015-01-01' + i * interval '1 hour',
           timestamptz '2015-01-01' + i * interval '1 hour', '{}'
    FROM generate_series(1, %(versions)s) AS i;
    INSERT INTO delc.model_versions (id, model_id, number, run_id, task, network, features, target, options, layers,
                                     parameters, created_by, created_at)
    SELECT i, 1 + (i - 1) / 10, 1 + (i - 1) %% 10, i, 'classification', '{}', '{}', '{}',
           jsonb_build_object('learning_rate', (ARRAY[0.1, 0.01, 0.001])[1 + i %% 3], 'batch_size', 16 * (1 + i %% 4),
                              'optimizer', (ARRAY['sgd', 'adam'])[1 + i %% 2]),
           sizes.layers, 1000 * (i %% 977), 'postgres', timestamptz '2015-01-01' + i * interval '1 hour'
    FROM (SELECT version AS i, count(*) AS layers FROM built GROUP BY version ORDER BY version) AS sizes;
    INSERT INTO delc.model_version_parents (base, derived, relation)
    SELECT i - 1, i, 'warm start' FROM generate_series(2, %(versions)s) AS i WHERE (i - 1) %% 10 <> 0;
    INSERT INTO delc.model_aliases (model_id, alias, version_id, set_by)
    SELECT m, 'champion', m * 10, 'postgres' FROM generate_series(1, %(models)s, 7) AS m;
    INSERT INTO delc.snapshots (id, version_id, number, epoch, is_latest)
    SELECT i, i, 1, 5, true FROM generate_series(1, %(versions)s) AS i;
    INSERT INTO delc.metrics (run_id, position, metric, split, epoch, value)
    SELECT i, 4 * epoch + place, (ARRAY['loss', 'loss', 'accuracy', 'seconds'])[place],
           (ARRAY['train', 'validation', 'validation', NULL])[place], epoch,
           CASE place WHEN 3 THEN 1 - random() * 0.5 / epoch ELSE random() END
    FROM generate_series(1, %(versions)s) AS i, generate_series(1, 5) AS epoch, generate_series(1, 4) AS place;
    INSERT INTO delc.layers (version_id, position, name, kind, arguments, output_shape, parameters)
    SELECT version, position, name, kind,
           CASE part WHEN 1 THEN jsonb_build_object('kernel_size', 1 + 2 * (version %% 4), 'out_channels', 8 * block,
                                                    'stride', 1, 'padding', version %% 2)
                     WHEN 2 THEN '{}' ELSE '{"kernel_size": 2, "stride": 2}' END, '{8,16,16}', 100
    FROM built;
    INSERT INTO delc.layer_edges (version_id, from_layer, to_layer, position)
    SELECT version, coalesce(lag(name) OVER (PARTITION BY version ORDER BY position), 'input'), name, 1 FROM built;
    SELECT setval('delc.model_versions_id_seq', %(versions)s), setval('delc.run_ids', %(versions)s),
           setval('delc.models_id_seq', %(models)s), setval('delc.snapshots_id_seq', %(versions)s)
"""

SELECTS = {
    "query 1": """select m1 where m1.name like " alexnet_%" and m1.creation_time > " 2015-11-22" and
                  m1[" conv[1,3,5]" ].next has POOL(" MAX" )""",
    "any kernel size": 'select m where m["conv*"].kernel_size = 3',
    "any metric": "select m where m.accuracy > 0.97",
    "kernel size": 'select m where m["conv*"].kernel_size = 3 and m.name like "vgg%" limit 100',
    "metric": "select m where m.accuracy > 0.995 order by m.accuracy desc limit 20",
    "metric and graph": 'select m where m.accuracy > 0.97 and m["conv1"].next has POOL("AVG") order by m.loss limit 20',
    "parent": 'select m where m.parent.name like "resnet_12%"',
    "ancestor": 'select m where m.ancestor = "lenet_3@1" and m.batch_size = 32',
    "tag": 'select m where m.tag = "champion" and m.learning_rate <= 0.01 and m.optimizer = "sgd"',
    "not, or": """select m where not m["conv2"].next has RELU and (m.parameters > 970000 or m.version = 10)
                  and m.creation_time < "2015-06-01" """,
    "rare layer": 'select m where m["conv38"] exists and m["pool38"].kind = "avg_pool2d"',
    "join": """select a, b where a.name = b.name and a.accuracy > b.accuracy and b.parent.id = a.id
               and a.name like "inception_1%" limit 50""",
    "many walks": "select m where " + " and ".join(f'm["conv{1 + i}"].next has POOL("MAX")' for i in range(8)),
    "no join": "select a, b, c, d, e limit 100",
    "two metrics": "select a, b, c where a.accuracy > b.accuracy and b.loss < c.loss limit 20",
    "shape": 'select m where m["*"].output_shape[1] = 9',
    "shape that arrives": 'select m where m["conv1"].input_shape[1] = 8 limit 10',
    "not selected": """select a from a, b, c, d where a.accuracy > b.accuracy and b.accuracy > c.accuracy
                       and c.loss > d.loss limit 10""",
    "first layer": 'select m where m.input = "conv1" and m.layers > 90 limit 20',
    "nested": 'select m from (select x where x.name like "lenet%") where m["conv3"].prev has POOL limit 50',
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", type=int, default=10_000)
    parser.add_argument("--part", choices=["select", "evaluate", "all"], default="all")
    parser.add_argument("--rounds", type=int, default=3, help="of evaluate")
    chosen = parser.parse_args()
    with server() as cluster, goals() as goal:
        with connected(cluster) as connection:
            machine.describe(connection)
            if chosen.part in ("select", "all"):
                measure_selects(connection, goal, chosen.versions)
        if chosen.part in ("evaluate", "all"):
            from harness.search import measure_search

            with connected(cluster) as connection:
                measure_search(connection, goal, chosen.rounds)


def measure_selects(connection: Connection, goal: Goals, versions: int) -> None:
    """The catalog, and every select of it."""
    fill(connection, versions)
    layers = connection.execute("SELECT count(*), min(n), max(n) FROM (SELECT count(*) AS n FROM delc.layers"
                                " GROUP BY version_id) AS counted").fetchone()  # fmt: skip
    assert layers is not None
    total = connection.execute("SELECT count(*) FROM delc.layers").fetchone()
    print(f"\n{versions:,} versions, {total and total[0]:,} layers ({layers[1]} to {layers[2]} each):")
    connection.execute("SELECT delc.dql('select m limit 1')")
    for name, query in SELECTS.items():
        timings, found = measured(connection, query)
        print(f"  {name:<18} {found:6d} rows  median {statistics.median(timings):7.1f} ms"
              f"  ({min(timings):.1f} to {max(timings):.1f})", flush=True)  # fmt: skip
        goal.at_most(f"select, {name}, in ms", statistics.median(timings), GOAL_MS)


def fill(connection: Connection, versions: int) -> None:
    """The synthetic catalog."""
    numbers: dict[str, Any] = {"versions": versions, "models": (versions + 9) // 10}
    for statement in (CATALOG % numbers).split(";\n"):
        connection.execute(statement.encode())
    for table in ("models", "model_versions", "layers", "layer_edges", "metrics", "snapshots", "model_version_parents",
                  "model_aliases", "runs", "run_inputs"):  # fmt: skip
        connection.execute(f"VACUUM ANALYZE delc.{table}".encode())


def measured(connection: Connection, query: str) -> tuple[list[float], int]:
    """Milliseconds of each round, and how many rows there are."""
    timings = []
    found = 0
    for _ in range(ROUNDS):
        started = time.perf_counter()
        found = len(connection.execute("SELECT * FROM delc.dql(%s)", [query]).fetchall())
        timings.append(1000 * (time.perf_counter() - started))
    return timings[1:], found


if __name__ == "__main__":
    main()
