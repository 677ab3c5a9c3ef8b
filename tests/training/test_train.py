"""delc.train() from SQL: every task, every option, what is stored, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from support.cluster import Cluster, Connection
from support.examples import FLOWERS, IMAGES, PRICES, TOPICS, dataset, train
from support.workplace import failure, message, record, rolled_back, row, rows, value, workplace

LINEAR = {"network": "'linear'", "epochs": "1"}
PARAMETERS = """
    SELECT parameter.name, parameter.value::text
    FROM delc.model_summary AS model
    JOIN delc.snapshots AS snapshot ON snapshot.version_id = (
        SELECT id FROM delc.model_versions AS version WHERE version.run_id = model.run_id)
    JOIN delc.parameters AS parameter ON parameter.snapshot_id = snapshot.id
    WHERE model.model = %s AND coalesce(snapshot.epoch = %s, snapshot.is_latest)
    ORDER BY parameter.name
"""
SAME_PARAMETERS = """
    SELECT bool_and(a.value OPERATOR(delc.=) b.value), count(*)
    FROM delc.parameters AS a JOIN delc.snapshots AS x ON x.id = a.snapshot_id
    JOIN delc.model_versions AS v ON v.id = x.version_id
    JOIN delc.parameters AS b USING (name, chunk) JOIN delc.snapshots AS y ON y.id = b.snapshot_id
    JOIN delc.model_versions AS w ON w.id = y.version_id
    WHERE v.run_id = %s AND x.is_latest AND w.run_id = %s AND y.is_latest
