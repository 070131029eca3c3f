// Lists: two ticked rows are compared, and a new window replaces the old one whole.
"use strict";

const picked = () => [...document.querySelectorAll("input[name=pick]:checked")];

function showPicked() {
  const compare = document.getElementById("compare");
  if (!compare) return;
  const count = picked().length;
  compare.hidden = !count;
  compare.disabled = count !== 2;
  compare.textContent = count ? `Compare ${count}` : "Compare";
}

document.addEventListener("change", (event) => {
  if (event.target.name === "pick") showPicked();
  if (!("since" in event.target.dataset)) return;
  for (const until of event.target.form.querySelectorAll("[name=until]")) until.value = "";
}, true);
document.addEventListener("htmx:after:swap", showPicked);
document.addEventListener("DOMContentLoaded", showPicked);
