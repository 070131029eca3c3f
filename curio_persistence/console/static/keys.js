// Keys: none while somebody types, or with a modifier. What they act on is marked by data-key,
// data-go, data-rows, data-row, data-open, data-pick and data-failed in the templates.
"use strict";

{
  const WAIT = 1500; // Milliseconds in which a letter belongs to the g before it.
  const CONTROLS = "a[href], button, input, summary";
  const TYPED_INTO = "input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]";
  let goes = 0;

  // --- rows: only the current one of a list is reached by Tab ---------------------------------

  const listOf = (row) => row.closest("[data-rows]");
  const rowsOf = (list) => [...list.querySelectorAll("[data-row]")];
  const mainList = () => document.querySelector("main [data-rows]:not(:empty)");
  const focused = () => document.activeElement.closest("[data-row]");

  function reach(row, isReached) {
    for (const control of row.querySelectorAll(CONTROLS)) control.tabIndex = isReached ? 0 : -1;
  }

  function choose(row) {
    const before = listOf(row).querySelector("[data-row][data-current]");
    if (before === row) return;
    if (before) {
      delete before.dataset.current;
      reach(before, false);
    }
    row.dataset.current = "";
    reach(row, true);
  }

  function prepare() {
    for (const list of document.querySelectorAll("[data-rows]")) {
      const rows = rowsOf(list);
      const chosen = rows.find(isCurrent) ?? rows[0];
      for (const row of rows) if (row !== chosen) reach(row, false);
      if (chosen) choose(chosen);
    }
  }

  function go(row) {
    if (!row) return;
    choose(row);
    const link = row.querySelector("[data-open]") ?? row;
    link.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  }

  function move(step, where = () => true) {
    const row = focused();
    const list = row ? listOf(row) : mainList();
    if (!list) return;
    const rows = rowsOf(list);
    // From elsewhere, the first key goes to the row that Tab would reach.
    let at = rows.indexOf(row ?? rows.find(isCurrent)) - (row ? 0 : step);
    do at += step;
    while (rows[at] && !where(rows[at]));
    go(rows[at]);
  }

  const isCurrent = (row) => "current" in row.dataset;
  const failed = (row) => "failed" in row.dataset;

  // --- keys -------------------------------------------------------------------------------------

  const ACTIONS = {
    j: () => move(1),
    k: () => move(-1),
    ArrowDown: () => move(1),
    ArrowUp: () => move(-1),
    e: () => move(1, failed),
    E: () => move(-1, failed),
    x: () => focused()?.querySelector("[data-pick]")?.click(),
    y: () => copy(focused()?.querySelector("a[data-open]")?.href ?? location.href),
    g: () => (goes = Date.now()),
  };

  async function copy(text) {
    await navigator.clipboard.writeText(text);
    say("The link is copied.");
  }

  function say(text) {
    const said = document.getElementById("said");
    said.textContent = text;
    setTimeout(() => (said.textContent = ""), 3000);
  }

  // Links, buttons and the like act on these themselves.
  const isTheirs = (key, element) =>
    [" ", "Enter"].includes(key) && element.matches(`${CONTROLS}, [role=button]`);

  function press(key) {
    const goesNow = Date.now() - goes < WAIT;
    goes = 0;
    if (goesNow) return document.querySelector(`[data-go="${CSS.escape(key)}"]`);
    return document.querySelector(`[data-key="${CSS.escape(key)}"]`);
  }

  document.addEventListener("keydown", (event) => {
    const { key, target } = event;
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (target.matches(TYPED_INTO) || document.querySelector("dialog[open]")) return;
    if (isTheirs(key, target)) return;
    const marked = press(key);
    const action = marked ? () => use(marked) : ACTIONS[key];
    if (!action) return;
    event.preventDefault();
    action();
  });

  function use(element) {
    if (element.matches(TYPED_INTO)) {
      element.focus();
      element.select?.();
    } else element.click();
  }

  // --- what the pointer does, and what comes in later ----------------------------------------------

  document.addEventListener("focusin", ({ target }) => {
    const row = target.closest("[data-row]");
    if (row && listOf(row)) choose(row);
  });
  document.addEventListener("click", ({ target }) => {
    if (target.closest("[data-close]")) target.closest("dialog").close();
    else if (target.closest("#keys")) document.getElementById("keys-dialog").showModal();
  });
  for (const name of ["rows", "htmx:after:swap"]) document.addEventListener(name, prepare);
  document.getElementById("keys").hidden = false;
  prepare();
}
