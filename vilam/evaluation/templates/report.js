// The answers of the page: filters, order, cards and the large picture. Everything that is chosen stands in the address
// after #, so that it can be sent. Texts of the data enter the page as text, never as HTML.

const data = JSON.parse(document.getElementById("data").textContent);
const named = (names, values) => Object.fromEntries(names.map((name, number) => [name, values[number]]));
const answers = data.images.flatMap((image) => image.answers.map((values) => {
  const answer = named(data.answer, values);
  return { ...answer, image, models: answer.models.map((given) => given && named(data.given, given)) };
}));
const LAST = data.stages.length - 1;
const PAGE = 48;
const RIGHT = ["right", "correct", "right by luck"];
const $ = (id) => document.getElementById(id);

let state = {};
let found = [];
let shown = PAGE;

// ---- what is chosen

const given = (answer, number = Number(state.model ?? LAST)) => answer.models[number];
const before = (answer) => answer.models[LAST - 1];
const isRight = (model) => RIGHT.includes(model?.verdict);
const score = (answer, number) => given(answer, number)?.score ?? 0;
const confidence = (answer) => given(answer)?.confidence ?? 0;
const gain = (answer) => score(answer, LAST) - score(answer, LAST - 1);

const CHANGES = {
  fixed: (answer) => !isRight(before(answer)) && isRight(given(answer, LAST)),
  broken: (answer) => isRight(before(answer)) && !isRight(given(answer, LAST)),
  "right in both": (answer) => isRight(before(answer)) && isRight(given(answer, LAST)),
  "wrong in both": (answer) => !isRight(before(answer)) && !isRight(given(answer, LAST)),
};

const TESTS = {
  task: (answer, value) => answer.task === value,
  category: (answer, value) => answer.category === value,
  kind: (answer, value) => answer.kind === value,
  size: (answer, value) => answer.size === value,
  split: (answer, value) => answer.image.split === value,
  image: (answer, value) => answer.image.id === value,
  said: (answer, value) => given(answer)?.text.trim() === value,
  was: (answer, value) => before(answer)?.verdict === value,
  change: (answer, value) => CHANGES[value]?.(answer),
  verdict: (answer, value) =>
    value === "right" ? isRight(given(answer))
      : value === "wrong" ? given(answer) && !isRight(given(answer))
      : given(answer)?.verdict === value,
  text: (answer, value) => value.toLowerCase().split(/\s+/).every((word) => words(answer).includes(word)),
};

const words = (answer) => [answer.image.id, answer.category, answer.question, answer.expression, ...answer.truth,
  ...answer.models.map((model) => model?.text ?? "")].join(" ").toLowerCase();

const ORDERS = {
  worst: ["the worst first", (a, b) => score(a) - score(b) || confidence(b) - confidence(a)],
  best: ["the best first", (a, b) => score(b) - score(a) || confidence(b) - confidence(a)],
  sure: ["the most confident first", (a, b) => confidence(b) - confidence(a)],
  unsure: ["the least confident first", (a, b) => confidence(a) - confidence(b)],
  ...(LAST > 0 && {
    lost: ["the largest loss first", (a, b) => gain(a) - gain(b)],
    gained: ["the largest gain first", (a, b) => gain(b) - gain(a)],
  }),
  data: ["as in the data", () => 0],
};

function find() {
  const tests = Object.entries(state).filter(([name]) => name in TESTS);
  found = answers.filter((answer) => tests.every(([name, value]) => TESTS[name](answer, value)));
  found.sort((ORDERS[state.order] ?? ORDERS.worst)[1]);
}

// ---- the address

function read() {
  const hash = location.hash.slice(1);
  if (hash && !hash.includes("=")) return; // a heading of the page
  state = Object.fromEntries(new URLSearchParams(hash));
  const opened = answers.find((answer) => answer.id === state.id);
  if (opened && !state.task) state.task = opened.task;
  if (!hash) state.task = Object.keys(data.tasks)[0];
}

function go(changes) {
  state = Object.fromEntries(Object.entries({ ...state, ...changes }).filter(([, value]) => value !== ""));
  try {
    history.replaceState(null, "", address(state));
  } catch {
    // a frame without an address of its own
  }
  render();
}

const address = (choices) => `#${new URLSearchParams(choices)}`;

