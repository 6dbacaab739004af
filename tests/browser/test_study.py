"""The pages of a study and its trials, as people use them: live, by keyboard, narrow, dark, and with hostile texts."""

import re
from itertools import pairwise

import httpx2
import pytest
from playwright.sync_api import Page, expect

from service.settings import Settings
from service.web.static_files import static_url
from tests.browser.conftest import OpenPage
from tests.browser.filled import begin, run_trials, say

pytestmark = pytest.mark.slow

EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>"


def stay(page: Page) -> None:
    """Mark the page, so that `has_stayed` can tell whether it was loaded again."""
    page.evaluate("window.isTheSame = true")


def has_stayed(page: Page) -> bool:
    return page.evaluate("window.isTheSame === true") is True


def test_a_study_is_watched_live_without_loading_its_page_again(
    open_page: OpenPage, served: tuple[str, Settings]
) -> None:
    url, _ = served
    with httpx2.Client(base_url=url) as http:
        worker = begin(http, "live")
        run_trials(worker, 3)
        held = worker.take()
        seen = open_page(url)
        seen.go("/studies/live")
        page = seen.page
        expect(page.locator("#curves canvas")).to_be_visible()
        stay(page)
        expect(page.locator("#state")).to_contain_text("3 of 30 ended")
        worker.report(held, 1, 0.1, final=True)
        assert worker.finish(held).status_code == 200
        expect(page.locator("#state")).to_contain_text("4 of 30 ended")
        expect(page.locator("#best h2")).to_contain_text("trial 3")
        assert has_stayed(page)
        seen.shots("study")


def test_a_study_is_paused_resumed_extended_and_stopped_by_its_buttons(
    open_page: OpenPage, served: tuple[str, Settings]
) -> None:
    url, _ = served
    with httpx2.Client(base_url=url) as http:
        run_trials(begin(http, "buttons"), 2)
        seen = open_page(url)
        seen.go("/studies/buttons")
        page = seen.page
        page.get_by_role("button", name="Pause").focus()
        page.keyboard.press("Enter")
        expect(page.locator("#state .badge-paused")).to_be_visible()
        page.get_by_role("button", name="Resume").focus()
        page.keyboard.press("Enter")
        expect(page.locator("#state .badge-running")).to_be_visible()
        page.get_by_role("button", name="Extend").click()
        page.get_by_role("spinbutton", name="Trials").fill("31")
        page.keyboard.press("Enter")
        expect(page.locator("#state")).to_contain_text("of 31 ended")
        page.get_by_role("button", name="Stop").click()
        page.keyboard.press("Escape")
        assert http.get("/v1/studies/buttons").json()["state"] == "running"
        page.get_by_role("button", name="Stop").click()
        page.get_by_role("button", name="Stop the study").click()
        expect(page.locator("#state .badge-complete")).to_be_visible()
        page.get_by_role("button", name="Pause").click(force=True)
        expect(page.get_by_text("The study is complete.").first).to_be_visible()


def test_trials_are_filtered_sorted_and_compared(open_page: OpenPage, served: tuple[str, Settings]) -> None:
    url, _ = served
    with httpx2.Client(base_url=url) as http:
        run_trials(begin(http, "table"), 8)
        seen = open_page(url)
        seen.go("/studies/table")
        page = seen.page
        stay(page)
        page.get_by_label("State").select_option("PRUNED")
        expect(page.locator("#trials tbody .badge-complete")).to_have_count(0)
        page.get_by_label("State").select_option("")
        page.get_by_label("Order").select_option("value")
        expect(page.locator("#trials tbody tr").first).to_have_class("is-best")
        assert has_stayed(page)
        page.get_by_role("button", name="Compare the chosen trials").click()
        expect(page.get_by_text("Trials chosen: 0").first).to_be_visible()
        for box in page.get_by_role("checkbox").all()[:3]:
            box.check()
        page.get_by_role("button", name="Compare the chosen trials").click()
        expect(page.locator("#compare-chart canvas")).to_be_visible()
        expect(page.locator("#compare-table thead th")).to_have_count(3)
        seen.shots("compare")


