// A list of any length, newest first, of which only what can be seen is fetched and in the document.

import { make } from "./elements.js";

const AROUND = 8; // rows that are ready above and below those that can be seen
const NEWER = 20; // how many that have come meanwhile one answer may bring

export class List {
  #box;
  #rows;
  #source = null;
  #total = 0;
  #items = new Map(); // by place: 1 is the oldest
  #elements = new Map();
  #active = null; // the place that the keyboard is at
  #opened = null; // the id of what is shown beside
  #loading = false;
  #again = false;

  // `onOpen(id)` is called for a row that is chosen, `onTotal(total)` after each answer.
  constructor(box, rows, { onOpen, onTotal }) {
    this.#box = box;
    this.#rows = rows;
    this.onOpen = onOpen;
    this.onTotal = onTotal;
    box.addEventListener("scroll", () => this.refresh(), { passive: true });
    box.addEventListener("keydown", (event) => this.#press(event));
    box.addEventListener("focus", () => this.#total && this.#active === null && this.#go(this.#total));
    rows.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) this.#choose(Number(row.dataset.place));
    });
    new ResizeObserver(() => this.refresh()).observe(box);
  }

  // `source` has `fetch(after, limit)`, which resolves to `{items, total}`, `id(item)` and `row(item)`.
  show(source) {
    this.#source = source;
    this.#total = 0;
    this.#active = null;
    this.#items.clear();
    this.#rows.replaceChildren();
    this.#elements.clear();
    this.#box.scrollTop = 0;
    return this.refresh();
  }

  open(id) {
    this.#opened = id;
    this.#draw();
  }

  // Fetches what can be seen; while it does, another call has it do so once more.
  async refresh() {
    this.#draw();
    if (this.#loading) {
      this.#again = true;
      return;
    }
    this.#loading = true;
    try {
      do {
        this.#again = false;
        await this.#load();
      } while (this.#again);
    } finally {
      this.#loading = false;
    }
  }

  async #load() {
    const source = this.#source;
    const [first, end] = this.#range();
    const after = Math.max(0, this.#total - end);
    let answer;
    try {
      answer = await source.fetch(after, end - first + NEWER);
    } catch {
      return; // the stream tells when the emulator is there again
    }
    if (source !== this.#source) {
      this.#again = true;
      return;
    }
    const added = answer.total - this.#total;
    const row = this.#rowHeight();
    if (added < 0) this.#active = null;
    this.#total = answer.total;
    this.#items = new Map(answer.items.map((item, index) => [after + 1 + index, item]));
    this.#rows.style.height = `${this.#total * row}px`;
    // What somebody has scrolled to stays where it is while new rows come in above.
    if (added > 0 && this.#box.scrollTop > 0) this.#box.scrollTop += added * row;
    this.onTotal(this.#total);
    const [top, bottom] = this.#range();
    if (bottom > top && !(this.#items.has(this.#total - top) && this.#items.has(this.#total - bottom + 1))) {
      this.#again = true;
    }
    this.#draw();
  }

  #rowHeight() {
    return parseFloat(getComputedStyle(document.documentElement).fontSize) * 3.5; // as --row says
  }

  // The rows that are to be there, counted from the newest: from the first to before the end.
  #range() {
    const row = this.#rowHeight();
    const first = Math.max(0, Math.floor(this.#box.scrollTop / row) - AROUND);
    const end = Math.ceil((this.#box.scrollTop + this.#box.clientHeight) / row) + AROUND;
    return [first, this.#total ? Math.max(first, Math.min(this.#total, end)) : end];
  }

  #draw() {
    const [first, end] = this.#range();
    const row = this.#rowHeight();
    const wanted = new Set();
    for (let index = first; index < Math.min(end, this.#total); index += 1) {
      const place = this.#total - index;
      wanted.add(place);
      const element = this.#elements.get(place) ?? this.#newRow(place);
      element.style.transform = `translateY(${index * row}px)`;
      element.setAttribute("aria-setsize", this.#total);
      element.setAttribute("aria-posinset", index + 1);
      this.#fill(element, place);
    }
    for (const [place, element] of this.#elements) {
      if (!wanted.has(place)) {
        element.remove();
        this.#elements.delete(place);
      }
    }
    if (this.#active !== null && this.#elements.has(this.#active)) {
      this.#box.setAttribute("aria-activedescendant", `row-${this.#active}`);
    } else {
      this.#box.removeAttribute("aria-activedescendant");
    }
  }

  #newRow(place) {
    const element = make("div", { class: "row", role: "option", id: `row-${place}` });
    element.dataset.place = place;
    this.#elements.set(place, element);
    this.#rows.append(element);
    return element;
  }

  #fill(element, place) {
    const item = this.#items.get(place);
    element.classList.toggle("active", place === this.#active);
    if (!item) {
      if (!element.hasChildNodes()) element.append(make("span", { class: "title" }, "…"));
      return;
    }
    element.setAttribute("aria-selected", this.#source.id(item) === this.#opened);
    const parts = this.#source.row(item);
    const said = JSON.stringify(parts);
    if (element.said === said) return;
    element.said = said;
    // What is there stays, with another text: a click whose element goes between pressing and letting go is lost.
    if (element.children.length !== 3) element.replaceChildren(...["", "", ""].map((text) => make("span", {}, text)));
    const [title, side, under] = element.children;
    title.className = `title ${parts.mono ? "mono" : ""}`;
    title.dir = "auto";
    side.className = `side ${parts.tone === undefined ? "time" : `badge ${parts.tone}`}`;
    under.className = "under";
    for (const [span, text] of [[title, parts.title], [side, parts.side], [under, parts.under]]) {
      if (span.textContent !== text) span.textContent = text;
    }
  }

  #choose(place) {
    const item = this.#items.get(place);
    if (!item) return;
    this.#active = place;
    this.onOpen(this.#source.id(item));
    this.#draw();
  }

  #go(place) {
    this.#active = Math.max(1, Math.min(this.#total, place));
    const row = this.#rowHeight();
    const top = (this.#total - this.#active) * row;
    if (top < this.#box.scrollTop) this.#box.scrollTop = top;
    const under = top + row - this.#box.clientHeight;
    if (under > this.#box.scrollTop) this.#box.scrollTop = under;
    this.refresh();
  }

  #press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.#total) return;
    const page = Math.max(1, Math.floor(this.#box.clientHeight / this.#rowHeight()) - 1);
    const at = this.#active ?? this.#total + 1;
    const places = {
      ArrowDown: at - 1, ArrowUp: at + 1, PageDown: at - page, PageUp: at + page, Home: this.#total, End: 1,
    };
    if (event.key in places) {
      this.#go(places[event.key]);
    } else if ((event.key === "Enter" || event.key === " ") && this.#active !== null) {
      this.#choose(this.#active);
    } else {
      return;
    }
    event.preventDefault();
  }
}