function show(filter) {
  state = {};
  shown = PAGE;
  go(Object.fromEntries(new URLSearchParams(filter)));
  $("answers").scrollIntoView();
}

// ---- elements

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null && child !== ""));
  return element;
}

const button = (text, act) => {
  const element = make("button", { type: "button" }, text);
  element.addEventListener("click", act);
  return element;
};

function select(name, title, options) {
  const list = make("select", { name }, ...options.map(([value, text]) => make("option", { value }, text)));
  list.value = state[name] ?? options[0][0];
  list.addEventListener("change", () => {
    shown = PAGE;
    go({ [name]: list.value, ...(name === "task" && { verdict: "", said: "", category: "", kind: "", was: "" }) });
  });
  return make("label", {}, title, list);
}

function choices(name, title, values, all) {
  const counts = new Map();
  for (const value of values) if (value) counts.set(value, (counts.get(value) ?? 0) + 1);
  if (state[name] && !counts.has(state[name])) counts.set(state[name], 0);
  const options = [...counts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([value, count]) => [value, `${value} (${count})`]);
  return options.length > 1 || state[name] ? [select(name, title, [["", all], ...options])] : [];
}

function filters() {
  const ofTask = answers.filter((answer) => !state.task || answer.task === state.task);
  const verdicts = ofTask.map((answer) => given(answer)?.verdict).filter((verdict) => !["right", "wrong"].includes(verdict));
  const search = make("input", { type: "search", name: "text", value: state.text ?? "", placeholder: "words or image" });
  search.addEventListener("change", () => go({ text: search.value }));
  $("filters").replaceChildren(
    ...choices("task", "Task", answers.map((answer) => answer.task), "all tasks"),
    ...(LAST > 0 ? [select("model", "Model", data.stages.map((title, number) => [String(number), title]).reverse())] : []),
    verdictChoice(verdicts),
    ...(LAST > 0 ? [select("change", "Both models", [["", "any"], ...Object.keys(CHANGES).map((name) => [name, name])])] : []),
    ...choices("category", "Category", ofTask.map((answer) => answer.category), "all categories"),
    ...choices("kind", "Expression", ofTask.map((answer) => answer.kind), "all kinds"),
    ...choices("size", "Size", ofTask.map((answer) => answer.size), "all sizes"),
    ...choices("split", "Split", ofTask.map((answer) => answer.image.split), "all splits"),
    select("order", "Order", Object.entries(ORDERS).map(([value, [text]]) => [value, text])),
    make("label", {}, "Search", search),
  );
}

function verdictChoice(verdicts) {
  const [choice] = choices("verdict", "Answer", ["right", "wrong", ...verdicts], "right and wrong");
  for (const option of choice.querySelectorAll("option")) {
    if (["right", "wrong"].includes(option.value)) option.textContent = option.value;
  }
  return choice;
}

const CHIPS = { said: "answered", was: `${data.stages[LAST - 1]}`, image: "image" };

function status() {
  const chips = Object.entries(CHIPS).filter(([name]) => state[name]).map(([name, title]) =>
    button(`${title}: ${state[name]} ×`, () => go({ [name]: "" })));
  const images = new Set(found.map((answer) => answer.image)).size;
  $("status").replaceChildren(`${found.length} of ${answers.length} answers, on ${images} images `, ...chips,
    button("reset", () => show("")));
}

function layers() {
  const names = [["truth", "truth", true], ...data.stages.map((title, number) => [`model-${number}`, title, number === LAST]),
    ["others", "other regions", false]];
  const boxes = names.map(([name, title, checked]) => {
    const box = make("input", { type: "checkbox", name });
    box.checked = checked;
    box.addEventListener("change", () => document.body.classList.toggle(`hide-${name}`, !box.checked));
    document.body.classList.toggle(`hide-${name}`, !checked);
    return make("label", { class: name }, box, make("i", {}), title);
  });
  $("layers").replaceChildren(...boxes);
}

// ---- an answer

const fixed = (number, digits = 2) => (number === null || number === undefined ? "–" : number.toFixed(digits));
const place = ({ boxes = [] }) => boxes.map((box) => `[${box.join(", ")}]`).join(" ");
const said = (model) => model.text || place(model.shape) || "(drawn)";

