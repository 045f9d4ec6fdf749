// The view of magnified motion: two animated pictures side by side, and a row of pixels of each over
// time. gr.HTML provides element, props, watch.
const find = (name) => element.querySelector(".mo-" + name);
const root = element.querySelector(".mo");
const CLIPS = ["before", "after"];
let now = null, still = false;

function show() {
  for (const name of CLIPS) {
    const picture = find(name);
    if (still) { // a picture without a second frame stands still
      const canvas = document.createElement("canvas");
      Paint.sized(canvas, picture.naturalWidth, picture.naturalHeight).drawImage(picture, 0, 0);
      picture.src = canvas.toDataURL();
    } else {
      picture.src = fileAddress(now[name]);
    }
  }
  Paint.pressed(find("stop"), still);
  find("stop").textContent = still ? "Play" : "Stop";
  root.dataset.drawn = still ? "still" : "playing";
}
find("stop").addEventListener("click", () => {
  if (!now) return;
  still = !still;
  show();
});
function receive(value) {
  now = value && value.before ? value : null;
  root.dataset.empty = String(!now);
  if (!now) return;
  still = false;
  for (const name of CLIPS) find(name + "-slice").src = fileAddress(now[name + "_slice"]);
  find("name").textContent = now.name;
  show();
}
watch(["value"], () => receive(props.value));
receive(props.value);
