"""What is said about wrong queries: line, column, a caret under the place, what was expected, the nearest name."""

from __future__ import annotations

import psycopg
import pytest

from delc.dql.problems import Place
from support.cluster import Connection
from support.workplace import failure, message


def said(work: Connection, query: str) -> str:
    error = failure(work, "SELECT delc.dql(%s)", query)
    assert error.sqlstate is not None
    assert error.sqlstate[:2] in ("42", "22", "54")
    return message(error).removeprefix("delc: ")


def test_the_place_is_shown_with_a_caret(work: Connection) -> None:
    assert said(work, 'select m1\nwhere m1.name like "a%" and\n\tm1["conv1"].next hsa POOL("MAX")') == (
        "expected has, exists, .next, .prev or an attribute of the layers, such as .kind, found hsa,"
        " at line 3, column 19 of the query\n"
        "The query, line 3:\n"
        '\tm1["conv1"].next hsa POOL("MAX")\n'
        "\t                 ^\n"
        "Did you mean has?"
    )


@pytest.mark.parametrize(
    ("name", "columns"),
    [("abc", 3), ("模型", 4), ("e\u0301te\u0301", 3), ("ㅎ", 2), ("한글", 4), ("a\u200db", 2), ("🙂", 2), ("ü", 1)],
)
def test_the_caret_stands_under_the_place_as_a_terminal_shows_it(name: str, columns: int) -> None:
    text = f'select m where m.name = "{name}" §'
    before = text.index("§")
    shown, caret = Place(text, before).picture().splitlines()
    assert shown == text
    assert caret == " " * (before - len(name) + columns) + "^"


def test_long_lines_are_cut_around_the_place(work: Connection) -> None:
    shown = said(work, "select m where " + "m.layers > 1 and " * 40 + "m.layer > 1").splitlines()
    assert shown[2].endswith("m.layer > 1")
    assert len(shown[2]) <= 100
    assert shown[2][shown[3].index("^") :] == "layer > 1"


