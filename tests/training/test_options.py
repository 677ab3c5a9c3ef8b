"""Options as SQL callers give them: strict, with errors that name the value and what is allowed."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from delc.server.errors import InvalidParameter
from delc.training.options import GREATEST_SEED, TrainingOptions


def parse(task: str = "classification", **values: object) -> TrainingOptions:
    return TrainingOptions.parse(task, values)


def test_defaults_are_filled_in() -> None:
    options = parse()
    assert options.optimizer == "adam"
    assert options.optimizer_arguments["betas"] == [0.9, 0.999]
    assert options.loss == {"name": "cross_entropy", "label_smoothing": 0.0}
    assert options.schedule["name"] == "constant"
    assert (options.gradient_clip, options.early_stopping, options.class_weights) == (None, None, None)


@pytest.mark.parametrize(
    ("task", "loss"), [("classification", "cross_entropy"), ("multilabel", "bce"), ("regression", "mse")]
)
def test_each_task_has_a_default_loss(task: str, loss: str) -> None:
    assert parse(task).loss["name"] == loss


def test_nulls_are_defaults() -> None:
    assert parse(learning_rate=None, optimizer=None, schedule=None, loss=None) == parse()


def test_numbers_of_sql_are_taken() -> None:
    options = parse(learning_rate=Decimal("0.5"), epochs=Decimal("3"), weight_decay=0)
    assert (options.learning_rate, options.epochs, options.weight_decay) == (0.5, 3, 0.0)
    assert isinstance(options.epochs, int)


def test_json_as_text_is_taken() -> None:
    options = parse(
        loss='{"name": "focal", "gamma": 3}',
        schedule='{"name": "step", "step_size": 4}',
        optimizer="sgd",
        optimizer_arguments='{"momentum": 0.9}',
        class_weights='{"yes": 2}',
    )
    assert options.loss == {"name": "focal", "gamma": 3.0}
    assert options.schedule["step_size"] == 4
    assert options.optimizer_arguments["momentum"] == 0.9
    assert options.class_weights == {"yes": 2.0}


def test_options_survive_json() -> None:
    options = parse(
        optimizer="adamw",
        optimizer_arguments={"layers": {"conv*": {"learning_rate": 1e-4}}},
        schedule={"name": "multistep", "milestones": [2, 5], "warmup_epochs": 1.5},
        class_weights=[1, 2],
        seed=GREATEST_SEED,
        device="cuda:1",
    )
    assert TrainingOptions.from_json(json.loads(json.dumps(options.to_json()))) == options


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rate": -1}, "learning_rate is -1; it must be a finite number > 0"),
        ({"learning_rate": Decimal("-0.10")}, "learning_rate is -0.10; it must be a finite number > 0"),
        ({"learning_rate": float("nan")}, "learning_rate is NaN; it must be a finite number > 0"),
        ({"learning_rate": 10**400}, "it must be a finite number > 0"),
        ({"learning_rate": "0.1"}, 'learning_rate is "0.1"; it must be a finite number > 0'),
        ({"learning_rate": True}, "learning_rate is true; it must be a finite number > 0"),
        ({"epochs": 0}, "epochs is 0; it must be a whole number from 1 to 1000000"),
        ({"epochs": 2.5}, "epochs is 2.5; it must be a whole number from 1 to 1000000"),
        ({"epochs": Decimal("Infinity")}, "epochs is Infinity; it must be a whole number"),
        ({"batch_size": 0}, "batch_size is 0; it must be a whole number from 1"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1; it must be a finite number >= 0"),
        ({"gradient_clip": 0}, "gradient_clip is 0; it must be a finite number > 0"),
        ({"early_stopping": 0}, "early_stopping is 0; it must be a whole number from 1"),
        ({"checkpoint_every": 0}, "checkpoint_every is 0; it must be a whole number from 1"),
        ({"seed": -1}, "seed is -1; it must be a whole number from 0"),
        ({"seed": 2**63}, "seed is 9223372036854775808; it must be a whole number from 0"),
        ({"threads": 0}, "threads is 0; it must be a whole number from 1"),
        ({"device": "gpu"}, 'device is "gpu"; it must be "cpu", "cuda", "cuda:N" or "auto"'),
        ({"loss": {"name": "focal", "gamma": -1}}, 'gamma of loss "focal" is -1; it must be a finite number >= 0'),
        ({"loss": 3}, 'loss is 3; it must be a name, or an object with a "name" and its arguments'),
        ({"loss": {"gamma": 2}}, 'loss is {"gamma": 2}; it must be a name'),
        ({"loss": '{"name": '}, "loss is not valid JSON"),
        ({"optimizer_arguments": [1]}, r"optimizer_arguments is \[1\]; it must be a JSON object"),
        ({"optimizer_arguments": {"betas": [0.9]}}, 'betas of optimizer "adam" is .*; it must be a list of 2 values'),
        ({"optimizer_arguments": {"betas": [0.9, 1]}}, r'betas of optimizer "adam"\[1\] is 1; it must be .* < 1'),
        ({"optimizer_arguments": {"amsgrad": 1}}, 'amsgrad of optimizer "adam" is 1; it must be true or false'),
        ({"optimizer": "sgd", "optimizer_arguments": {"nesterov": True}}, "it needs a momentum > 0 and no dampening"),
        ({"schedule": "multistep"}, 'schedule "multistep" needs "milestones"'),
        ({"schedule": {"name": "multistep", "milestones": [4, 2]}}, r"are \[4, 2\]; they must increase"),
        ({"schedule": {"name": "cosine", "warmup_epochs": 30}}, "warmup_epochs is 30, but there are only 10 epochs"),
        ({"class_weights": "even"}, 'class_weights is "even"; it must be "balanced"'),
        ({"class_weights": {"a": -1}}, 'class_weights of label "a" is -1; it must be a finite number > 0'),
        ({"class_weights": [1, 0]}, r"class_weights\[1\] is 0; it must be a finite number > 0"),
    ],
)
def test_a_value_out_of_range_is_named_with_the_range(values: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidParameter, match=message):
        parse(**values)


@pytest.mark.parametrize(
    ("values", "message", "nearest"),
    [
        ({"learning_rat": 1}, 'unknown training option "learning_rat"', "learning_rate"),
        ({"optimizer": "adamm"}, 'unknown optimizer "adamm"', "adam"),
        ({"schedule": "cosin"}, 'unknown schedule "cosin"', "cosine"),
        ({"loss": "cross-entropi"}, 'unknown loss "cross-entropi"', "cross_entropy"),
        ({"optimizer_arguments": {"beta": 1}}, 'unknown argument "beta" of optimizer "adam"', "betas"),
        ({"schedule": {"name": "step", "stepsize": 1}}, 'unknown argument "stepsize" of schedule "step"', "step_size"),
        ({"optimizer_arguments": {"layers": {"fc": {"weight_decai": 1}}}}, 'of layers "fc"', "weight_decay"),
    ],
)
def test_an_unknown_name_is_an_error_with_the_nearest_one(
    values: dict[str, object], message: str, nearest: str
) -> None:
    with pytest.raises(InvalidParameter, match=message) as caught:
        parse(**values)
    assert caught.value.hint == f'Did you mean "{nearest}"?'
    assert nearest in (caught.value.detail or "")


def test_an_unknown_task_is_an_error() -> None:
    with pytest.raises(InvalidParameter, match='unknown task "clasification"'):
        parse("clasification")


def test_a_loss_of_another_task_says_which_ones_fit() -> None:
    with pytest.raises(InvalidParameter, match='loss "mse" is not for classification') as caught:
        parse(loss="mse")
    assert "cross_entropy" in (caught.value.detail or "")


def test_class_weights_need_classes() -> None:
    with pytest.raises(InvalidParameter, match="the task is regression, which has no classes"):
        parse("regression", class_weights="balanced")
