"""Evaluate: what is tried, what is kept, what is logged."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from support.alexnets import DATASET
from support.cluster import Connection
from support.models import parameters
from support.workplace import failure, message, rows, value

Ask = Callable[..., list[dict[str, Any]]]

FROM = 'evaluate m from (select a where a.name = "alexnet_2") with config = "c"'


@pytest.fixture(autouse=True)
def config(work: Connection) -> None:
    save(work, {"dataset": "digits", "epochs": 3, "optimizer": "sgd", "momentum": 0.9})


def save(work: Connection, document: dict[str, Any]) -> None:
    work.execute("SELECT delc.save_config('c', %s)", [json.dumps(document)])


def test_without_a_rule_all_are_trained_to_the_end_and_kept(ask: Ask) -> None:
    trials = ask(f"{FROM} vary config.base_lr in [0.01, 0.1] and config.batch_size in range(16, 48, 16)")
    assert len(trials) == 6
    assert {trial["state"] for trial in trials} == {"kept"}
    assert {trial["iterations"] for trial in trials} == {3}
    assert {trial["detail"] for trial in trials} == {
        f"base_lr = {rate}, batch_size = {size}" for rate in (0.01, 0.1) for size in (16, 32, 48)
    }
    assert [trial["value"] for trial in trials] == sorted(trial["value"] for trial in trials)


def test_a_trial_is_the_training_that_train_would_do(ask: Ask, work: Connection) -> None:
    (trial,) = ask(f"{FROM} vary config.base_lr in [0.05]")
    work.execute(
        "SELECT delc.train('by hand', 'digits', from_model => 'alexnet_2', epochs => 3, optimizer => 'sgd',"
        " optimizer_arguments => '{\"momentum\": 0.9}', learning_rate => 0.05, batch_size => 128)"
    )
    assert parameters(work, "by hand@1") == parameters(work, trial["model"])


def test_trials_in_processes_of_their_own_give_the_same_numbers(ask: Ask, work: Connection) -> None:
    work.execute("SET LOCAL delc.trial_workers = 2")
    work.execute("SELECT delc.save_config('c', %s)",
                 [json.dumps({"dataset": "digits", "optimizer": "sgd", "momentum": 0.9, "batch_size": 1})])  # fmt: skip
    plan = {row["source"]: row["detail"] for row in ask(f'explain {FROM} keep top(1, m["loss"], 400)')}
    assert plan["processes"].startswith("the session's own")  # there is one trial
    long = f'{FROM} vary config.base_lr in [0.001, 0.002] keep top(1, m["loss"], 60)'
    plan = {row["source"]: row["detail"] for row in ask(f"explain {long}")}
    assert plan["processes"].startswith("2, the session's own among them")
    shared = ask(long)
    work.execute("SET LOCAL delc.trial_workers = 1")
    own = ask(long)
    assert [(trial["number"], trial["value"], trial["state"]) for trial in shared] == [
        (trial["number"], trial["value"], trial["state"]) for trial in own
    ]
    assert parameters(work, shared[0]["model"]) == parameters(work, own[0]["model"])


def test_the_same_seed_draws_the_same_trials_and_another_one_others(ask: Ask) -> None:
    query = f'{FROM} vary config.base_lr auto and config.net["fc*"].weight_decay auto keep top(1, m["loss"], 2)'
    first, again, other = ask(query, seed=5), ask(query, seed=5), ask(query, seed=6)
    assert len(first) == 4
    assert [(trial["detail"], trial["value"]) for trial in first] == [
        (trial["detail"], trial["value"]) for trial in again
    ]
    assert {trial["detail"] for trial in first} != {trial["detail"] for trial in other}


def test_halving_goes_on_where_it_paused(ask: Ask, work: Connection) -> None:
    paused = ask(f'{FROM} vary config.base_lr in [0.1, 0.0001, 0.00001] keep top(1, m["loss"], 9)')
    assert [trial["state"] for trial in paused] == ["kept", "stopped at iteration 3", "stopped at iteration 3"]
    save(work, {"dataset": "digits", "epochs": 9, "optimizer": "sgd", "momentum": 0.9, "base_lr": 0.1})
    (straight,) = ask(f"{FROM}")
    assert straight["value"] == paused[0]["value"]
    assert parameters(work, straight["model"]) == parameters(work, paused[0]["model"])


def test_without_stopping_every_trial_is_trained_to_the_end(ask: Ask, work: Connection) -> None:
    save(work, {"dataset": "digits", "search": {"stopping": "none"}})
    trials = ask(f'{FROM} vary config.base_lr in [0.1, 0.0001, 0.00001] keep top(1, m["loss"], 4)')
    assert [trial["state"] for trial in trials] == ["kept", "finished", "finished"]
    assert {trial["iterations"] for trial in trials} == {4}


def test_a_threshold_keeps_a_trial_as_soon_as_it_is_reached(ask: Ask) -> None:
    trials = ask(f'{FROM} vary config.base_lr in [0.1, 0.0000001] keep m["loss"] < 1.3 after 60')
    assert trials[0]["state"] == "kept"
    assert trials[0]["value"] < 1.3
    assert trials[0]["iterations"] < 60
    assert (trials[1]["state"], trials[1]["iterations"], trials[1]["model"]) == ("finished", 60, None)


def test_failed_trials_say_why_and_the_others_go_on(ask: Ask) -> None:
    trials = ask(f'{FROM} vary config.base_lr in [0.01, 1e30] keep top(1, m["loss"], 2)')
    assert trials[0]["state"] == "kept"
    assert trials[1]["state"].startswith("failed: the loss ")
    others = 'evaluate m from (select a where a.name like "alexnet%1") with config = "c"'
    some = ask(f'{others} vary config.net["conv3"].lr in [0.1] keep top(1, m["loss"], 1)')
    assert [trial["state"] for trial in some] == [
        "kept",
        "finished",
        'failed: no layer with parameters is one of "conv3"',
        'failed: no layer with parameters is one of "conv3"',
    ]
    plan = ask(f'explain {others} vary config.net["conv3"].lr in [0.1] keep top(1, m["loss"], 1)')
    assert ("fail", '2 trials: no layer with parameters is one of "conv3"') in [
        (row["source"], row["detail"]) for row in plan
    ]


def test_settings_of_layers(ask: Ask, work: Connection) -> None:
    (trial,) = ask(
        f'{FROM} vary config.net["conv*"].freeze in [true] and config.net["fc[6,7]"].lr in [0.5]'
        ' and config.net["conv3"].kernel_size in [1]'
    )
    options = value(work, "SELECT options FROM delc.model_versions WHERE id = %s", trial["version_id"])
    assert options["freeze"] == ["conv1", "conv2", "conv3"]
    assert options["optimizer_arguments"]["layers"] == {"fc6": {"learning_rate": 0.5}, "fc7": {"learning_rate": 0.5}}
    before, after = parameters(work, "alexnet_2@1"), parameters(work, trial["model"])
    assert before["conv1.weight"] == after["conv1.weight"]
    assert before["fc6.weight"] != after["fc6.weight"]


def test_data_sets_vary_and_default_to_the_one_that_the_model_was_trained_on(ask: Ask, work: Connection) -> None:
    work.execute(DATASET.format(name="other", seed=3))
    trials = ask(f'{FROM} vary config.input_data in ["digits", "other"]')
    names = (
        "SELECT data.dataset_id FROM delc.dataset_versions AS data JOIN delc.model_versions AS version"
        " ON version.dataset_version_id = data.id WHERE version.id = %s"
    )
    assert len({value(work, names, trial["version_id"]) for trial in trials}) == 2
    save(work, {"epochs": 1})
    (trial,) = ask(FROM)
    assert trial["state"] == "kept"


def test_fresh_starts_do_not_take_the_weights(ask: Ask, work: Connection) -> None:
    save(work, {"dataset": "digits", "epochs": 1, "start": "fresh", "learning_rate": 1e-12})
    (trial,) = ask(FROM)
    assert parameters(work, trial["model"])["conv1.weight"] != parameters(work, "alexnet_2@1")["conv1.weight"]
    relation = "SELECT relation FROM delc.model_version_parents WHERE derived = %s"
    assert value(work, relation, trial["version_id"]) == "trained anew"


def test_samplers(ask: Ask, work: Connection) -> None:
    for sampler, expected in (("sobol", 3), ("random", 3), ("grid", 9)):
        save(work, {"dataset": "digits", "epochs": 1, "search": {"sampler": sampler, "samples": 3}})
        plan = ask(f"explain {FROM} vary config.base_lr auto and config.weight_decay auto(0.001, 0.1)")
        assert {row["source"]: row["detail"] for row in plan}["trials"] == str(expected)
    save(work, {"dataset": "digits", "epochs": 1, "search": {"trials": 5}})
    plan = ask(f"explain {FROM} vary config.base_lr in log_range(0.001, 1, 10) and config.batch_size in [16, 32]")
    assert {row["source"]: row["detail"] for row in plan}["trials"] == "5"


def test_a_sampler_that_learns_proposes_the_same_values_however_many_trials_run_at_a_time(
    ask: Ask, work: Connection
) -> None:
    search = {"sampler": "tpe", "samples": 16}
    save(work, {"dataset": "digits", "optimizer": "sgd", "batch_size": 1, "search": search})
    query = f'{FROM} vary config.momentum in [0.5] and config.base_lr auto(0.000001, 0.1) keep top(1, m["loss"], 9)'
    tried = []
    for workers in (1, 2):
        work.execute(f"SET LOCAL delc.trial_workers = {workers}".encode())
        trials = ask(query, seed=3)
        tried.append([(trial["detail"], trial["value"], trial["state"]) for trial in trials])
    assert tried[0] == tried[1]
    rates = [float(trial["detail"].rpartition("= ")[2]) for trial in sorted(trials, key=lambda each: each["number"])]
    assert len(set(rates)) == 16
    # The first ten are drawn at random, all over the range; the others where the losses were least.
    assert sum(rate > 0.0003 for rate in rates[10:]) >= 4


def test_what_was_thrown_away_stays_in_the_log_without_its_weights(ask: Ask, work: Connection) -> None:
    versions = value(work, "SELECT count(*) FROM delc.model_versions")
    trials = ask(f'{FROM} vary config.base_lr in [0.1, 0.0001, 0.00001] keep top(1, m["loss"], 9)')
    assert value(work, "SELECT count(*) FROM delc.model_versions") == versions + 1
    logged = rows(
        work,
        "SELECT trial.number, trial.state, trial.hyperparameters, trial.iterations, run.outcome, run.operation"
        " FROM delc.trials AS trial JOIN delc.runs AS run ON run.id = trial.run_id ORDER BY trial.number",
    )
    assert logged[1:] == [
        (2, "stopped at iteration 3", {"base_lr": 0.0001}, 3, "succeeded", "trial"),
        (3, "stopped at iteration 3", {"base_lr": 0.00001}, 3, "succeeded", "trial"),
    ]
    curve = "SELECT array_agg(epoch ORDER BY epoch) FROM delc.metrics WHERE run_id = %s AND metric = 'accuracy'"
    assert value(work, curve, trials[1]["run_id"]) == [1, 2, 3]


def test_what_was_only_made_to_be_tried_goes_with_its_trials(ask: Ask, work: Connection) -> None:
    versions = value(work, "SELECT count(*) FROM delc.model_versions")
    made = 'construct n from m where m.name like "alexnet\\_%" mutate m["conv1"].insert = TANH'
    trials = ask(f'evaluate t from ({made}) with config = "c" keep top(1, t["loss"], 2)')
    assert [trial["state"] for trial in trials].count("kept") == 1
    # The kept model, and the one that it was made from.
    assert value(work, "SELECT count(*) FROM delc.model_versions") == versions + 2


def test_evaluates_within_evaluates_number_their_trials_on(ask: Ask, work: Connection) -> None:
    inner = f'{FROM} vary config.base_lr in [0.1, 0.001] keep top(1, m["loss"], 1)'
    made = f'construct n from ({inner}) mutate m["conv1"].insert = TANH'
    outer = ask(f'evaluate t from ({made}) with config = "c" vary config.lr in [0.01, 0.02] keep top(1, t.loss, 1)')
    assert sorted(trial["number"] for trial in outer) == [3, 4]
    logged = rows(work, "SELECT number, source FROM delc.trials ORDER BY number")
    assert logged == [(1, "alexnet_2@1"), (2, "alexnet_2@1"), (3, "alexnet_2-m-n@1"), (4, "alexnet_2-m-n@1")]


def test_what_another_part_of_the_query_made_stays(ask: Ask, work: Connection) -> None:
    first = 'a in (construct x from y where y.name = "alexnet_1" mutate y["conv1"].insert = RELU)'
    made = 'construct z from y where y.name = "alexnet_2" mutate y["conv1"].insert = RELU'
    second = f'b in (evaluate m from ({made}) with config = "c" vary config.base_lr in [0.01] keep top(1, m.loss, 1))'
    for sources in (f"{first}, {second}", f"{second}, {first}"):
        found = ask(f"select a, b from {sources}")
        assert [row["model"].split("@")[0] for row in found] == ["alexnet_1-x", "alexnet_2-z-m"]


def test_kept_models_of_a_search_within_a_search_stay(ask: Ask, work: Connection) -> None:
    inner = f'{FROM} vary config.base_lr in [0.1, 0.001] keep top(1, m["loss"], 1)'
    trials = ask(f'evaluate t from ({inner}) with config = "c" keep t["loss"] < 0 after 1')
    assert trials[0]["state"] == "finished"
    assert value(work, "SELECT count(*) FROM delc.models WHERE name = 'alexnet_2-m'") == 1


def test_the_log_says_what_was_tried_though_its_name_is_given_again(ask: Ask, work: Connection) -> None:
    made = 'construct z from y where y.name = "alexnet_2" mutate y["conv1"].insert = {}'
    (trial,) = ask(f'evaluate m from ({made.format("TANH")}) with config = "c" keep m["loss"] < 0 after 1')
    said = (
        "alexnet_2-z@1, which was not kept (constructed from alexnet_2@1: tanh1 (tanh) after conv1;"
        " weights kept: conv1, conv2, conv3, fc6, fc7, fc8)"
    )
    assert trial["source"] == said
    assert rows(work, "SELECT source FROM delc.trials") == [(said,)]
    (other,) = ask(made.format("SIGMOID"))
    assert other["model"] == "alexnet_2-z@1"
    arguments, subject = rows(
        work, "SELECT arguments, subject FROM delc.runs WHERE id = %s", trial["run_id"]
    )[0]
    assert subject == said
    assert arguments["made_from"] == "alexnet_2@1"
    assert [layer["kind"] for layer in arguments["network"]["layers"]][:2] == ["conv2d", "tanh"]


def test_a_plan_of_nested_searches_trains_nothing(ask: Ask, work: Connection) -> None:
    work.execute("SELECT delc.save_config('long', '{\"dataset\": \"digits\", \"epochs\": 100000}')")
    inner = 'evaluate m from (select a where a.name = "alexnet_2") with config = "long" vary config.lr in [1, 2, 3]'
    kept = f'{inner} keep top(2, m["loss"])'
    outer = 'with config = "long" vary config.base_lr in [0.1, 0.01] keep top(1, t.loss, 100000)'
    plan = [(row["source"], row["detail"]) for row in ask(f"explain evaluate t from ({kept}) {outer}")]
    assert ("evaluate t", "at most 2 models, known once the trials above have been run") in plan
    assert [detail for source, detail in plan if source == "trials"] == ["3", "4"]
    plan = [(row["source"], row["detail"]) for row in ask(f"explain select m from ({kept})")]
    assert plan[-1] == ("select m", "at most 2 versions, known once the trials above have been run")
    made = f'construct n from ({kept}) mutate m["relu1"].delete'
    plan = [(row["source"], row["detail"]) for row in ask(f"explain {made}")]
    assert plan[-2:] == [
        (
            "construct n",
            "by what the trials begin with, 1 network to build; known once the trials above have been run",
        ),
        ("alexnet_2@1", "alexnet_2-n: without relu1"),
    ]


def test_a_plan_that_has_to_make_models_says_so_in_a_read_only_transaction(work: Connection) -> None:
    made = 'construct n from m where m.name = "alexnet_2" mutate m["conv1"].insert = TANH'
    work.execute("SET TRANSACTION READ ONLY")
    work.execute("SELECT delc.dql(%s)", [f"explain {made}"])
    error = failure(work, "SELECT delc.dql(%s)", f'explain evaluate t from ({made}) with config = "c"')
    assert "takes a transaction that may write" in message(error)


def test_metrics_by_iteration_join_in_the_same_statement(work: Connection) -> None:
    query = f'{FROM} vary config.base_lr in [0.1, 0.01, 0.001] keep top(1, m["loss"], 9)'
    curves = rows(
        work,
        "SELECT trial.number, trial.value, array_agg(measured.epoch ORDER BY measured.epoch),"
        " (array_agg(measured.value ORDER BY measured.epoch DESC))[1]"
        " FROM delc.dql(%s) AS trial, delc.run_metrics(trial.run_id) AS measured"
        " WHERE measured.metric = 'loss' AND measured.split = 'validation'"
        " GROUP BY trial.number, trial.value, trial.iterations ORDER BY trial.iterations DESC, trial.number",
        query,
    )
    assert [epochs for _, _, epochs, _ in curves] == [list(range(1, 10)), [1, 2, 3], [1, 2, 3]]
    assert all(value == last for _, value, _, last in curves)


def test_one_estimate_says_how_long_it_takes_and_whether_processes_are_worth_it(ask: Ask) -> None:
    query = f'{FROM} vary config.base_lr in [0.1, 0.01] keep top(1, m["loss"], 3)'
    plan = {row["source"]: row["detail"] for row in ask(f"explain {query}")}
    assert plan["time"].endswith("by the networks' sizes (no earlier run of these models is known)")
    ask(query)
    plan = {row["source"]: row["detail"] for row in ask(f"explain {query}")}
    assert plan["time"].endswith(", by 1 earlier run of these models")
    seconds = plan["time"].removeprefix("about ").split(" s")[0]
    assert f"(about {seconds} s)" in plan["processes"]


def test_evaluate_nests(ask: Ask) -> None:
    inner = f'{FROM} vary config.base_lr in [0.1, 0.001] keep top(1, m["loss"], 3)'
    (made,) = ask(f'construct n from ({inner}) mutate m["relu1"].delete')
    assert made["source"] == "alexnet_2-m@1"


def test_no_model_and_no_data(ask: Ask, work: Connection) -> None:
    assert ask('evaluate m from (select a where a.name = "none") with config = "c"') == []
    (sliced,) = ask('slice s from m where m.name = "alexnet_1" mutate s.input = m["conv2"] and s.output = m["fc7"]')
    save(work, {"epochs": 1})
    error = failure(
        work, "SELECT delc.dql(%s)", f'evaluate m from (select a where a.title = "{sliced["model"]}") with config = "c"'
    )
    assert 'nothing says what to train "alexnet_1-s@1" on' in message(error)


def test_kept_models_are_named_as_the_query_says(ask: Ask) -> None:
    (trial,) = ask(f'{FROM} as "$name tuned"')
    assert trial["model"] == "alexnet_2 tuned@1"


NARROW = """
    CREATE TABLE narrow AS SELECT id, digit, pixels[1] AS a, pixels[64] AS b FROM digits;
    ALTER TABLE narrow ADD PRIMARY KEY (id);
    SELECT delc.create_dataset('narrow', 'public.narrow', target => 'digit', key => 'id', validation => 0.25)
