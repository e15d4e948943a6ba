// The page asks this server alone: GET model, POST predict.
"use strict";

const byId = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const signed = (number) => (number < 0 ? "−" : "+") + Math.abs(number).toFixed(2);
let limits = null;
let asked = 0;
let cam = null;

async function describeModel() {
  const model = await (await fetch("model")).json();
  limits = model;
  document.title = `${model.name} · hqnn_jax`;
  byId("model").textContent = model.name;
  byId("about").textContent = model.description;
  byId("accepts").textContent =
    `${model.formats.join(", ")} up to ${Math.floor(model.max_bytes / 2 ** 20)} MiB; ` +
    "it goes to this server alone and is not kept";
  byId("endpoint").textContent = new URL("predict", location.href).href;
}

async function predict(file) {
  const number = ++asked;
  byId("problem").hidden = true;
  if (limits && file.size > limits.max_bytes) {
    return complain(`${file.name}: ${Math.ceil(file.size / 2 ** 20)} MiB are more than this server takes`);
  }
  byId("drop").classList.add("busy");
  try {
    const reply = await fetch("predict?explain=true", {
      method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" },
    });
    const answer = await reply.json();
    if (number !== asked) return;
    if (reply.ok) show(answer);
    else complain(`${file.name}: ${answer.detail}`);
  } catch (error) {
    complain(`the server does not answer (${error.message})`);
  } finally {
    if (number === asked) byId("drop").classList.remove("busy");
  }
}

function complain(text) {
  byId("problem").textContent = text;
  byId("problem").hidden = false;
  byId("answer").hidden = true;
}

function show(answer) {
  const seen = answer.explanation;
  byId("image").src = seen.image;
  cam = seen.heat_map;
  byId("opacity-label").hidden = cam === null;
  byId("heat-note").textContent = cam === null ? "Grad-CAM: no place speaks for the class"
    : `Grad-CAM: where the image speaks for “${seen.explained_class}”`;
  drawHeat();
  byId("verdict").textContent = `${answer.predicted || "none of the labels"} — ${percent(answer.confidence)}`;
  const decision = byId("decision");
  decision.textContent = answer.decision;
  decision.className = answer.rejected ? "rejected" : "soft";
  showClasses(answer);
  showUncertainty(answer);
  byId("notes").textContent = answer.notes.length ? `The file was ${answer.notes.join("; ")}.` : "";
  byId("circuit").hidden = seen.bloch === null;
  byId("spheres").replaceChildren(...(seen.bloch || []).map(sphere));
  byId("answer").hidden = false;
}

function showClasses(answer) {
  const rows = [...answer.classes].sort((a, b) => b.probability - a.probability).map((one) => {
    const row = element("tr", one.in_set ? "in-set" : "");
    const bar = element("td", "bar");
    const length = element("div");
    length.style.width = `${100 * one.probability}%`;
    bar.append(length);
    row.append(element("td", "", one.name), bar, element("td", "", percent(one.probability)));
    return row;
  });
  byId("classes").tBodies[0].replaceChildren(...rows);
}

function showUncertainty(answer) {
  const cards = [["entropy", answer.entropy.toFixed(2),
    ` nats of ${answer.largest_entropy.toFixed(2)} at most`]];
  cards.push([`conformal set, ${percent(answer.coverage)} coverage`,
    answer.conformal_set.length ? answer.conformal_set.join(", ") : "empty", ""]);
  byId("uncertainty").replaceChildren(...cards.map(([name, value, more]) => {
    const card = element("div");
    const text = element("dd", "", value);
    text.append(element("small", "", more));
    card.append(element("dt", "", name), text);
    return card;
  }));
}

// The colours of matplotlib's plasma at equal steps, by Smith and van der Walt (CC0).
const PLASMA = [[13, 8, 135], [84, 2, 163], [139, 10, 165], [185, 50, 137], [219, 92, 104],
  [244, 136, 73], [254, 188, 43], [240, 249, 33]];

function plasma(share) {
  const place = Math.min(share, 1) * (PLASMA.length - 1);
  const low = Math.min(Math.floor(place), PLASMA.length - 2);
  return PLASMA[low].map((from, k) => from + (place - low) * (PLASMA[low + 1][k] - from));
}

