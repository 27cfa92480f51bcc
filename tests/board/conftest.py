"""A browser and pages for the tests of this room."""

from __future__ import annotations

import functools
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ddranking.board.site import build
from ddranking.errors import Skipped
from ddranking.scoring.marks import Rerun, Verification, agreement
from ddranking.scoring.record import Invalidation, Record

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
METHODS = ("DC", "DSA", "DM", "MTT", "RDED", "D4M", "k-means", "Herding")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """The system's Chromium, driven by Playwright; skips where either is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium on this machine: install the system's chromium package")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-gpu"]
        )
        yield running
        running.close()


@pytest.fixture(scope="session")
def records(make_record) -> list[Record]:
    """Two tracks: eight entries and five, one of them invalidated, with recipes that search."""
    rng = np.random.default_rng(5)
    made = []
    for track, level in (("cifar10-ipc1-convnet3", 0.2), ("cifar10-ipc10-convnet3", 0.35)):
        for k, method in enumerate(METHODS if level == 0.2 else METHODS[:4]):
            shared = rng.normal(0, 0.006, 5)
            made.append(
                make_record(
                    method,
                    track=track,
                    recipe="unified" if method == "RDED" else "dc",
                    syn_hard=(level + 0.03 * (k // 2) + shared + rng.normal(0, 0.004, 5)).tolist(),
                    syn_any=(0.45 - 0.02 * k + shared + rng.normal(0, 0.004, 5)).tolist(),
                )
            )
    card = made[0].entry.model_copy(
        update={
            "authors": "B. Zhao, K. R. Mopuri and H. Bilen",
            "paper": "https://arxiv.org/abs/2006.05929",
            "code": "https://github.com/VICO-UoE/DatasetCondensation",
        }
    )
    made[0] = made[0].model_copy(update={"entry": card, "picture": picture(), "notes": ("A note",)})
    mark = Invalidation(reason="trained on test images", date="2026-01-02", by="a maintainer")
    return [*made, make_record("Out").model_copy(update={"invalidated": mark})]


@pytest.fixture(scope="session")
def verified() -> Callable[..., Record]:
    """Gives a record the mark of somebody whose trainings came out the same."""

    def verified_(record: Record, by: str = "Ada") -> Record:
        values = record.accuracy["syn_any"].values
        seen = agreement(range(5), values, values, 0.02)
        rerun = Rerun(
            seeds=(0, 1, 2, 3, 4),
            accuracies=values,
            difference=seen.difference,
            p_value=seen.p_value,
        )
        mark = Verification(
            by=by,
            date="2026-02-03",
            margin=0.02,
            environments=(record.observations[0].environment,),
            arms={"syn_any": rerun},
        )
        return record.model_copy(update={"trust": "verified", "verification": mark})

    return verified_


def picture(size: tuple[int, int] = (40, 8)) -> str:
    """A base64 PNG."""
    import base64
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", size, (200, 60, 60)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.fixture(scope="session")
def site(records, tmp_path_factory) -> Path:
    """A built page over :func:`records`, with one file left out."""
    out = tmp_path_factory.mktemp("site")
    return build(records, out, skipped=[Skipped("records/cut.json", "not JSON")])


@pytest.fixture(scope="session")
def served(site) -> Iterator[str]:
    """The same page over http."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(site.parent))
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/index.html"
    server.shutdown()
    server.server_close()
    thread.join()


class Visit:
    """An open page with what it asked for and what went wrong in it."""

    def __init__(self, browser: Any, address: str, **context: Any) -> None:
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.asked: list[str] = []
        self.faults: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on(
            "console",
            lambda said: (
                self.faults.append(said.text) if said.type in ("error", "warning") else None
            ),
        )
        self.page.goto(address)
        self.page.wait_for_selector("html[data-ready]")
        self.page.wait_for_selector("#lines svg", state="attached")


@pytest.fixture
def visit(browser) -> Iterator[Any]:
    """Opens addresses; at the end, no page may have had an error or asked another host."""
    opened: list[Visit] = []

    def open_page(address: str, **context: Any) -> Visit:
        opened.append(Visit(browser, address, **context))
        return opened[-1]

    yield open_page
    for one in opened:
        one.context.close()
        assert one.faults == []
        beginnings = (one.asked[0].rpartition("/")[0], "data:", "blob:")
        assert all(url.startswith(beginnings) for url in one.asked), one.asked
