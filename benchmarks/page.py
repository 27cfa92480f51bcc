"""The page in Chromium: from opening it until it can be used, and while the slider is dragged.

The aims are 200 ms until it is ready with 1,000 entries, and 60 frames a second: 16.7 ms a frame.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.invented import records

COUNTS = (100, 1000)
LOADS, STEPS = 7, 150
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")

DRAG = """async (steps) => {
  const slider = document.getElementById("w"), frames = [];
  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  let last = await frame();
  for (let k = 0; k < steps; k++) {
    slider.value = 0.5 + 0.45 * Math.sin((4 * Math.PI * k) / steps); // to and fro, twice
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    const now = await frame();
    frames.push(now - last);
    last = now;
  }
  return frames;
}"""
"""Moves w once a frame, as a hand does, and gives the time between frames."""

COSTS = ("TaskDuration", "ScriptDuration", "LayoutDuration", "RecalcStyleDuration")


def measure() -> list[dict[str, float | int | str]]:
    """A row for each number of entries."""
    from playwright.sync_api import sync_playwright

    from ddranking.board.site import build

    path = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    if path is None:
        raise SystemExit("no Chromium on this machine: install the system's chromium package")
    rows = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu"]
        )
        for count in COUNTS:
            index = build(records(count), Path(folder) / str(count))
            rows.append(
                {"entries": count, "kB": index.stat().st_size // 1000} | visit(browser, index)
            )
        browser.close()
    return rows


def visit(browser: Any, index: Path) -> dict[str, float | int]:
    """Opens the page several times, then drags the slider."""
    ready, drawn = [], []
    for _ in range(LOADS):
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(index.as_uri())
        page.wait_for_selector("html[data-ready]")
        ready.append(float(page.evaluate("document.documentElement.dataset.ready")))
        page.wait_for_selector("#lines svg", state="attached")
        drawn.append(page.evaluate("performance.now()"))
        if len(ready) < LOADS:
            page.close()
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    page.evaluate(DRAG, 20)  # what is compiled on first use
    page.wait_for_timeout(500)
    before = _costs(session)
    frames = sorted(page.evaluate(DRAG, STEPS))
    costs = {name: 1000 * (after - before[name]) / STEPS for name, after in _costs(session).items()}
    page.close()
    return {
        "ready ms": median(ready),
        "charts ms": median(drawn),
        "frame ms": median(frames),
        "95 %": frames[int(0.95 * STEPS)],
        "worst": frames[-1],
        "frames/s": 1000 * STEPS / sum(frames),
        "work ms": costs["TaskDuration"],
        "script": costs["ScriptDuration"],
        "layout": costs["LayoutDuration"] + costs["RecalcStyleDuration"],
    }


def _costs(session: Any) -> dict[str, float]:
    told = session.send("Performance.getMetrics")["metrics"]
    return {metric["name"]: metric["value"] for metric in told if metric["name"] in COSTS}
