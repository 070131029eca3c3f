// The run page: a step is chosen by pointer, keys, the map or play, and shown in the pane beside.
// Without this script its rows are links. Keys that move between rows are those of all lists.
"use strict";
{
  const STEP_MS = 700; // Between two steps while playing.
  const WAIT_MS = 90; // Before a chosen step is fetched: a key that is held down passes many.
  const POLL_MS = 2000;

  const by = (id) => document.getElementById(id);
  const scroller = by("list");
  const source = location.href; // The page as it was opened: a running run is fetched anew by it.
  const total = () => Math.max(1, Number(by("steps").dataset.total));
  let rows = [];
  let chosen = null;
  let seen = new Set(); // Rows on the screen.
  let fetching, playing;

  // --- the chosen step ---------------------------------------------------------------------------

  const linkOf = (row) => row.querySelector("a");
  const number = (row, name) => Number(linkOf(row).dataset[name] ?? 0);

  function choose(row, { fetch = true, block = "nearest" } = {}) {
    if (!row || row === chosen) return;
    if (chosen) linkOf(chosen).removeAttribute("aria-current");
    chosen = row;
    const link = linkOf(row);
    link.setAttribute("aria-current", "true");
    row.scrollIntoView({ block });
    by("link").dataset.copy = link.href;
    tellPlace();
    drawMap();
    clearTimeout(fetching);
    if (fetch) fetching = setTimeout(show, WAIT_MS, link, row.id);
  }

  function show(link, ref) {
    const url = link.dataset.pane ?? by("steps").dataset.steps + ref;
    const pane = by("pane");
    history.replaceState(null, "", link.href);
    const select = "#step, #results .empty"; // The step, or why there is none.
    htmx.ajax("GET", url, { source: pane, target: pane, select, swap: "innerHTML" });
    pane.scrollTop = 0;
  }

  // A database that is busy is asked again.
  document.addEventListener("htmx:after:request", ({ detail }) => {
    if (detail.ctx?.target?.id !== "pane" || detail.ctx.response?.status !== 503) return;
    clearTimeout(fetching);
    fetching = setTimeout(show, POLL_MS, linkOf(chosen), chosen.id);
  });

  function tellPlace() {
    const place = rows.indexOf(chosen) + 1;
    const where = by("place").dataset.where;
    by("place").textContent = `step ${place} of ${rows.length.toLocaleString("en-US")}${where}`;
    tellCost(rows.slice(0, place).filter((row) => row.matches(".model")));
    step("previous", rows[place - 2]);
    step("next", rows[place]);
  }

  function tellCost(calls) {
    const costs = calls.filter((call) => "c" in linkOf(call).dataset).map((call) => number(call, "c"));
    const unpriced = calls.length - costs.length;
    const sum = costs.reduce((all, cost) => all + cost, 0);
    const known = document.createElement("b");
    known.textContent = unpriced && !costs.length ? "unknown" : money(sum);
    const more = unpriced && costs.length ? ` + ${unpriced} unpriced` : "";
    by("so-far").replaceChildren(known, `${more} ${by("so-far").dataset.since}`);
  }

  // As the server writes prices.
  function money(cost) {
    if (cost === 0 || cost >= 1) {
      return cost.toLocaleString("en-US", { style: "currency", currency: "USD" });
    }
    return "$" + (cost >= 0.0001 ? cost.toFixed(4) : String(Number(cost.toPrecision(2))));
  }

  function step(id, row) {
    const link = by(id);
    link.toggleAttribute("aria-disabled", !row);
    if (row) link.href = linkOf(row).href;
    else link.removeAttribute("href");
  }

  // --- play ---------------------------------------------------------------------------------------

  function play(isOn) {
    clearInterval(playing);
    playing = isOn ? setInterval(forward, STEP_MS) : undefined;
    by("play").ariaPressed = String(isOn);
  }

  function forward() {
    const next = rows[rows.indexOf(chosen) + 1];
    if (next) choose(next);
    else play(false);
  }

  // --- bars: their scale is the time of the steps on the screen -------------------------------------

  const isFitted = () => by("fit").ariaPressed === "true";

  function span(some) {
    const begin = Math.min(...some.map((row) => number(row, "b")));
    const end = Math.max(...some.map((row) => number(row, "b") + number(row, "t")));
    return [begin, Math.max(end - begin, 1)];
  }

  function drawBars(some, [begin, length]) {
    for (const row of some) {
      const bar = row.querySelector("rect");
      const share = (ms) => (100 * ms) / length;
      bar.setAttribute("x", `${share(number(row, "b") - begin)}%`);
      bar.setAttribute("width", `${Math.max(share(number(row, "t")), 0.5)}%`);
    }
  }

  let isDue = false;
  function draw() {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      const some = [...seen];
      if (!some.length) return;
      if (isFitted()) drawBars(some, span(some));
      drawMap();
    });
  }

  const watcher = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (isIntersecting) seen.add(target);
        else seen.delete(target);
      }
      draw();
    },
    { root: getComputedStyle(scroller).overflowY === "visible" ? null : scroller },
  );

  // --- the map: where the screen is in the whole run ---------------------------------------------

  function drawMap() {
    const width = by("minimap").querySelector("svg").viewBox.baseVal.width;
    const at = (ms) => (Math.min(Math.max(ms, 0), total()) / total()) * width;
    if (seen.size) {
      const [begin, length] = span([...seen]);
      by("brush").setAttribute("x", at(begin));
      by("brush").setAttribute("width", Math.max(at(begin + length) - at(begin), 1));
    }
    if (!chosen) return;
    by("here").setAttribute("x1", at(number(chosen, "b")));
    by("here").setAttribute("x2", at(number(chosen, "b")));
  }

  function pointed(event) {
    const box = by("minimap").getBoundingClientRect();
    const ms = ((event.clientX - box.left) / box.width) * total();
    const last = rows.at(-1);
    const isHere = rows.length && ms >= (by("earlier") ? number(rows[0], "b") : 0);
    if (isHere && (!by("later") || ms <= number(last, "b"))) {
      return choose(rows.find((row) => number(row, "b") >= ms) ?? last);
    }
    location.href = by("minimap").dataset.at + Math.max(0, Math.round(ms));
  }

  // --- beginning, and beginning anew with what a running run has added -----------------------------

  function begin() {
    rows = [...by("steps").querySelectorAll("[data-row]")];
    const before = chosen && document.getElementById(chosen.id);
    chosen = null;
    seen = new Set();
    watcher.disconnect();
    for (const row of rows) watcher.observe(row);
    for (const id of ["play", "fit"]) by(id).hidden = false;
    const current = before ?? by("steps").querySelector("[aria-current]")?.parentElement;
    for (const link of by("steps").querySelectorAll("[aria-current]")) {
      link.removeAttribute("aria-current");
    }
    if (current) choose(current, { fetch: false, block: before ? "nearest" : "center" });
  }

  function poll() {
    const run = by("run");
    if (!("live" in run.dataset)) return clearInterval(polling);
    if (document.hidden || document.querySelector("#menu[open]")) return;
    htmx.ajax("GET", source, { source: run, target: run, select: "#run", swap: "outerMorph" });
  }
  const polling = setInterval(poll, POLL_MS);

  document.addEventListener("htmx:after:swap", ({ detail }) => {
    if (detail.ctx?.target?.id === "run") begin();
  });

  document.addEventListener("click", (event) => {
    if (!event.target.closest("#menu")) by("menu").open = false;
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    const target = event.target.closest("#steps [data-row], #previous, #next, #play, #fit, #failure");
    if (!target) return;
    event.preventDefault();
    if (target.id === "play") return play(!playing);
    if (target.id === "fit") return toggleFit();
    if (target.id === "failure") return firstFailure(target);
    if (target.matches("[data-row]")) return choose(target);
    choose(rows[rows.indexOf(chosen) + (target.id === "next" ? 1 : -1)]);
  });

  function firstFailure(link) {
    const failed = by("earlier") ? null : rows.find((row) => "failed" in row.dataset);
    if (!failed) location.href = link.href;
    else {
      choose(failed);
      linkOf(failed).focus({ preventScroll: true });
    }
  }

  function toggleFit() {
    by("fit").ariaPressed = String(!isFitted());
    if (isFitted()) draw();
    else drawBars(rows, [0, total()]);
  }

  document.addEventListener("focusin", ({ target }) => {
    if (target.matches("#steps [data-row] > a")) choose(target.parentElement);
  });
  // Space on a row plays; elsewhere it does what the browser does with it.
  document.addEventListener("keydown", (event) => {
    if (event.key !== " " || event.ctrlKey || event.metaKey || event.altKey) return;
    if (!event.target.matches("body, main, #steps *")) return;
    event.preventDefault();
    play(!playing);
  });
  by("minimap").addEventListener("pointerdown", pointed);

  begin();
}
