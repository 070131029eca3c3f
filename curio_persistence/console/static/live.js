// <live-rows>: new rows come in on top, each once, while the reader is at the top of the page.
// While the page is scrolled or paused, they wait behind a button: "37 new".
"use strict";

{
  const KEPT = 500; // Rows in the page, and rows that wait.
  const RETRY = 2000; // Milliseconds until a refused connection is tried again.
  const SAID = {
    live: "Live",
    paused: "Paused",
    waiting: "Connecting again…",
    away: "The database does not answer",
  };

  class LiveRows extends HTMLElement {
    static observedAttributes = ["data-after"];

    connectedCallback() {
      this.list = this.querySelector("[data-rows]");
      this.button = this.querySelector("[data-fresh]");
      this.toggle = this.querySelector("[data-pause]");
      this.state = this.querySelector("[data-state]");
      this.left = new AbortController();
      const options = { signal: this.left.signal };
      this.button.addEventListener("click", () => this.toTop(), options);
      this.toggle.addEventListener("click", () => this.pause(!this.paused), options);
      document.addEventListener("scroll", () => this.show(), { ...options, passive: true });
      // A page that nobody sees holds no connection: a browser opens only six to a server.
      document.addEventListener("visibilitychange", () => this.listen(), options);
      this.begin();
    }

    // Another choice of filters has changed the rows and the position behind them.
    attributeChangedCallback(name, before) {
      if (before !== null) this.begin();
    }

    begin() {
      this.last = this.dataset.after;
      this.waiting = []; // Rows, the newest first.
      this.count = 0; // Of the rows that came since the page showed some.
      this.listen();
    }

    disconnectedCallback() {
      this.left.abort();
      this.hangUp();
    }

    // --- the connection -----------------------------------------------------------------------

    listen() {
      this.hangUp();
      if (document.hidden) return;
      const url = new URL(this.dataset.source, location);
      url.searchParams.set("after", this.last);
      this.source = new EventSource(url);
      this.source.onopen = () => this.say("live");
      this.source.onerror = () => this.lost();
      this.source.addEventListener("away", () => this.say("away"));
      for (const name of ["rows", "skipped"])
        this.source.addEventListener(name, (event) => this.take(event));
    }

    hangUp() {
      clearTimeout(this.retry);
      this.source?.close();
    }

    lost() {
      this.say("waiting");
      // The browser opens a broken connection again, but not one that was refused.
      if (this.source.readyState === EventSource.CLOSED)
        this.retry = setTimeout(() => this.listen(), RETRY);
    }

    take({ type, data, lastEventId }) {
      this.say("live");
      this.last = lastEventId;
      const rows = type === "rows" ? parsed(data) : [gap(data)];
      this.count += type === "rows" ? rows.length : 0;
      this.waiting.unshift(...rows);
      this.waiting.length = Math.min(this.waiting.length, KEPT);
      this.show();
    }

    // --- what is shown ------------------------------------------------------------------------

    get paused() {
      return this.toggle.getAttribute("aria-pressed") === "true";
    }

    pause(paused) {
      this.toggle.setAttribute("aria-pressed", paused);
      this.say(paused ? "paused" : "live");
      this.show();
    }

    toTop() {
      scrollTo(0, 0);
      this.insert();
      this.pause(false);
    }

    say(state) {
      const shown = this.paused && state === "live" ? "paused" : state;
      if (this.state.dataset.state === shown) return;
      this.state.dataset.state = shown;
      this.state.textContent = SAID[shown];
    }

    // Rows do not move under a reader who is further down, reads one, or is in the list by keys.
    get isHeld() {
      const read = ":focus-visible, [aria-expanded=true]";
      return this.paused || scrollY > 0 || this.list.querySelector(read) !== null;
    }

    show() {
      if (this.isHeld) {
        this.button.hidden = this.count === 0;
        this.button.textContent = `${this.count.toLocaleString("en")} new`;
        return;
      }
      this.button.hidden = true;
      if (this.waiting.length) this.insert();
    }

    insert() {
      const { list, waiting } = this;
      this.querySelector("[data-none]")?.remove();
      for (const { id } of waiting) if (id) document.getElementById(id)?.remove();
      list.prepend(...waiting);
      this.dropBegun(waiting);
      while (list.childElementCount > KEPT) list.lastElementChild.remove();
      this.waiting = [];
      this.count = 0;
      this.dispatchEvent(new Event("rows", { bubbles: true }));
    }

    // A call that has ended is one row: its end.
    dropBegun(ended) {
      const begun = new Map();
      for (const row of this.list.querySelectorAll("[data-begun]")) begun.set(row.dataset.span, row);
      for (const { dataset } of ended) if (!("begun" in dataset)) begun.get(dataset.span)?.remove();
    }
  }

  function parsed(html) {
    const template = document.createElement("template");
    template.innerHTML = html;
    return [...template.content.children];
  }

  function gap(count) {
    const row = document.createElement("li");
    row.className = "gap";
    row.textContent = `${count || "Many"} events were skipped. `;
    const link = row.appendChild(document.createElement("a"));
    link.href = location.href;
    link.textContent = "Load the newest";
    return row;
  }

  customElements.define("live-rows", LiveRows);

  // The details of a row unfold below it.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-expand]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const isOpen = link.ariaExpanded === "true";
    link.ariaExpanded = !isOpen;
    const row = link.closest("[data-row]");
    if (isOpen) return row.querySelector(".detail").remove();
    const target = row.appendChild(document.createElement("div"));
    target.className = "detail";
    htmx.ajax("GET", link.href, { target, select: "#event", swap: "innerHTML" });
  });
}