@pytest.mark.parametrize(
    ("query", "text", "hint"),
    [
        ("", "expected select or slice or construct or evaluate, found the end of the query, at line 1", None),
        ("selct m", "expected select or slice or construct or evaluate, found selct", "Did you mean select?"),
        ("select", "expected a variable, found the end of the query", None),
        ("select m were m.name = 'a'", "expected the end of the query, found were", "Did you mean where?"),
        ("select m where m.name = 'a' limit 1.5", "1.5 is not a number of rows", "Allowed is 0 to 2147483647."),
        ("select m where (m.name = 'a'", 'expected ")", found the end of the query', None),
        ("select m where m.name lik 'a'", "expected a comparison (=, <>, <, <=, >, >=, like, in, is null), found lik",
         "Did you mean like?"),
        ("select m where m.name = 'a", "a string begins here and has no end", "Close it with '."),
        ("select m /* where", "a comment begins here and has no end", "Close it with */."),
        ("select m where m.name = §", '"§" means nothing here', None),
        ("select m, m", "the variable m is named twice", None),
        ("select m where n.name = 'a'", 'unknown variable "n"', "Known are: m."),
        ("select m where m.nme = 'a'", 'unknown attribute or metric "nme"', 'Did you mean "name"?'),
        ("select m where m.acuracy > 0.9", 'unknown attribute or metric "acuracy"', 'Did you mean "accuracy"?'),
        ("select m where m[\"conv1\"].krnel_size = 3", 'unknown attribute of layers "krnel_size"',
         'Did you mean "kernel_size"?'),
        ("select m where m[\"conv1\"] has POL", 'unknown template "POL"', 'Did you mean "POOL"?'),
        ("select m where m[\"conv1\"] has POOL(\"MED\")", 'unknown kind of pool "MED"', "Known are: AVG, MAX."),
        ("select m where m[\"conv1\"] has CONV(kernl = 3)", 'unknown argument of CONV "kernl"',
         'Did you mean "kernel_size"?'),
        ("select m where m[\"conv[\"] exists", '"[" in the selector "conv[" means nothing',
         "A list is written [1,3,5]."),
        ("select m where m.name = [3]", "name is a text, which is not compared with a list", None),
        ("select m where m[\"a\"].output_shape > [3]", "[3] has no order", "Only numbers are greater or less."),
        ("select m where m[\"a\"].output_shape[0] > 3", "elements are counted from 1",
         "[1] is the first, [-1] the last."),
        ("select m where m[\"a\"].kind[1] = 3", "kind is a text, which has no elements", None),
        ("select m where [1] = [1]", "two values are compared, and no attribute", None),
        ("select m where m.name = 3", "name is a text, which 3 is not", None),
        ("select m where m.layers = 'many'", 'layers is a number, which "many" is not', None),
        ("select m where m.creation_time > 'soon'", '"soon" is no time',
         'Times are written "2026-01-31" or "2026-01-31 18:00".'),
        ("select m where m.name = m.layers", "name (text) and layers (number) cannot be compared", None),
        ("select m where 1 = 2", "two values are compared, and no attribute", "Write, for example, m.name = …"),
        ("select m where m[\"conv1\"] = 'a'", "expected has, exists, .next, .prev or an attribute of the layers", None),
        ("select m order by m.tag", "tag has several values, so nothing can be ordered by it",
         "Order by an attribute of the model itself, such as m.name or a metric."),
        ("select a from a, b where a.parent.id = b.id order by b.accuracy",
         "b is not selected, so nothing can be ordered by it", "Select it too: select a, b …."),
        ('select m where m.creation_time > "2026-W01-1"', '"2026-W01-1" is no time',
         'Times are written "2026-01-31" or "2026-01-31 18:00".'),
        ('select m where m.creation_time > "0001-01-01T00:00:00+23:59"', '"0001-01-01T00:00:00+23:59" is no time',
         None),
        ("select m from \"goood\"", 'unknown stored query "goood"', 'Did you mean "good"?'),
        ("select m from (select a, b)", "the query gives 2 variables, a, b, and one is wanted",
         "Select one of them: select a from a, b where …"),
        ("construct m from m mutate m[\"a\"].delete", "m is made from itself", "Give the new model a name of its own."),
        ("construct n from m mutate m[\"conv1\"].inset = RELU",
         "expected next, prev, insert, delete or replace, found inset", "Did you mean insert?"),
        ("construct n from m mutate m[\"conv1\"].insert = POOL", "POOL does not say which pool",
         'Write POOL("MAX") or POOL("AVG").'),
        ("construct n from m mutate m[\"conv1\"].insert = RELU(\"relu$1\")", "$1 is not captured by the selector",
         'It captures nothing. Write ($1) after a wildcard, as in "conv*($1)".'),
        ("construct n from m mutate m[\"conv1\"].insert = RELU(\"fc6\")",
         'alexnet -avgv1@1: layer "fc6" exists already, so it cannot be put in',
         "Choose another name, or leave the name out for one that is free."),
        ("slice s from m mutate s.input = m[\"conv1\"]", "expected and s.output = …, found the end of the query", None),
        ("slice s from m mutate s.input = m[\"conv1\"] and s.output = m[\"fc*\"]",
         'm["fc*"] stands for 3 layers of alexnet -avgv1@1, but a model has one output',
         "Name one of them: fc6, fc7, fc8."),
        ("evaluate m from \"good\" with config = \"no\"", 'unknown configuration "no"', None),
        ("evaluate m from \"good\" with config = \"c\" vary config.lerning_rate auto", 'unknown setting "lerning_rate"',
         'Did you mean "learning_rate"?'),
        ("evaluate m from \"good\" with config = \"c\" vary config.epochs in [1, 2]",
         "config.epochs is a setting that does not vary, at line 1, column 47",
         'The query says how long: keep top(1, m["loss"], 20). Without keep the configuration does.'),
        ("evaluate m from \"good\" with config = \"c\" vary config.max_iter in [1, 2]",
         "config.max_iter is a setting that does not vary", None),
        ("evaluate m from \"good\" with config = \"c\" vary config.start in [\"warm\"]",
         "config.start is a setting that does not vary", "Set it in the configuration: warm or fresh."),
        ("evaluate m from \"good\" with config = \"c\" vary config.freeze in [true]",
         "config.freeze is a setting that does not vary",
         'Vary it by layers: config.net["conv*"].freeze in [true, false].'),
        ("evaluate m from \"good\" with config = \"c\" vary config.optimizer_arguments in [1]",
         "config.optimizer_arguments is a setting that does not vary", None),
        ("evaluate m from \"good\" with config = \"c\" vary config.net[\"conv*\"].lerning_rate auto",
         'unknown setting of layers "lerning_rate"', 'Did you mean "learning_rate"?'),
        ("evaluate m from \"good\" with config = \"c\" vary config.net[\"conv*\"].stride auto",
         'auto knows no range for config.net["conv*"].stride',
         'Give one: config.net["conv*"].stride auto(0.1, 0.9), or a list: config.net["conv*"].stride in [0.1, 0.5].'),
        ("evaluate m from \"good\" with config = \"c\" vary config.lr in [0.1] and config.lr auto",
         "config.lr varies twice", "Leave one of them out."),
        ("evaluate m from \"good\" with config = \"c\" vary config.lr in [0.1] and config.base_lr in [0.2]",
         "config.base_lr sets the same as config.lr, which varies too, at line 1, column 70", "Leave one of them out."),
        ("evaluate m from \"good\" with config = \"c\" vary config.momentum in [0.1] and"
         " config.optimizer_arguments.momentum auto",
         "config.optimizer_arguments.momentum sets the same as config.momentum, which varies too", None),
        ("evaluate m from \"good\" with config = \"c\" vary config.net[\"fc*\"].lr auto and"
         " config.net[\"fc*($1)\"].learning_rate in [1]",
         'config.net["fc*($1)"].learning_rate sets the same as config.net["fc*"].lr, which varies too', None),
        ("evaluate m from \"good\" with config = \"c\" vary config.input_data auto(1, 2)",
         "a data set has a name, and is not drawn from a range", None),
        ("evaluate m from \"good\" with config = \"c\" vary config.lr in log_range(0, 1, 3)",
         "this log_range has no values, or too many",
         "Write log_range(first, last, count), such as log_range(0.0001, 0.1, 4); 2 to 1000 values."),
        ("evaluate m from \"good\" with config = \"c\" vary config.batch_size in [0, \"x\", 32]",
         'batch_size is 0; it must be a whole number from 1 to 100000000, at line 1, column 69', None),
        ("evaluate m from \"good\" with config = \"c\" vary config.batch_size in [16, \"x\"]",
         'batch_size is "x"; it must be a whole number from 1 to 100000000, at line 1, column 73', None),
        ("evaluate m from \"good\" with config = \"c\" vary config.lr in [\"a\"]",
         'learning_rate is "a"; it must be a finite number > 0, at line 1, column 61', None),
        ("evaluate m from \"good\" with config = \"c\" vary config.net[\"conv*\"].freeze in [true, \"no\"]",
         'freeze is "no"; it must be true or false', None),
        ("evaluate m from \"good\" with config = \"c\" vary config.net[\"zonv*\"].lr in [0.1]",
         'no layer with parameters is one of "zonv*"',
         'Layers with parameters are: conv1, conv2, conv3, fc6, fc7, fc8.'),
        ("evaluate m from \"good\" with config = \"c\" vary config.net[\"zonv*\"].lr auto",
         'no layer with parameters is one of "zonv*"',
         'Layers with parameters are: conv1, conv2, conv3, fc6, fc7, fc8.'),
        ("evaluate m from \"good\" with config = \"c\" vary config.net[\"conv1\"].kernel_size in [50]",
         'layer "conv1" (conv2d) cannot take the shape', None),
        ("evaluate m from \"good\" with config = \"c\" vary config.momentum in [0.9]",
         'unknown argument "momentum" of optimizer "adam"', None),
        ("evaluate m from \"good\" with config = \"c\" vary config.input_data in [\"digitss\"]",
         'unknown data set "digitss"', 'Did you mean "digits"?'),
        ("evaluate m from \"good\" with config = \"c\" vary config.input_data in [true]",
         'a data set has a name, which true is not', None),
        ("evaluate m from \"good\" with config = \"c\" keep top(5, m[\"acuracy\"], 10)",
         'unknown metric of trainings for classification "acuracy"', 'Did you mean "accuracy"?'),
        ("evaluate m from \"good\" with config = \"c\" keep top(0, m[\"loss\"])", "0 is not a number of models to keep",
         "Allowed is 1 to 1000."),
    ],
)  # fmt: skip
def test_wrong_queries(work: Connection, query: str, text: str, hint: str | None) -> None:
    work.execute("SELECT delc.save_query('good', 'select m where m.name = ''alexnet_1''')")
    work.execute("SELECT delc.save_config('c', '{}')")
    found = said(work, query)
    assert found.startswith(text)
    assert "The query, line 1:" in found
    if hint is not None:
        assert found.splitlines()[-1] == hint


