"""Precisions: what each rounds, what a training in it gives, and no global state left behind."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ddranking.models import table
from ddranking.protocol.trial import Trial
from ddranking.training import arithmetic as room
from ddranking.training import native
from ddranking.training.arithmetic import acceleration, arithmetic, forward
from ddranking.training.fit import Job, LabelledImages, Result, fit

CPU = torch.device("cpu")
STUDENT = "convnet2-w32"


def data(count: int, seed: int = 0) -> LabelledImages:
    """Images whose class shows as a brighter stripe, under noise."""
    labels = torch.arange(count) % 3
    images = torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    for index, label in enumerate(labels):
        images[index, :, int(label)] += 2.0
    return LabelledImages(images, labels)


def job(student: str = STUDENT, **changes) -> Job:
    rules = {"epochs": 4, "batch_size": 8, "learning_rate": 0.05} | changes
    values = {
        "arm": "syn_any",
        "training_set": {"kind": "distilled", "digest": "sha256:" + "0" * 64},
        "space": {"kind": "pixel"},
        "training": rules,
        "student": student,
        "seed": rules.pop("seed", 0),
        "dataset": "sha256:" + "1" * 64,
        "validation_size": 1,
        "evaluate": "test",
    }
    return Job(Trial.model_validate(values), data(12), data(60, seed=1), num_classes=3)


def trained(*jobs: Job) -> list[Result]:
    return fit(list(jobs), CPU)


def same(one: Result, other: Result) -> bool:
    weights = all(torch.equal(other.weights[name], w) for name, w in one.weights.items())
    return weights and (one.accuracy, one.train_loss) == (other.accuracy, other.train_loss)


@pytest.fixture
def as_torch_runs_it(monkeypatch):
    """Switches the fused operation off within the test, when called."""
    return lambda: monkeypatch.setattr(room, "fused", lambda *_: "switched off")


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("student", [STUDENT, "convnet2-w32-bn"])
def test_a_fused_training_is_the_training_of_torch(
    student: str, optimizer: str, as_torch_runs_it
) -> None:
    rate = 0.05 if optimizer == "sgd" else 0.003
    dsa = [{"kind": "dsa"}]
    work = job(student, optimizer={"kind": optimizer}, augmentation=dsa, learning_rate=rate)
    [quick] = trained(work)
    as_torch_runs_it()
    [slow] = trained(work)
    assert quick.train_loss == pytest.approx(slow.train_loss, abs=2e-5)
    assert quick.accuracy == slow.accuracy
    for name, value in slow.weights.items():
        if "features" in name and name.endswith("bias"):
            continue  # torch moves a bias that has no effect by its gradient's rounding
        if name.endswith("running_mean") and optimizer == "adamw":
            continue  # a mean with that bias in it, whose steps Adam makes as long as any
        torch.testing.assert_close(quick.weights[name], value, atol=1e-4, rtol=1e-3)
        assert quick.weights[name].is_contiguous()


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize("student", [STUDENT, "convnet2-w32-bn", "mlp"])
def test_a_result_depends_on_its_trial_alone(student: str, precision: str) -> None:
    jobs = [job(student, precision=precision, seed=seed) for seed in range(2)]
    together, backwards = trained(*jobs), trained(*jobs[::-1])[::-1]
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = [trained(each)[0] for each in jobs]
    finally:
        torch.set_num_threads(threads)
    for one, left, right in zip(alone, together, backwards, strict=True):
        assert same(one, left)
        assert same(one, right)


@pytest.mark.parametrize("student", [STUDENT, "convnet2-w32-bn", "mlp"])
def test_bf16_learns_what_fp32_learns(student: str) -> None:
    rules = {"epochs": 15, "learning_rate": 0.02}
    exact, short = trained(job(student, **rules), job(student, precision="bf16", **rules))
    assert exact.train_loss is not None
    assert short.train_loss != exact.train_loss
    assert short.train_loss == pytest.approx(exact.train_loss, rel=0.1, abs=0.01)
    assert abs(short.accuracy - exact.accuracy) <= 0.1
    assert all(value.dtype == torch.float32 for value in short.weights.values() if value.ndim)


def test_bf16_without_the_fused_operation_is_the_same_training_roughly(as_torch_runs_it) -> None:
    """As on a processor without AMX: other roundings, and nothing else."""
    work = job(precision="bf16", epochs=15, learning_rate=0.02)
    [quick] = trained(work)
    as_torch_runs_it()
    [emulated] = trained(work)
    assert emulated.train_loss == pytest.approx(quick.train_loss, rel=0.1, abs=0.01)
    assert abs(emulated.accuracy - quick.accuracy) <= 0.1


def test_tf32_on_a_cpu_is_fp32() -> None:
    exact, same_as = trained(job(), job(precision="tf32"))
    assert same(exact, same_as)


def test_batch_norm_keeps_its_statistics_in_float32() -> None:
    [result] = trained(job("convnet2-w32-bn", precision="bf16"))
    running = [value for name, value in result.weights.items() if "running" in name]
    assert running
    assert all(value.dtype == torch.float32 for value in running)


def test_weights_are_evaluated_in_the_precision_of_their_trial() -> None:
    work = job(precision="bf16", epochs=6)
    [result] = trained(work)
    [read] = trained(replace(work, weights=result.weights))
    assert (read.accuracy, read.steps) == (result.accuracy, 0)


def test_logits_are_float32_in_every_precision() -> None:
    images = data(5).images
    for student in (STUDENT, "mlp"):
        network = table.build(student, (3, 8, 8), 3, seed=0)
        exact = network(images)
        for precision in ("fp32", "tf32", "bf16"):
            logits = forward(network, (3, 8, 8), precision, CPU)(images)
            assert logits.dtype == torch.float32
            assert torch.allclose(logits, exact, atol=0.1)
            assert torch.allclose(logits, exact, atol=1e-5) == (precision != "bf16")


def test_tensor_float_is_off_inside_and_as_before_outside() -> None:
    before = torch.get_float32_matmul_precision()
    for precision in ("fp32", "tf32", "bf16"):
        with arithmetic(precision, CPU):
            assert torch.get_float32_matmul_precision() == "highest"
            assert not torch.backends.cudnn.allow_tf32
            assert torch.backends.cudnn.deterministic
    assert torch.get_float32_matmul_precision() == before
    with arithmetic("tf32", torch.device("cuda")):
        assert torch.get_float32_matmul_precision() == "high"
        assert torch.backends.cudnn.allow_tf32


def test_people_are_told_whether_a_student_is_fused(monkeypatch) -> None:
    if isinstance(native.native(), native.Native):
        assert acceleration("convnet3", (3, 32, 32)) == "fused, fp32"
    assert acceleration("resnet18", (3, 32, 32)).startswith("not fused: not a ConvNet")
    assert acceleration("convnet3", (3, 32, 32), device="meta") == "not fused: on meta"
