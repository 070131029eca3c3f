// On every page: buttons that copy, and forms that leave out what is empty.
"use strict";

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], [data-copy-from]");
  if (!button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault(); // A link to what is copied saves it where there is no script.
  const text = button.dataset.copy ?? (await (await fetch(button.href)).text());
  await navigator.clipboard.writeText(text);
  const before = button.title;
  button.title = "Copied";
  button.classList.add("ok");
  setTimeout(() => {
    button.title = before;
    button.classList.remove("ok");
  }, 1500);
});

// URLs that are shared say only what was chosen.
document.addEventListener("formdata", (event) => {
  if (event.target.method !== "get") return;
  for (const name of new Set(event.formData.keys())) {
    const values = event.formData.getAll(name).filter((value) => value !== "");
    event.formData.delete(name);
    for (const value of values) event.formData.append(name, value);
  }
});

// On a narrow screen the rail is a row, of which not all is seen.
{
  const here = document.querySelector(".rail [aria-current]");
  const rail = here?.closest(".rail");
  if (rail) rail.scrollLeft = here.offsetLeft - (rail.clientWidth - here.offsetWidth) / 2;
}

// The names of time zones, where one is asked for.
document.getElementById("zones")?.append(
  ...Intl.supportedValuesOf("timeZone").map((zone) => new Option(zone, zone)),
);

// A page without its database is loaded anew as soon as that answers.
if (document.querySelector("[data-retry]")) {
  setInterval(async () => {
    const answer = await fetch(location.href, { method: "HEAD" }).catch(() => ({ ok: false }));
    if (answer.ok) location.reload();
  }, 2000);
}