def test_queries_that_are_too_long_or_too_deep_are_refused(work: Connection) -> None:
    assert said(work, "select m where " + "(" * 50).startswith("the query nests more than 40 levels deep")
    assert said(work, "select m -- " + "x" * 100_000).startswith("the query has 100012 characters; allowed are 100000")
    many = " or ".join(["m.layers = 1"] * 2500)
    assert said(work, f"select m where {many}").startswith("the query has more than 2000 parts")


def test_a_log_range_may_span_all_numbers(work: Connection) -> None:
    work.execute("SELECT delc.save_config('c', '{}')")
    said = "SELECT detail FROM delc.dql(%s) WHERE source = 'config.lr'"
    for numbers, values in (("1e-200, 1e200, 3", "1e-200, 1, 1e+200"), ("1e-300, 1e300, 3", "1e-300, 1, 1e+300"),
                            ("1e200, 1e-200, 2", "1e+200, 1e-200"), ("0.001, 0.1, 3", "0.001, 0.01, 0.1")):  # fmt: skip
        query = f'explain evaluate m from (select a limit 1) with config = "c" vary config.lr in log_range({numbers})'
        assert work.execute(said, [query]).fetchall() == [(f"{numbers[-1]} values: {values}",)]


def test_hints_list_only_settings_that_vary(work: Connection) -> None:
    work.execute("SELECT delc.save_config('c', '{}')")
    hint = said(work, 'evaluate m from (select a) with config = "c" vary config.qqq in [1]').splitlines()[-1]
    assert hint.startswith("Known are: ")
    assert not {"epochs", "iterations", "max_iter", "start"} & set(hint.removesuffix(".").split(": ")[1].split(", "))


