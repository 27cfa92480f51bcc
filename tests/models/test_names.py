"""Spelling and canonical form of model names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddranking.errors import BadInput, UnknownName
from ddranking.models.names import NORMS, POOLINGS, ModelName, canonical, parse
from ddranking.models.table import MODELS, check


@pytest.mark.parametrize(
    ("spelt", "expected"),
    [
        ("convnet3", "convnet3"),
        ("ConvNet-3", "convnet3"),
        ("ConvNetD4", "convnet4"),
        ("ConvNet-4-BN", "convnet4-bn"),
        ("ConvNet3BN", "convnet3-bn"),
        ("convnet3-w128-in-avg", "convnet3"),
        ("convnet3-max-none-w256", "convnet3-w256-none-max"),
        ("ResNet18BN", "resnet18-bn"),
        ("ResNet-18", "resnet18"),
        ("resnet18-in", "resnet18"),
        ("VGG-11", "vgg11"),
        ("VGG11BN", "vgg11-bn"),
        (" AlexNet ", "alexnet"),
        ("MLP", "mlp"),
    ],
)
def test_spellings_of_one_network_have_one_name(spelt, expected):
    assert check(spelt) == expected


@pytest.mark.parametrize(
    "name",
    ["convnet", "convnet0", "convnet12345", "resnet20", "vgg", "mlp3", "", "-", "3", "convnet٣"],
)
def test_names_that_no_network_has(name):
    with pytest.raises(BadInput):
        check(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("convnet3-bn-in", "one norm, got 'bn' and 'in'"),
        ("convnet3-w64-w32", "one width"),
        ("convnet3-w", "w{WIDTH}"),
        ("convnet3-w0", "w{WIDTH}"),
        ("convnet3-w30-gn", "4 groups divide, got width 30. Choose w32"),
        ("resnet18-ln", r"in\|bn"),
        ("resnet18-w64", "got 'w64'"),
        ("mlp-bn", "options none"),
    ],
)
def test_options_that_do_not_exist(name, message):
    with pytest.raises(BadInput, match=message):
        check(name)


@given(
    depth=st.integers(1, 999),
    width=st.integers(1, 5000).map(lambda n: 4 * n),
    norm=st.sampled_from(NORMS),
    pooling=st.sampled_from(POOLINGS),
    order=st.permutations([0, 1, 2]),
)
def test_any_order_of_options_reads_as_the_same_network(depth, width, norm, pooling, order):
    options = [f"w{width}", norm, pooling]
    spelt = "-".join([f"convnet{depth}"] + [options[index] for index in order])
    model = parse(spelt, MODELS)
    assert model == ModelName("convnet", depth, width, norm, pooling)
    assert parse(canonical(model, MODELS["convnet"]), MODELS) == model


@given(st.text())
def test_any_text_is_a_name_or_one_clear_line(text):
    if text.lower().startswith(("torchvision:", "timm:")):
        return
    try:
        name = check(text)
    except BadInput as error:
        assert "\n" not in str(error)
        assert ":" in str(error)
    else:
        assert check(name) == name


def test_unknown_name_is_a_lookup_error():
    with pytest.raises(UnknownName):
        parse("lenet5", MODELS)
