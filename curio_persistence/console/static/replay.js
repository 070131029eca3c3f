// The replay of a session: while it plays, the link to the step after is followed once a second.
"use strict";
{
  const SECOND = 1000;
  let timer = 0;

  function show() {
    const button = document.querySelector("#play");
    if (!button) return;
    button.hidden = false;
    button.ariaPressed = String(timer !== 0);
    button.lastChild.data = timer ? "Pause" : "Play";
    const use = button.querySelector("use");
    use.setAttribute("href", use.getAttribute("href").replace(/#.*/, timer ? "#pause" : "#play"));
  }

  function step() {
    const later = document.querySelector("#replay-j");
    timer = later ? setTimeout(step, SECOND) : 0;
    later?.click();
    show();
  }

  document.addEventListener("click", ({ target }) => {
    if (!target.closest("#play")) return;
    if (timer) {
      clearTimeout(timer);
      timer = 0;
      show();
    } else step();
  });
  // What was swapped in says that nothing plays.
  document.addEventListener("htmx:after:swap", show);
  show();
}