def test_stored_queries_that_multiply_are_refused(work: Connection) -> None:
    work.execute("SELECT delc.save_query('q0', 'select m')")
    for level in range(1, 12):
        names = ", ".join(f'{name} in "q{level - 1}"' for name in "abcdef")
        work.execute("SELECT delc.save_query(%s, %s)", [f"q{level}", f"select a from {names}"])
    assert said(work, 'select m from "q11"').startswith("stored and nested queries come to more than 100, at line 1")
    assert said(work, 'explain select m from "q11"').startswith("stored and nested queries come to more than 100")


def test_a_metric_that_is_not_measured_is_refused_before_any_training(work: Connection) -> None:
    work.execute("SELECT delc.create_dataset('bare', 'public.digits', target => 'digit', key => 'id', validation => 0)")
    work.execute("SELECT delc.save_config('c', '{\"dataset\": \"bare\"}')")
    for rule in ('top(1, m["accuracy"], 2)', 'm["accuracy"] > 0.1 after 2'):
        query = f'evaluate m from (select m where m.name = "alexnet_1") with config = "c" keep {rule}'
        assert said(work, query).startswith(
            'accuracy is measured on validation rows, of which "bare@1" has none, at line 1'
        )


def test_more_combinations_than_can_be_drawn_from_are_refused(work: Connection) -> None:
    work.execute("SELECT delc.save_config('few', '{\"dataset\": \"digits\", \"search\": {\"trials\": 3}}')")
    ranges = " and ".join(f"config.{name} in range(1, 1000, 1)" for name in ("lr", "batch_size", "weight_decay"))
    query = f'evaluate m from (select a where a.name = "alexnet_1") with config = "few" vary {ranges}'
    assert said(work, query).startswith("vary has more than 1000000 combinations, at line 1, column 80")


