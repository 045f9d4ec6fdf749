() => {
  // Let the picture inputs accept any file. Gradio's front end uses the type that the browser guesses
  // from the file name, and browsers have none for HEIC or for names without a suffix. The server
  // decides whether a file is a picture.
  const input = (node) =>
    node instanceof HTMLInputElement && node.type === "file" && node.closest('[data-testid="image"]');
  // The page would read a file named .svg as text.
  const fits = (file) => file.type.startsWith("image/") && !/\.svgz?$/i.test(file.name);
  const fitted = (file) =>
    fits(file) ? file : new File([file], file.name.replace(/\.svgz?$/i, ""), { type: "image/unknown" });
  const carrier = (files) => {
    const transfer = new DataTransfer();
    for (const file of files) transfer.items.add(fitted(file));
    return transfer;
  };

  const open = () =>
    document
      .querySelectorAll('[data-testid="image"] input[type="file"][accept]')
      .forEach((one) => one.removeAttribute("accept"));
  new MutationObserver(open).observe(document.body, { childList: true, subtree: true });
  open();

  document.addEventListener(
    "change",
    (event) => {
      const chosen = event.target;
      if (!input(chosen) || [...chosen.files].every(fits)) return;
      chosen.files = carrier(chosen.files).files;
    },
    true,
  );

  const sent = new WeakSet();
  document.addEventListener(
    "drop",
    (event) => {
      const files = [...(event.dataTransfer?.files ?? [])];
      const target = event.target;
      if (sent.has(event) || files.every(fits)) return;
      if (!(target instanceof Element) || !target.closest('[data-testid="image"]')) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      const again = new DragEvent("drop", {
        bubbles: true,
        cancelable: true,
        dataTransfer: carrier(files),
      });
      sent.add(again);
      target.dispatchEvent(again);
    },
    true,
  );

  // Set the page's picture, as if its file had been chosen.
  window.hubUpload = (files) => {
    const chooser = document.querySelector('#picture input[type="file"]');
    if (!chooser || !files.length) return false;
    chooser.files = carrier(files.slice(0, 1)).files;
    chooser.dispatchEvent(new Event("change", { bubbles: true }));
    return true;
  };
  // Ctrl+V anywhere on the page, with a picture or a copied file.
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    const typing = event.target instanceof Element && event.target.closest("input, textarea");
    if (files.length && !typing && window.hubUpload(files)) event.preventDefault();
  });
}