def test_pointing_at_a_curve_shows_its_params_and_a_click_opens_its_trial(
    open_page: OpenPage, served: tuple[str, Settings]
) -> None:
    url, _ = served
    with httpx2.Client(base_url=url) as http:
        run_trials(begin(http, "hover"), 1)
        seen = open_page(url)
        seen.go("/studies/hover")
        page = seen.page
        page.locator("#curves").scroll_into_view_if_needed()
        box = page.locator("#curves .u-over").bounding_box()
        assert box is not None
        # the only curve ends at the right of the chart, low
        page.mouse.move(box["x"] + box["width"] * 0.99, box["y"] + box["height"] * 0.9)
        expect(page.locator("#curve-tip")).to_contain_text("learning_rate = ")
        page.mouse.down()
        page.mouse.up()
        page.wait_for_url("**/studies/hover/trials/0")


def test_the_log_of_a_running_trial_is_followed(open_page: OpenPage, served: tuple[str, Settings]) -> None:
    url, _ = served
    with httpx2.Client(base_url=url) as http:
        worker = begin(http, "log")
        held = worker.take()
        say(http, held, "the first line\n")
        worker.report(held, 1, 0.5)
        seen = open_page(url)
        seen.go("/studies/log/trials/0")
        page = seen.page
        expect(page.locator("#log")).to_have_text("the first line\n")
        say(http, held, f"{EVIL}\n")
        expect(page.locator("#log")).to_contain_text(EVIL)
        expect(page.locator("#metric-charts canvas")).to_have_count(2)
        assert page.locator("#log *").count() == 0
        seen.shots("trial")
        page.get_by_role("button", name="Cancel").click()
        with page.expect_response("**/trials/0/cancel"):
            page.get_by_role("button", name="Cancel the trial").click()
        assert worker.heartbeat(held) == "cancel"
        worker.fail(held, "cancelled")
        expect(page.locator("#trial-state .badge-fail")).to_be_visible()


def test_hostile_texts_are_shown_as_text_on_page_and_charts(open_page: OpenPage, served: tuple[str, Settings]) -> None:
    url, _ = served
    with httpx2.Client(base_url=url) as http:
        worker = begin(http, "hostile", model={"name": EVIL}, fixed={"lr_schedule": "linear"}, baseline=False)
        held = worker.take()
        worker.report(held, 1, 0.5, **{EVIL: 1.0})
        say(http, held, EVIL)
        assert worker.finish(held, "FAIL", failure_class="exception", message=EVIL).status_code == 200
        run_trials(worker, 2)
        seen = open_page(url)
        dialogs: list[str] = []
        seen.page.on("dialog", lambda dialog: dialogs.append(dialog.message))
        for path in ("", "/trials/0", "/trials/1", "/compare?trials=0,1"):
            seen.go(f"/studies/hostile{path}")
            seen.page.wait_for_load_state("load")
            expect(seen.page.locator(".chart canvas").first).to_be_visible()
            assert seen.page.locator("img[src=x]").count() == 0
            assert seen.page.locator("script:not([src])").count() == 0
        assert dialogs == []


