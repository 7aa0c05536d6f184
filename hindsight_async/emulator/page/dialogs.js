// The dialogs that change something: reset, settings, faults.

import { make } from "./elements.js";

const by = (id) => document.getElementById(id);

const SAID_OF_TIMES = { null: "every time", 1: "once more" };

const STATUS = "a status";

const SAID_OF_MOMENTS = {
  "": "the usual moment",
  before_commit: "before it acts",
  mid_upload: "in the middle of the upload",
  after_commit: "after it has acted",
  mid_body: "in the middle of the answer",
};

export const faultText = (fault) =>
  `${fault.route === "*" ? "every request" : fault.route}: ${fault.how}` +
  (fault.seconds ? ` by ${fault.seconds} s` : "") +
  (fault.retry_after === null ? "" : ` (Retry-After ${fault.retry_after})`) +
  `, ${SAID_OF_MOMENTS[fault.at] ?? fault.at}, ${SAID_OF_TIMES[fault.left] ?? `${fault.left} more times`}`;

// A number where it is one, null where nothing is given; else the text, which the emulator refuses by name.
function value(text) {
  if (text.trim() === "") return null;
  return Number.isFinite(Number(text)) ? Number(text) : text;
}

function dialog(name, { ask, onOpen = () => {}, send, stays = false }) {
  const box = by(`${name}-dialog`);
  const form = box.querySelector("form");
  const wrong = form.querySelector(".wrong");
  const clear = () => {
    wrong.hidden = true;
    for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  };
  by(`open-${name}`).addEventListener("click", async () => {
    clear();
    await onOpen(form);
    box.showModal();
  });
  form.querySelector("[value=cancel]").addEventListener("click", () => box.close());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    clear();
    try {
      await send(form, ask);
      if (!stays) box.close();
    } catch (error) {
      wrong.textContent = error.message;
      wrong.hidden = false;
      const named = form.elements[error.field === "how" && form.elements.code ? "code" : error.field];
      if (named?.focus && !named.closest("[hidden]")) {
        named.setAttribute("aria-invalid", "true");
        named.focus();
      }
    }
  });
  return form;
}

function setUpSettings(ask) {
  let before;
  const names = ["plan", "requests_per_minute", "window", "monthly_limit", "latency"];
  dialog("settings", {
    ask,
    async onOpen(form) {
      before = await ask("/settings");
      for (const name of names) form.elements[name].value = before[name] ?? "";
    },
    async send(form) {
      const changes = {};
      for (const name of names) {
        const field = form.elements[name];
        const now = field.tagName === "SELECT" ? field.value : value(field.value);
        if (now !== before[name]) changes[name] = now;
      }
      // A plan brings its own number: the one that stands there was the old plan's.
      if (changes.window && changes.window !== "weighted" && before.refusals_cached) changes.refusals_cached = false;
      await ask("/settings", "PATCH", changes);
    },
  });
}

function setUpFaults(ask) {
  const show = (faults) => {
    const items = faults.map((fault) => make("li", {}, faultText(fault)));
    by("faults-list").replaceChildren(...(items.length ? items : [make("li", { class: "none" }, "None is set.")]));
    by("clear-all").disabled = !items.length;
  };
  const form = dialog("faults", {
    ask,
    stays: true,
    async onOpen() {
      const { faults, routes, how, at } = await ask("/faults");
      show(faults);
      const options = (name, values, said = {}) => {
        if (!form.elements[name].options.length) {
          form.elements[name].replaceChildren(...values.map((one) => make("option", { value: one }, said[one] ?? one)));
        }
      };
      options("route", routes, { "*": "every request" });
      options("how", [STATUS, ...how]);
      options("at", ["", ...at], SAID_OF_MOMENTS);
      adapt();
    },
    async send() {
      const { route, how, code, seconds, at, times, retry_after: wait } = form.elements;
      const fault = { route: route.value, how: how.value === STATUS ? value(code.value) : how.value, times: value(times.value) };
      if (at.value) fault.at = at.value;
      if (!seconds.closest("label").hidden) fault.seconds = value(seconds.value);
      if (!wait.closest("label").hidden && wait.value) fault.retry_after = value(wait.value);
      show((await ask("/faults", "POST", fault)).faults);
    },
  });
  const adapt = () => {
    for (const label of form.querySelectorAll("[data-for]")) {
      label.hidden = !label.dataset.for.split(", ").includes(form.elements.how.value);
    }
  };
  form.elements.how.addEventListener("change", adapt);
  by("clear-all").addEventListener("click", async () => show((await ask("/faults", "DELETE")).faults));
}

// `ask(path, method, document)` resolves to the answer, or rejects with an error that has a message and a `field`.
export function setUpDialogs(ask) {
  dialog("reset", { ask, send: () => ask("/reset", "POST", {}) });
  setUpSettings(ask);
  setUpFaults(ask);
}
