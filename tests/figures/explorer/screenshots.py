"""Pictures of every view of a run at 1280 × 720, to be looked at: python screenshots.py RUN FOLDER [MODEL]."""

import sys
from pathlib import Path

from browser import SIZE, Visit, browsing, serving

from regap.figures.explorer.app import VIEWS
from regap.figures.explorer.run.explored import ExploredRun, Missing
from regap.figures.explorer.run.query import Query, as_the_run


def an_item(run: ExploredRun) -> str:
    """A harmful test item of the corrected arm, as part of an address; nothing if there is none."""
    try:
        rows = run.items.rows
    except Missing:
        return ""
    kept = rows[(rows["label"] == "harmful") & (rows["split"] == "test") & (rows["arm"] != "text")]
    return f"item={kept['pair_id'].iloc[0]}&item_arm={kept['arm'].iloc[0]}" if len(kept) else ""


def live_regap(run: ExploredRun, item: str) -> str:
    """The address of the run's own ReGap on an item; that of ReGap as it comes where the run does not tell."""
    query = Query.of("live", item)
    return (as_the_run(query, run) or query.but(method="regap")).address()


def main(run: Path, out: Path, model: str = "organism") -> None:
    """Writes one PNG per view, light, dark and beside a second run, and says what went wrong in the browser."""
    from regap.analyses.live.model import LiveModel

    out.mkdir(parents=True, exist_ok=True)
    item = an_item(ExploredRun(run))
    live = LiveModel.of_run(run, model)
    shots = {name: f"/{name}" for name in VIEWS}
    shots |= {f"{name}-item": f"/{name}?{item}" for name in ("plane", "trajectories", "items")}
    shots |= {
        "live": f"/live?{item}",
        "live-regap": live_regap(ExploredRun(run), item),
        "live-drift": f"/live?{item}&along=drift",
        "plane-dark": f"/plane?theme=dark&{item}",
        "doses-dark": "/doses?theme=dark",
    }
    with browsing() as browser:
        with serving(run, live=live) as base:
            taken(Visit(browser.new_page(viewport=SIZE), base), shots, out)
        with serving(run, run) as base:
            taken(Visit(browser.new_page(viewport=SIZE), base), {"two-runs": f"/plane?{item}"}, out)


def taken(visit: Visit, shots: dict[str, str], out: Path) -> None:
    for name, address in shots.items():
        visit.open(address)
        visit.page.wait_for_timeout(1500)
        visit.page.screenshot(path=out / f"{name}.png")
        print(out / f"{name}.png", *visit.wrong)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