def test_a_study_is_cloned_and_its_plots_are_drawn(open_page: OpenPage, served: tuple[str, Settings]) -> None:
    url, _ = served
    with httpx2.Client(base_url=url) as http:
        run_trials(begin(http, "clone"), 6)
        seen = open_page(url)
        # drawing with WebGL on a machine without a GPU
        seen.expected.append("warning: [.WebGL")
        seen.go("/studies/clone")
        page = seen.page
        for kind in ("History", "Parallel coordinates", "Slice", "Timeline"):
            page.get_by_role("button", name=kind).click()
            expect(page.locator("#plot-note")).to_have_text("", timeout=60_000)
            expect(page.locator("#plot .main-svg").first).to_be_visible()
        page.emulate_media(color_scheme="dark")  # the plot that is open is drawn again
        expect(page.locator("#plot .gtitle")).to_have_css("fill", "rgb(163, 173, 186)")
        page.get_by_role("button", name="Parallel coordinates").click()
        expect(page.locator("#plot .annotation-text").first).to_have_css("fill", "rgb(163, 173, 186)", timeout=60_000)
        # the best line lies in front, in the lightest blue
        best = page.locator("#plot .scatterlayer .trace:has(.js-line)").last.locator(".js-line")
        assert light(best.evaluate("line => getComputedStyle(line).stroke")) > 0.6
        page.get_by_role("button", name="Clone").click()
        page.get_by_label("Name").fill("clone-of-it")
        page.keyboard.press("Enter")
        page.wait_for_url("**/studies/clone-of-it")
        assert http.get("/v1/studies/clone-of-it").json()["state"] == "running"


def test_many_trials_are_quantiles_behind_the_best_and_the_running(
    open_page: OpenPage, served: tuple[str, Settings]
) -> None:
    url, _ = served
    with httpx2.Client(base_url=url) as http:
        worker = begin(http, "many", n_trials=300, pruner={"name": "none"})
        run_trials(worker, 202, n_steps=2)
        held = worker.take()
        worker.report(held, 1, 0.5)
        seen = open_page(url)
        seen.go("/studies/many")
        expect(seen.page.locator("#curves canvas")).to_be_visible()
        expect(seen.page.locator(".key-bands")).to_be_visible()
        stay(seen.page)
        worker.report(held, 2, 0.01, final=True)
        assert worker.finish(held).status_code == 200
        expect(seen.page.locator("#best h2")).to_contain_text("trial 202")
        seen.page.get_by_role("link", name="Next 50").click()
        expect(seen.page.get_by_role("link", name="First page")).to_be_visible()
        assert has_stayed(seen.page)
        with seen.page.expect_response(lambda answer: "/curves?" in answer.url and "trials=110" in answer.url):
            seen.page.get_by_role("checkbox", name="Compare trial 110").focus()


def light(colour: str) -> float:
    """Return the lightness of a colour that the browser has written, from 0 to 1."""
    channels = [int(one) for one in re.findall(r"\d+", colour)[:3]]
    return (max(channels) + min(channels)) / 510


