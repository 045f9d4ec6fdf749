() => {
  // What scrolls can be reached by the Tab key, so that arrow keys scroll it. Measured after things
  // have come to rest, since it costs a layout.
  const PLACES = ':is(.lessons, .card) :is(pre, div[class$="scroll"], .cm-scroller)';
  let waiting = 0;
  function found() {
    for (const one of document.querySelectorAll(PLACES))
      if (one.scrollWidth > one.clientWidth || one.scrollHeight > one.clientHeight) one.tabIndex = 0;
  }
  function soon() {
    clearTimeout(waiting);
    waiting = setTimeout(found, 400);
  }
  new MutationObserver(soon).observe(document.body, { childList: true, subtree: true });
  window.addEventListener("resize", soon);
  soon();
}
