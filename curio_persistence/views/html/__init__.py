"""Recorded text as HTML, the same in the console and in the file of `show --html`."""
