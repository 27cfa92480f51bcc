"""torchvision's, timm's and a user's networks."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from ddranking.errors import BadInput, MissingData, MissingExtra, UnknownName
from ddranking.models import build, check
from ddranking.models.external import published

USER = """
import torch
from torch import nn

LOG = open({log!r}, "a")
print("imported", file=LOG, flush=True)

def by_name(*, num_classes, shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], num_classes))

def by_position(classes, image):
    return by_name(num_classes=classes, shape=image)

def lazy(num_classes, shape):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))

class Nets:
    small = by_name

def no_module(num_classes, shape):
    return 3

def wrong_logits(num_classes, shape):
    return by_name(num_classes=num_classes + 1, shape=shape)

def breaks(num_classes, shape):
    raise KeyError("two\\nlines")

number = 3
"""


@pytest.fixture
def user(tmp_path, monkeypatch):
    """A module of a user's on the path, and the file that shows whether it was imported."""
    log = tmp_path / "log.txt"
    log.touch()
    (tmp_path / "user_networks.py").write_text(USER.format(log=str(log)))
    monkeypatch.syspath_prepend(tmp_path)
    yield log
    module = sys.modules.pop("user_networks", None)
    if module:
        module.LOG.close()


def test_a_users_code_runs_only_if_trusted(user):
    name = "user_networks:by_name"
    assert check(name, (3, 8, 8)) == name
    for call in (
        lambda: check(name, trusted=False),
        lambda: build(name, (3, 8, 8), 5, seed=0),
    ):
        with pytest.raises(BadInput, match="trusted=True"):
            call()
    assert user.read_text() == ""
    assert check(name, trusted=True) == name
    assert user.read_text() == "imported\n"


@pytest.mark.parametrize("attribute", ["by_name", "by_position", "lazy", "Nets.small"])
def test_a_users_network_is_built_and_seeded(user, attribute):
    def weights(seed):
        model = build(f"user_networks:{attribute}", (3, 8, 8), 5, seed=seed, trusted=True)
        assert model.training
        assert model(torch.zeros(2, 3, 8, 8)).shape == (2, 5)
        return next(model.parameters())

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("user_networks:absent", "importable .* AttributeError"),
        ("absent_module:net", "importable .* ModuleNotFoundError.* PYTHONPATH"),
        ("user_networks:number", "a callable, got int"),
        ("user_networks:no_module", "return a torch.nn.Module, got int"),
        ("user_networks:wrong_logits", r"logits of shape \(2, 5\) .* got \(2, 6\)"),
        ("user_networks:breaks", "KeyError"),
        ("user networks:by_name", "package.module:callable"),
        ("user_networks:", "package.module:callable"),
        ("../user_networks:by_name", "package.module:callable"),
    ],
)
def test_a_users_mistake_is_one_clear_line(user, name, message):
    with pytest.raises(BadInput, match=message) as caught:
        build(name, (3, 8, 8), 5, seed=0, trusted=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("torchvision:mobilenet_v2", (4, 32, 32)),
        ("torchvision:shufflenet_v2_x0_5", (3, 32, 32)),
        ("torchvision:squeezenet1_1", (1, 32, 32)),
        ("torchvision:googlenet", (3, 32, 32)),
        ("timm:resnet10t", (1, 32, 32)),
        ("timm:vit_tiny_patch16_224", (3, 32, 32)),
    ],
)
def test_networks_from_elsewhere_train(name, shape):
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    model = build(name, shape, 7, seed=0)
    again = build(name.upper().replace("TIMM", "timm"), shape, 7, seed=0)
    for ours, theirs in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    logits = model(torch.randn(2, *shape, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (2, 7)
    logits.logsumexp(1).sum().backward()
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


def test_networks_from_elsewhere_leave_the_generator_alone():
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    build("torchvision:squeezenet1_1", (3, 32, 32), 7, seed=0)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_torchvision_keeps_its_own_first_convolution_for_three_channels():
    ours = build("torchvision:resnet18", (3, 32, 32), 10, seed=0)
    assert sum(p.numel() for p in ours.parameters()) == 11_181_642
    one = build("torchvision:resnet18", (1, 32, 32), 10, seed=0)
    assert isinstance(one.conv1, nn.Conv2d)
    assert one.conv1.weight.shape == (64, 1, 7, 7)
    assert (one.conv1.stride, one.conv1.bias) == ((2, 2), None)


def test_a_size_that_a_network_cannot_take_is_told_when_building():
    with pytest.raises(BadInput, match=r"takes 3x32x32 images .* Choose another model"):
        build("torchvision:alexnet", (3, 32, 32), 10, seed=0)


def test_unknown_names_get_the_closest_classifier():
    with pytest.raises(UnknownName, match="Did you mean 'resnet18'"):
        check("torchvision:resnet-18")
    with pytest.raises(UnknownName):  # a detector is no classifier
        check("torchvision:retinanet_resnet50_fpn")
    pytest.importorskip("timm")
    with pytest.raises(UnknownName, match="timm model"):
        check("timm:resnet18x")


def test_timm_missing_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtra, match=r"pip install 'ddranking\[timm\]'"):
        check("timm:resnet18")


def test_published_weights_are_the_librarys(monkeypatch) -> None:
    """What torchvision would fetch is what the network holds; nothing is fetched here."""
    from torchvision import models

    fetched = models.resnet18().state_dict()
    monkeypatch.setattr(
        "torchvision.models._api.load_state_dict_from_url", lambda *_, **__: fetched
    )
    network = published("torchvision:resnet18", "IMAGENET1K_V1", (3, 64, 64))
    assert all(torch.equal(value, fetched[name]) for name, value in network.state_dict().items())
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)
    for name in ("IMAGENET1K_V7", "DEFAULT"):
        with pytest.raises(UnknownName, match="IMAGENET1K_V1"):
            published("torchvision:resnet18", name, (3, 64, 64))
    with pytest.raises(BadInput, match="images that it can take"):
        published("torchvision:resnet18", "IMAGENET1K_V1", (1, 28, 28))


def test_weights_that_cannot_be_fetched_say_so(monkeypatch) -> None:
    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(MissingData, match=r"IMAGENET1K_V1 of torchvision:resnet18.*no network"):
        published("torchvision:resnet18", "IMAGENET1K_V1", (3, 64, 64))
    with pytest.raises(BadInput, match="torchvision:NAME or timm:NAME"):
        published("resnet18", "DEFAULT", (3, 64, 64))
