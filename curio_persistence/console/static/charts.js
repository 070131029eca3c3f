// Charts: a tooltip beside the column under the pointer or with the focus, filled from the chart's
// table; arrow keys go from column to column. Nothing is set up, so charts may be replaced.
"use strict";

(() => {
  const tip = document.createElement("div");
  tip.className = "chart-tip";
  tip.setAttribute("aria-hidden", "true"); // The link has the same words as its name.

  const columnAt = (event) => event.target.closest?.(".plot .column");
  const columnsBeside = (column) => [...column.parentNode.querySelectorAll(".column")];

  function line(head, cell) {
    const row = document.createElement("div");
    const value = document.createElement("span");
    value.textContent = cell.textContent;
    row.append(...head.cloneNode(true).childNodes, value);
    return row;
  }

  function fill(column) {
    const table = column.closest(".chart").querySelector("table");
    const heads = table.tHead.rows[0].cells;
    const cells = [...table.tBodies[0].rows[columnsBeside(column).indexOf(column)].cells];
    const title = document.createElement("strong");
    title.textContent = cells[0].textContent;
    const lines = cells.map((cell, n) => line(heads[n], cell)).slice(1);
    tip.replaceChildren(title, ...lines.filter((row) => row.lastChild.textContent !== "–"));
  }

  // A browser shows the title of a link as a tooltip of its own: its words become the link's name.
  function takeTitle(column) {
    const title = column.querySelector("title");
    if (!title) return;
    column.setAttribute("aria-label", title.textContent);
    title.remove();
  }

  // On the right of the column; on its left where there is no room.
  function place(column) {
    const chart = tip.parentNode.getBoundingClientRect();
    const at = column.querySelector(".hit").getBoundingClientRect();
    const right = at.right + 8;
    const left = right + tip.offsetWidth > chart.right ? at.left - tip.offsetWidth - 8 : right;
    tip.style.left = `${Math.max(left - chart.left, 0)}px`;
    tip.style.top = `${at.top - chart.top}px`;
  }

  function show(column) {
    takeTitle(column);
    fill(column);
    column.closest(".chart").append(tip);
    place(column);
  }

  function showOrHide(event) {
    const column = columnAt(event);
    if (column) show(column);
    else tip.remove();
  }

  // One column is a stop of the tab key: the one that had the focus last.
  function keepStop(event) {
    const column = columnAt(event);
    if (column) for (const each of columnsBeside(column)) each.setAttribute("tabindex", each === column ? 0 : -1);
  }

  function move(event) {
    if (event.key === "Escape") tip.remove();
    const column = columnAt(event);
    if (!column || event.ctrlKey || event.metaKey || event.altKey) return;
    const columns = columnsBeside(column);
    const now = columns.indexOf(column);
    const to = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: columns.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    columns[to]?.focus();
  }

  document.addEventListener("pointerover", showOrHide);
  document.addEventListener("focusin", showOrHide);
  document.addEventListener("focusin", keepStop);
  document.addEventListener("focusout", () => tip.remove());
  document.addEventListener("keydown", move, true); // Before keys that pages have.
})();
