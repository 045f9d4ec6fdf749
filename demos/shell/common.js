// What every script of a gr.HTML component may use; appended to it.
function fileAddress(path) { // URL of a file from the server, also behind a proxy with a prefix
  const config = window.gradio_config || {};
  const start = (config.root || location.origin + location.pathname).replace(/\/$/, "");
  return start + (config.api_prefix || "/gradio_api") + "/file=" + path;
}
function inkOn([r, g, b]) { // black or white, whichever contrasts more with a colour (WCAG 2.2)
  const [x, y, z] = [r, g, b].map((v) => (v / 255 <= .04045 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4));
  return .2126 * x + .7152 * y + .0722 * z > .179 ? "#000" : "#fff";
}
