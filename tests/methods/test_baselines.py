import numpy as np
import pytest

from ddranking import api
from ddranking.errors import BadInput, UnknownName
from ddranking.methods.baselines import METHODS, TITLES, make

each_method = pytest.mark.parametrize("name", METHODS)


@pytest.fixture(scope="module")
def digits():
    return api.dataset("digits")


def pixels_of(digits, label: int) -> np.ndarray:
    """Images of one class as rows in [0, 1]."""
    pixels = digits.train.pixels[digits.train.labels == label]
    return pixels.reshape(len(pixels), -1).astype(np.float32) / 255


@each_method
def test_a_baseline_is_a_valid_set_in_class_order(digits, name) -> None:
    made = make(name, digits, 3)
    assert made.images.shape == (30, 1, 8, 8)
    assert made.images.dtype == np.float32
    assert made.labels.tolist() == [label for label in range(10) for _ in range(3)]
    assert made.images.min() > -1e-6 and made.images.max() < 1 + 1e-6
    assert (made.card.method, made.card.dataset, made.card.ipc) == (TITLES[name], "digits", 3)
    assert made.card.space.kind == "pixel"


@each_method
def test_a_seed_repeats_and_other_seeds_draw_anew(digits, name) -> None:
    first, again, other = (make(name, digits, 2, seed=seed).digest for seed in (0, 0, 1))
    assert first == again
    assert (first == other) == (name in {"herding", "kcenter"})


@pytest.mark.parametrize("name", ["random", "herding", "kcenter"])
def test_a_selection_holds_real_images_of_its_class_once_each(digits, name) -> None:
    made = make(name, digits, 4)
    for label in range(10):
        real = {row.tobytes() for row in pixels_of(digits, label)}
        rows = {image.tobytes() for image in made.images[made.labels == label]}
        assert len(rows) == 4
        assert rows <= real


def test_herding_follows_the_class_mean_greedily(digits) -> None:
    """Each pick against a search of all pictures not yet picked."""
    made = make("herding", digits, 3)
    for label in (0, 7):
        real = pixels_of(digits, label)
        picked = made.images[made.labels == label].reshape(3, -1)
        free = list(range(len(real)))
        total = np.zeros(64)
        for n in range(3):
            gaps = [np.linalg.norm(real.mean(0) - (total + real[i]) / (n + 1)) for i in free]
            best = free[int(np.argmin(gaps))]
            np.testing.assert_array_equal(picked[n], real[best])
            free.remove(best)
            total += real[best]


def test_herding_is_closer_to_the_mean_than_chance(digits) -> None:
    real = pixels_of(digits, 3)
    gaps = {
        name: np.linalg.norm(made.images[made.labels == 3].mean(0).ravel() - real.mean(0))
        for name in ("herding", "random")
        for made in [make(name, digits, 10)]
    }
    assert gaps["herding"] < 0.5 * gaps["random"]


def test_each_center_is_the_farthest_from_those_before(digits) -> None:
    made = make("kcenter", digits, 4)
    real = pixels_of(digits, 5)
    picked = made.images[made.labels == 5].reshape(4, -1)
    assert np.linalg.norm(picked[0] - real.mean(0)) == pytest.approx(
        min(np.linalg.norm(row - real.mean(0)) for row in real)
    )
    for n in range(1, 4):
        nearest = [min(np.linalg.norm(row - center) for center in picked[:n]) for row in real]
        reached = min(np.linalg.norm(picked[n] - center) for center in picked[:n])
        assert reached == pytest.approx(max(nearest))


def test_centroids_explain_a_class_better_than_real_images(digits) -> None:
    real = pixels_of(digits, 8)
    errors = {}
    for name in ("kmeans", "random"):
        made = make(name, digits, 5)
        centers = made.images[made.labels == 8].reshape(5, -1)
        errors[name] = np.mean([min(((row - c) ** 2).sum() for c in centers) for row in real])
    assert errors["kmeans"] < 0.8 * errors["random"]


def test_noise_is_uniform(digits) -> None:
    values = make("noise", digits, 20).images
    assert values.mean() == pytest.approx(0.5, abs=0.01)
    assert values.std() == pytest.approx(1 / 12**0.5, abs=0.01)


def test_a_baseline_that_cannot_be_made(digits) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'kmeans'"):
        make("kmean", digits, 1)
    for ipc in (0, -1, 10_000):
        with pytest.raises(BadInput):
            make("random", digits, ipc)


def test_every_method_has_a_title_and_a_line() -> None:
    assert METHODS.keys() == TITLES.keys()
    assert all(len(line) > 5 for _, line in METHODS.values())
