"""The page's files: self-contained, bounded, reproducible, and safe with hostile records."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

from ddranking.board.content import phrase, tidy
from ddranking.board.ranking import rank
from ddranking.board.site import as_script, build, text_table
from ddranking.errors import BadInput
from ddranking.scoring.record import Invalidation, Record
from ddranking.scoring.recordfile import load_record

HOSTILE = "</script><img src=x onerror=window.hit=1><b>'\"`${1}&amp;\u202e\x07{{7*7}}"


class Elements(HTMLParser):
    """All elements with their attributes, and the text of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self.inside = tag in ("script", "style")
        if self.inside:
            self.scripts.append("")

    def handle_data(self, data):
        if self.inside:
            self.scripts[-1] += data

    def handle_endtag(self, tag):
        self.inside = False


def hostile(make_record, number: int = 0) -> Record:
    """A valid record with markup in every free text and deep nesting in its space."""
    record = make_record(f"{HOSTILE}{number}"[:200])
    nested: object = HOSTILE
    for _ in range(150):
        nested = [nested]
    card = record.entry.model_copy(
        update={
            "authors": HOSTILE * 20,
            "licence": HOSTILE,
            "paper": "https://a.example/?q=javascript:alert(1)",
            "space": {"kind": HOSTILE, "deep": nested, "huge": 10**400},
        }
    )
    rules = record.recipe.model_copy(
        update={"title": HOSTILE, "source": HOSTILE, "differs_from_source": (HOSTILE,) * 30}
    )
    return record.model_copy(
        update={
            "entry": card,
            "recipe": rules,
            "track": record.track.model_copy(update={"title": HOSTILE}),
            "dataset": record.dataset.model_copy(update={"title": HOSTILE}),
            "real_hard": record.real_hard.model_copy(update={"source": HOSTILE}),
            "notes": (HOSTILE,) * 30,
            "picture": base64.b64encode(HOSTILE.encode()).decode(),
            "created": HOSTILE[:40],
        }
    )


def test_the_page_is_one_file_that_names_no_other_host(site):
    parsed = Elements(site.read_text())
    for tag, attributes in parsed.found:
        assert tag not in ("iframe", "object", "embed", "base", "form")
        assert "style" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        if tag in ("script", "img", "link"):
            address = attributes.get("src") or attributes.get("href") or ""
            assert not address.startswith(("http", "//")), attributes


def test_the_policy_allows_exactly_the_scripts_of_the_page(site):
    parsed = Elements(site.read_text())
    [policy] = [a["content"] for _, a in parsed.found if a.get("http-equiv")]
    assert policy and "default-src 'none'" in policy and "unsafe" not in policy
    kinds = [a.get("type") for tag, a in parsed.found if tag in ("script", "style")]
    for kind, text in zip(kinds, parsed.scripts, strict=True):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert (digest in policy) == (kind != "application/json")


def test_the_same_records_give_the_same_bytes(site, records, tmp_path):
    again = build(list(reversed(records)), tmp_path)
    one = re.sub(r'"skipped":\[.*?\]', "", site.read_text())
    assert one == re.sub(r'"skipped":\[.*?\]', "", again.read_text())


def test_records_lie_beside_the_page_and_load(site, records):
    files = sorted((site.parent / "records").glob("*.json"))
    assert len(files) == len(records)
    by_name = sorted(records, key=lambda r: r.entry.method)
    loaded = sorted((load_record(file) for file in files), key=lambda r: r.entry.method)
    assert [r.entry.method for r in loaded] == [r.entry.method for r in by_name]
    page = Elements(site.read_text())
    [data] = [json.loads(text) for text in page.scripts if text.startswith('{"level"')]
    for board in data["boards"]:
        for entry in board["entries"]:
            assert (site.parent / entry["file"]).is_file()


def test_the_readme_is_a_static_space(site):
    head = (site.parent / "README.md").read_text().split("---")[1]
    assert "sdk: static" in head and "app_file: index.html" in head


def test_a_hundred_entries_stay_under_300_kilobytes(make_record, tmp_path):
    records = [
        make_record(
            f"A method of the year {k}", syn_hard=[0.2 + 0.001 * k + 0.01 * s for s in range(5)]
        )
        for k in range(100)
    ]
    assert build(records, tmp_path).stat().st_size < 300_000