"""


@pytest.fixture(scope="module")
def place(cluster: Cluster, template: str) -> Iterator[Connection]:
    """Data sets of every kind of target."""
    statements = [
        FLOWERS, IMAGES, PRICES, TOPICS,
        dataset("flowers", "flowers", "species"),
        dataset("images", "images", "half"),
        dataset("price", "SELECT id, size, rooms, price FROM prices", "price", key="'id'"),
        dataset("both", "prices", "price, tax"),
        dataset("sport", "SELECT id, x, y, sport FROM topics", "sport", key="'id'"),
        dataset("flags", "SELECT id, x, y, sport, science FROM topics", "sport, science", key="'id'"),
        dataset("names", "SELECT id, x, y, topics FROM topics", "topics", key="'id'"),
    ]  # fmt: skip
    with workplace(cluster, template, *statements) as connection:
        yield connection


@pytest.fixture
def db(place: Connection) -> Iterator[Connection]:
    with rolled_back(place) as connection:
        yield connection


def parameters(db: Connection, model: str, epoch: int | None = None) -> list[tuple[str, str]]:
    """The parameters of a version, of the snapshot after an epoch or of the one that it predicts with."""
    return rows(db, PARAMETERS, model, epoch)


def numbers(db: Connection, run_id: int) -> list[float]:
    """All parameters of the version that a run made, as one list."""
    return value(
        db,
        "SELECT array_agg(item.number ORDER BY parameter.name, item.place) FROM delc.parameters AS parameter"
        " JOIN delc.snapshots AS snapshot ON snapshot.id = parameter.snapshot_id AND snapshot.is_latest"
        " JOIN delc.model_versions AS version ON version.id = snapshot.version_id AND version.run_id = %s,"
        " unnest(parameter.value::double precision[]) WITH ORDINALITY AS item(number, place)",
        run_id,
    )


# ---- tasks ----


def test_a_training_returns_a_typed_row(db: Connection) -> None:
    result = record(db, train("flowers", "flowers"))
    run_id, seconds = result.pop("run_id"), result.pop("seconds")
    losses = result.pop("train_loss"), result.pop("validation_loss")
    assert result == {
        "model": "flowers@1", "task": "classification", "epochs": 12, "best_epoch": 12, "metric": "accuracy",
        "validation_metric": 1.0, "parameters": 3 * 16 + 16 + 16 * 3 + 3,
    }  # fmt: skip
    assert value(db, "SELECT outcome FROM delc.runs WHERE id = %s", run_id) == "succeeded"
    assert 0 < losses[0] < 0.1 > losses[1] > 0 < seconds


def test_several_classes_are_learnt(db: Connection) -> None:
    record(db, train("flowers", "flowers"))
    assert value(db, "SELECT count(*) FROM flowers AS f WHERE delc.predict('flowers', f) <> species") == 0


def test_two_classes_are_learnt(db: Connection) -> None:
    assert record(db, train("sport", "sport"))["task"] == "classification"
    assert value(db, "SELECT count(*) FROM topics AS t WHERE delc.predict('sport', t)::boolean <> sport") == 0


def test_several_boolean_columns_are_labels_that_a_row_can_have_at_once(db: Connection) -> None:
    assert record(db, train("flags", "flags"))["task"] == "multilabel"
    found = rows(db, "SELECT DISTINCT sport, science, delc.predict('flags', t) FROM topics AS t ORDER BY 1, 2")
    assert found == [
        (False, False, "{}"), (False, True, "{science}"), (True, False, "{sport}"), (True, True, "{sport,science}"),
    ]  # fmt: skip


def test_an_array_of_names_holds_the_labels_of_a_row(db: Connection) -> None:
    assert record(db, train("names", "names"))["task"] == "multilabel"
    wrong = "SELECT count(*) FROM topics AS t WHERE NOT (delc.predict('names', t)::text[] @> topics"
    assert value(db, wrong + " AND delc.predict('names', t)::text[] <@ topics)") == 0


def test_one_number_is_regressed_on_its_own_scale(db: Connection) -> None:
    result = record(db, train("price", "price", epochs="40"))
    assert (result["task"], result["metric"]) == ("regression", "r2")
    assert value(db, "SELECT max(abs(delc.predict_value('price', p) - price)) FROM prices AS p") < 60


def test_several_numbers_are_regressed_at_once(db: Connection) -> None:
    assert record(db, train("both", "both", epochs="40"))["task"] == "regression"
    price, tax = value(db, "SELECT delc.predict('both', p)::double precision[] FROM prices AS p WHERE id = 4")
    assert (price, tax) == (pytest.approx(1600, abs=40), pytest.approx(12, abs=2))


def test_a_number_can_be_classified_when_told(db: Connection) -> None:
    db.execute(dataset("rooms", "SELECT id, size, price, rooms FROM prices", "rooms", key="'id'"))
    assert record(db, train("rooms", "rooms", task="'classification'", **LINEAR))["task"] == "classification"
    assert value(db, "SELECT delc.predict('rooms', p) FROM prices AS p LIMIT 1") in set("01234")


def test_a_convolutional_network_learns_images(db: Connection) -> None:
    shape = """'{"pixels": {"kind": "array", "shape": [1, 4, 4]}}'"""
    network = """'{"architecture": "cnn", "channels": [8]}'"""
    result = record(db, train("images", "images", network=network, features=shape, epochs="8"))
    assert result["validation_metric"] == 1.0


REVIEWS = """
    CREATE TABLE reviews AS
    SELECT i AS id, CASE WHEN i % 2 = 0 THEN 'a good film number ' ELSE 'a bad film number ' END || i AS words,
           ARRAY[i % 2, 1 - i % 2, 2, 3] AS tokens, i % 2 = 0 AS liked
    FROM generate_series(1, 100) AS i