def test_more_rows_than_anybody_reads_are_refused(work: Connection) -> None:
    found = said(work, "select a, b, c, d, e, f, g")
    assert found.startswith("more than 6 variables")
    # Six variables over seven versions: 117,649 rows.
    work.execute("SELECT delc.copy_model('alexnet_1', 'another')")
    assert said(work, "select a, b, c, d, e, f").startswith("more than 100000 rows match, at line 1, column 8")


def test_more_joined_rows_than_anybody_orders_are_refused(work: Connection) -> None:
    work.execute("SELECT count(delc.copy_model('alexnet_1', 'copy_' || i)) FROM generate_series(1, 120) AS i")
    joined = "select a, b, c where a.id < b.id or b.id < c.id"
    query = f"{joined} order by a.parameters limit 1"
    assert said(work, query).startswith("more than 1000000 rows match, of which the first are asked for, at line 1")
    assert len(work.execute("SELECT delc.dql(%s)", [f"{joined} limit 1"]).fetchall()) == 3


def test_stored_queries_that_name_one_another_are_refused(work: Connection) -> None:
    work.execute("SELECT delc.save_query('chicken', 'select m from \"egg\"')")
    work.execute("SELECT delc.save_query('egg', 'select m from \"chicken\"')")
    assert said(work, 'select m from "egg"').startswith("stored queries name one another 17 deep: ")


def test_configurations_are_checked_when_they_are_saved(work: Connection) -> None:
    wrong = {
        '{"lerning_rate": 1}': 'unknown setting "lerning_rate" of a configuration',
        '{"lr": 0.1, "base_lr": 0.2}': '"lr" and "base_lr" set the same',
        '{"alpha": 0.5, "optimizer_arguments": {"alpha": 0.9}}': '"optimizer_arguments" and "alpha" set the same',
        '{"learning_rate": -1}': "learning_rate is -1; it must be a finite number > 0",
        '{"search": {"sampler": "tea leaves"}}': 'unknown sampler "tea leaves"',
        "[1]": "config is [1]; it must be a JSON object",
        '{"class_weights": "x"}': 'class_weights is "x"; it must be "balanced", an object {label: weight} or a list of',
        '{"class_weights": "balanced", "loss": "mae"}': "class_weights are given, but the task is regression",
        '{"loss": "cross"}': 'unknown loss "cross"',
        '{"loss": {"name": "huber", "delta": -1}}': 'delta of loss "huber" is -1; it must be a finite number > 0',
        '{"optimizer_arguments": [], "lr": 1}': "optimizer_arguments is []; it must be a JSON object",
        '{"optimizer": "sgd", "optimizer_arguments": {"momentum": 2}}': 'momentum of optimizer "sgd" is 2; it must be',
        '{"optimizer": "sgd", "momentum": "fast"}': 'momentum of optimizer "sgd" is "fast"; it must be',
        '{"freeze": "conv1"}': 'freeze is "conv1"; it must be a list\n',
        '{"optimizer": {"name": "sgd"}}': 'optimizer is {"name": "sgd"}; it must be one of sgd, ',
        '{"start": ["warm"]}': 'start is ["warm"]; it must be one of warm, fresh',
        '{"optimizer": "sgd", "optimizer_arguments": {"momentum": 0.5}, "momentum": 0.9}':
            '"optimizer_arguments" and "momentum" set the same',
        '{"epochs": "many"}': 'epochs is "many"; it must be a whole number',
        '{"search": {"samples": null}}': "samples is null; it must be a whole number from 1 to 1000",
    }
    for config, text in wrong.items():
        found = message(failure(work, "SELECT delc.save_config('wrong', %s)", config)) + "\n"
        assert found.removeprefix("delc: ").startswith(text)


