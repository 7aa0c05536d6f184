// The page of the emulator: what it knows, kept up to date by its stream, all of it through the remote control.

import { faultText, setUpDialogs } from "./dialogs.js";
import { make, number, plural, setClock } from "./elements.js";
import { KINDS } from "./kinds.js";
import { List } from "./list.js";

const CONTROL = "/_emulator/v1";
const RETRY = 1000; // milliseconds until a stream that was refused is tried again
const SAY_AGAIN = 5000; // milliseconds from one count that is read out to the next
const TIMES_AGAIN = 5000; // milliseconds from one look at "5 s ago" to the next
const SVG = "http://www.w3.org/2000/svg";

const by = (id) => document.getElementById(id);

async function ask(path, method = "GET", content = undefined) {
  const options = { method, cache: "no-store" };
  if (content !== undefined) {
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(content);
  }
  const response = await fetch(CONTROL + path, options);
  const answer = await response.json();
  if (!response.ok) {
    throw Object.assign(new Error(answer.error.message), { field: answer.error.details?.field, status: response.status });
  }
  return answer;
}

let state = null;
let kind = null; // the name of the one in KINDS that is shown
let openedId = null;
let shownDetail = ""; // what is in the detail's place, as JSON
let detailAsked = 0;

// --- the list and what is opened -------------------------------------------------------------------------------------

const list = new List(by("list"), by("rows"), {
  onOpen: (id) => {
    const hash = `#${kind}/${encodeURIComponent(id)}`;
    if (location.hash === hash) showDetail({ takesFocus: true });
    else {
      focusNext = true;
      location.hash = hash;
    }
  },
  onTotal: showEmptiness,
});
let focusNext = false; // whether what is opened next was asked for here, and takes the focus

function showEmptiness(total) {
  const isFiltered = by("search").value.trim() || (KINDS[kind].statuses && by("status").value);
  by("empty").textContent = isFiltered ? `No ${KINDS[kind].one} like that.` : KINDS[kind].empty;
  by("empty").hidden = total > 0;
  by("list").hidden = total === 0;
}

function source() {
  const { path, id, row, statuses } = KINDS[kind];
  const name = path === "/outbox" ? "emails" : path.slice(1);
  const filter = new URLSearchParams();
  if (by("search").value.trim()) filter.set("search", by("search").value.trim());
  if (statuses && by("status").value) filter.set("status", by("status").value);
  return {
    id,
    row,
    async fetch(after, limit) {
      const answer = await ask(`${path}?${new URLSearchParams([["after", after], ["limit", Math.min(limit, 1000)], ...filter])}`);
      return { items: answer[name], total: answer.total };
    },
  };
}

function showKind(name) {
  kind = name;
  for (const tab of by("tabs").children) {
    const isIt = tab.dataset.kind === name;
    tab.setAttribute("aria-selected", isIt);
    tab.tabIndex = isIt ? 0 : -1;
    if (isIt) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  by("list-side").setAttribute("aria-labelledby", `tab-${name}`);
  by("list").setAttribute("aria-label", KINDS[name].name);
  by("search").value = "";
  by("status").hidden = !KINDS[name].statuses;
  by("status").value = "";
  by("empty").hidden = true;
  by("list").hidden = false;
  list.show(source());
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // typed by hand: there is nothing by that name
  }
}

// Where the page is stands in its address, so that "back" goes back, on a phone above all.
function follow() {
  const [, name = "", id = null] = /^#(\w+)(?:\/(.+))?$/.exec(location.hash) ?? [];
  const wanted = Object.hasOwn(KINDS, name) ? name : "emails";
  const wasOpened = openedId !== null;
  if (wanted !== kind) showKind(wanted);
  openedId = id === null ? null : decoded(id);
  document.body.classList.toggle("one", openedId !== null);
  list.open(openedId);
  shownDetail = "";
  showDetail({ takesFocus: focusNext });
  focusNext = false;
  if (wasOpened && openedId === null && document.activeElement === document.body) by("list").focus();
}

async function showDetail({ takesFocus = false } = {}) {
  const [of, id, asked] = [kind, openedId, (detailAsked += 1)];
  let item = null;
  try {
    if (id !== null) item = await KINDS[of].find(ask, id);
  } catch (error) {
    if (error.status === undefined) return; // not connected, which is told above
  }
  if (asked !== detailAsked || of !== kind || id !== openedId) return;
  const now = JSON.stringify([of, id, item, actions.hasDeal()]);
  const place = by("detail");
  if (now !== shownDetail) {
    const isNew = !shownDetail;
    const hadFocus = place.contains(document.activeElement) && document.activeElement !== place;
    shownDetail = now;
    const back = make("a", { class: "back", href: `#${of}` }, `‹ ${KINDS[of].name}`);
    const nothing = make("p", { class: "nothing" }, id === null ? "Choose one of the list to see all of it." : `There is no such ${KINDS[of].one}, or no more.`);
    place.replaceChildren(...(id === null ? [] : [back]), ...(item === null ? [nothing] : KINDS[of].detail(item, actions).filter(Boolean)));
    if (isNew) place.scrollTop = 0;
    takesFocus ||= hadFocus;
  }
  if (takesFocus) place.focus();
}

const actions = {
  hasDeal: () => (state?.deals ?? 0) > 0,
  async complete(id) {
    await ask(`/interviews/${id}/complete`, "POST", {});
    refresh();
  },
};

let wantsRefresh = false;
let isRefreshing = false;

async function refresh() {
  wantsRefresh = true;
  if (isRefreshing) return;
  isRefreshing = true;
  try {
    while (wantsRefresh) {
      wantsRefresh = false;
      await Promise.all([list.refresh(), showDetail()]);
    }
  } finally {
    isRefreshing = false;
  }
}

