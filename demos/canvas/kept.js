// The prompts survive a reload of the page: in sessionStorage, which is of this browser tab and gone
// when it closes. Only those of the picture last worked on, and no masks.
const KEPT_OBJECTS = "vision-hub-objects";
let beforeReload = null; // until they are used

function keepObjects() {
  if (!picture.of) return;
  const objects = scene.objects.filter((object) => object.points.length || object.box)
    .map(({ name, points, box }) => ({ name, points, box }));
  beforeReload = null;
  try {
    sessionStorage.setItem(KEPT_OBJECTS, JSON.stringify({ of: picture.of, objects }));
  } catch { /* storage is off or full */ }
}
function keptObjects() { // those of this picture, once
  if (!beforeReload || beforeReload.of !== picture.of) return [];
  const { objects } = beforeReload;
  beforeReload = null;
  return objects;
}
try {
  beforeReload = JSON.parse(sessionStorage.getItem(KEPT_OBJECTS));
} catch { /* storage is off */ }
