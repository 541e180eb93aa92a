"""The explorer in a real browser: every view, every way of asking, and nothing of a run that becomes markup."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hostile
import hostile_run as made
import pytest
from browser import SIZE, Visit, browsing, chromium, serving

from regap.figures.explorer.app import VIEWS

pytestmark = pytest.mark.skipif(
    chromium() is None, reason="no Chrome or Chromium on the path; install one, or name it in BROWSER_PATH"
)


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with browsing() as found:
        yield found


@pytest.fixture(scope="module")
def one(explored_folder: Path) -> Iterator[str]:
    with serving(explored_folder, live=made.Planted()) as base:
        yield base


@pytest.fixture(scope="module")
def page(browser, one: str) -> Iterator[Visit]:
    with visiting(browser, one) as found:
        yield found


@pytest.fixture
def visit(page: Visit) -> Iterator[Visit]:
    """The page, on which nothing has gone wrong by the end of each test."""
    yield page
    checked(page)


@contextmanager
def visiting(browser, base: str) -> Iterator[Visit]:
    context = browser.new_context(viewport=SIZE, accept_downloads=True)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    yield Visit(context.new_page(), base)
    context.close()


def checked(visit: Visit) -> None:
    assert visit.page.evaluate("window.injected") is None
    wrong, visit.wrong = visit.wrong, []
    assert wrong == []


def item(place: int, arm: str = "typographic") -> str:
    from regap.figures.explorer.run.query import Query

    return Query("plane", item=made.IDS[place], item_arm=arm).address().partition("?")[2]


def test_every_view_is_drawn_without_an_error(visit: Visit) -> None:
    for name in VIEWS:
        visit.open(f"/{name}")
        if name == "items":
            assert visit.page.locator("table.items tbody tr").count() == 25
        else:
            visit.drawn()
        assert visit.page.locator(".problem").count() == 0, name
        assert visit.text("a.tab.here").endswith(VIEWS[name].heading)


def test_the_layer_slider_moves_every_point_and_the_address(visit: Visit) -> None:
    visit.open("/plane?layer=0").drawn()
    low = "document.querySelector('#graph-0 .js-plotly-plot')._fullLayout.yaxis.range[0]"
    before = visit.page.evaluate(low)
    visit.page.locator(".of-layer [role=slider]").press("ArrowRight")
    visit.wait(f"() => {low} > {before} + 5")
    assert "layer=1" in visit.search() and visit.text("#layer-now") == "layer 1"


def test_playing_goes_through_the_layers_and_stops(visit: Visit) -> None:
    visit.open("/plane?layer=0").drawn()
    visit.page.locator("#play").click()
    visit.wait("() => document.querySelector('#layer-now').textContent === 'layer 2'")
    visit.page.locator("#play").click()
    stopped = visit.text("#layer-now")
    visit.page.wait_for_timeout(900)
    assert visit.text("#layer-now") == stopped


def test_a_click_on_a_point_opens_it(visit: Visit) -> None:
    visit.open("/plane?layer=1&arm=text").drawn()
    visit.click("text, harmful", 12)
    visit.page.locator("aside h2").wait_for()
    assert visit.text("aside h2") == made.IDS[25]
    assert "item=" in visit.search() and "item_arm=text" in visit.search()
    assert visit.text("aside").count("first:") == 3 and visit.text("aside").count("second:") == 3
    visit.page.keyboard.press("Escape")
    visit.wait("() => !document.querySelector('aside h2')")


def test_an_item_shows_all_that_is_known_of_it_as_text(visit: Visit) -> None:
    for place in range(len(hostile.TEXTS)):
        visit.open(f"/items?{item(place)}")
        visit.wait(
            f"() => document.querySelector('aside')?.textContent.includes('SCRIPT {place}')".replace(
                "SCRIPT", hostile.SCRIPT
            )
        )
        shown = visit.page.locator("aside").evaluate("part => part.textContent")
        text = hostile.TEXTS[place]
        assert text in shown and hostile.QUOTES in shown and f"USER: {hostile.SCRIPT} {place}" in shown
        assert visit.page.locator("aside b, aside script, aside a, aside iframe").count() == 0
        assert visit.page.locator("aside img").count() == 1  # its own picture


def test_a_picture_is_blurred_until_asked_for(visit: Visit) -> None:
    visit.open(f"/plane?{item(8)}")
    picture = visit.page.locator("button.picture")
    blur = "getComputedStyle(document.querySelector('.picture img')).filter"
    picture.wait_for()
    assert visit.page.evaluate(blur).startswith("blur")
    picture.click()
    assert visit.page.evaluate(blur) == "none"


def test_other_arms_of_the_pair_are_one_click_away(visit: Visit) -> None:
    visit.open(f"/plane?{item(8)}")
    visit.page.locator("aside .arms button", has_text="text").first.click()
    visit.wait("() => document.querySelector('aside p').textContent.startsWith('text ·')")
    assert "no picture or sound is stored" in visit.text("aside")


def test_hover_labels_show_hostile_names_as_text(visit: Visit) -> None:
    visit.open("/plane?layer=1&arm=text&label=harmless").drawn()
    visit.hover("text, harmless", 0)
    label = visit.page.locator("#graph-0 .hoverlayer .hovertext").first
    label.wait_for()
    assert hostile.SCRIPT in label.evaluate("part => part.textContent")
    assert visit.page.locator("#graph-0 .hoverlayer a").count() == 0


def test_filters_narrow_the_table_and_the_address_keeps_them(visit: Visit) -> None:
    visit.open("/items")
    visit.page.get_by_label("flipped by the correction").check()
    visit.wait("() => document.querySelector('.pager').textContent.startsWith('8 items')")
    visit.page.locator(".of-search input").fill("plain-16")
    visit.wait("() => document.querySelectorAll('table.items tbody tr').length === 2")
    assert {"only=flipped", "search=plain-16"} <= set(visit.search()[1:].split("&"))
    visit.page.locator(".of-arm input").first.uncheck()
    visit.wait("() => document.querySelectorAll('table.items tbody tr').length === 1")
    visit.page.locator("table.items button").click()
    visit.page.locator("aside h2").wait_for()
    assert visit.text("aside h2") == "plain-16"


def test_a_menu_chooses_the_measure(visit: Visit) -> None:
    visit.open("/separability").drawn()
    visit.page.locator(".of-measure button").first.click()
    visit.page.get_by_role("option", name="AUROC").click()
    title = "document.querySelector('#graph-0 .ytitle').textContent"
    visit.wait(f"() => {title}.startsWith('AUROC')")
    assert "measure=auroc" in visit.search()


def test_an_address_brings_back_what_was_seen_and_tabs_keep_it(visit: Visit) -> None:
    visit.open(f"/plane?layer=2&arm=text&density=&{item(9, 'text')}").drawn()
    assert [name for name in visit.names() if name] == ["text, harmful", "text, harmless", "chosen"]
    assert visit.text("#layer-now") == "layer 2" and visit.text("aside h2") == made.IDS[9]
    visit.page.keyboard.press("3")
    visit.wait("() => location.pathname === '/trajectories'")
    visit.wait("() => document.querySelector('#graph-0 .legend')?.textContent.includes('chosen')")
    assert "layer=2" in visit.search() and visit.text("aside h2") == made.IDS[9]
    visit.page.go_back()
    visit.wait("() => location.pathname === '/plane'")
    visit.settled()
    assert visit.text("#layer-now") == "layer 2"


def test_a_strength_moves_the_points(visit: Visit) -> None:
    visit.open("/doses?strength=0").drawn()
    first = "document.querySelector('#graph-0 .js-plotly-plot')._fullData.find(t => t.name === 'text, harmful').y[0]"
    before = visit.page.evaluate(first)
    visit.page.locator(".of-strength [role=slider]").press("ArrowRight")
    visit.wait(f"() => Math.abs({first} - ({before} - 0.15)) < 1e-4")


def test_live_interventions_answer_and_say_what_cannot_be_asked(visit: Visit) -> None:
    visit.open(f"/live?{item(8)}&at=1&strength=1").drawn()
    assert hostile.SCRIPT in visit.text(".replies") and hostile.IMAGE in visit.text(".replies")
    assert (
        visit.page.locator(".tokens span").count() == 2
        and visit.page.locator(".patched > span > span").count() == 1
    )
    # Both in one question: the page may still move between two.
    boxes = "['span', 'img'].map(part => document.querySelector('.patched > ' + part).getBoundingClientRect().toJSON())"
    over, under = visit.page.evaluate(boxes)
    assert over == under and over["width"] > 0
    blur = "getComputedStyle(document.querySelector('.patched img')).filter"
    assert visit.page.evaluate(blur).startswith("blur")
    visit.page.keyboard.press("b")
    visit.wait(f"() => {blur} === 'none'")
    visit.page.locator(".of-strength [role=slider]").press("ArrowRight")
    visit.wait("() => document.querySelector('#caption-0').textContent.includes('strength 1.05')")
    visit.page.locator(".of-at [role=slider]").press("ArrowRight")
    visit.page.locator(".problem").wait_for()
    assert visit.text(".problem") == f"layer is 2; {hostile.SCRIPT}"


def test_the_run_s_own_regap_is_one_click_away(visit: Visit) -> None:
    visit.open(f"/live?{item(8)}&at=1").drawn()
    visit.page.locator(".back a").click()
    visit.wait("() => document.querySelector('#caption-0').textContent.includes('strength 2.5')")
    visit.settled()
    assert {"method=regap", "at=0", "gate=line", "positions=image"} <= set(visit.search()[1:].split("&"))
    assert hostile.SCRIPT in visit.text("#caption-0") and visit.page.locator(".back a").count() == 0
    assert hostile.SCRIPT in visit.text(".back")


def test_cells_of_the_heat_maps_tell_their_interval(visit: Visit) -> None:
    visit.open("/ablation").drawn()
    box = visit.page.locator("#graph-0 .nsewdrag[data-subplot=xy]").bounding_box()
    assert box
    visit.page.mouse.move(box["x"] + box["width"] / 2 - 5, box["y"] + box["height"] / 2)
    visit.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    visit.page.locator("#graph-0 .hoverlayer .hovertext").first.wait_for()
    told = visit.page.locator("#graph-0 .hoverlayer").evaluate("part => part.textContent")
    assert "layer 1" in told and "+1" in told and "[+0.875, +1.1" in told and "n = 40" in told


def test_data_and_command_can_be_taken_away(visit: Visit) -> None:
    visit.open("/plane?layer=2&arm=text").drawn()
    with visit.page.expect_download() as coming:
        visit.page.locator("#save-0").click()
    lines = Path(coming.value.path()).read_text("utf-8").splitlines()
    assert lines[0] == "pair_id,arm,condition,label,category,split,layer,refusal,drift"
    assert sum("plain-" in line for line in lines) == 33
    visit.page.locator("[data-copy=command-0]").click()
    copied = visit.page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("regap figures ") and copied.endswith("--only refusal_drift_plane")
    visit.page.locator("[data-copy=address]").click()
    assert visit.page.evaluate("navigator.clipboard.readText()") == visit.page.url


def test_dark_paper_by_key_and_back(visit: Visit) -> None:
    visit.open("/plane").drawn()
    paper = "document.querySelector('#graph-0 .js-plotly-plot')._fullLayout.paper_bgcolor"
    assert visit.page.evaluate(paper) == "white"
    visit.page.keyboard.press("d")
    visit.wait(f"() => {paper} === '#161719' && document.documentElement.dataset.theme === 'dark'")
    assert "theme=dark" in visit.search()


def test_two_runs_stand_side_by_side(browser, explored_folder: Path, planted_run: Path) -> None:
    with serving(explored_folder, planted_run) as base, visiting(browser, base) as visit:
        visit.open("/separability").drawn("graph-0").drawn("graph-1")
        boxes = [visit.page.locator(f"#graph-{place}").bounding_box() for place in (0, 1)]
        assert boxes[0] and boxes[1] and boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
        visit.page.keyboard.press("1")
        visit.wait("() => location.pathname === '/plane'")
        visit.wait("() => document.querySelector('#command-1').textContent.includes('refusal_drift_plane')")
        visit.click("text, harmful", 3, "graph-1")
        visit.page.locator("aside h2").wait_for()
        assert visit.text("aside h2") == "p7" and "side=1" in visit.search()
        checked(visit)


def test_an_empty_run_says_what_makes_each_view(browser, empty_folder: Path) -> None:
    with serving(empty_folder) as base, visiting(browser, base) as visit:
        for name in (*VIEWS, "live"):
            visit.open(f"/{name}")
            assert "regap " in visit.text(".problem"), name
        checked(visit)


def test_a_page_of_another_name_is_refused(one: str) -> None:
    from http.client import HTTPConnection

    for host, status in (("evil.example", 403), ("localhost", 200), ("127.0.0.1:1", 200)):
        connection = HTTPConnection("127.0.0.1", int(one.rpartition(":")[2]))
        connection.request("GET", "/", headers={"Host": host})
        assert connection.getresponse().status == status
        connection.close()