function drawHeat() {
  const canvas = byId("heat");
  canvas.hidden = cam === null;
  if (cam === null) return;
  const [height, width] = [cam.length, cam[0].length];
  const small = new OffscreenCanvas(width, height);
  const pixels = new ImageData(width, height);
  const strength = byId("opacity").value / 100;
  cam.flat().forEach((share, k) => {
    // The image stays visible where nothing speaks for the class.
    pixels.data.set([...plasma(share), 255 * strength * Math.sqrt(share)], 4 * k);
  });
  small.getContext("2d").putImageData(pixels, 0, 0);
  canvas.width = canvas.height = 320;
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, 320, 320);
}

// Seen from the front, a little from the right and from above.
const TURN = 0.5, TILT = 0.3, RADIUS = 46;

function project([x, y, z]) {
  const across = -Math.sin(TURN) * x + Math.cos(TURN) * y;
  const depth = Math.cos(TURN) * x + Math.sin(TURN) * y;
  return [across * RADIUS, -(Math.cos(TILT) * z - Math.sin(TILT) * depth) * RADIUS,
    Math.cos(TILT) * depth + Math.sin(TILT) * z];
}

function sphere(vector, qubit) {
  const picture = svg("svg", { viewBox: "-60 -60 120 120", role: "img",
    "aria-label": `qubit ${qubit}: X ${vector[0].toFixed(2)}, Y ${vector[1].toFixed(2)}, Z ${vector[2].toFixed(2)}` });
  picture.append(svg("circle", { r: RADIUS, class: "ball" }));
  const equator = (from) => Array.from({ length: 33 }, (_, k) => from + Math.PI * k / 32)
    .map((angle) => project([Math.cos(angle), Math.sin(angle), 0]).slice(0, 2).join(",")).join(" ");
  picture.append(svg("polyline", { points: equator(TURN + Math.PI / 2), class: "ring hidden-part" }));
  picture.append(svg("polyline", { points: equator(TURN - Math.PI / 2), class: "ring" }));
  for (const [name, axis] of [["x", [1, 0, 0]], ["y", [0, 1, 0]]]) {
    picture.append(line([0, 0, 0], axis, "axis"));
    picture.append(label(name, axis, 1.16));
  }
  picture.append(line([0, 0, -1], [0, 0, 1], "axis"));
  picture.append(label("|0⟩", [0, 0, 1], 1.14), label("|1⟩", [0, 0, -1], 1.2));
  const foot = [vector[0], vector[1], 0];
  picture.append(line([0, 0, 0], foot, "shadow"), line(foot, vector, "shadow"));
  picture.append(line([0, 0, 0], vector, "vector"));
  const [x, y] = project(vector);
  picture.append(svg("circle", { cx: x, cy: y, r: 3.4, class: "tip" }));
  const card = element("div", "qubit");
  const length = Math.hypot(...vector);
  card.append(element("b", "", `qubit ${qubit}`), picture,
    element("div", "", vector.map(signed).join("  ")),
    element("div", "soft", `length ${length.toFixed(2)}`));
  return card;
}

function line(from, to, look) {
  const [[x1, y1], [x2, y2]] = [project(from), project(to)];
  return svg("line", { x1, y1, x2, y2, class: look });
}

function label(text, place, distance) {
  const [x, y] = project(place.map((number) => number * distance));
  const found = svg("text", { x, y: y + 3, "text-anchor": "middle" });
  found.textContent = text;
  return found;
}

function element(name, look = "", text = "") {
  const made = document.createElement(name);
  if (look) made.className = look;
  made.textContent = text;
  return made;
}

function svg(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

const drop = byId("drop");
byId("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  event.target.value = "";
  if (file) predict(file);
});
byId("opacity").addEventListener("input", drawHeat);
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
}
for (const kind of ["dragleave", "drop"]) {
  document.addEventListener(kind, () => drop.classList.remove("over"));
}
document.addEventListener("drop", (event) => {
  event.preventDefault();
  const [file] = event.dataTransfer.files;
  if (file) predict(file);
});
describeModel();
