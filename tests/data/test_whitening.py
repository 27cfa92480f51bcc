import numpy as np
import pytest
from numpy.testing import assert_allclose

from ddranking.data import whitening
from ddranking.data.whitening import fit
from ddranking.errors import BadInput, StoreUnusable


def correlated(count: int, channels: int = 2, size: int = 3, seed: int = 0) -> np.ndarray:
    """Images whose pixels have something to do with one another, as real ones do."""
    rng = np.random.default_rng(seed)
    dimensions = channels * size * size
    mixed = rng.normal(size=(count, dimensions)) @ rng.normal(size=(dimensions, dimensions))
    levels = 120 + 40 * mixed / mixed.std()
    return np.clip(levels, 0, 255).astype(np.uint8).reshape(count, channels, size, size)


def slow_kornia(train: np.ndarray, other: np.ndarray, eps: float) -> np.ndarray:
    """kornia.enhance.ZCAWhitening(eps=eps), written out with an SVD and loops over images."""
    rows = np.array([image.ravel() / 255 for image in train])
    mean = sum(rows) / len(rows)
    covariance = sum(np.outer(row - mean, row - mean) for row in rows) / (len(rows) - 1)
    u, s, _ = np.linalg.svd(covariance)
    transform = sum(np.outer(u[:, k], u[:, k]) / np.sqrt(s[k] + eps) for k in range(len(s)))
    return np.array([(image.ravel() / 255 - mean) @ transform for image in other]).reshape(
        other.shape
    )


def slow_kip(train: np.ndarray, other: np.ndarray, reg: float) -> np.ndarray:
    """KIP's preprocessing, written out: centre and scale each image, then whiten."""

    def unit(image: np.ndarray) -> np.ndarray:
        row = image.ravel() / 255 - (image / 255).mean()
        return row / np.sqrt((row**2).sum())

    rows = np.array([unit(image) for image in train])
    count, dimensions = rows.shape
    covariance = sum(np.outer(row, row) for row in rows) / count
    amount = reg * np.trace(covariance) / dimensions
    u, s, _ = np.linalg.svd(covariance + amount * np.eye(dimensions))
    scale = 1 / np.sqrt(s)
    scale[count:] = 1.0
    transform = u @ np.diag(scale) @ u.T
    return np.array([unit(image) @ transform for image in other]).reshape(other.shape)


SLOW = {"kornia": slow_kornia, "kip": slow_kip}


@pytest.mark.parametrize("variant", SLOW)
@pytest.mark.parametrize("eps", [0.1, 0.001])
@pytest.mark.parametrize("count", [100, 12])  # 12 images in 18 dimensions: a singular covariance
def test_whitening_agrees_with_a_slow_independent_one(variant, eps, count, monkeypatch) -> None:
    monkeypatch.setattr(whitening, "CHUNK", 33)
    train, other = correlated(count), correlated(20, seed=1)
    fitted = fit(train, variant, eps)
    assert_allclose(fitted.whiten(other), SLOW[variant](train, other, eps), rtol=2e-4, atol=2e-5)


def test_the_variants_and_a_biased_covariance_would_be_told_apart() -> None:
    """The comparison above can fail: each wrong definition is further away than its tolerance."""
    train = correlated(12)
    right = slow_kornia(train, train, 0.1)
    outside_root = slow_kornia(train, train, 1e-9)
    assert np.abs(right - outside_root).max() > 0.01
    assert np.abs(right - slow_kip(train, train, 0.1)).max() > 0.01
    assert np.abs(right - slow_kornia(np.repeat(train, 50, 0), train, 0.1)).max() > 1e-3


def test_whitened_images_are_white() -> None:
    train = correlated(2000)
    rows = fit(train, "kornia", 1e-8).whiten(train).reshape(len(train), -1)
    assert_allclose(np.cov(rows, rowvar=False), np.eye(rows.shape[1]), atol=0.01)


def test_kornia_can_be_undone_exactly() -> None:
    train = correlated(100)
    fitted = fit(train, "kornia", 0.1)
    assert_allclose(fitted.colour(fitted.whiten(train)) * 255, train, atol=0.01)


def test_kip_can_be_undone_up_to_each_images_level_and_norm() -> None:
    train = correlated(100)
    fitted = fit(train, "kip", 0.1)
    back = fitted.colour(fitted.whiten(train)).reshape(100, -1)
    for image, original in zip(back, train.reshape(100, -1) / 255, strict=True):
        assert np.corrcoef(image, original)[0, 1] == pytest.approx(1, abs=1e-4)
    assert back.mean() == pytest.approx((train / 255).mean(), abs=1e-3)


def test_an_image_of_one_colour_stays_finite() -> None:
    train = correlated(50)
    train[3] = 77
    for variant in SLOW:
        assert np.isfinite(fit(train, variant, 0.1).whiten(train)).all()


def test_a_fit_is_kept_and_found_again(tmp_path, monkeypatch) -> None:
    train = correlated(50)
    first = fit(train, "kornia", 0.1, tmp_path)
    other = fit(train, "kip", 0.1, tmp_path)
    stronger = fit(train, "kornia", 0.2, tmp_path)
    assert len(list(tmp_path.iterdir())) == 3

    def never(*_):
        raise AssertionError("fitted again")

    monkeypatch.setattr(whitening, "_fit", never)
    for kept, variant, eps in (
        (first, "kornia", 0.1),
        (other, "kip", 0.1),
        (stronger, "kornia", 0.2),
    ):
        again = fit(train, variant, eps, tmp_path)
        assert np.array_equal(again.whiten(train), kept.whiten(train))
    with pytest.raises(AssertionError):
        fit(correlated(50, seed=9), "kornia", 0.1, tmp_path)


def test_a_damaged_cache_is_made_again(tmp_path) -> None:
    train = correlated(50)
    expected = fit(train, "kornia", 0.1, tmp_path).whiten(train)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    assert np.array_equal(fit(train, "kornia", 0.1, tmp_path).whiten(train), expected)
    assert np.array_equal(fit(train, "kornia", 0.1, tmp_path).whiten(train), expected)


def test_what_cannot_be_whitened_or_kept_is_said(tmp_path) -> None:
    with pytest.raises(BadInput, match="got 5 images of 150,528 values"):
        fit(np.zeros((5, 3, 224, 224), np.uint8), "kornia", 0.1)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnusable, match="DDRANKING_CACHE"):
        fit(correlated(5), "kornia", 0.1, tmp_path / "file")