def test_pictures_are_inside_while_the_page_stays_small_the_first_ranks_first(
    make_record, tmp_path, browser
):
    """40 entries with 12 kB of picture each: as many as fit are inside, the others are files."""
    import io

    from PIL import Image

    made = []
    for k in range(40):
        file = io.BytesIO()
        noise = np.random.default_rng(k).integers(0, 256, (60, 60, 3), dtype=np.uint8)
        Image.fromarray(noise).save(file, "PNG")
        syn_hard = [0.2 + 0.003 * k + 0.001 * s for s in range(5)]
        given = {"picture": base64.b64encode(file.getvalue()).decode()}
        made.append(make_record(f"M{k:02d}", syn_hard=syn_hard).model_copy(update=given))
    page = build(made, tmp_path)
    assert 280_000 < page.stat().st_size < 300_000
    [data] = [json.loads(s) for s in Elements(page.read_text()).scripts if s.startswith('{"level"')]
    addresses = [entry["picture"] for entry in data["boards"][0]["entries"]]
    files = [address for address in addresses if not address.startswith("data:")]
    assert 0 < len(files) < 40 and len(list((tmp_path / "records").glob("*.png"))) == len(files)
    assert not any(address.startswith("data:") for address in addresses[-len(files) :])
    by_name = {record.entry.method: record.picture for record in made}
    for entry in data["boards"][0]["entries"]:
        inside = entry["picture"].removeprefix("data:image/png;base64,")
        if entry["picture"] in files:
            inside = base64.b64encode((tmp_path / entry["picture"]).read_bytes()).decode()
        assert inside == by_name[entry["method"]]
    reader = browser.new_page()
    reader.goto(f"{page.as_uri()}#entry={data['boards'][0]['entries'][-1]['id']}")
    reader.wait_for_selector("#entry-body img")
    reader.evaluate("document.querySelector('#entry-body img').decode()")
    reader.close()


def test_large_pictures_are_files_beside_the_page(make_record, tmp_path):
    png = b"\x89PNG\r\n\x1a\n" + bytes(300_000)
    picture = base64.b64encode(png).decode()
    records = [make_record(m).model_copy(update={"picture": picture}) for m in ("A", "B")]
    page = build(records, tmp_path)
    assert page.stat().st_size < 200_000
    assert [file.read_bytes() for file in (tmp_path / "records").glob("*.png")] == [png, png]


def test_a_board_of_which_everything_was_taken_out_says_so(make_record, tmp_path, browser):
    mark = Invalidation(reason="trained on test images", date="2026-01-02", by="a maintainer")
    gone = [make_record(m).model_copy(update={"invalidated": mark}) for m in ("A", "B")]
    page = browser.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(build(gone, tmp_path).as_uri())
    page.wait_for_selector("html[data-ready]")
    assert "Every entry of this track was taken out" in page.locator("#lead").text_content()
    page.fill("#w-number", "0.2")
    page.wait_for_url("**/index.html#w=0.2")
    assert page.locator("#invalidated li").count() == 2
    assert page.locator("#invalidated").is_visible() and not page.locator("#charts").is_visible()
    assert faults == []
    page.close()


def test_without_scripts_a_notice_stands_above_the_controls(site, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(site.as_uri())
    notice = page.locator("noscript .note")
    assert "needs JavaScript" in notice.text_content()
    assert notice.bounding_box()["y"] < page.locator(".controls").bounding_box()["y"]
    context.close()


def test_hostile_records_stay_text(make_record, tmp_path):
    page = build([hostile(make_record, k) for k in range(3)], tmp_path)
    text = page.read_text()
    assert "<img" not in text and "49" not in tidy(HOSTILE)
    assert len([tag for tag, _ in Elements(text).found if tag == "script"]) == 7
    for file in (tmp_path / "records").iterdir():
        assert re.fullmatch(r"[a-z0-9-]+\.json", file.name), "no picture that is no PNG"


def test_hostile_records_do_nothing_in_a_browser(make_record, tmp_path, visit):
    page = visit(build([hostile(make_record, k) for k in range(3)], tmp_path).as_uri()).page
    assert page.locator("#body button.entry").first.text_content().startswith("</script><img")
    page.locator("button.entry").first.click()
    page.wait_for_selector("#entry-body h2")
    assert page.evaluate("window.hit") is None
    assert page.locator("#entry-body img, #entry-body script, #body img").count() == 0
    page.set_viewport_size({"width": 375, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 375


def test_no_records_make_a_page_that_says_so(tmp_path, browser):
    page = browser.new_page()
    page.goto(build([], tmp_path).as_uri())
    page.wait_for_selector("html[data-ready]")
    assert "No records yet" in page.locator("#empty").text_content()
    assert page.locator("#reported-body tr").count() == 20
    page.close()


def test_an_unwritable_folder_is_one_clear_line(make_record, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadInput, match="expected a folder to write to"):
        build([make_record()], tmp_path / "file" / "site")


def test_the_terminal_table_shows_percentages_and_takes_no_markup(make_record):
    [board] = rank([make_record("[red]A[/red]"), make_record("B", syn_hard=(0.1,) * 5)])
    console = Console(width=140)
    with console.capture() as caught:
        console.print(text_table(board))
    text = caught.get()
    assert "[red]A[/red] (dc, whole set reported)" in text
    assert "56.4 ± 1.4" in text
    assert "w = 0.5" in text
    assert [line.split()[:2] for line in text.splitlines() if "(dc" in line] == [
        ["1", "1"],
        ["2", "2"],
    ]


def test_words_of_rules_and_texts():
    assert phrase({"kind": "step", "milestones": [0.5], "factor": 0.1}) == (
        "step (milestones 0.5, factor 0.1)"
    )
    assert tidy("a\x00b\u202ec\nd", 10) == "abc d"
    assert len(tidy("x" * 10_000, 50)) == 50
    assert json.loads(as_script({"a": HOSTILE})) == {"a": HOSTILE}
    assert not set("<>&") & set(as_script({"a": HOSTILE}))
