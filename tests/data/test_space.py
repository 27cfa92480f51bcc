import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddranking.data.catalog import DATASETS, facts
from ddranking.data.images import Images
from ddranking.data.space import SPACE, Pixel, Standardized, Zca, fit, parse_space
from ddranking.errors import BadInput, UnknownName

CIFAR = facts("cifar10")


def images(count: int = 40, channels: int = 3, size: int = 4) -> Images:
    pixels = np.random.default_rng(1).integers(0, 256, (count, channels, size, size), np.uint8)
    return Images(pixels, np.arange(count) % 2)


@pytest.mark.parametrize("name", DATASETS)
def test_every_name_of_a_space_parses_and_survives_json(name) -> None:
    entry = facts(name)
    names = ["pixel", "standardized", "zca", "zca-kip"]
    for text in [*names, *(f"standardized:{lineage}" for lineage in entry.lineages)]:
        space = parse_space(text, entry)
        assert parse_space(SPACE.dump_python(space, mode="json"), entry) == space
        assert parse_space(space, entry) is space
        assert hash(space) == hash(SPACE.validate_json(SPACE.dump_json(space)))


def test_names_mean_what_the_field_means() -> None:
    assert parse_space("pixel", CIFAR) == Pixel()
    assert parse_space("standardized", CIFAR) == Standardized(mean=CIFAR.mean, std=CIFAR.std)
    assert parse_space("standardized:true", CIFAR).std == (0.2470, 0.2435, 0.2616)
    assert parse_space("standardized:mtt", facts("cifar100")).mean == CIFAR.mean
    assert parse_space("zca", CIFAR) == Zca(variant="kornia", eps=0.1)
    assert parse_space("zca-kip", CIFAR) == Zca(variant="kip", eps=0.1)


def test_the_json_form_is_the_published_one() -> None:
    assert SPACE.dump_python(Pixel(), mode="json") == {"kind": "pixel"}
    assert SPACE.dump_python(Zca(), mode="json") == {"kind": "zca", "variant": "kornia", "eps": 0.1}
    standardized = SPACE.dump_python(Standardized(mean=(0.1,), std=(0.3,)), mode="json")
    assert standardized == {"kind": "standardized", "mean": [0.1], "std": [0.3]}


@pytest.mark.parametrize(
    "value, error, message",
    [
        ("pixels", UnknownName, "Did you mean 'pixel'"),
        ("pixel:mtt", UnknownName, "space: expected one of"),
        ("standardized:mmt", UnknownName, "Did you mean 'mtt'"),
        ("standardized:0/0", BadInput, "greater than 0"),
        ("standardized:0,0/1", BadInput, "2 means but 3"),
        ("standardized:a/1", BadInput, "in numbers"),
        ("standardized:0/1/2", BadInput, "in numbers"),
        ({"kind": "zca", "variant": "kornja"}, BadInput, "variant"),
        ({"kind": "zca", "eps": 0}, BadInput, "eps"),
        ({"kind": "pixel", "mean": [0.5]}, BadInput, "mean: Extra inputs"),
        ({"mean": [0.5]}, BadInput, "space"),
        ({"kind": "standardized", "mean": [0.5], "std": [0.5]}, BadInput, "3 constants"),
        ({"kind": "standardized", "mean": [0, 0, 0], "std": [1, 1]}, BadInput, "3 means but 2"),
        ({"kind": "standardized", "mean": [0] * 3, "std": [1, 1, 0]}, BadInput, "greater than 0"),
        (
            {"kind": "standardized", "mean": [0, 0, float("nan")], "std": [1] * 3},
            BadInput,
            "finite",
        ),
    ],
)
def test_what_is_no_space_is_refused(value, error, message) -> None:
    with pytest.raises(error, match=message):
        parse_space(value, CIFAR)


@given(
    st.lists(st.floats(-1, 1), min_size=3, max_size=3),
    st.lists(st.floats(0.05, 2), min_size=3, max_size=3),
)
def test_standardising_is_the_formula_and_can_be_undone(mean, std) -> None:
    some = images(7)
    fitted = fit(Standardized(mean=tuple(mean), std=tuple(std)), some)
    applied = fitted.apply(some.pixels)
    shape = (1, 3, 1, 1)
    slow = (some.pixels / 255 - np.reshape(mean, shape)) / np.reshape(std, shape)
    assert applied.dtype == np.float32
    np.testing.assert_allclose(applied, slow, rtol=1e-6, atol=1e-6)
    back = np.rint(fitted.invert_to_pixels(applied) * 255)
    assert np.array_equal(back, some.pixels)


@pytest.mark.parametrize("channels", [1, 3, 6])
def test_pixel_space_is_pixels_over_255(channels) -> None:
    some = images(channels=channels)
    fitted = fit(Pixel(), some)
    assert np.array_equal(fitted.apply(some.pixels), (some.pixels / 255).astype(np.float32))
    assert np.array_equal(fitted.invert_to_pixels(fitted.apply(some.pixels)) * 255, some.pixels)


def test_many_chunks_give_what_one_gives(monkeypatch) -> None:
    some = images()
    for space in (Pixel(), Zca()):
        whole = fit(space, some).apply(some.pixels)
        monkeypatch.setattr("ddranking.data.space.CHUNK", 7)
        np.testing.assert_allclose(fit(space, some).apply(some.pixels), whole, atol=1e-5)


def test_applying_never_writes_into_its_argument() -> None:
    some = images()
    before = some.pixels.copy()
    for space in (
        Pixel(),
        Standardized(mean=(0.1,) * 3, std=(0.5,) * 3),
        Zca(),
        Zca(variant="kip"),
    ):
        fitted = fit(space, some)
        floats = fitted.apply(some.pixels)
        kept = floats.copy()
        fitted.invert_to_pixels(floats)
        assert np.array_equal(some.pixels, before)
        assert np.array_equal(floats, kept)


def test_constants_for_other_channels_are_refused() -> None:
    with pytest.raises(BadInput, match="constants for 3 channels, got 1"):
        fit(Standardized(mean=(0.5,), std=(0.5,)), images())


@pytest.mark.parametrize("name", DATASETS)
def test_pixels_from_minus_one_to_one_have_a_name_everywhere(name) -> None:
    entry = facts(name)
    space = parse_space("standardized:half", entry)
    assert space == Standardized(mean=(0.5,) * entry.channels, std=(0.5,) * entry.channels)
    levels = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1).repeat(entry.channels, 1)
    ends = fit(space, Images(levels, np.arange(2))).apply(levels)
    assert (ends[0] == -1).all() and (ends[1] == 1).all()


def test_constants_may_be_numbers() -> None:
    given = parse_space("standardized:0.5,0.4,0.3/0.25", CIFAR)
    assert given == Standardized(mean=(0.5, 0.4, 0.3), std=(0.25, 0.25, 0.25))
    assert parse_space("standardized:0/1", CIFAR) == Standardized(mean=(0.0,) * 3, std=(1.0,) * 3)
