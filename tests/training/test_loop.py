"""The training loop: what it learns, repeats, reports, and refuses."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from training.helpers import Network, Recorder, batches, clusters, mlp, options

from delc.server.errors import InvalidData, InvalidParameter
from delc.training.batches import MemoryBatches
from delc.training.loop import NonFiniteLoss, fit
from delc.training.losses import class_weight_tensor


def weights(module: nn.Module) -> list[torch.Tensor]:
    return [tensor.detach().clone() for tensor in module.state_dict().values()]


def same(first: nn.Module, second: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(first), weights(second), strict=True))


def test_classification_is_learnt() -> None:
    module, monitor = mlp(), Recorder()
    result = fit(module, batches(*clusters()), batches(*clusters(60, seed=1)), options(epochs=20), monitor)
    assert monitor.records[-1].metric_name == "accuracy"
    assert (result.epochs[-1].validation_metric or 0) > 0.95
    assert result.epochs[-1].train_loss < result.epochs[0].train_loss


def test_multilabel_is_learnt() -> None:
    inputs = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    target = (inputs[:, :3] > 0).float()
    rows = batches(inputs, target)
    result = fit(mlp(), rows, rows, options("multilabel", epochs=30), Recorder())
    assert result.epochs[-1].metric_name == "f1"
    assert result.epochs[-1].validation_metric is not None
    assert result.epochs[-1].validation_metric > 0.95


@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "smooth_l1"])
def test_regression_is_learnt(loss: str) -> None:
    inputs = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    target = torch.stack([inputs.sum(1), inputs[:, 0] - inputs[:, 1]], 1)
    rows = batches(inputs, target)
    result = fit(mlp(outputs=2), rows, rows, options("regression", epochs=60, loss=loss), Recorder())
    assert result.epochs[-1].metric_name == "r2"
    assert result.epochs[-1].validation_metric is not None
    assert result.epochs[-1].validation_metric > 0.95


def test_one_output_takes_a_flat_regression_target() -> None:
    inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    rows = batches(inputs, inputs.sum(1))
    result = fit(mlp(outputs=1), rows, rows, options("regression", epochs=60), Recorder())
    assert result.epochs[-1].validation_loss is not None
    assert result.epochs[-1].validation_loss < 0.1


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "nadam", "radam", "rmsprop", "adagrad"])
def test_every_optimizer_lowers_the_loss(optimizer: str) -> None:
    result = fit(mlp(), batches(*clusters()), None, options(epochs=5, optimizer=optimizer), Recorder())
    assert result.epochs[-1].train_loss < result.epochs[0].train_loss


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "adagrad"])
def test_weights_are_those_of_a_plain_pytorch_loop(optimizer: str) -> None:
    module, plain = mlp(), mlp()
    inputs, target = clusters()
    fit(
        module,
        batches(inputs, target, shuffle=False),
        None,
        options(optimizer=optimizer, weight_decay=0.01),
        Recorder(),
    )
    kinds = {
        "sgd": torch.optim.SGD,
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "adagrad": torch.optim.Adagrad,
    }
    steps = kinds[optimizer](plain.parameters(), lr=0.01, weight_decay=0.01)
    for _ in range(3):
        for start in range(0, len(target), 16):
            steps.zero_grad()
            output = plain({"input": inputs[start : start + 16]})
            nn.functional.cross_entropy(output, target[start : start + 16]).backward()
            steps.step()
    for ours, theirs in zip(weights(module), weights(plain), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_same_seed_gives_the_same_weights_bit_for_bit() -> None:
    first, second = mlp(dropout=0.5), mlp(dropout=0.5)
    fit(first, batches(*clusters(), seed=3), None, options(seed=3), Recorder())
    torch.rand(17)
    fit(second, batches(*clusters(), seed=3), None, options(seed=3), Recorder())
    assert same(first, second)


def test_convolutions_repeat_bit_for_bit() -> None:
    def trained() -> Network:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module = Network(
                conv=nn.Conv2d(1, 8, 3), norm=nn.BatchNorm2d(8), pool=nn.AdaptiveAvgPool2d(2), flat=nn.Flatten(),
                fc=nn.Linear(32, 10),
            )  # fmt: skip
        images = torch.randn(256, 1, 12, 12, generator=torch.Generator().manual_seed(0))
        fit(module, batches(images, torch.arange(256) % 10), None, options(epochs=2), Recorder())
        return module

    assert same(trained(), trained())


def test_another_seed_gives_other_weights() -> None:
    first, second = mlp(dropout=0.5), mlp(dropout=0.5)
    fit(first, batches(*clusters()), None, options(seed=0), Recorder())
    fit(second, batches(*clusters()), None, options(seed=1), Recorder())
    assert not same(first, second)


def test_random_numbers_of_the_process_are_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(mlp(dropout=0.5), batches(*clusters()), None, options(), Recorder())
    assert torch.equal(torch.rand(3), expected)


def test_settings_of_the_process_are_left_alone() -> None:
    before = (torch.get_deterministic_debug_mode(), torch.utils.deterministic.fill_uninitialized_memory)
    fit(mlp(), batches(*clusters()), None, options(), Recorder())
    assert (torch.get_deterministic_debug_mode(), torch.utils.deterministic.fill_uninitialized_memory) == before


def test_the_module_ends_in_evaluation_mode_without_gradients() -> None:
    module = mlp()
    fit(module, batches(*clusters()), None, options(), Recorder())
    assert not module.training
    assert all(parameter.grad is None for parameter in module.parameters())


def test_every_batch_is_reported_also_of_validation() -> None:
    monitor = Recorder()
    fit(mlp(), batches(*clusters(40)), batches(*clusters(20)), options(epochs=1), monitor)
    assert monitor.batches == [(1, 1, 3), (1, 2, 3), (1, 3, 3), (1, 1, 2), (1, 2, 2)]
    assert all(isinstance(loss, float) for loss in monitor.losses[:3])


def test_what_the_monitor_raises_stops_training() -> None:
    class Stop(Exception):
        pass

    class Stopping(Recorder):
        def batch_done(self, epoch: int, batch: int, batches: int, loss: float | None) -> None:
            super().batch_done(epoch, batch, batches, loss)
            if len(self.batches) == 5:
                raise Stop

    monitor, module = Stopping(), mlp()
    with pytest.raises(Stop):
        fit(module, batches(*clusters()), None, options(), monitor)
    assert len(monitor.batches) == 5
    assert not module.training


def test_a_loss_that_is_not_finite_names_epoch_batch_and_learning_rate() -> None:
    inputs, target = clusters(64)
    inputs[40, 2] = math.inf
    with pytest.raises(NonFiniteLoss) as caught:
        fit(mlp(), batches(inputs, target, shuffle=False), None, options(), Recorder())
    assert (caught.value.epoch, caught.value.batch, caught.value.learning_rate) == (1, 3, 0.01)
    assert caught.value.message == "the loss is nan in epoch 1, batch 3, at learning rate 0.01"
    assert "gradient_clip" in (caught.value.hint or "")


def test_a_learning_rate_far_too_high_is_an_error_not_a_ruined_model() -> None:
    inputs = 1e4 * torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    with pytest.raises(NonFiniteLoss, match="at learning rate 1000"):
        fit(
            mlp(outputs=1), batches(inputs, inputs.sum(1)), None,
            options("regression", optimizer="sgd", learning_rate=1000, epochs=20), Recorder(),
        )  # fmt: skip


def test_a_last_step_that_ruins_the_weights_is_noticed() -> None:
    inputs = torch.full((4, 1), 1e30)
    module = Network(fc=nn.Linear(1, 1, bias=False))
    with torch.no_grad():
        module.fc.weight.fill_(1e-20)
    with pytest.raises(NonFiniteLoss, match="weight became infinite"):
        fit(
            module, batches(inputs, torch.zeros(4)), None,
            options("regression", optimizer="sgd", learning_rate=1e30, epochs=1), Recorder(),
        )  # fmt: skip


def test_gradients_are_clipped() -> None:
    inputs = 1e4 * torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    module, before = mlp(outputs=1), mlp(outputs=1)
    chosen = options("regression", optimizer="sgd", learning_rate=1, epochs=1, batch_size=64, gradient_clip=0.5)
    fit(module, batches(inputs, inputs.sum(1), 64), None, chosen, Recorder())
    moved = [a - b for a, b in zip(weights(module), weights(before), strict=True)]
    assert torch.cat([change.flatten() for change in moved]).norm().item() == pytest.approx(0.5, rel=1e-3)


def test_early_stopping_keeps_the_weights_of_the_best_epoch() -> None:
    inputs, target = clusters(30)
    noise = torch.randint(0, 3, (30,), generator=torch.Generator().manual_seed(3))
    train, validation = batches(inputs, noise), batches(*clusters(60, seed=1))
    module = mlp()
    result = fit(module, train, validation, options(epochs=200, early_stopping=4, learning_rate=0.05), Recorder())
    losses = [record.validation_loss for record in result.epochs]
    assert result.stopped_early
    assert len(result.epochs) == result.best_epoch + 4
    assert losses[result.best_epoch - 1] == min(loss for loss in losses if loss is not None)
    inputs, target = clusters(60, seed=1)
    with torch.no_grad():
        kept = nn.functional.cross_entropy(module({"input": inputs}), target).item()
    assert kept == pytest.approx(losses[result.best_epoch - 1], rel=1e-5)


def test_early_stopping_without_validation_rows_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="early_stopping is 3, but there are no validation rows"):
        fit(mlp(), batches(*clusters()), None, options(early_stopping=3), Recorder())


def test_no_validation_rows_count_as_no_validation() -> None:
    inputs, target = clusters()
    result = fit(mlp(), batches(inputs, target), batches(inputs[:0], target[:0]), options(), Recorder())
    assert result.epochs[-1].validation_loss is None
    assert result.epochs[-1].validation_metric is None
    assert result.best_epoch == 3


def test_no_rows_are_refused() -> None:
    inputs, target = clusters()
    with pytest.raises(InvalidData, match="no rows to train on"):
        fit(mlp(), batches(inputs[:0], target[:0]), None, options(), Recorder())


def test_one_row_trains() -> None:
    inputs, target = clusters(1)
    assert fit(mlp(), batches(inputs, target), None, options(), Recorder()).best_epoch == 3


def test_batch_normalisation_on_one_row_says_why_not() -> None:
    inputs, target = clusters(1)
    module = Network(fc1=nn.Linear(4, 8), norm=nn.BatchNorm1d(8), fc2=nn.Linear(8, 3))
    with pytest.raises(InvalidData, match="batch normalisation cannot train on a batch of one row"):
        fit(module, batches(inputs, target), None, options(), Recorder())


def test_batch_normalisation_trains_where_one_row_is_left_over() -> None:
    inputs, target = clusters(33)
    module = Network(fc1=nn.Linear(4, 8), norm=nn.BatchNorm1d(8), fc2=nn.Linear(8, 3))
    monitor = Recorder()
    fit(module, batches(inputs, target, 16), None, options(epochs=1), monitor)
    assert monitor.batches == [(1, 1, 2), (1, 2, 2)]


def test_checkpoints_are_taken_every_so_many_epochs() -> None:
    monitor = Recorder()
    fit(mlp(), batches(*clusters()), None, options(epochs=7, checkpoint_every=3), monitor)
    assert monitor.checkpoints == [3, 6]


def test_labels_not_seen_in_training_are_wrong_in_validation() -> None:
    inputs, target = clusters(60)
    known = fit(mlp(), batches(inputs, target), batches(inputs, target), options(epochs=20), Recorder())
    unseen = target.clone()
    unseen[:30] = -1
    result = fit(mlp(), batches(inputs, target), batches(inputs, unseen), options(epochs=20), Recorder())
    assert known.epochs[-1].validation_metric == 1.0
    assert result.epochs[-1].validation_metric == 0.5
    assert result.epochs[-1].validation_loss is not None
    assert result.epochs[-1].validation_loss < 0.1


def test_class_weights_move_predictions_towards_the_rare_class() -> None:
    generator = torch.Generator().manual_seed(0)
    target = (torch.arange(400) % 20 == 0).long()
    inputs = torch.randn(400, 4, generator=generator) + target.unsqueeze(1) * 0.7

    def predicted_rare(**values: object) -> int:
        chosen = options(epochs=20, **values)
        balance = class_weight_tensor("classification", chosen.class_weights, ["no", "yes"], [380, 20], 400)
        module = mlp(outputs=2)
        fit(module, batches(inputs, target), None, chosen, Recorder(), class_weights=balance)
        return int((module({"input": inputs}).argmax(1) == 1).sum())

    assert predicted_rare(class_weights="balanced") > 2 * predicted_rare()


def test_layers_have_learning_rates_of_their_own() -> None:
    module, before = mlp(), mlp()
    slow = {"layers": {"fc1": {"learning_rate": 1e-12}}}
    fit(module, batches(*clusters()), None, options(optimizer="sgd", optimizer_arguments=slow), Recorder())
    assert torch.allclose(module.fc1.weight, before.fc1.weight, atol=1e-9)
    assert not torch.allclose(module.fc2.weight, before.fc2.weight, atol=1e-3)


def test_frozen_parameters_stay() -> None:
    module, before = mlp(), mlp()
    module.fc1.requires_grad_(False)
    fit(module, batches(*clusters()), None, options(), Recorder())
    assert torch.equal(module.fc1.weight, before.fc1.weight)


def test_learning_rate_of_the_record_follows_the_schedule() -> None:
    schedule = {"name": "step", "step_size": 1, "gamma": 0.5}
    result = fit(mlp(), batches(*clusters()), None, options(schedule=schedule), Recorder())
    assert [record.learning_rate for record in result.epochs] == pytest.approx([0.01, 0.005, 0.0025])


def test_outputs_that_do_not_fit_the_target_are_an_error() -> None:
    inputs = torch.zeros(16, 4)
    with pytest.raises(InvalidParameter, match=r"gives shape \(16, 3\) for a batch whose target has shape \(16, 2\)"):
        fit(mlp(outputs=3), batches(inputs, torch.zeros(16, 2)), None, options("regression"), Recorder())


def test_a_network_without_parameters_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="no parameters"):
        fit(Network(act=nn.ReLU()), batches(*clusters()), None, options(), Recorder())


def test_cuda_is_used_or_its_absence_is_said() -> None:
    module = mlp()
    if torch.cuda.is_available():
        fit(module, batches(*clusters()), None, options(device="cuda"), Recorder())
        assert all(tensor.device.type == "cpu" for tensor in weights(module))
    else:
        with pytest.raises(InvalidParameter, match=r'device is "cuda", but torch .* finds no CUDA devices'):
            fit(module, batches(*clusters()), None, options(device="cuda"), Recorder())


def test_auto_trains_on_any_machine() -> None:
    module = mlp()
    fit(module, batches(*clusters()), None, options(device="auto"), Recorder())
    assert all(tensor.device.type == "cpu" for tensor in weights(module))


def test_a_transform_is_applied_to_each_batch() -> None:
    inputs, target = clusters()
    small = (inputs * 10).round().to(torch.int8)
    rows = MemoryBatches({"input": small}, target, 16, transform=lambda raw: {"input": raw["input"].float() / 10})
    result = fit(mlp(), rows, rows, options(epochs=20), Recorder())
    assert result.epochs[-1].validation_metric == 1.0


def test_validation_r2_is_none_where_the_target_is_constant() -> None:
    inputs = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
    result = fit(
        mlp(outputs=1), batches(inputs, inputs.sum(1)), batches(inputs, torch.full((32,), 3.3)),
        options("regression"), Recorder(),
    )  # fmt: skip
    assert result.epochs[-1].validation_metric is None
