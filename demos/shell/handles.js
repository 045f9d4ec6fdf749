() => {
  // Keyboard control for the before-after handle: Gradio's has no role, focus or keys. d3-drag moves
  // it and listens to mouse events on the handle, then on the window.
  const HANDLE = '[data-testid="slider"]';
  const STEPS = {
    ArrowLeft: -0.02, ArrowDown: -0.02, ArrowRight: 0.02, ArrowUp: 0.02,
    PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1,
  };

  const box = (handle) => handle.parentElement.querySelector("img")?.getBoundingClientRect();
  const centre = (handle) => {
    const { left, width } = handle.getBoundingClientRect();
    return left + width / 2;
  };
  function share(handle) {
    const picture = box(handle);
    return picture?.width ? (centre(handle) - picture.left) / picture.width : 0.5;
  }
  function told(handle) {
    const percent = Math.round(100 * Math.min(1, Math.max(0, share(handle))));
    if (handle.getAttribute("aria-valuenow") === String(percent)) return;
    handle.setAttribute("aria-valuenow", percent);
    handle.setAttribute("aria-valuetext", `${percent} % before, ${100 - percent} % after`);
  }
  function moved(handle, by) {
    const picture = box(handle);
    if (!picture) return;
    const to = Math.min(1, Math.max(0, share(handle) + by));
    const { top, height } = handle.getBoundingClientRect();
    const at = (clientX) => ({
      bubbles: true, cancelable: true, view: window, button: 0, clientX, clientY: top + height / 2,
    });
    handle.dispatchEvent(new MouseEvent("mousedown", at(centre(handle))));
    const there = at(picture.left + to * picture.width);
    window.dispatchEvent(new MouseEvent("mousemove", there));
    window.dispatchEvent(new MouseEvent("mouseup", there));
  }
  function found() {
    for (const handle of document.querySelectorAll(`${HANDLE}:not([tabindex])`)) {
      const fixed = { tabindex: 0, role: "slider", "aria-label": "Before and after",
        "aria-orientation": "horizontal", "aria-valuemin": 0, "aria-valuemax": 100 };
      for (const [name, value] of Object.entries(fixed)) handle.setAttribute(name, value);
      told(handle);
      new MutationObserver(() => told(handle)).observe(handle, { attributeFilter: ["style"] });
    }
  }
  document.addEventListener("keydown", (event) => {
    const handle = event.target instanceof Element && event.target.closest(HANDLE);
    if (!handle || !(event.key in STEPS) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    moved(handle, STEPS[event.key]);
  });
  new MutationObserver(found).observe(document.body, { childList: true, subtree: true });
  found();
}
