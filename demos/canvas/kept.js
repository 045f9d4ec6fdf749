// The prompts survive a reload of the page: in sessionStorage, which is of this browser tab and gone
// when it closes. Only those of the picture last worked on, and no masks. They also survive that the
// same picture arrives a second time, as it does if its tab asked twice before the first answer.
const KEPT_OBJECTS = "vision-hub-objects";
let beforeReload = null; // until they are used

const prompted = () => scene.objects.filter((object) => object.points.length || object.box)
  .map(({ name, points, box }) => ({ name, points, box }));

function keepObjects() {
  if (!picture.of) return;
  beforeReload = null;
  try {
    const kept = { of: picture.of, objects: prompted() };
    sessionStorage.setItem(KEPT_OBJECTS, JSON.stringify(kept));
  } catch { /* storage is off or full */ }
}
function keptObjects(next) { // of the picture that comes; before it replaces the one that is shown
  if (picture && next.of && picture.of === next.of) return prompted();
  if (!beforeReload || beforeReload.of !== next.of) return []; // once
  const { objects } = beforeReload;
  beforeReload = null;
  return objects;
}
try {
  beforeReload = JSON.parse(sessionStorage.getItem(KEPT_OBJECTS));
} catch { /* storage is off */ }
