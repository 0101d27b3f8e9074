// A picture with the truth and the answers drawn on it, and its zoom. Coordinates are pixels of the original image.

const SVG = "http://www.w3.org/2000/svg";

function shape(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

const isLabelled = ([x, y]) => x !== 0 || y !== 0;

// One layer: the boxes, rings and points of a shape, and the bones between the points, each above a white line.
function layer(name, { boxes = [], rings = [], points = [] }, bones, radius) {
  const group = shape("g", { class: `layer ${name}` });
  const lines = boxes.map(([x1, y1, x2, y2]) => `M${x1},${y1}H${x2}V${y2}H${x1}Z`);
  if (rings.length) {
    const path = rings.map((ring) => `M${ring.join("L")}Z`).join("");
    group.append(shape("path", { d: path, class: "fill" }));
    lines.push(path);
  }
  for (const [start, end] of points.length ? bones : []) {
    const ends = [points[start], points[end]];
    if (ends.every((point) => point && isLabelled(point))) lines.push(`M${ends.join("L")}`);
  }
  for (const kind of ["halo", "line"]) {
    if (lines.length) group.append(shape("path", { d: lines.join(""), class: kind }));
    for (const [cx, cy] of points.filter(isLabelled)) {
      group.append(shape("circle", { cx, cy, r: kind === "halo" ? radius * 1.4 : radius, class: `${kind} point` }));
    }
  }
  return group;
}

const TRUE_PARTS = { rec_mask: "rings", rec_keypoints: "points" };

// What is true for a question: of its regions the part that the task asks about, else the boxes.
function truth(answer) {
  const regions = answer.regions.map((number) => answer.image.regions[number]);
  const part = TRUE_PARTS[answer.task] ?? "boxes";
  return { [part]: regions.flatMap((region) => region[part] ?? []) };
}

// The picture of an answer, with a layer for the other regions, the truth and each model.
function picture(answer, skeletons) {
  const { width, height, picture: href, id, regions } = answer.image;
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": id });
  const radius = Math.max(width, height) / 120;
  const bones = skeletons[answer.category] ?? [];
  const others = regions.filter((_, number) => !answer.regions.includes(number)).flatMap((region) => region.boxes);
  svg.append(shape("image", { href, width, height, preserveAspectRatio: "none" }));
  svg.append(layer("others", { boxes: others }, [], radius), layer("truth", truth(answer), bones, radius));
  answer.models.forEach((given, number) => {
    if (given) svg.append(layer(`model-${number}`, given.shape, bones, radius));
  });
  return svg;
}

// Zoom by wheel, two fingers or `zoom(factor)` (0: the whole picture); one finger or the mouse moves the picture.
function zoomable(svg, width, height) {
  let [x, y, scale] = [0, 0, 1];
  const pointers = new Map();
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  const show = () => {
    x = clamp(x, 0, width - width / scale);
    y = clamp(y, 0, height - height / scale);
    svg.setAttribute("viewBox", `${x} ${y} ${width / scale} ${height / scale}`);
  };
  const at = ({ clientX, clientY }) => {
    const point = new DOMPoint(clientX, clientY).matrixTransform(svg.getScreenCTM().inverse());
    return [((point.x - x) * scale) / width, ((point.y - y) * scale) / height];
  };
  const zoom = (factor, [u, v] = [0.5, 0.5]) => {
    const next = factor ? clamp(scale * factor, 1, 16) : 1;
    x += u * width * (1 / scale - 1 / next);
    y += v * height * (1 / scale - 1 / next);
    scale = next;
    show();
  };
  const spread = () => {
    const [a, b] = pointers.values();
    return Math.hypot(a[0] - b[0], a[1] - b[1]);
  };
  svg.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, at(event));
  }, { passive: false });
  svg.addEventListener("pointerdown", (event) => {
    svg.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
  });
  svg.addEventListener("pointermove", (event) => {
    const last = pointers.get(event.pointerId);
    if (!last) return;
    const before = pointers.size === 2 ? spread() : 0;
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
    if (before) {
      zoom(spread() / before, at(event));
    } else if (pointers.size === 1) {
      const pixel = 1 / svg.getScreenCTM().a;
      x -= (event.clientX - last[0]) * pixel;
      y -= (event.clientY - last[1]) * pixel;
      show();
    }
  });
  for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, (event) => pointers.delete(event.pointerId));
  return zoom;
}