// --- what stands above it --------------------------------------------------------------------------------------------

function showState(next) {
  state = next;
  setClock(state.now);
  for (const [name, { count }] of Object.entries(KINDS)) {
    by(`tab-${name}`).querySelector(".count").textContent = number(count(state));
  }
  for (const option of by("status").options) {
    if (option.value) option.textContent = `${option.value} (${number(state.interviews[option.value])})`;
  }
  showRate();
  showFaults();
  sayCounts();
}

function showRate() {
  const { settings, left, last_minute: minute } = state;
  const plan = settings.plan[0].toUpperCase() + settings.plan.slice(1);
  by("plan").textContent = [
    `${plan} ${number(settings.requests_per_minute)}/min`,
    `${settings.window} window`,
    settings.latency && `${settings.latency} s latency`,
  ].filter(Boolean).join(" · ");
  const limit = settings.requests_per_minute;
  const refused = minute.refused.reduce((sum, count) => sum + count, 0);
  const parts = [
    make("strong", {}, `${number(limit - left.minute)} of ${number(limit)}`), " this minute · ",
    make("span", { class: refused ? "alarm" : "" }, `${number(refused)} refused`),
  ];
  if (left.month !== null) {
    parts.push(" · ", make("span", { class: left.month ? "" : "alarm" }, `quota ${number(left.month)}`));
  }
  by("rate").replaceChildren(...parts);
  drawStrip(minute, limit / 60);
}

function drawStrip({ taken, refused }, pace) {
  const [width, height] = [600, 40];
  const highest = Math.max(pace * 1.5, ...taken.map((count, second) => count + refused[second]));
  const shape = (name, attributes) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const step = width / taken.length;
  const shapes = [];
  taken.forEach((count, second) => {
    let top = height;
    for (const [name, many] of [["taken", count], ["refused", refused[second]]]) {
      if (!many) continue;
      const tall = Math.max(2, (many / highest) * height);
      top -= tall;
      shapes.push(shape("rect", { class: name, x: second * step + 1, y: Math.max(0, top), width: step - 2, height: tall }));
    }
  });
  const level = height - (pace / highest) * height;
  shapes.push(shape("line", { class: "pace", x1: 0, x2: width, y1: level, y2: level }));
  by("strip").replaceChildren(...shapes);
}

async function showFaults() {
  by("faults-set").hidden = !state.faults;
  if (!state.faults) return;
  try {
    const { faults } = await ask("/faults");
    const [first, ...others] = faults.map(faultText);
    if (first === undefined) return;
    by("faults-set").querySelector("p").textContent =
      `${plural(faults.length, "fault")} set: ${first}` + (others.length ? `; and ${number(others.length)} more` : "");
  } catch {
    // not connected, which is told above
  }
}

let saidAt = 0;

function sayCounts() {
  const now = Date.now();
  if (now - saidAt < SAY_AGAIN) return;
  const text = `${Object.values(KINDS).map(({ one, count }) => plural(count(state), one)).join(", ")}.`;
  if (by("counts").textContent === text) return;
  saidAt = now;
  by("counts").textContent = text;
}

// --- the stream ------------------------------------------------------------------------------------------------------

let stream = null;

function connect() {
  stream?.close();
  stream = new EventSource(`${CONTROL}/events`);
  const opened = stream;
  stream.addEventListener("state", (event) => {
    showConnection("live", "Live");
    showState(JSON.parse(event.data));
    refresh();
  });
  stream.addEventListener("error", () => {
    showConnection("lost", "Not connected, trying again…");
    // The browser tries again by itself, unless it was answered by something else than a stream.
    if (opened.readyState === EventSource.CLOSED) setTimeout(() => stream === opened && connect(), RETRY);
  });
}

function showConnection(name, text) {
  if (by("connection").textContent === text) return;
  by("connection").className = name;
  by("connection").textContent = text;
}

// A browser has few connections for one server, and a page that nobody sees needs none.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) connect();
  else {
    stream?.close();
    stream = null;
  }
});

// --- all together ----------------------------------------------------------------------------------------------------

function setUpTabs() {
  const names = Object.keys(KINDS);
  for (const name of names) {
    by("tabs").append(make(
      "button",
      { type: "button", role: "tab", id: `tab-${name}`, "data-kind": name, "aria-controls": "list-side", click: () => (location.hash = `#${name}`) },
      KINDS[name].name, make("span", { class: "count" }, "0"),
    ));
  }
  by("tabs").addEventListener("keydown", (event) => {
    const at = names.indexOf(kind);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: names.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const name = names[(to + names.length) % names.length];
    location.hash = `#${name}`;
    by(`tab-${name}`).focus();
  });
}

function setUp() {
  setUpTabs();
  setUpDialogs(async (...args) => {
    const answer = await ask(...args);
    if (args[1]) refresh();
    return answer;
  });
  by("status").append(
    make("option", { value: "" }, "every status"),
    ...["created", "sent", "completed"].map((name) => make("option", { value: name }, name)),
  );
  for (const [id, event] of [["search", "input"], ["status", "change"]]) {
    by(id).addEventListener(event, () => list.show(source()));
  }
  by("clear-faults").addEventListener("click", () => ask("/faults", "DELETE"));
  by("detail").addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    location.hash = `#${kind}`;
    by("list").focus();
  });
  addEventListener("hashchange", follow);
  setInterval(() => !document.hidden && refresh(), TIMES_AGAIN);
  follow();
  connect();
}

setUp();
