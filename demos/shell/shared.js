(keys, tabs, examples) => {
  // The shared picture in the browser: the turn of each tab, pictures from a URL, recent pictures.
  // keys: of the turns, in the order of the outputs; tabs: {key: [keys of inner tabs]};
  // examples: {key: [names of files that come first while that tab is open]}.
  if (window.visionHub) return;
  const first = Object.keys(tabs)[0];
  const turns = Object.fromEntries(keys.map((key) => [key, ""]));
  const inner = Object.fromEntries(Object.entries(tabs).map(([key, all]) => [key, all[0]]));
  const tray = []; // this visitor's last pictures, newest first
  const MOST = 8;
  const KEPT = "vision-hub-pictures"; // in sessionStorage: of this browser tab, gone when it closes
  let outer = first, turn = 0, current = null, wanted = null, arrived = false;

  const open = () => inner[outer] || outer;
  const home = (key) => Object.keys(tabs).find((one) => tabs[one].includes(key));
  const pathOf = (value) => (value && (value.path || value.url)) || "";
  const pause = (time) => new Promise((done) => setTimeout(done, time));
  const asked = () => new URLSearchParams(location.search).get("tab") || first;

  function settled() { // gives the open tab the picture's turn; returns all turns
    if (turn) turns[open()] = String(turn);
    document.body.dataset.tab = open();
    document.body.dataset.picture = current ? "there" : "none";
    sortExamples();
    return keys.map((key) => turns[key]);
  }
  async function picked(value) {
    // Gradio reports a new picture several times, and removes the old one before it uploads the
    // next. So an empty input counts only if no picture follows.
    const path = pathOf(value);
    if (path !== pathOf(current)) {
      current = path ? value : null;
      turn += 1;
      remember();
    }
    const coming = () => document.querySelector("#picture .progress-bar");
    for (let quiet = 0; !current && turn && quiet < 4; quiet = coming() ? 0 : quiet + 1)
      await pause(100);
    return settled();
  }
  function opened(key) {
    const of = home(key);
    if (of) inner[of] = key;
    else outer = key;
    if (arrived && asked() !== open()) {
      const url = new URL(location);
      url.searchParams.set("tab", open());
      history.pushState(history.state, "", url);
    }
    return settled();
  }
  async function arrive(value) { // returns all turns, and the picture
    const before = await kept();
    const mine = before && pathOf(before) !== pathOf(value) ? before : null;
    if (!mine) {
      current = pathOf(value) ? value : null;
      turn = current ? 1 : 0;
    } // else the picture's own change event comes with it, as after an upload
    remember();
    const key = asked(), of = home(key);
    if (of || key in tabs) {
      outer = of || key;
      if (of) inner[of] = key;
      show(key);
    }
    arrived = true;
    return [...settled(), mine || value];
  }
  async function kept() { // the pictures from before a reload that the server still has
    let before = {};
    try {
      before = JSON.parse(sessionStorage.getItem(KEPT)) || {};
    } catch { /* storage is off */ }
    const has = async (one) => {
      const answer = await fetch(one.url, { method: "HEAD", cache: "no-store" }).catch(() => null);
      return answer && answer.ok;
    };
    const all = before.tray || [], there = await Promise.all(all.map(has));
    tray.push(...all.filter((_, index) => there[index]));
    return tray.find((one) => pathOf(one) === before.path) || null;
  }
  function keep() {
    try {
      sessionStorage.setItem(KEPT, JSON.stringify({ path: pathOf(current), tray }));
    } catch { /* storage is off or full */ }
  }
  async function show(key) { // as if the user had clicked the tab
    const of = home(key);
    if (of) inner[of] = key;
    press(`tab-${of || key}-button`);
    if (!of) return;
    for (let tries = 0; tries < 50 && !press(`${of}-${key}-button`); tries += 1) await pause(100);
  }
  function press(id) {
    const button = document.getElementById(id);
    if (button && button.getAttribute("aria-selected") !== "true") button.click();
    return button;
  }
  window.addEventListener("popstate", () => {
    const key = asked();
    if (key in tabs || home(key)) show(key);
  });
  function delivered(key, came) { // prompts for a tab that may already have the picture
    const again = turns[key] && turns[key] === String(turn);
    show(key);
    window.scrollTo(0, 0);
    return again ? String(Number(came || 0) + 1) : came;
  }

  // ---- recent pictures
  function remember(adds = true) {
    if (current && adds) {
      const known = tray.findIndex((one) => pathOf(one) === pathOf(current));
      if (known < 0) tray.unshift(current);
      tray.length = Math.min(tray.length, MOST);
    }
    if (arrived) keep();
    const place = document.getElementById("tray");
    if (!place) return;
    place.hidden = tray.length < 2;
    place.replaceChildren(...tray.map((one, index) => {
      const button = document.createElement("button"), image = document.createElement("img");
      button.type = "button";
      image.addEventListener("error", () => forget(one)); // not a readable picture
      image.src = one.url;
      image.alt = "Go back to picture " + (tray.length - index);
      button.title = one.orig_name || "";
      if (pathOf(one) === pathOf(current)) button.setAttribute("aria-current", "true");
      button.addEventListener("click", () => {
        wanted = one;
        document.getElementById("tray-take").click();
      });
      button.append(image);
      return button;
    }));
  }

  function forget(one) {
    const at = tray.indexOf(one);
    if (at < 0) return;
    tray.splice(at, 1);
    remember(false);
  }

  // Nobody wants to go back to a file that could not be read.
  for (const key of keys) {
    const said = document.getElementById(key + "-said");
    if (said) new MutationObserver(() => {
      if (current && turns[key] === String(turn) && said.querySelector("[data-unreadable]")) forget(current);
    }).observe(said, { childList: true, subtree: true });
  }

  // ---- the examples
  function sortExamples() {
    const mine = examples[open()] || [];
    for (const image of document.querySelectorAll("#picture-examples img")) {
      const item = image.closest("button"), place = mine.indexOf(fileOf(image));
      if (item) item.style.order = place < 0 ? mine.length : place;
    }
    rove();
    sayMore();
  }
  const strip = () => [...document.querySelectorAll("#picture-examples .gallery button")].sort(
    (one, other) => one.style.order - other.style.order, // as they are seen; the sort is stable
  );
  function rove() { // one stop of the Tab key, and arrow keys from there
    const all = strip(), focused = all.find((one) => one === document.activeElement);
    for (const one of all) one.tabIndex = one === (focused || all[0]) ? 0 : -1;
  }
  document.addEventListener("keydown", (event) => {
    const all = strip(), at = all.indexOf(event.target);
    if (at < 0) return;
    const row = all.filter((one) => one.offsetTop === all[0].offsetTop).length;
    const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: row, ArrowUp: -row }[event.key];
    if (!by) return;
    event.preventDefault();
    all[(at + by + all.length) % all.length].focus();
    rove();
  });
  function sayMore() { // whether the strip continues at either side, for its fade
    const place = document.getElementById("picture-examples"), list = place && place.querySelector(".gallery");
    if (!list) return;
    const left = list.scrollLeft > 4, right = list.scrollLeft + list.clientWidth < list.scrollWidth - 4;
    place.dataset.more = [left && "left", right && "right"].filter(Boolean).join(" ");
  }
  document.addEventListener("scroll", (event) => {
    if (event.target instanceof Element && event.target.closest("#picture-examples")) sayMore();
  }, true);
  window.addEventListener("resize", sayMore);
  const fileOf = (image) => decodeURIComponent(image.src.split("/").pop());
  new MutationObserver(sortExamples).observe(
    document.getElementById("picture-examples") || document.body, { childList: true, subtree: true },
  );

  // ---- a picture from a URL: the browser fetches it, never the server
  const REFUSED =
    "That site does not answer, or does not let other pages read its pictures; save the picture and " +
    "upload the file.";
  document.addEventListener("submit", async (event) => {
    if (event.target.id !== "address") return;
    event.preventDefault();
    const said = document.getElementById("address-said");
    const address = event.target.querySelector("input").value.trim();
    const refuse = (sentence) => {
      said.textContent = sentence;
      said.dataset.refused = "";
    };
    said.textContent = "Fetching the picture.";
    delete said.dataset.refused;
    try {
      if (!address.startsWith("https:")) throw new TypeError();
      const answer = await fetch(address, { credentials: "omit", referrerPolicy: "no-referrer" });
      if (!answer.ok) {
        return refuse(`That address returned ${answer.status}; check it, or upload the file.`);
      }
      const name = decodeURIComponent(new URL(address).pathname.split("/").pop()) || "picture";
      const content = await answer.blob();
      window.hubUpload([new File([content], name, { type: content.type })]);
      said.textContent = "";
    } catch {
      refuse(address.startsWith("https:")
        ? REFUSED : "Enter an address that starts with https://, or upload the file.");
    }
  });

  // ---- arrow keys between tabs, which Gradio lacks
  document.addEventListener("keydown", (event) => {
    const tab = event.target instanceof Element && event.target.closest('[role="tab"]');
    const list = tab && tab.closest('[role="tablist"]');
    if (!list) return;
    const all = [...list.querySelectorAll('[role="tab"]')].filter((one) => one.offsetParent);
    const at = all.indexOf(tab), last = all.length - 1;
    const to = { ArrowRight: at === last ? 0 : at + 1, ArrowLeft: at ? at - 1 : last, Home: 0, End: last };
    if (!(event.key in to)) return;
    event.preventDefault();
    const next = all[to[event.key]];
    next.click();
    next.focus();
  });

  // ---- lessons: whether each is open, for which picture and checkpoint it was made, and how often
  // it was requested. A run starts with a click on Refresh.
  const lessons = {}, latest = {};
  const lesson = (key) => lessons[key] ||= { open: false, shown: "", number: 0 };
  document.addEventListener("click", (event) => {
    const button = event.target instanceof Element && event.target.closest("button");
    const key = /^lesson-(.+)-refresh$/.exec(button ? button.id : "");
    if (key) lesson(key[1]).number += 1;
  }, true);
  const numbered = ([key, inputs], [runs, , ...values]) => // Gradio adds the outputs
    [runs, String(lesson(key).number), ...values].slice(0, inputs);

  // The new status lines and outputs of a tab's lessons: [key, whether the checkpoint counts, the
  // outputs without a result] each.
  async function followed(all, working, turn, checkpoint) {
    const first = all[0][0], mine = (latest[first] || 0) + 1;
    latest[first] = mine;
    await pause(0); // until the accordion that was clicked has changed
    const place = (key) => document.getElementById("lesson-" + key);
    const isSeen = (key) => place(key)?.getClientRects().length > 0;
    const waits = () => all.some(([key]) => lesson(key).open && !isSeen(key));
    for (let i = 0; waits() && i < 20; i++) await pause(50); // the tab is being drawn
    const same = { __type__: "update" };
    return all.flatMap(([key, follows, nothing]) => {
      const one = lesson(key), kept = [same, ...nothing.map(() => same)];
      if (latest[first] !== mine) return kept; // a later event looks again
      const now = JSON.stringify(follows ? [turn, checkpoint] : [turn]), before = one.open;
      const title = place(key)?.querySelector(":scope > button");
      if (title) one.open = title.classList.contains("open");
      const isNew = one.open && !before, other = one.shown !== now;
      const runs = one.open && (isNew || isSeen(key));
      if (!(isNew || other) || !(runs || one.shown)) return kept;
      one.shown = runs ? now : "";
      if (runs) start(key);
      return other ? [runs ? working : "", ...nothing] : kept;
    });
  }
  async function start(key) {
    const button = () => document.getElementById(`lesson-${key}-refresh`);
    for (let i = 0; i < 100 && (!i || !button()); i++) await pause(20); // it is being drawn
    if (button()) button().click();
  }

  window.visionHub = {
    picked, opened, arrived: arrive, delivered, taken: () => wanted, lessons: followed, numbered,
  };
}
