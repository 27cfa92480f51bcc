"""The page in a real browser, as a reader uses it, from disk and over http."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import pytest

from ddranking.board.overall import overall
from ddranking.board.ranking import rank
from ddranking.board.site import build

GOLDEN = Path(__file__).with_name("golden.json")
PHONE = {"viewport": {"width": 375, "height": 740}}


def shown(page) -> list[str]:
    """Method names in the order of the table."""
    return page.locator("#body button.entry").all_text_contents()


def settle(page) -> None:
    """Waits until what was done is shown and the address is written."""
    page.evaluate(
        """async () => {
          const late = performance.now() + 20_000;
          while (wanted || addressTimer || chartsTimer) {
            if (performance.now() > late) throw new Error("the page does not come to rest");
            await new Promise((resolve) => setTimeout(resolve, 10));
          }
        }"""
    )


def test_page_and_python_agree_on_golden_boards(visit, site):
    page = visit(site.as_uri()).page
    golden = json.loads(GOLDEN.read_text())
    answers = page.evaluate(
        """(golden) => ({
          quantiles: golden.quantiles.map(({ level, df }) => criticalT(level, df)),
          boards: golden.boards.map((board) => board.answers.map(({ w }) =>
            judge(board.entries, w, golden.level).results)),
        })""",
        golden,
    )
    expected = [quantile["t"] for quantile in golden["quantiles"]]
    assert answers["quantiles"] == pytest.approx(expected, rel=1e-9)
    for board, seen in zip(golden["boards"], answers["boards"], strict=True):
        for answer, results in zip(board["answers"], seen, strict=True):
            for name in ("place", "lowest", "highest", "group"):
                assert [result[name] for result in results] == answer[name], (name, answer["w"])
            for name, parts in (
                ("alpha", ("mean", "std", "low", "high")),
                ("ddrs", ("mean", "low", "high")),
            ):
                for result, values in zip(results, answer[name], strict=True):
                    ours = [result[name][part] for part in parts]
                    assert ours == pytest.approx(values, abs=1e-9)


@pytest.mark.parametrize("w", [0.0, 0.31, 1.0])
def test_page_and_python_agree_on_records_and_mean_ranks(visit, site, records, w):
    page = visit(site.as_uri()).page
    seen = page.evaluate(
        """(w) => ({
          boards: data.boards.map((board) => judge(board.entries, w, data.level).results.map(
            (result, k) => [board.entries[k].id, result.place, result.lowest, result.highest,
              result.ddrs.mean, result.ddrs.low, board.entries[k].hlrEstimate.high])),
          standings: meanRanks(data.boards, w, data.level, (entry) =>
            `${entry.method}\\n${entry.rules.name}`).standings.map((row) =>
              [row.name.split("\\n")[0], row.mean, row.lowest, row.highest, ...row.places]),
        })""",
        w,
    )
    boards = rank(records, w)
    for board, rows in zip(boards, seen["boards"], strict=True):
        expected = {
            row.id: [row.place, row.lowest, row.highest, row.ddrs.mean, row.ddrs.low, row.hlr.high]
            for row in board.rows
        }
        assert {row[0]: pytest.approx(row[1:], abs=1e-9) for row in rows} == expected
    expected = [
        [one.method, one.mean, one.lowest, one.highest, *one.places]
        for one in overall(boards, w).standings
    ]
    assert seen["standings"] == expected


def test_one_whole_set_accuracy_for_all_where_records_disagree(visit, make_record, tmp_path):
    quoting = make_record("Quoting", syn_hard=(0.2, 0.21, 0.2, 0.19, 0.2), real_hard=0.5)
    mixed = [make_record("A"), make_record("B", syn_any=(0.3, 0.31, 0.3, 0.29, 0.3)), quoting]
    [board] = rank(mixed)
    page = visit(build(mixed, tmp_path).as_uri()).page
    assert shown(page) == [row.record.entry.method for row in board.rows] == ["B", "A", "Quoting"]
    hlr = page.evaluate("data.boards[0].entries.map((entry) => entry.hlrEstimate.mean)")
    assert hlr == pytest.approx([row.hlr.mean for row in board.rows], abs=1e-9)
    assert "different whole-set accuracies" in page.locator("#reference").text_content()
    page.locator("button.entry", has_text="Quoting").click()
    settle(page)
    assert "By the record's own, HLR is 30.0 %" in page.locator("#entry-body").text_content()


def test_it_is_the_same_from_disk_and_over_http_and_asks_nobody(visit, site, served):
    disk, http = visit(site.as_uri()), visit(served)
    assert shown(disk.page) == shown(http.page) != []
    assert len(disk.asked) == 1 and len(http.asked) == 1


def test_the_weight_moves_by_slider_keyboard_and_number_and_ranks_move_with_it(
    visit, site, records
):
    page = visit(site.as_uri()).page
    for w in ("0", "1"):
        page.fill("#w-number", w)
        settle(page)
        board = rank(records, float(w))[0]
        assert shown(page) == [row.record.entry.method for row in board.rows]
        first = page.locator("#body tr").first
        assert first.locator(".column-ddrs b").text_content() == f"{board.rows[0].ddrs.mean:.4f}"
        ranks = "–".join(
            str(n) for n in dict.fromkeys((board.rows[0].lowest, board.rows[0].highest))
        )
        assert first.locator(".ranks").text_content() == ranks
        assert page.input_value("#w") == w
    page.focus("#w")
    page.keyboard.press("ArrowLeft")
    settle(page)
    assert page.input_value("#w-number") == "0.99"
    assert "w=0.99" in page.url
    page.keyboard.press("Home")
    settle(page)
    assert page.input_value("#w-number") == "0"


def test_boards_are_chosen_by_dataset_images_per_class_track_and_labels(visit, site):
    page = visit(site.as_uri()).page
    assert page.locator("#count").text_content() == "8 entries"
    page.select_option("#ipc", "10")
    settle(page)
    assert page.locator("#count").text_content() == "4 entries"
    page.select_option("#ipc", "")
    page.select_option("#board", "all")
    settle(page)
    assert page.locator("#overall-words").text_content() == (
        "4 entries stand on all 2 tracks; 4 do not and get no mean."
    )
    assert page.locator("#overall-body tr.incomplete").count() == 4
    page.select_option("#board", index=1)
    page.select_option("#labels", "soft")
    settle(page)
    assert shown(page) == []
    assert page.locator("#count").text_content().startswith("0 of")
    assert "soft" in set(page.locator("#reported-body td:nth-child(3)").all_text_contents())


def test_search_sort_and_columns(visit, site):
    page = visit(site.as_uri()).page
    page.fill("#q", "mopuri")
    settle(page)
    assert shown(page) == ["DC"]
    page.fill("#q", "")
    page.click("[data-sort=entry]")
    settle(page)
    assert shown(page) == sorted(shown(page), key=str.lower)
    page.click("[data-sort=entry]")
    settle(page)
    assert shown(page) == sorted(shown(page), key=str.lower, reverse=True)
    assert page.locator("th[data-key=entry]").get_attribute("aria-sort") == "descending"
    page.click("summary:has-text('Columns')")
    page.check("[data-column=syn_hard]")
    page.uncheck("[data-column=trust]")
    settle(page)
    heads = page.locator("#head th[data-key]").evaluate_all("all => all.map(e => e.dataset.key)")
    assert "syn_hard" in heads and "trust" not in heads


def test_an_address_holds_the_exact_view(visit, site):
    page = visit(site.as_uri()).page
    page.fill("#w-number", "0.37")
    page.fill("#q", "d")
    page.click("[data-sort=hlr]")
    page.locator("input[data-pin]").nth(1).check()
    settle(page)
    other = visit(page.url).page
    assert shown(other) == shown(page)
    for name in ("#w", "#w-number", "#q"):
        assert other.input_value(name) == page.input_value(name)
    assert (
        other.locator("#tray li").all_text_contents()
        == page.locator("#tray li").all_text_contents()
    )
    page.locator("button.entry").first.click()
    settle(page)
    third = visit(page.url).page
    assert (
        third.locator("#entry-title").text_content() == page.locator("#entry-title").text_content()
    )
    assert third.locator("dialog#entry").is_visible()


def test_a_nonsense_address_is_forgiven(visit, site):
    page = visit(
        site.as_uri() + "#w=9&sort=__proto__&board=zz&pin=%00,a&entry=constructor&page=-4"
    ).page
    assert page.input_value("#w") == "0.5"
    assert len(shown(page)) == 8
    assert not page.locator("dialog#entry").is_visible()


def test_four_entries_are_pinned_and_compared(visit, site):
    page = visit(site.as_uri()).page
    for k in range(5):
        page.locator("input[data-pin]").nth(k).click()
        settle(page)
    assert page.locator("#tray li").count() == 4
    assert "Up to 4" in page.locator("#status").text_content()
    page.click("[data-compare]")
    settle(page)
    assert page.locator("#compare-body thead th").count() == 4
    assert page.locator(".verdicts li").count() == 6
    page.keyboard.press("Escape")
    settle(page)
    assert "compare" not in page.url
    page.click("[data-unpin]")
    settle(page)
    assert not page.locator("#tray").is_visible()


def test_an_entry_opens_by_keyboard_and_shows_everything(visit, site):
    page = visit(site.as_uri(), permissions=[]).page
    page.locator("button.entry", has_text="DC").focus()
    page.keyboard.press("Enter")
    settle(page)
    body = page.locator("#entry-body")
    assert body.is_visible()
    words = body.text_content()
    for word in (
        "real-hard is reported",
        "dc@1",
        "Differs from its source",
        "Provenance",
        "A note",
        "@misc{dc-ddranking",
        "Environment",
        "self-measured",
        "given by",
    ):
        assert word.lower() in words.lower(), word
    assert page.evaluate("document.querySelector('#entry-body img').naturalWidth") == 40
    assert body.locator("svg").first.locator("circle.seed").count() == 3 * 5 + 1
    links = body.locator("header a[target]").evaluate_all("all => all.map(a => a.href)")
    assert links == [
        "https://arxiv.org/abs/2006.05929",
        "https://github.com/VICO-UoE/DatasetCondensation",
    ]
    page.keyboard.press("Escape")
    settle(page)
    assert not body.is_visible()
    assert page.evaluate("document.activeElement.textContent") == "DC"


def test_a_verified_entry_says_who_when_and_where(visit, make_record, verified, tmp_path):
    hostile = "<b>Ada</b>\u202e</script>"
    marked = [verified(make_record("A"), hostile), make_record("B")]
    page = visit(build(marked, tmp_path).as_uri()).page
    assert page.locator("td.column-trust").all_text_contents() == ["verified", "self-measured"]
    page.locator("button.entry", has_text="A").click()
    settle(page)
    part = page.locator("#entry-body section", has=page.locator("h3", has_text="Verified"))
    words = part.text_content()
    for word in ("<b>Ada</b></script>", "2026-02-03", "2.00 points", "seeds 0, 1, 2, 3, 4"):
        assert word in words, word
    assert "invented" in words, "where: the environment"
    assert part.locator("b").count() == 0
    page.keyboard.press("Escape")
    page.locator("button.entry", has_text="B").click()
    settle(page)
    assert page.locator("#entry-body h3", has_text="Verified").count() == 0


def test_bibtex_and_address_are_copied(visit, served):
    page = visit(served, permissions=["clipboard-read", "clipboard-write"]).page
    page.fill("#w-number", "0.3")
    page.locator("button.entry").first.click()
    settle(page)
    page.click("#entry [data-what=BibTeX]")
    page.wait_for_selector("#status:has-text('BibTeX copied')")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.locator("#entry-body pre").text_content()
    page.click("#entry [data-what=Address]")
    page.wait_for_selector("#status:has-text('Address copied')")
    assert page.evaluate("navigator.clipboard.readText()") == page.url
    assert "w=0.3" in page.url and "entry=" in page.url


def test_a_searched_recipe_shows_its_sweep(visit, site):
    page = visit(site.as_uri()).page
    page.locator("button.entry", has_text="RDED").click()
    settle(page)
    assert page.locator("#entry-body circle.chosen").count() == 3


@pytest.mark.parametrize(("selection", "hollow"), [("halving", 3), ("full", 0)])
def test_rates_that_halving_dropped_are_hollow(visit, make_record, tmp_path, selection, hollow):
    page = visit(build([make_record(selection=selection)], tmp_path).as_uri()).page
    page.locator("button.entry").click()
    settle(page)
    body = page.locator("#entry-body")
    assert body.locator("circle.early").count() == hollow
    assert body.locator("circle.chosen").count() == 1
    for words in (body.text_content(), page.locator("#rules").text_content()):
        assert ("Hollow marks" in words or "successive halving" in words) == bool(hollow)
    label = body.locator(".sweeps svg").get_attribute("aria-label")
    assert label.count("with fewer seeds (1)") == (2 if hollow else 0)


def test_marks_of_the_charts_open_entries_and_move_the_weight(visit, site):
    page = visit(site.as_uri()).page
    assert page.locator("#scatter .mark").count() == 8
    assert page.locator("#scatter path.front").get_attribute("d").startswith("M")
    before = page.locator("#scatter line.iso").get_attribute("x1")
    page.fill("#w-number", "0.2")
    settle(page)
    assert page.locator("#scatter line.iso").get_attribute("x1") != before
    assert page.locator("#lines path.rank-line").count() == 8
    reach = page.locator("rect.reach")
    reach.scroll_into_view_if_needed()
    box = reach.bounding_box()
    page.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + 5)
    settle(page)
    assert float(page.input_value("#w")) == pytest.approx(0.75, abs=0.02)
    page.locator("#scatter .mark").first.dispatch_event("click")
    settle(page)
    assert page.locator("dialog#entry").is_visible()


def test_every_mark_of_the_charts_says_what_it_is_and_lines_can_be_pressed(visit, site):
    page = visit(site.as_uri()).page
    titles = page.locator("#scatter .mark title").all_text_contents()
    assert len(titles) == 8
    hlr = page.evaluate(
        "data.boards[0].entries.map((e) => `${e.label}: HLR ${percent(e.hlrEstimate.mean)} %, "
        "IOR ${percent(e.iorEstimate.mean)} %`)"
    )
    assert sorted(titles) == sorted(hlr)
    assert page.locator("#lines .line title").count() == 8
    line = page.locator("#lines .line").last
    line.scroll_into_view_if_needed()
    start = line.locator(".rank-line").evaluate(
        """(path) => { const { x, y } = path.getPointAtLength(3), m = path.getScreenCTM();
             return [x * m.a + m.e, y * m.d + m.f + 3]; }"""
    )
    page.mouse.click(*start)
    settle(page)
    assert page.locator("dialog#entry").is_visible()
    name = page.locator("#entry-title bdi").first.text_content()
    assert line.locator("title").text_content().startswith(f"{name} (")


def test_names_in_the_chart_stand_on_no_mark(visit, site):
    page = visit(site.as_uri()).page
    hits = page.evaluate(
        """() => {
          const points = Array.from({ length: 60 }, (_, k) => ({ id: `${k}`, label: `Method ${k}`,
            title: "", hlr: 0.3 + 0.01 * (k % 8), ior: 0.1 + 0.02 * Math.floor(k / 8), front: false,
            labels: "hard", hue: "", pin: 0, named: k % 9 === 0 }));
          byId("scatter").replaceChildren(scatter(points, 600));
          const boxes = (name) => [...byId("scatter").querySelectorAll(name)]
            .map((one) => one.getBoundingClientRect());
          const names = boxes("text.label"), marks = boxes(".mark");
          return [names.length, names.filter((a) => marks.some((b) => a.left < b.right
            && b.left < a.right && a.top + 4 < b.bottom && b.top < a.bottom - 4)).length];
        }"""
    )
    assert hits[0] > 0 and hits[1] == 0, hits


@pytest.mark.parametrize("kind", ["csv", "json", "tex"])
def test_what_is_shown_can_be_saved(visit, site, kind):
    page = visit(site.as_uri()).page
    page.fill("#q", "d")
    settle(page)
    page.click("summary:has-text('Download')")
    with page.expect_download() as caught:
        page.click(f"[data-save={kind}]")
    text = Path(caught.value.path()).read_text()
    names = shown(page)
    if kind == "csv":
        rows = list(csv.DictReader(io.StringIO(text)))
        assert [row["method"] for row in rows] == names
        assert 0 <= float(rows[0]["ddrs"]) <= 1 and "rank_low" in rows[0]
        assert {row["real_hard_kind"] for row in rows} == {"reported"}
    elif kind == "json":
        assert [row["method"] for row in json.loads(text)["entries"]] == names
    else:
        assert text.startswith("\\begin{table}") and text.count("\\\\") == len(names) + 1
        assert "real-hard reported}" in text


def test_explanations_come_on_hover_and_focus_and_go_with_escape(visit, site):
    page = visit(site.as_uri()).page
    tip = page.locator("#tip")
    page.hover("[data-sort=hlr]")
    assert "Hard label recovery" in tip.text_content() and tip.is_visible()
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    page.focus("[data-sort=ior]")
    assert "random real images" in tip.text_content() and tip.is_visible()
    described = page.locator("[aria-describedby]").evaluate_all(
        "all => all.map(e => e.getAttribute('aria-describedby'))"
    )
    assert described and all(page.locator(f"#{name}").count() == 1 for name in set(described))


def test_ties_stand_out_under_the_pointer(visit, site, records):
    page = visit(site.as_uri()).page
    board = rank(records)[0]
    page.locator("#body tr").first.hover()
    tied = page.locator("#body tr.tied").count()
    assert tied == board.rows[0].highest - 1 > 0


def test_dark_and_light_follow_the_system_until_chosen(visit, site):
    colour = "getComputedStyle(document.body).color"
    dark = visit(site.as_uri(), color_scheme="dark").page
    light = visit(site.as_uri(), color_scheme="light").page
    before = dark.evaluate(colour)
    assert before != light.evaluate(colour)
    dark.click("[data-toggle]")
    assert dark.evaluate(colour) == light.evaluate(colour)
    dark.reload()
    dark.wait_for_selector("html[data-ready]")
    assert dark.evaluate(colour) == light.evaluate(colour), "the choice is kept"


def test_nothing_is_wider_than_a_phone(visit, site):
    page = visit(site.as_uri(), **PHONE).page
    wide = "document.documentElement.scrollWidth"
    assert page.evaluate(wide) <= 375
    page.locator("button.entry").first.click()
    settle(page)
    assert page.evaluate("document.querySelector('#entry').scrollWidth") <= 375


def test_footer_and_invalidated_are_told(visit, site):
    page = visit(site.as_uri()).page
    assert "records/cut.json: not JSON" in page.locator("#skipped").text_content()
    assert "trained on test images" in page.locator("#invalidated").text_content()


@pytest.mark.parametrize(
    ("view", "scheme"),
    [
        ("ranking", "light"),
        ("ranking", "dark"),
        ("entry", "light"),
        ("entry", "dark"),
        ("compare", "dark"),
        ("all", "light"),
        ("phone", "light"),
    ],
)
def test_axe_finds_no_violation(visit, site, view, scheme):
    axe = Path(os.environ.get("DDRANKING_AXE", ""))
    if not axe.is_file():
        pytest.skip("axe-core not found: set DDRANKING_AXE to its axe.min.js")
    page = visit(site.as_uri(), color_scheme=scheme, **(PHONE if view == "phone" else {})).page
    if view == "entry":
        page.locator("button.entry", has_text="RDED").click()
    elif view == "compare":
        for k in range(3):
            page.locator("input[data-pin]").nth(k).click()
        page.click("[data-compare]")
    elif view == "all":
        page.select_option("#board", "all")
    settle(page)
    assert violations(page, axe) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation_in_what_only_some_records_have(visit, arms_site, scheme):
    axe = Path(os.environ.get("DDRANKING_AXE", ""))
    if not axe.is_file():
        pytest.skip("axe-core not found: set DDRANKING_AXE to its axe.min.js")
    page = visit(arms_site.as_uri(), color_scheme=scheme).page
    assert violations(page, axe) == []
    page.locator("button.entry", has_text="Plain").click()
    settle(page)
    assert violations(page, axe) == []
    page.keyboard.press("Escape")
    page.fill("#q", "zzzz")
    settle(page)
    assert violations(page, axe) == []


def violations(page, axe: Path) -> list[str]:
    page.evaluate(axe.read_text())  # not as a script element: the page's policy forbids that
    return page.evaluate(
        "axe.run().then((r) => r.violations.map((v) => "
        "`${v.id}: ${v.nodes.map((n) => n.target).join(' ; ')}`))"
    )


@pytest.fixture(scope="module")
def arms_site(make_record, tmp_path_factory):
    """Entries with the arms beyond those of the score, some with and some without."""
    level = (0.30, 0.31, 0.29, 0.30, 0.31)
    plain = {"rdm_hard": (0.15,) * 5, "syn_noaug": (0.2, 0.21, 0.2, 0.2, 0.22)}
    same = {"unified": "unified", "rdm_unified": (0.18, 0.19, 0.18, 0.17, 0.18)}
    made = [
        make_record("Plain", recipe="dsa", rdm_noaug=(0.14,) * 5, **plain),
        make_record("Best", syn_any=level, syn_unified=(0.2, 0.21, 0.2, 0.2, 0.19), **same),
        make_record("Second", syn_unified=(0.35, 0.36, 0.35, 0.34, 0.35), **same),
        make_record("Without", syn_any=(0.2, 0.21, 0.2, 0.2, 0.19)),
        make_record("Elsewhere", track="cifar10-ipc10-convnet3"),
    ]
    return build(made, tmp_path_factory.mktemp("arms"))


def columns_offered(page) -> list[str]:
    boxes = page.locator("[data-column]")
    return boxes.evaluate_all("all => all.map((box) => box.dataset.column)")


def test_columns_are_offered_where_the_board_has_something_for_them(visit, arms_site):
    page = visit(arms_site.as_uri()).page
    heads = "all => all.map((head) => head.dataset.key)"
    shown_first = page.locator("#head th[data-key]").evaluate_all(heads)
    assert {"ars", "unified"} <= set(shown_first) and "rdm_hard" not in shown_first
    assert {"syn_noaug", "rdm_unified", "rdm_hard"} <= set(columns_offered(page))
    page.select_option("#ipc", "10")
    settle(page)
    left = page.locator("#head th[data-key]").evaluate_all(heads)
    assert not {"ars", "unified"} & set(left)
    assert not {"ars", "syn_noaug", "rdm_hard"} & set(columns_offered(page))
    page.select_option("#ipc", "1")
    settle(page)
    page.click("summary:has-text('Columns')")
    page.locator("[data-column]:checked").evaluate_all("all => all.forEach((box) => box.click())")
    settle(page)
    assert page.locator("#head th[data-key]").evaluate_all(heads) == ["entry"]
    page.check("[data-column=ars]")
    settle(page)
    assert page.locator("#head th[data-key]").evaluate_all(heads) == ["entry", "ars"]


def test_ars_and_the_rank_under_one_recipe_stand_in_the_table(visit, arms_site):
    page = visit(arms_site.as_uri()).page
    rows = {
        row.locator("button.entry").text_content(): row for row in page.locator("#body tr").all()
    }
    assert rows["Plain"].locator(".column-ars").text_content() == "0.3132 ± 0.004"
    assert rows["Best"].locator(".column-ars").text_content() == "–"
    assert rows["Best"].locator(".column-unified").text_content() == "2 ↓1"
    assert rows["Second"].locator(".column-unified").text_content() == "1 ↑1"
    assert rows["Without"].locator(".column-unified").text_content() == "–"
    page.fill("#w-number", "0")
    settle(page)
    moved = page.locator("#body tr", has_text="Best").locator(".column-unified").text_content()
    assert moved == "1 as own", "at w = 0 the recipe does not count"
    page.click("[data-sort=ars]")
    settle(page)
    assert shown(page)[0] == "Plain", "the highest first, missing values last"
    page.click("[data-sort=ars]")
    settle(page)
    assert shown(page)[0] == "Plain", "missing values last the other way round, too"
    page.click("[data-sort=unified]")
    settle(page)
    assert set(shown(page)[:2]) == {"Best", "Second"}
    page.click("[data-sort=unified]")
    settle(page)
    assert set(shown(page)[:2]) == {"Best", "Second"}
    page.click("summary:has-text('Download')")
    with page.expect_download() as caught:
        page.click("[data-save=csv]")
    saved = {
        row["method"]: row
        for row in csv.DictReader(io.StringIO(Path(caught.value.path()).read_text()))
    }
    assert saved["Best"]["ars"] == "" and float(saved["Plain"]["ars"]) > 0.3
    assert saved["Second"]["unified_rank"] and not saved["Without"]["unified_rank"]


def test_an_open_entry_says_where_its_accuracy_comes_from(visit, arms_site):
    page = visit(arms_site.as_uri()).page
    page.locator("button.entry", has_text="Plain").click()
    settle(page)
    body = page.locator("#entry-body")
    part = body.locator("section", has=page.locator("h3", has_text="Where the accuracy"))
    words = part.text_content()
    for word in ("images", "labels, loss, schedule", "augmentation", "+13.4", "−7.8", "+7.6"):
        assert word in words, (word, words)
    assert part.locator("rect.gain").count() == 2 and part.locator("rect.loss").count() == 1
    assert "0.3132" in body.locator(".tile", has_text="ARS").text_content()
    page.keyboard.press("Escape")
    page.locator("button.entry", has_text="Second").click()
    settle(page)
    words = body.text_content()
    assert "1 of 2, may be" in words and "2 of the same 2" in words and "unified@1" in words
    assert "Where the accuracy comes from" not in words


def test_the_title_of_a_track_counts_its_images(visit, make_record, tmp_path):
    record = make_record("A")
    old = record.track.model_copy(update={"title": "CIFAR-10, 1 images per class, ConvNet-3"})
    page = visit(build([record.model_copy(update={"track": old})], tmp_path).as_uri()).page
    words = page.locator("#board option").first.text_content()
    assert "1 image per class" in words and old.hash == record.track.hash


def test_rows_out_of_sight_catch_up_when_the_weight_comes_to_rest(visit, make_record, tmp_path):
    """While w moves, only rows in the window are placed; afterwards the whole order is right."""
    made = [
        make_record(
            f"M{k:02d}",
            syn_hard=[0.2 + 0.004 * k + 0.001 * s for s in range(5)],
            syn_any=[0.5 - 0.007 * k + 0.001 * s for s in range(5)],
        )
        for k in range(60)
    ]
    page = visit(build(made, tmp_path).as_uri()).page
    page.evaluate(
        """async () => {
          const slider = document.getElementById("w");
          for (let k = 0; k <= 50; k++) {
            slider.value = 0.5 + k / 100;
            slider.dispatchEvent(new Event("input", { bubbles: true }));
            await new Promise((resolve) => requestAnimationFrame(resolve));
          }
        }"""
    )
    settle(page)
    [board] = rank(made, 1.0)
    assert shown(page) == [row.record.entry.method for row in board.rows][:50]
    assert page.locator("#body tr").nth(40).locator(".ranks").text_content() == (
        f"{board.rows[40].lowest}–{board.rows[40].highest}"
        if board.rows[40].lowest != board.rows[40].highest
        else f"{board.rows[40].lowest}"
    )
    assert not page.evaluate("document.body.classList.contains('moving')")


def test_a_search_that_finds_nothing_says_so_and_can_be_cleared(visit, site):
    page = visit(site.as_uri()).page
    assert not page.locator("#no-match").is_visible()
    page.fill("#q", "zzzz")
    settle(page)
    assert page.locator("#no-match").is_visible() and shown(page) == []
    page.click("[data-clear]")
    settle(page)
    assert len(shown(page)) == 8 and page.input_value("#q") == ""
    assert not page.locator("#no-match").is_visible()


def test_columns_that_a_reader_chooses_are_shown_on_a_phone_too(visit, arms_site):
    page = visit(arms_site.as_uri(), **PHONE).page
    assert not page.locator("th[data-key=ars]").is_visible()
    assert page.locator("td.column-ddrs b").first.is_visible()
    page.goto(arms_site.as_uri() + "#cols=place,ars")
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert page.locator("th[data-key=ars]").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 375


def test_pins_stay_on_their_board(visit, site):
    page = visit(site.as_uri()).page
    for select, value in (("#ipc", "10"), ("#dataset", "cifar10"), ("#ipc", ""), ("#board", "all")):
        for k in range(2):
            page.locator("input[data-pin]").nth(k).click()
            settle(page)
        assert page.locator("#tray li").count() == 2
        page.select_option(select, value)
        settle(page)
        assert not page.locator("#tray").is_visible() and "pin=" not in page.url, select


def test_pins_of_a_shared_address_are_those_of_the_board_once_and_four_at_most(visit, site):
    page = visit(site.as_uri()).page
    ids = page.locator("input[data-pin]").evaluate_all("all => all.map((one) => one.dataset.pin)")
    other = page.evaluate("data.boards[1].entries[0].id")
    given = ",".join(["nobody", ids[0], ids[0], other, *ids[1:6]])
    page = visit(f"{site.as_uri()}#pin={given}").page
    assert page.evaluate("pins()") == ids[:4]
    assert page.locator("#tray li").count() == 4
    page.locator("#tray li button").first.click()
    settle(page)
    page.locator("input[data-pin]").nth(5).click()
    settle(page)
    assert page.evaluate("pins()") == [*ids[1:4], ids[5]]


@pytest.mark.parametrize(
    "nonsense", ["dataset=zz", "ipc=0x1", "labels=zz", "w=0x1", "sort=alpha", "cols=zz", "w="]
)
def test_a_value_of_the_address_that_means_nothing_is_the_usual_one(visit, site, nonsense):
    page = visit(f"{site.as_uri()}#{nonsense}").page
    assert page.locator("#count").text_content() == "8 entries"
    assert page.evaluate("JSON.stringify(state) === JSON.stringify(START)")
    assert page.locator("th[aria-sort=ascending]").get_attribute("data-key") == "place"


def test_the_search_box_is_in_step_with_the_address(visit, site):
    page = visit(site.as_uri()).page
    page.fill("#q", "mtt")
    settle(page)
    page.evaluate(
        """new Promise((done) => {
             addEventListener("hashchange", done, { once: true });
             location.hash = "#q=rded";
           }).then(() => null)"""
    )
    assert page.input_value("#q") == "rded"
    assert shown(page) == ["RDED"]


def test_a_weight_that_is_none_gives_way_to_the_last_one(visit, site):
    page = visit(f"{site.as_uri()}#w=0.3").page
    for words in ("7", ""):
        page.fill("#w-number", words)
        page.keyboard.press("Tab")
        assert page.input_value("#w-number") == "0.3"


def test_a_dialog_closes_on_its_backdrop_but_not_by_a_drag_that_ends_there(visit, site):
    page = visit(site.as_uri()).page
    page.locator("button.entry").first.click()
    settle(page)
    title = page.locator("#entry-title").bounding_box()
    page.mouse.move(title["x"] + 20, title["y"] + 10)
    page.mouse.down()
    page.mouse.move(5, 300, steps=4)
    page.mouse.up()
    settle(page)
    assert page.locator("dialog#entry").is_visible()
    page.mouse.click(5, 300)
    settle(page)
    assert not page.locator("dialog#entry").is_visible()


def test_menus_close_on_a_click_elsewhere_and_on_escape(visit, site):
    page = visit(site.as_uri()).page
    menu = page.locator("details.menu", has=page.locator("#columns"))
    opened = "menu => menu.open"
    page.click("summary:has-text('Columns')")
    page.check("[data-column=alpha]")
    settle(page)
    assert menu.evaluate(opened)
    page.click("h1")
    assert not menu.evaluate(opened)
    page.click("summary:has-text('Columns')")
    page.click("summary:has-text('Download')")
    assert not menu.evaluate(opened)
    page.keyboard.press("Escape")
    assert page.locator("details.menu[open]").count() == 0
    assert page.evaluate("document.activeElement.textContent") == "Download"


def test_several_tracks_together_have_pages_and_no_controls_of_a_single_one(
    visit, make_record, tmp_path
):
    made = [
        make_record(f"M{k:02d}", track=track, syn_hard=[0.2 + 0.001 * (k + s) for s in range(5)])
        for track in ("cifar10-ipc1-convnet3", "cifar10-ipc10-convnet3")
        for k in range(60 if track == "cifar10-ipc1-convnet3" else 55)
    ]
    page = visit(build(made, tmp_path).as_uri()).page
    page.select_option("#labels", "hard")
    page.select_option("#board", "all")
    settle(page)
    assert page.locator("#labels").is_disabled() and page.input_value("#labels") == ""
    assert not page.locator("#leaders").is_visible()
    assert not page.locator("#leaders-name").is_visible()
    assert "soft" in set(page.locator("#reported-body td:nth-child(3)").all_text_contents())
    first = page.locator("#overall-body th").all_text_contents()
    assert page.locator("#page-words").text_content() == "Rows 1–50 of 60"
    page.click("#next")
    settle(page)
    second = page.locator("#overall-body th").all_text_contents()
    assert len(first) == 50 and len(second) == 10 and len({*first, *second}) == 60
    assert page.locator("#overall-body tr.incomplete").count() == 5
    page.select_option("#board", index=1)
    settle(page)
    assert page.locator("#page-words").text_content() == "Rows 1–50 of 60"
    assert not page.locator("#labels").is_disabled() and page.input_value("#labels") == "hard"


def test_names_are_not_broken_letter_by_letter_on_a_phone(visit, make_record, tmp_path):
    made = [
        make_record(name, track=track)
        for track in ("cifar10-ipc1-convnet3", "cifar10-ipc10-convnet3")
        for name in ("Trajectory matching", "DM")
    ]
    page = visit(build(made, tmp_path).as_uri(), **PHONE).page
    page.select_option("#board", "all")
    settle(page)
    cell = page.locator("#overall-body th", has_text="Trajectory")
    assert cell.bounding_box()["width"] >= 144
    assert cell.bounding_box()["height"] < 70
    assert page.evaluate("document.documentElement.scrollWidth") <= 375


@pytest.mark.parametrize(
    ("name", "lines"),
    [("Superresolution", 1), ("MeaningfulDistillation", 2), ("Trajectory matching", 2), ("DM", 1)],
)
def test_a_name_ends_its_lines_between_words_on_a_phone(visit, make_record, tmp_path, name, lines):
    """Or in an ellipsis, with the whole name as its title."""
    page = visit(build([make_record(name)], tmp_path).as_uri(), **PHONE).page
    shown = page.locator("#body button.entry bdi")
    assert shown.text_content() == name == shown.get_attribute("title")
    height = shown.evaluate("(name) => parseFloat(getComputedStyle(name).lineHeight)")
    assert shown.bounding_box()["height"] == pytest.approx(lines * height, abs=6)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375


def test_the_paper_holds_the_tables_and_none_of_the_controls(visit, site):
    page = visit(site.as_uri()).page
    page.emulate_media(media="print")
    assert page.locator("table.ranking").is_visible()
    assert not page.locator(".controls").is_visible() and not page.locator(".bar").is_visible()


def test_signs_of_latex_are_escaped(visit, site):
    page = visit(site.as_uri()).page
    assert page.evaluate("tex('a<b>|\"$_\\\\')") == (
        r"a\textless{}b\textgreater{}\textbar{}\char34{}\$\_\textbackslash{}"
    )