@pytest.mark.parametrize("levels", [41, 500, 3000])
@pytest.mark.parametrize("where", ['{"loss": %s}', '{"search": {"samples": %s}}', '{"class_weights": %s}', "%s"])
def test_configurations_are_no_deeper_than_any_that_a_person_writes(work: Connection, where: str, levels: int) -> None:
    error = failure(work, "SELECT delc.save_config('deep', %s)", where % ("[" * levels + "]" * levels))
    assert error.sqlstate == "54000"
    assert message(error).removeprefix("delc: ") == "the configuration nests more than 40 levels deep"


def test_options_that_hold_json_as_text_may_not_nest_without_end(work: Connection) -> None:
    held = "[" * 3000
    found = message(failure(work, "SELECT delc.save_config('deep', jsonb_build_object('loss', %s::text))", held))
    assert found.removeprefix("delc: ").startswith("loss nests too deep")


def test_configurations_have_at_most_a_million_characters(work: Connection) -> None:
    long = "SELECT delc.save_config('long', jsonb_build_object('dataset', repeat('x', 1000000)))"
    found = message(failure(work, long))
    assert found.removeprefix("delc: ") == "the configuration has 1000015 characters; allowed are 1000000"


def test_null_in_a_configuration_is_as_not_given(work: Connection) -> None:
    nulls = '"optimizer_arguments": null, "lr": null, "epochs": null'
    config = f'{{"optimizer": "sgd", "momentum": 0.9, "base_lr": 0.1, {nulls}}}'
    work.execute("SELECT delc.save_config('c', %s)", [config])
    plan = work.execute("SELECT detail FROM delc.dql('explain evaluate m from (select a limit 1) with config = \"c\"')")
    assert ("1 trial to iteration 10, which is kept",) in plan.fetchall()
    for same in ('"momentum": 0.8, "optimizer_arguments": {"momentum": null}', '"optimizer_arguments": {"lr": null}',
                 '"momentum": null, "optimizer_arguments": {"momentum": 0.8}'):  # fmt: skip
        work.execute("SELECT delc.save_config('c', %s)", [f'{{"optimizer": "sgd", {same}}}'])


NAMES = ("epochs", "batch_size", "lr", "optimizer", "optimizer_arguments", "schedule", "loss", "weight_decay",
         "class_weights", "gradient_clip", "early_stopping", "seed", "device", "freeze", "dataset", "start", "search",
         "momentum", "betas", "nesterov", "input_data", "solver")  # fmt: skip
VALUES = ("0", "-1", "1.5", "1e400", "true", '"x"', '""', "[]", "[1]", '["x"]', "{}", '{"name": 1}',
          '{"x": {"y": null}}', '{"layers": {"fc*": 1}}', '"{"', "[[[]]]")  # fmt: skip


def refusal(work: Connection, config: str) -> psycopg.Error | None:
    """The error with which a configuration, or a query with it, is refused."""
    try:
        with work.transaction():
            work.execute("SELECT delc.save_config('c', %s)", [config])
            work.execute("SELECT delc.dql('explain evaluate m from (select a limit 1) with config = \"c\"')")
    except psycopg.Error as error:
        return error
    return None


@pytest.mark.parametrize("name", NAMES)
def test_every_value_of_a_configuration_is_taken_or_refused_in_words(work: Connection, name: str) -> None:
    refused = [error for value in VALUES if (error := refusal(work, f'{{"{name}": {value}}}')) is not None]
    assert refused
    for error in refused:
        assert error.diag.message_primary is not None
        assert "Error" not in error.diag.message_primary
        assert str(error.sqlstate)[:2] in ("22", "42", "54")


def test_literals_are_bound_and_never_run(work: Connection) -> None:
    work.execute("SELECT delc.dql(%s)", ['select m where m.name = "\'; DROP TABLE digits; --"'])
    work.execute("SELECT delc.dql(%s)", ['select m where m["conv*"].name in ("\'", "$1", "\\")'])
    work.execute("SELECT count(*) FROM digits")
