"""Checkpoints in every form that the field publishes, and every way that they can be wrong."""

from __future__ import annotations

import collections
import pickle

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from ddranking.errors import BadFile
from ddranking.models import build
from ddranking.models.checkpoint import load_state

SHAPE = (3, 8, 8)


def small(seed=0, name="convnet2-w8", num_classes=5):
    return build(name, SHAPE, num_classes, seed=seed)


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


WRAPPINGS = {
    "bare": lambda state: state,
    "ordered": collections.OrderedDict,
    "state_dict": lambda state: {"state_dict": state, "epoch": 3, "best": 0.5},
    "model": lambda state: {"model": state},
    "data parallel": lambda state: {f"module.{key}": value for key, value in state.items()},
    "both": lambda state: {"model": {f"module.{key}": value for key, value in state.items()}},
    "compiled": lambda state: {f"_orig_mod.{key}": value for key, value in state.items()},
    "half precision": lambda state: {key: value.bfloat16() for key, value in state.items()},
}


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".PT"])
@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_state_dicts_load_however_wrapped(tmp_path, wrapping, suffix):
    trained, model = small(seed=1), small(seed=2)
    path = tmp_path / f"checkpoint{suffix}"
    torch.save(WRAPPINGS[wrapping](trained.state_dict()), path)
    load_state(model, path)
    if wrapping == "half precision":
        trained = trained.bfloat16().float()
    assert same(model, trained)
    assert all(p.dtype == torch.float32 and p.requires_grad for p in model.parameters())


def test_safetensors_load(tmp_path):
    trained, model = small(seed=1), small(seed=2)
    save_file(
        {f"module.{k}": v for k, v in trained.state_dict().items()}, tmp_path / "a.safetensors"
    )
    load_state(model, str(tmp_path / "a.safetensors"))
    assert same(model, trained)


def test_the_fields_names_written_out_load(tmp_path):
    """Names and shapes of a ConvNet-3 checkpoint, from the layer order in the field's code."""
    shapes = {
        "features.0.weight": (128, 3, 3, 3), "features.0.bias": (128,),
        "features.1.weight": (128,), "features.1.bias": (128,),
        "features.4.weight": (128, 128, 3, 3), "features.4.bias": (128,),
        "features.5.weight": (128,), "features.5.bias": (128,),
        "features.8.weight": (128, 128, 3, 3), "features.8.bias": (128,),
        "features.9.weight": (128,), "features.9.bias": (128,),
        "classifier.weight": (10, 2048), "classifier.bias": (10,),
    }  # fmt: skip
    state = {name: torch.full(shape, 0.5) for name, shape in shapes.items()}
    torch.save(state, tmp_path / "a.pt")
    model = build("convnet3", (3, 32, 32), 10, seed=0)
    load_state(model, tmp_path / "a.pt")
    assert all((p == 0.5).all() for p in model.parameters())


def test_batch_norm_statistics_load_and_their_counter_may_lack(tmp_path):
    trained = small(seed=1, name="convnet2-w8-bn")
    trained(torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(0)))
    state = trained.state_dict()
    torch.save({k: v for k, v in state.items() if "num_batches" not in k}, tmp_path / "a.pt")
    model = small(seed=2, name="convnet2-w8-bn")
    load_state(model, tmp_path / "a.pt")
    assert same(model, trained)
    assert torch.equal(
        model.get_buffer("features.1.running_mean"), state["features.1.running_mean"]
    )


@pytest.mark.parametrize(
    ("expert", "epoch", "seed"), [(0, -1, 12), (0, 0, 10), (1, 1, 21), (-1, -1, 22)]
)
def test_trajectories_of_mtt_load_by_expert_and_epoch(tmp_path, expert, epoch, seed):
    buffer = [
        [[p.detach() for p in small(seed=10 * (e + 1) + t).parameters()] for t in range(3)]
        for e in range(2)
    ]
    torch.save(buffer, tmp_path / "replay_buffer_0.pt")
    model = small()
    load_state(model, tmp_path / "replay_buffer_0.pt", expert=expert, epoch=epoch)
    assert same(model, small(seed=seed))


def test_flatter_trajectories_load_too(tmp_path):
    epochs = [[p.detach() for p in small(seed=t).parameters()] for t in range(3)]
    model = small(seed=9)
    torch.save(epochs, tmp_path / "a.pt")
    load_state(model, tmp_path / "a.pt", epoch=1)
    assert same(model, small(seed=1))
    torch.save(epochs[2], tmp_path / "a.pt")
    load_state(model, tmp_path / "a.pt")
    assert same(model, small(seed=2))


def without(name):
    return lambda state: {k: v for k, v in state.items() if k != name}