"""


def train_on_two(work: Connection) -> None:
    for statement in NARROW.split(";"):
        work.execute(statement.encode())
    work.execute("SELECT delc.train('reads two', 'narrow', epochs => 1, network => '{\"architecture\": \"mlp\"}')")


def test_trials_whose_model_cannot_read_a_data_set_fail_and_the_others_go_on(ask: Ask, work: Connection) -> None:
    train_on_two(work)
    both = 'evaluate m from (select a where a.name in ("alexnet_2", "reads two")) with config = "c"'
    query = f'{both} vary config.input_data in ["digits", "narrow"] keep top(2, m["loss"], 1)'
    found = [(trial["source"], trial["detail"], trial["state"].partition(":")[0]) for trial in ask(query)]
    assert sorted(found) == [
        ("alexnet_2@1", "input_data = digits", "kept"),
        ("alexnet_2@1", "input_data = narrow", "failed"),
        ("reads two@1", "input_data = digits", "failed"),
        ("reads two@1", "input_data = narrow", "kept"),
    ]
    failed = "SELECT state FROM delc.trials WHERE state LIKE 'failed%'"
    assert all('data set "' in state and 'column "' in state for (state,) in rows(work, failed))
    plan = {row["source"]: row["detail"] for row in ask(f"explain {query}")}
    assert plan["fail"].startswith('2 trials: data set "narrow@1": ')


def test_a_data_set_that_no_model_can_read_is_an_error_with_its_place(work: Connection) -> None:
    train_on_two(work)
    query = f'{FROM} vary config.lr in [0.1] and config.input_data in ["digits", "narrow"]'
    found = message(failure(work, "SELECT delc.dql(%s)", query))
    assert found.startswith('delc: data set "narrow@1": ')
    assert f"at line 1, column {query.index(chr(34) + 'narrow') + 1} of the query" in found
    save(work, {"dataset": "narrow"})
    found = message(failure(work, "SELECT delc.dql(%s)", FROM))
    assert f"at line 1, column {FROM.index(chr(34) + 'c' + chr(34)) + 1} of the query" in found


def test_losses_of_different_tasks_or_functions_are_not_ranked_together(work: Connection, ask: Ask) -> None:
    work.execute("CREATE TABLE sums AS SELECT id, pixels, pixels[1] + pixels[9] AS total FROM digits")
    work.execute("SELECT delc.create_dataset('sums', 'public.sums', target => 'total', validation => 0.25)")
    work.execute("SELECT delc.train('adds', 'sums', epochs => 1, network => '{\"architecture\": \"mlp\"}')")
    save(work, {"epochs": 1})
    both = 'evaluate m from (select a where a.name in ("alexnet_2", "adds")) with config = "c"'
    error = message(failure(work, "SELECT delc.dql(%s)", f'{both} keep top(1, m["loss"], 1)'))
    assert error.startswith("delc: losses of classification and regression are not of one scale")
    assert f"column {len(both) + 7} of" in error
    assert {trial["state"] for trial in ask(both)} == {"kept"}
    query = f'{FROM} vary config.loss in ["cross_entropy", "focal"] keep top(1, m["{{}}"], 1)'
    assert "config.loss varies" in message(failure(work, "SELECT delc.dql(%s)", query.format("loss")))
    assert [trial["state"] for trial in ask(query.format("accuracy"))] == ["kept", "finished"]


def test_fewer_models_than_asked_for_are_told_of(ask: Ask, work: Connection) -> None:
    said: list[str] = []
    work.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
    trials = ask(f'{FROM} vary config.base_lr in [0.01, 1e30, 1e31] keep top(2, m["loss"], 1)')
    assert [trial["state"].partition(":")[0] for trial in trials] == ["kept", "failed", "failed"]
    assert "1 of the 2 models asked for is kept: 2 of 3 trials failed" in said
    ask(f'{FROM} vary config.base_lr in [0.01, 0.02] keep top(5, m["loss"], 1)')
    assert "2 of the 5 models asked for are kept: there were 2 trials" in said
    ask(f'{FROM} vary config.base_lr in [0.01, 1e30] keep top(5, m["loss"], 1)')
    assert "1 of the 5 models asked for is kept: 1 of 2 trials failed and there were 2 trials" in said
