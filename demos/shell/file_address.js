function fileAddress(path) { // URL of a file from the server, also behind a proxy with a prefix
  const config = window.gradio_config || {};
  const start = (config.root || location.origin + location.pathname).replace(/\/$/, "");
  return start + (config.api_prefix || "/gradio_api") + "/file=" + path;
}
