// The address is the state: controls, clicks and keys write it, and everything shown is asked for by it.
(() => {
  const lists = new Set(["arm", "only", "density", "zoom"]);
  const now = () => ({ path: location.pathname, search: location.search });

  function write(changes) {
    const parameters = new URLSearchParams(location.search);
    for (const [name, value] of Object.entries(changes)) {
      parameters.delete(name);
      if (Array.isArray(value)) {
        value.forEach((one) => parameters.append(name, one));
        if (!value.length && name === "density") parameters.append(name, "");
      } else if (value !== null && value !== undefined && value !== "" && value !== "any") {
        parameters.set(name, value);
      }
    }
    const search = parameters.toString() ? "?" + parameters.toString() : "";
    if (search !== location.search) history.replaceState(history.state, "", location.pathname + search);
    return now();
  }

  const send = (changes) => dash_clientside.set_props("address", { data: write(changes) });
  const layer = () => document.querySelector("#layer-now");

  function stepLayer(by) {
    const slider = document.querySelector(".control.of-layer [role=slider]");
    if (!slider) return;
    const from = Number(slider.getAttribute("aria-valuenow"));
    const low = Number(slider.getAttribute("aria-valuemin"));
    const high = Number(slider.getAttribute("aria-valuemax"));
    let to = from + by;
    if (to > high) to = low;
    if (to < low) to = high;
    dash_clientside.set_props({ type: "control", name: "layer" }, { value: to });
  }

  let playing = false;
  function play(on) {
    playing = on;
    dash_clientside.set_props("clock", { disabled: !on });
    const button = document.getElementById("play");
    if (button) button.textContent = on ? "❚❚" : "▶";
  }

  function themed() {
    const theme = new URLSearchParams(location.search).get("theme") || "light";
    document.documentElement.dataset.theme = theme;
    return theme;
  }

  let last = {};
  window.dash_clientside = window.dash_clientside || {};
  window.dash_clientside.explorer = {
    arrived() {
      const arrive = () => dash_clientside.set_props("arrived", { data: now() });
      window.addEventListener("popstate", arrive);
      window.addEventListener("_dashprivate_pushstate", arrive);
      return now();
    },
    controlled(values, _children, ids) {
      const changes = {};
      ids.forEach((id, place) => {
        if (values[place] !== undefined) changes[id.name] = values[place];
      });
      if ("layer" in changes) {
        if (last.path === location.pathname && last.layer !== undefined && last.layer !== changes.layer) changes.zoom = [];
        last = { path: location.pathname, layer: changes.layer };
        const shown = layer();
        if (shown) shown.textContent = "layer " + changes.layer;
      }
      if (["label", "category", "verdict", "search"].some((name) => name in changes)) {
        const before = new URLSearchParams(location.search);
        if (["label", "category", "verdict", "search"].some((name) =>
          name in changes && (changes[name] === "any" ? "" : changes[name] || "") !== (before.get(name) || "")))
          changes.page = null;
      }
      return write(changes);
    },
    settled(_address, item, ids) {
      const parameters = new URLSearchParams(location.search);
      themed();
      const chosen = parameters.get("item")
        ? ["item", "item_arm", "side", "theme"].map((name) => parameters.get(name) || "").join("\n") : "";
      parameters.delete("zoom");
      const search = parameters.toString() ? "?" + parameters.toString() : "";
      const here = location.pathname === "/" ? "/plane" : location.pathname;
      return [
        chosen === (item || "") ? window.dash_clientside.no_update : chosen,
        ids.map((id) => "/" + id.view + search),
        ids.map((id) => ("/" + id.view === here ? "tab here" : "tab")),
      ];
    },
    ticked(count) {
      if (playing) stepLayer(1);
      return window.dash_clientside.no_update;
    },
    clicked(click, graph) {
      const point = click && click.points && click.points[0];
      const plot = document.querySelector(`#${graph} .js-plotly-plot`);
      const meta = point && plot.data[point.curveNumber]?.meta;
      if (meta && meta.select === "item" && point.customdata) {
        const pair = Array.isArray(point.customdata) ? point.customdata : [point.customdata, meta.arm];
        send({ item: pair[0], item_arm: pair[1], side: graph.split("-")[1] });
      } else if (meta && meta.select === "layer") {
        dash_clientside.set_props({ type: "control", name: "layer" }, { value: point.x });
      } else if (meta && meta.select === "strength") {
        dash_clientside.set_props({ type: "control", name: "strength" }, { value: point.x });
      }
      return null;  // so that the same point can be clicked again
    },
    zoomed(change) {
      if (location.pathname !== "/plane" && location.pathname !== "/") return window.dash_clientside.no_update;
      if (change && "xaxis.autorange" in change) send({ zoom: [] });
      const ends = ["xaxis.range[0]", "xaxis.range[1]", "yaxis.range[0]", "yaxis.range[1]"];
      if (change && ends.every((end) => end in change)) send({ zoom: ends.map((end) => Number(change[end]).toPrecision(6)) });
      return window.dash_clientside.no_update;
    },
  };

  function copy(text, button) {
    const told = button.textContent;
    const done = (word) => { button.textContent = word; setTimeout(() => { button.textContent = told; }, 1200); };
    navigator.clipboard.writeText(text).then(() => done("copied"), () => done("not allowed"));
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const { item, arm, side, set, value, copy: what } = button.dataset;
    if (item !== undefined) {
      const run = side === "here" ? button.closest("[data-run]").dataset.run : side;
      send({ item, item_arm: arm, side: run });
    } else if (set !== undefined) send({ [set]: value });
    else if (what === "address") copy(location.href, button);
    else if (what) copy(document.getElementById(what).textContent, button);
    else if (button.id === "play") play(!playing);
    else if (button.id === "theme") send({ theme: themed() === "dark" ? "" : "dark" });
    else if (button.classList.contains("picture")) button.classList.toggle("clear");
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target;
    const typing = target.closest("input:not([type=checkbox]), textarea, [role=slider], [role=listbox], [role=combobox]");
    if (event.key === "Escape") return send({ item: "" });
    if (typing) return;
    const onControl = target.closest("button, a, summary, input, [aria-haspopup]");
    const tabs = document.querySelectorAll("header a.tab");
    if (/^[1-9]$/.test(event.key) && tabs[event.key - 1]) tabs[event.key - 1].click();
    else if (event.key === "ArrowRight") stepLayer(1);
    else if (event.key === "ArrowLeft") stepLayer(-1);
    else if (event.key === " " && !onControl) { event.preventDefault(); play(!playing); }
    else if (event.key === "d") send({ theme: themed() === "dark" ? "" : "dark" });
    else if (event.key === "b") {
      const pictures = [...document.querySelectorAll("button.picture")], blurred = pictures.some((each) => !each.classList.contains("clear"));
      pictures.forEach((each) => each.classList.toggle("clear", blurred));
    }
  });

  themed();
})();