"""


@pytest.mark.parametrize(
    ("network", "columns", "features"),
    [
        ("linear", "tokens", '{"tokens": "array"}'),
        ("mlp", "tokens", '{"tokens": "array"}'),
        ("cnn", "tokens", '{"tokens": {"kind": "array", "shape": [1, 2, 2]}}'),
        ("resnet_small", "tokens", '{"tokens": {"kind": "array", "shape": [1, 2, 2]}}'),
        ("text_classifier", "words", '{"words": "text"}'),
        ("sequence_classifier", "tokens", '{"tokens": "tokens"}'),
    ],
)
def test_every_architecture_learns(db: Connection, network: str, columns: str, features: str) -> None:
    db.execute(REVIEWS)
    db.execute(dataset("reviews", f"SELECT id, {columns}, liked FROM reviews", "liked", key="'id'"))
    options = {"network": f"'{network}'", "features": f"'{features}'", "epochs": "30"}
    record(db, train("reviews", "reviews", **options))
    wrong = "SELECT count(*) FROM reviews AS r WHERE delc.predict('reviews', r)::boolean <> liked"
    assert value(db, wrong) == 0


# ---- options ----

SCHEDULES = [
    "constant", "step", '{"name": "multistep", "milestones": [2]}', "exponential", "linear", "cosine",
    '{"name": "cosine_warm_restarts", "first_cycle": 2}', "one_cycle", '{"name": "reduce_on_plateau", "patience": 1}',
]  # fmt: skip
OPTIMIZERS = ["sgd", "adam", "adamw", "nadam", "radam", "rmsprop", "adagrad", "sgd", "adam"]


@pytest.mark.parametrize(("optimizer", "schedule"), list(zip(OPTIMIZERS, SCHEDULES, strict=True)))
def test_every_optimizer_and_schedule_lowers_the_loss(db: Connection, optimizer: str, schedule: str) -> None:
    options = {"optimizer": f"'{optimizer}'", "schedule": f"'{schedule}'", "epochs": "4", "weight_decay": "1e-4"}
    run_id = record(db, train("any", "flowers", **options))["run_id"]
    losses = rows(
        db, "SELECT value FROM delc.learning_curves WHERE run_id = %s AND metric = 'loss' AND split = 'train'"
        " ORDER BY epoch", run_id,
    )  # fmt: skip
    assert len(losses) == 4
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("data", "loss"),
    [
        ("flowers", "cross_entropy"), ("flowers", '{"name": "cross_entropy", "label_smoothing": 0.1}'),
        ("flowers", "focal"), ("flags", "bce"), ("flags", "focal"), ("price", "mse"), ("price", "mae"),
        ("price", "huber"), ("price", "smooth_l1"),
    ],
)  # fmt: skip
def test_every_loss_can_be_chosen(db: Connection, data: str, loss: str) -> None:
    record(db, train("any", data, loss=f"'{loss}'", **LINEAR))
    name = value(db, "SELECT options #>> '{loss,name}' FROM delc.model_versions")
    assert name in loss


def test_a_schedule_changes_the_learning_rate_of_the_epochs(db: Connection) -> None:
    step = """'{"name": "step", "step_size": 1, "gamma": 0.5}'"""
    run_id = record(db, train("any", "flowers", schedule=step, epochs="3", learning_rate="0.008"))["run_id"]
    rates = "SELECT value FROM delc.learning_curves WHERE run_id = %s AND metric = 'learning_rate' ORDER BY epoch"
    assert [rate for (rate,) in rows(db, rates, run_id)] == pytest.approx([0.008, 0.004, 0.002])


def test_arguments_reach_the_optimizer(db: Connection) -> None:
    plain = record(db, train("any", "flowers", optimizer="'sgd'", **LINEAR))
    momentum = record(
        db, train("any", "flowers", optimizer="'sgd'", optimizer_arguments="""'{"momentum": 0.9}'""", **LINEAR)
    )
    assert momentum["train_loss"] < plain["train_loss"]


def test_a_heavier_class_is_predicted_more_often(db: Connection) -> None:
    db.execute("CREATE TABLE mixed AS SELECT i AS id, (i % 10)::real AS x, i % 10 = 0 AND i % 4 = 0 AS rare"
               " FROM generate_series(1, 400) AS i")  # fmt: skip
    db.execute(dataset("mixed", "mixed", "rare", key="'id'"))
    called = {}
    for name, weights in (("plain", "NULL"), ("weighted", """'{"true": 50}'"""), ("balanced", "'balanced'")):
        db.execute(train(name, "mixed", class_weights=weights, network="'linear'", epochs="4"))
        called[name] = value(db, f"SELECT count(*) FROM mixed AS m WHERE delc.predict('{name}', m)::boolean")
    assert called["plain"] < called["balanced"] < called["weighted"]


def test_clipped_gradients_bound_the_step(db: Connection) -> None:
    options = LINEAR | {"optimizer": "'sgd'", "batch_size": "1000"}
    start = numbers(db, record(db, train("any", "flowers", **options | {"learning_rate": "1e-30"}))["run_id"])
    for clip, least, most in (("NULL", 0.5, math.inf), ("0.01", 0.0099, 0.0101)):
        trained = record(db, train("any", "flowers", gradient_clip=clip, **options | {"learning_rate": "1"}))
        assert least < math.dist(start, numbers(db, trained["run_id"])) < most


def test_early_stopping_keeps_the_best_epoch(db: Connection) -> None:
    db.execute("CREATE TABLE noise AS SELECT i AS id, sin(i * 12.9898)::real AS x, hashint4(i) % 2 = 0 AS y"
               " FROM generate_series(1, 100) AS i")  # fmt: skip
    db.execute(dataset("noise", "noise", "y", key="'id'"))
    options = {"early_stopping": "3", "checkpoint_every": "1", "epochs": "200"}
    result = record(db, train("noise", "noise", **options))
    assert result["epochs"] == result["best_epoch"] + 3 < 200
    assert parameters(db, "noise@1") == parameters(db, "noise@1", result["best_epoch"])
    assert parameters(db, "noise@1") != parameters(db, "noise@1", result["epochs"])


def test_early_stopping_without_validation_rows_is_refused(db: Connection) -> None:
    db.execute(dataset("whole", "flowers", "species", validation="0"))
    error = failure(db, train("any", "whole", early_stopping="2"))
    assert error.sqlstate == "22023"
    assert "validation" in message(error)


def test_checkpoints_are_stored_every_so_many_epochs(db: Connection) -> None:
    record(db, train("any", "flowers", checkpoint_every="2", epochs="5"))
    found = rows(db, "SELECT number, epoch, is_latest FROM delc.snapshots ORDER BY number")
    assert found == [(1, 2, False), (2, 4, False), (3, 5, True)]


def test_no_checkpoint_is_stored_twice(db: Connection) -> None:
    record(db, train("any", "flowers", checkpoint_every="2", epochs="4"))
    found = rows(db, "SELECT epoch, is_latest FROM delc.snapshots ORDER BY number")
    assert found == [(2, False), (4, True)]


def test_threads_and_device_are_kept_with_the_version(db: Connection) -> None:
    record(db, train("any", "flowers", threads="1", device="'cpu'", **LINEAR))
    assert row(db, "SELECT options ->> 'threads', options ->> 'device' FROM delc.model_versions") == ("1", "cpu")


def test_the_message_is_kept_with_the_version(db: Connection) -> None:
    record(db, train("any", "flowers", message="'wider'", **LINEAR))
    assert value(db, "SELECT message FROM delc.model_versions") == "wider"


# ---- what is stored ----


def test_versions_are_numbered_one_after_the_other(db: Connection) -> None:
    made = [record(db, train("any", "flowers", **LINEAR))["model"] for _ in range(3)]
    assert made == ["any@1", "any@2", "any@3"]


def test_standardisation_is_stored_and_is_that_of_the_training_rows(db: Connection) -> None:
    record(db, train("any", "flowers", **LINEAR))
    stored = value(db, "SELECT features FROM delc.model_versions")["columns"]
    expected = row(
        db,
        "SELECT avg(width), stddev_pop(width), avg(height), stddev_pop(height)"
        " FROM delc.dataset_rows(NULL::flowers, 'flowers', 'train')",
    )
    found = [stored[0]["fitted"]["center"], stored[0]["fitted"]["scale"]]
    found += [stored[1]["fitted"]["center"], stored[1]["fitted"]["scale"]]
    assert found == pytest.approx(expected, rel=1e-9)


def test_the_committed_version_is_trained_on_after_the_source_has_changed(db: Connection) -> None:
    before = record(db, train("any", "flowers", **LINEAR))
    db.execute("UPDATE flowers SET width = -width, species = 'setosa'")
    after = record(db, train("any", "flowers", **LINEAR))
    assert row(db, SAME_PARAMETERS, before["run_id"], after["run_id"]) == (True, 2)


def test_the_committed_version_is_trained_on_after_the_source_is_gone(db: Connection) -> None:
    db.execute("DROP TABLE flowers")
    assert record(db, train("any", "flowers"))["validation_metric"] == 1.0


def test_an_older_version_can_be_named(db: Connection) -> None:
    db.execute("UPDATE flowers SET species = 'setosa'")
    db.execute("SELECT * FROM delc.commit_dataset('flowers')")
    old = record(db, train("old", "flowers@1"))
    used = "SELECT version.number FROM delc.run_inputs AS input JOIN delc.dataset_versions AS version"
    assert value(db, used + " ON version.id = input.dataset_version_id WHERE input.run_id = %s", old["run_id"]) == 1


# ---- determinism ----


def test_the_same_seed_gives_the_same_parameters_bit_for_bit(db: Connection) -> None:
    network = """'{"architecture": "mlp", "hidden": [16], "dropout": 0.3}'"""
    first, again = (record(db, train("any", "flowers", network=network, seed="7"))["run_id"] for _ in range(2))
    assert row(db, SAME_PARAMETERS, first, again) == (True, 4)


def test_another_seed_gives_other_parameters(db: Connection) -> None:
    first, other = (record(db, train("any", "flowers", seed=seed))["run_id"] for seed in "78")
    assert row(db, SAME_PARAMETERS, first, other)[0] is False


def test_a_fresh_session_gives_the_same_parameters_bit_for_bit(cluster: Cluster, place: Connection) -> None:
    network = """'{"architecture": "mlp", "hidden": [16], "dropout": 0.3}'"""
    command = train("fresh", "flowers", network=network, seed="7")
    with rolled_back(place) as here:
        record(here, command)
        expected = parameters(here, "fresh@1")
    with cluster.connect(place.info.dbname, autocommit=False) as there:
        record(there, command)
        found = parameters(there, "fresh@1")
        there.rollback()
    assert found == expected
    assert len(found) == 4


# ---- notices ----


def test_each_epoch_is_told_by_a_notice(db: Connection) -> None:
    told: list[str | None] = []
    handler = lambda diagnostic: told.append(diagnostic.message_primary)  # noqa: E731
    db.add_notice_handler(handler)
    db.execute(train("any", "flowers", epochs="2"))
    db.remove_notice_handler(handler)
    assert len(told) == 2
    assert told[1] is not None
    assert told[1].startswith("epoch 2/2: loss ")
    assert "validation loss" in told[1]
    assert "accuracy" in told[1]


# ---- what is refused ----


def test_a_loss_that_is_no_number_says_where_and_what_to_try(db: Connection) -> None:
    error = failure(db, train("any", "price", optimizer="'sgd'", learning_rate="1e30"))
    assert error.sqlstate == "22000"
    for part in ("epoch", "batch", "1e+30", "learning_rate"):
        assert part in message(error)
    assert error.diag.message_hint is not None


REFUSED: list[tuple[dict[str, str], str, str]] = [
    ({"optimizer": "'adamm'"}, 'unknown optimizer "adamm"', 'Did you mean "adam"?'),
    ({"optimizer_arguments": """'{"momentun": 1}'""", "optimizer": "'sgd'"}, "momentun", 'Did you mean "momentum"?'),
    ({"schedule": "'cosin'"}, 'unknown schedule "cosin"', 'Did you mean "cosine"?'),
    ({"loss": "'cros_entropy'"}, 'unknown loss "cros_entropy"', 'Did you mean "cross_entropy"?'),
    ({"loss": "'mse'"}, 'loss "mse" is not for classification', "cross_entropy"),
    ({"network": "'lineer'"}, "lineer", 'Did you mean "linear"?'),
    ({"network": """'{"architecture": "mlp", "hiden": [4]}'"""}, "hiden", 'Did you mean "hidden"?'),
    ({"network": """'[{"kind": "liner"}]'"""}, "liner", 'Did you mean "linear"?'),
    ({"network": """'[{"kind": '"""}, "network is not JSON", "kind"),
    ({"task": "'clasification'"}, 'unknown task "clasification"', 'Did you mean "classification"?'),
    ({"features": """'{"heigth": "numeric"}'"""}, 'unknown column "heigth"', 'Did you mean "height"?'),
    ({"features": """'{"height": "numerik"}'"""}, "numerik", "numeric"),
    ({"features": """'{"height": {"standardise": "none"}}'"""}, "standardise", 'Did you mean "standardize"?'),
    ({"class_weights": """'{"setoza": 2}'"""}, 'unknown label "setoza"', 'Did you mean "setosa"?'),
    ({"epochs": "0"}, "epochs is 0", "from 1"),
    ({"batch_size": "0"}, "batch_size is 0", "from 1"),
    ({"learning_rate": "-1"}, "learning_rate is -1", "> 0"),
    ({"learning_rate": "'NaN'"}, "learning_rate", "finite"),
    ({"gradient_clip": "0"}, "gradient_clip is 0", "> 0"),
    ({"early_stopping": "0"}, "early_stopping is 0", "from 1"),
    ({"checkpoint_every": "0"}, "checkpoint_every is 0", "from 1"),
    ({"threads": "-1"}, "threads is -1", "from 1"),
    ({"device": "'tpu'"}, "tpu", "cpu"),
    ({"device": "'cuda:99'"}, "cuda:99", ""),
]


@pytest.mark.parametrize(("options", "says", "helps"), REFUSED, ids=[next(iter(case[0])) for case in REFUSED])
def test_a_wrong_option_is_named_with_what_is_allowed(
    db: Connection, options: dict[str, str], says: str, helps: str
) -> None:
    error = failure(db, train("any", "flowers", **options))
    assert error.sqlstate in ("22023", "42704", "55000")
    assert says in str(error.diag.message_primary)
    assert helps in message(error)


def test_an_unknown_data_set_is_named_with_the_nearest(db: Connection) -> None:
    error = failure(db, train("any", "flower"))
    assert error.sqlstate == "42704"
    assert 'unknown data set "flower"' in message(error)
    assert 'Did you mean "flowers"?' in message(error)


def test_an_unknown_version_of_a_data_set_is_named(db: Connection) -> None:
    error = failure(db, train("any", "flowers@9"))
    assert error.sqlstate == "42704"
    assert "9" in str(error.diag.message_primary)


@pytest.mark.parametrize("name", ["any@2", "any@best"])
def test_a_version_cannot_be_trained_anew(db: Connection, name: str) -> None:
    error = failure(db, train(name, "flowers"))
    assert error.sqlstate == "22023"
    assert 'Train "any"' in message(error)


@pytest.mark.parametrize("name", ["", " any", "x" * 64])
def test_what_cannot_name_a_model_is_refused(db: Connection, name: str) -> None:
    error = failure(db, train(name, "flowers"))
    assert error.sqlstate == "22023"
    assert "cannot be the name of a model" in message(error)


@pytest.mark.parametrize(
    ("arguments", "says"), [("NULL, 'flowers'", "the model is NULL"), ("'any', NULL", "no data set was named")]
)
def test_null_for_what_is_required_is_refused(db: Connection, arguments: str, says: str) -> None:
    error = failure(db, f"SELECT delc.train({arguments})")
    assert error.sqlstate == "22023"
    assert says in message(error)


OPTIONS = (
    "network", "task", "epochs", "batch_size", "learning_rate", "optimizer", "schedule", "weight_decay", "seed",
    "device",
)  # fmt: skip


@pytest.mark.parametrize("option", OPTIONS)
def test_null_for_an_option_is_refused(db: Connection, option: str) -> None:
    error = failure(db, train("any", "flowers", **LINEAR | {option: "NULL"}))
    assert error.sqlstate == "22023"
    assert f"{option} is NULL" in message(error)


def test_a_data_set_without_target_is_refused(db: Connection) -> None:
    db.execute("SELECT * FROM delc.create_dataset('aimless', 'flowers')")
    error = failure(db, train("any", "aimless"))
    assert error.sqlstate == "22023"
    assert "there is no target column" in message(error)


def test_a_network_whose_shapes_do_not_fit_names_the_layer(db: Connection) -> None:
    network = """'[{"name": "look", "kind": "conv2d", "out_channels": 4, "kernel_size": 3}, {"kind": "linear"}]'"""
    error = failure(db, train("any", "flowers", network=network))
    assert error.sqlstate == "22023"
    assert '"look"' in message(error)


@pytest.mark.parametrize(("element", "what"), [("NULL", "1 NULL value"), ("'NaN'", "1 NaN or infinite value")])
def test_an_element_that_is_no_number_names_the_column(db: Connection, element: str, what: str) -> None:
    db.execute(f"UPDATE images SET pixels[3] = {element} WHERE id = 7")
    db.execute(dataset("holes", "images", "half", validation="0", test="0"))
    error = failure(db, train("any", "holes"))
    assert error.sqlstate == "22000"
    assert f'column "pixels" has {what}' in message(error)


def test_arrays_of_different_lengths_name_both_lengths(db: Connection) -> None:
    db.execute("UPDATE images SET pixels = pixels[1:15] WHERE id = 7")
    db.execute(dataset("ragged", "images", "half", validation="0", test="0"))
    error = failure(db, train("any", "ragged"))
    assert error.sqlstate == "22000"
    assert '"pixels"' in message(error)
    assert "15" in message(error)
    assert "16" in message(error)


def test_nothing_is_left_of_a_training_that_failed(db: Connection) -> None:
    failure(db, train("any", "price", optimizer="'sgd'", learning_rate="1e30", checkpoint_every="1"))
    counts = "SELECT (SELECT count(*) FROM delc.models), (SELECT count(*) FROM delc.snapshots)"
    assert row(db, counts) == (0, 0)
