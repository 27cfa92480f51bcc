import sys
import types

import pytest

from ddranking.data import fetching
from ddranking.data.catalog import facts
from ddranking.data.sources import prepare
from ddranking.errors import BadInput, MissingData, MissingExtra


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub that keeps what it is asked for and answers with an empty folder."""
    asked = []

    def snapshot_download(repository, *, repo_type, allow_patterns):
        asked.append((repository, repo_type, allow_patterns))
        return str(tmp_path)

    module = types.ModuleType("huggingface_hub")
    module.snapshot_download = snapshot_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return asked


def test_only_parquet_files_are_fetched(hub, tmp_path) -> None:
    assert fetching.from_hub("owner/name") == tmp_path
    assert fetching.from_hub("owner/name/some/config") == tmp_path / "some" / "config"
    assert hub == [
        ("owner/name", "dataset", ["*.parquet"]),
        ("owner/name", "dataset", ["some/config/*.parquet"]),
    ]


def test_datasets_that_torchvision_lacks_come_from_the_hub(hub, tmp_path) -> None:
    fetching.download(facts("tiny-imagenet"), tmp_path)
    assert hub[0][0] == "zh-plus/tiny-imagenet"


def test_a_hub_root_in_prepare(hub, tmp_path) -> None:
    with pytest.raises(MissingData, match=r"train\*\.parquet"):
        prepare("cifar10", root="hub:owner/name", cache=tmp_path / "cache")
    assert hub[0][0] == "owner/name"


@pytest.mark.parametrize("repository", ["", "name", "/name", "owner/"])
def test_what_is_no_repository(repository) -> None:
    with pytest.raises(BadInput, match="hub:owner/name"):
        fetching.from_hub(repository)


def test_a_hub_that_is_not_installed_or_fails(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtra, match=r"ddranking\[hub\]"):
        fetching.from_hub("owner/name")
    module = types.ModuleType("huggingface_hub")

    def fail(*_, **__):
        raise ConnectionError("no\nroute")

    module.snapshot_download = fail  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    with pytest.raises(MissingData, match="ConnectionError: no route"):
        fetching.from_hub("owner/name")


def test_what_nobody_offers(tmp_path) -> None:
    with pytest.raises(MissingData, match="--root DIR"):
        fetching.download(facts("imagewoof"), tmp_path)
