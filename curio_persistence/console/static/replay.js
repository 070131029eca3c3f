// The replay of a session: play follows the link to the next step, once a second.
"use strict";
{
  const SECOND = 1000;
  let timer = 0;

  const next = () => document.querySelector("#replay-j");

  const show = () => {
    const button = document.querySelector("#play");
    if (!button) return;
    button.hidden = false;
    button.ariaPressed = String(timer !== 0);
    button.lastChild.data = timer ? "Pause" : "Play";
    const use = button.querySelector("use");
    use.setAttribute("href", use.getAttribute("href").replace(/#.*/, timer ? "#pause" : "#play"));
  };

  const stop = () => {
    clearTimeout(timer);
    timer = 0;
    show();
  };

  // Replaces the panes only, so that the place in the page and the focus stay.
  const follow = async (link) => {
    const focused = document.activeElement?.id;
    const answer = await fetch(link.href);
    if (!answer.ok) return location.assign(link.href);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.querySelector("#replay").replaceWith(page.querySelector("#replay"));
    history.replaceState(null, "", link.href);
    show();
    if (focused) document.getElementById(focused)?.focus();
  };

  const step = async () => {
    const link = next();
    if (!link) return stop();
    await follow(link);
    if (timer) timer = setTimeout(step, SECOND);
  };

  document.addEventListener("click", (event) => {
    if (event.target.closest("#play")) {
      timer = timer ? 0 : setTimeout(step, SECOND / 2);
      show();
      return;
    }
    const link = event.target.closest("a[data-replay]");
    if (!link || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    follow(link);
  });

  show();
}
