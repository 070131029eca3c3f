// Before the page is painted: the browser's time zone, where the server does not know it yet.
"use strict";
{
  const root = document.documentElement;
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const keep = (name, value) => {
    document.cookie = `${name}=${value}; path=${root.dataset.base}; max-age=31536000; samesite=lax`;
  };
  // The first page is asked for again, if its times are those of another zone.
  if ("guessed" in root.dataset && zone) {
    keep("curio_zone", zone);
    if (zone !== root.dataset.zone && document.cookie.includes(`curio_zone=${zone}`)) location.reload();
  }
  // The theme changes without a new page.
  document.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (button?.id !== "theme") return;
    event.preventDefault();
    const theme = button.value;
    keep("curio_theme", theme);
    root.dataset.theme = theme;
    button.value = { system: "dark", dark: "light", light: "system" }[theme];
    button.title = `Theme: ${theme}`;
    button.ariaLabel = `Change the theme; it is ${theme}`;
    const use = button.querySelector("use");
    const icon = { system: "sun-moon", dark: "moon", light: "sun" }[theme];
    use.setAttribute("href", use.getAttribute("href").replace(/#.*/, `#${icon}`));
  });
}