function verdict(model) {
  return make("b", { class: isRight(model) ? "up" : "down" }, model ? model.verdict : "not asked");
}

function card(answer, number) {
  const model = given(answer);
  const caption = make("figcaption", {},
    make("p", { class: "score" }, verdict(model), make("span", {}, `score ${fixed(model?.score)}, confidence ${fixed(model?.confidence)}`)),
    make("p", { class: "expression" }, answer.truth.length ? answer.truth[0] : answer.expression),
    answer.truth.length && model ? make("p", { class: "said" }, `answer: ${said(model)}`) : "");
  const link = make("a", { href: address({ ...state, id: answer.id }), class: "card" },
    make("figure", {}, picture(answer, data.skeletons), caption));
  link.addEventListener("click", (event) => {
    event.preventDefault();
    go({ id: answer.id });
  });
  return link;
}

function facts(answer) {
  const rows = [
    ["question", answer.question],
    ...(answer.truth.length ? [["truth", answer.truth.join(" · ")]] : []),
    ...answer.models.flatMap((model, number) => (model ? [[data.stages[number], make("span", {}, verdict(model),
      ` ${said(model)}`, make("small", {}, ` score ${fixed(model.score, 3)}, confidence ${fixed(model.confidence, 3)}`,
      model.roundTrip === null ? "" : `, round trip IoU ${fixed(model.roundTrip)}`))]] : [])),
    ["region", answer.regions.map((number) => `${answer.image.regions[number].category} ${place(answer.image.regions[number])}`).join(" · ") || "none"],
    ["kind", [answer.task, answer.kind, answer.size, answer.image.split].filter(Boolean).join(" · ")],
    ["image", make("span", {}, `${answer.image.id} `, button("all answers on it", () => show(new URLSearchParams({ image: answer.image.id }))))],
  ];
  return make("dl", {}, ...rows.flatMap(([title, value]) => [make("dt", {}, title), make("dd", {}, value)]));
}

let zoom = () => {};

function enlarge() {
  const answer = answers.find(({ id }) => id === state.id);
  if (!answer) {
    $("large").close();
    return;
  }
  const svg = picture(answer, data.skeletons);
  zoom = zoomable(svg, answer.image.width, answer.image.height);
  $("stage").replaceChildren(svg);
  $("facts").replaceChildren(make("h3", {}, answer.expression || answer.question), facts(answer));
  const number = found.indexOf(answer);
  $("place").textContent = number < 0 ? "" : `${number + 1} of ${found.length}`;
  if (!$("large").open) $("large").showModal();
}

function step(by) {
  const number = found.findIndex(({ id }) => id === state.id) + by;
  if (found[number]) go({ id: found[number].id });
}

// ---- the page

function cards() {
  $("cards").replaceChildren(...found.slice(0, shown).map(card));
  $("more").hidden = shown >= found.length;
}

let drawn = "";

function render() {
  const { id, ...rest } = state;
  const wanted = JSON.stringify([rest, shown]);
  if (wanted !== drawn) {
    drawn = wanted;
    find();
    filters();
    status();
    cards();
  }
  enlarge();
}

$("more").addEventListener("click", () => {
  shown += PAGE;
  render();
});
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("close").addEventListener("click", () => go({ id: "" }));
$("large").addEventListener("close", () => !$("large").open && state.id && go({ id: "" })); // by the escape key
for (const each of document.querySelectorAll("[data-step]")) each.addEventListener("click", () => step(Number(each.dataset.step)));
for (const each of document.querySelectorAll("[data-zoom]")) each.addEventListener("click", () => zoom(Number(each.dataset.zoom)));
document.addEventListener("keydown", ({ key }) => {
  if (!$("large").open) return;
  if (key === "ArrowLeft" || key === "ArrowRight") step(key === "ArrowLeft" ? -1 : 1);
  if (key === "+" || key === "-" || key === "0") zoom({ "+": 1.5, "-": 1 / 1.5, 0: 0 }[key]);
});
document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-filter]");
  if (!link) return;
  event.preventDefault();
  show(link.dataset.filter);
});
addEventListener("hashchange", () => {
  read();
  shown = PAGE;
  render();
});

window.showAnswers = show; // for the charts
layers();
read();
render();