def test_plots_have_the_colours_of_the_page_and_room_for_what_they_say(
    open_page: OpenPage, served: tuple[str, Settings]
) -> None:
    seen = open_page(served[0])
    seen.go("/")
    found = seen.page.evaluate(
        """async (address) => {
            const { themed, visible } = await import(address);
            const blues = ["rgb(247,251,255)", "rgb(107.0, 174.0, 214.0)", "rgb(8,48,107)", "#2F3B52"];
            const line = (color) => ({ mode: "lines", line: { color } });
            const axes = { yaxis: { title: { text: "loss" } }, yaxis2: {}, yaxis3: {}, yaxis4: {}, yaxis5: {} };
            ["", 2, 3, 4, 5].forEach((n, place) => (axes[`xaxis${n}`] = { domain: [place / 5, place / 5 + 0.1] }));
            const at = (isDark, width) => ({ colour: (name) => name, isDark, width });
            const bars = { data: [{ name: "PRUNED", marker: { color: "orange" } }], layout: {} };
            const scale = [[0, "rgb(8,48,107)"], [1, "rgb(247,251,255)"]];
            const points = { data: [{ marker: { color: [1, 2], colorscale: scale } }], layout: axes };
            const lines = { data: blues.map(line), layout: { xaxis: { ticktext: ["a", "b", "c", "d", "e", "f"] } } };
            const names = (letter) => ["", 2, 3, 4, 5].map((n) => `${letter}axis${n}`);
            const domains = ({ layout }, letter) => names(letter).map((name) => layout[name].domain);
            return {
                light: blues.map((one) => visible(one, false)), dark: blues.map((one) => visible(one, true)),
                others: ["Grey", "rgba(1,2,3,0)"].map((one) => visible(one, true)),
                state: themed(bars, at(true, 900)).data[0].marker.color,
                scale: themed(points, at(true, 900)).data[0].marker,
                lines: themed(lines, at(true, 900)).data.map((one) => one.line.color),
                widths: [900, 300].map((width) => themed(lines, at(true, width)).layout.width),
                wide: domains(themed(points, at(false, 1200)), "x"),
                narrow: domains(themed(points, at(false, 300)), "x"),
                rows: domains(themed(points, at(false, 300)), "y"), given: points.layout.xaxis.domain,
            };
        }""",
        static_url("plot_theme.js"),
    )
    lightness = {key: [int(re.findall(r"(\d+)%", one)[1]) for one in found[key]] for key in ("light", "dark")}
    assert lightness["light"] == [85, 57, 26, 28], "as Optuna has them, but for what would vanish on white"
    assert lightness["dark"] == [36, 55, 78, 76], "turned round, and nothing vanishes"
    assert found["others"] == ["Grey", "rgba(1,2,3,0)"]
    assert found["state"] == "--state-pruned"
    assert found["scale"]["color"] == [1, 2]
    assert [one for _, one in found["scale"]["colorscale"]] == [found["dark"][2], found["dark"][0]]
    assert found["lines"] == found["dark"]
    assert found["widths"][0] == 900
    assert found["widths"][1] > 600, "axes of parallel coordinates keep their distance; the plot is scrolled"
    assert [left for left, _ in found["wide"]] == sorted({left for left, _ in found["wide"]})
    assert found["narrow"] == [[0, 1]] * 5
    assert all(above[0] > below[1] for above, below in pairwise(found["rows"]))
    assert found["given"] == [0, 0.1], "a figure is left as it came"


def test_curves_are_chosen_aligned_and_cut_as_they_should_be(open_page: OpenPage, served: tuple[str, Settings]) -> None:
    seen = open_page(served[0])
    seen.go("/")
    found = seen.page.evaluate(
        """async (address) => {
            const { chosen, columns, emptyCurves, takeIn, valueRange } = await import(address);
            const bands = { steps: [1, 3], p10: [1, 1], p25: [2, 2], p50: [3, 3], p75: [4, 4], p90: [5, 5] };
            const curves = takeIn(emptyCurves(), {
                sequence: 7, metric: "loss", direction: "minimize", bands: null, numbers: [0, 1, 2, 3],
                states: ["COMPLETE", "PRUNED", "RUNNING", "WAITING"],
                steps: [[1, 2], [1], [2], []], values: [[0.5, null], [0.9], [0.4], []],
            });
            const all = chosen(curves, [], null);
            takeIn(curves, { ...curves, bands, numbers: [2], states: ["RUNNING"], steps: [[1, 2]], values: [[3, 4]] });
            const usual = Array.from({ length: 50 }, (_, i) => 0.5 + i / 100);
            return {
                all, few: chosen(curves, [0], null), hovered: chosen(curves, [0], 1),
                columns: columns(curves, [2]).map((column) => column.map((value) => value ?? "none")),
                range: valueRange([[...usual, 1000]], "minimize")[1], sequence: curves.sequence,
            };
        }""",
        static_url("curves.js"),
    )
    assert (found["all"], found["few"], found["hovered"]) == ([0, 1, 2], [0, 2], [0, 1, 2])
    assert found["columns"][0] == [1, 2, 3]
    assert found["columns"][1] == [1, "none", 1]
    assert found["columns"][-1] == [3, 4, "none"]
    assert found["range"] < 2
    assert found["sequence"] == 7