WRONG = {
    "missing": (without("classifier.bias"), "missing classifier.bias"),
    "unexpected": (lambda s: {**s, "fc.weight": torch.zeros(1)}, "unexpected fc.weight"),
    "other width": (lambda s: small(name="convnet2-w4").state_dict(), r"\(8, 3, 3, 3\), got \(4"),
    "other classes": (lambda s: small(num_classes=4).state_dict(), r"classifier.weight of shape"),
    "other depth": (lambda s: small(name="convnet3-w8").state_dict(), "unexpected .*features.8"),
    "not a number": (lambda s: {**s, "classifier.bias": torch.full((5,), torch.nan)}, "finite"),
    "infinity in float32": (
        lambda s: {**s, "classifier.bias": torch.full((5,), 1e300, dtype=torch.float64)},
        "finite",
    ),
    "without values": (
        lambda s: {k: v.to("meta") for k, v in s.items()},
        r"plain real numbers in features\.0\.weight, got a tensor without values",
    ),
    "sparse": (lambda s: {**s, "classifier.weight": s["classifier.weight"].to_sparse()}, "sparse"),
    "complex": (lambda s: {k: v.to(torch.complex64) for k, v in s.items()}, "torch.complex64"),
    "whole numbers": (lambda s: {k: v.to(torch.int64) for k, v in s.items()}, "torch.int64"),
    "float8": (
        lambda s: {k: v.to(torch.float8_e4m3fn) for k, v in s.items()},
        "torch.float8_e4m3fn",
    ),
    "no tensors": (lambda s: {"epoch": 3}, "epoch that hold no tensor"),
    "empty": (lambda s: {}, "empty dictionary"),
    "a number": (lambda s: 3, "a state dict, got int"),
    "empty list": (lambda s: [], "a list of tensors"),
    "short list": (lambda s: [torch.zeros(1)], "tensors for this model, got 1"),
    "deep list": (lambda s: [[[[torch.zeros(1)]]]], "deeper"),
    "ragged list": (lambda s: [[[torch.zeros(1)]], 3], None),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_does_not_fit_is_one_clear_line_and_leaves_the_model_alone(tmp_path, kind):
    change, message = WRONG[kind]
    torch.save(change(small(seed=1).state_dict()), tmp_path / "a.pt")
    model = small(seed=2)
    with pytest.raises(BadFile, match=message) as caught:
        load_state(model, tmp_path / "a.pt", expert=-1)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert same(model, small(seed=2))


def test_an_epoch_that_was_not_saved(tmp_path):
    torch.save([[p.detach() for p in small().parameters()]], tmp_path / "a.pt")
    with pytest.raises(BadFile, match="epoch below 1, got epoch 7"):
        load_state(small(), tmp_path / "a.pt", epoch=7)


def test_trajectories_hold_no_running_statistics(tmp_path):
    model = small(name="convnet2-w8-bn")
    torch.save([p.detach() for p in model.parameters()], tmp_path / "a.pt")
    with pytest.raises(BadFile, match=r"missing features\.1\.running_mean"):
        load_state(model, tmp_path / "a.pt")


class Opens:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (open, (self.target, "w"))


@pytest.mark.parametrize("save", [torch.save, lambda o, p: p.write_bytes(pickle.dumps(o, 4))])
def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path, save):
    mark = tmp_path / "ran"
    path = tmp_path / "a.pt"
    save({"state_dict": Opens(str(mark))}, path)
    with pytest.raises(BadFile, match="run code"):
        load_state(small(), path)
    assert not mark.exists()


def test_files_that_are_not_there_or_of_another_kind(tmp_path):
    with pytest.raises(BadFile, match="no such file"):
        load_state(small(), tmp_path / "absent.pt")
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(BadFile, match="no such file"):
        load_state(small(), tmp_path / "folder.pt")
    with pytest.raises(BadFile, match=r"\.safetensors or \.pt or \.pth"):
        load_state(small(), tmp_path / "a.npz")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_files_are_bad_files(tmp_path, suffix, data):
    """Cut, flipped and random bytes: BadFile, or parameters that are finite."""
    path = tmp_path / f"a{suffix}"
    state = small(seed=1).state_dict()
    (save_file if suffix == ".safetensors" else torch.save)(state, path)
    good = path.read_bytes()
    kind = data.draw(st.sampled_from(["cut", "flip", "random"]))
    if kind == "cut":
        bad = good[: data.draw(st.integers(0, len(good) - 1))]
    elif kind == "flip":
        at = data.draw(st.integers(0, len(good) - 1))
        bad = good[:at] + bytes([good[at] ^ data.draw(st.integers(1, 255))]) + good[at + 1 :]
    else:
        bad = data.draw(st.binary(max_size=200))
    path.write_bytes(bad)
    model = small(seed=2)
    try:
        load_state(model, path)
    except BadFile as error:
        assert "\n" not in str(error)
        assert same(model, small(seed=2))
    else:
        assert all(torch.isfinite(p).all() for p in model.parameters())
