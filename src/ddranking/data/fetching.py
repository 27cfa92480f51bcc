"""Files that are not there yet: from torchvision's servers or from the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ddranking.data import originals
from ddranking.data.catalog import DatasetFacts
from ddranking.errors import BadInput, MissingData, MissingExtra

HUB = "hub:"
"""``hub:owner/name`` or ``hub:owner/name/folder`` as a root means a repository of the Hub."""


def can_download(facts: DatasetFacts) -> bool:
    return facts.name in originals.TORCHVISION or bool(facts.hub)


def download(facts: DatasetFacts, into: Path) -> Path:
    """Fetch a dataset of the catalog; returns the folder that holds its files.

    Raises:
        MissingData: not on offer, or the server cannot be reached.
        MissingExtra: it is on the Hub and huggingface_hub is not installed.
    """
    if facts.name in originals.TORCHVISION:
        originals.download(facts.name, into)
        return into
    if facts.hub:
        return from_hub(facts.hub)
    raise MissingData(
        facts.title,
        expected="a root, because nobody may pass these images on",
        got="a download",
        hint=f"Get them from {facts.source}, then run: "
        f"ddranking data prepare {facts.name} --root DIR",
    )


def from_hub(
    repository: str, *, revision: str | None = None, patterns: Sequence[str] = ("*.parquet",)
) -> Path:
    """The Parquet files of ``owner/name`` or ``owner/name/folder``, in the Hub's own cache.

    Args:
        repository: its name, and the folder in it if only that one is meant.
        revision: a branch, tag or commit; the main branch where None.
        patterns: which files to fetch instead.

    Raises:
        BadInput: not of that form.
        MissingData: no such repository, no connection, or no access.
        MissingExtra: huggingface_hub is not installed.
    """
    owner, _, rest = repository.partition("/")
    name, _, inner = rest.partition("/")
    if not owner or not name:
        raise BadInput("root", expected="hub:owner/name", got=f"hub:{repository}")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingExtra("huggingface_hub", "hub", f"the Hub dataset {repository}") from error
    if ".." in inner.split("/"):
        raise BadInput("root", expected="a folder of the repository", got=f"hub:{repository}")
    asked: dict[str, Any] = {} if revision is None else {"revision": revision}
    try:
        local = snapshot_download(
            f"{owner}/{name}",
            repo_type="dataset",
            allow_patterns=[f"{inner}/{each}" if inner else each for each in patterns],
            **asked,
        )
    except Exception as error:  # requests, httpx, hub and gating errors share no base class
        raise MissingData(
            f"Hub dataset {owner}/{name}",
            expected="a repository that can be fetched",
            got=f"{type(error).__name__}: {str(error)[:160]}",
            hint="Check the name and the connection; a gated dataset needs `hf auth login`.",
        ) from error
    return Path(local) / inner
