// What there is to look at: where each list comes from, a row of it, and all that is known of one.

import { ago, clockTime, duration, make, moment, number, size } from "./elements.js";

const LONGEST_SHOWN = 100_000; // characters of a body

const STATUS_TONES = { created: "care", sent: "", completed: "good" };

const joined = (...parts) => parts.filter((part) => part !== null && part !== undefined && part !== "").join(" · ");

// A name of the wire must not turn the rest of a line around: isolated, an override ends with it.
const isolated = (text) => (text ? `\u2068${text}\u2069` : text);

function facts(...pairs) {
  const list = make("dl");
  for (const [name, value] of pairs) {
    if (value === null || value === undefined || value === "") continue;
    list.append(make("dt", {}, name), make("dd", { dir: "auto" }, value));
  }
  return list;
}

const section = (title, ...children) => make("section", {}, make("h3", {}, title), ...children);

const said = (text) => make("p", { class: "said", dir: "auto" }, text);

const head = (title, badge, tone = "") =>
  make("div", { class: "head" }, make("h2", { dir: "auto" }, title), badge && make("span", { class: `badge ${tone}` }, badge));

function parsed(text) {
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === "object" && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

const asText = (value) => (typeof value === "string" ? value : JSON.stringify(value));

function known(notes) {
  if (!notes) return make("p", { class: "note" }, "Nothing: no contact_context was sent.");
  const object = parsed(notes);
  if (object === null) return said(notes);
  return facts(...Object.entries(object).map(([name, value]) => [name, asText(value)]));
}

function turns(transcript) {
  return transcript.split("\n\n").map((turn) => {
    const found = /^\*\*([^*]+):\*\* ?([\s\S]*)$/.exec(turn);
    if (!found) return said(turn);
    const side = found[1] === "Paige" ? "turn" : "turn other";
    return make("div", { class: side }, make("p", { class: "who" }, found[1]), said(found[2]));
  });
}

// The link by this page's own address: behind a mapped port the emulator does not know the one that is seen from outside.
function surveyPath(url) {
  const link = new URL(url, location.href);
  return link.pathname + link.search;
}

function interview(one, actions, email) {
  const name = one.contact_name ? `${one.contact_name} <${one.contact_email}>` : one.contact_email;
  const isDone = one.status === "completed";
  return [
    head(one.contact_email, one.status, STATUS_TONES[one.status]),
    make("div", { class: "actions" },
      make("a", { class: "button main", id: "open-interview", href: surveyPath(one.survey_url), target: "_blank", rel: "noopener" },
        isDone ? "Look at the interview" : "Open the interview"),
      !isDone && make("button", { type: "button", id: "complete", click: () => actions.complete(one.interview_request_id) }, "Complete it"),
    ),
    section(email ? "Email" : "Interview", facts(
      ["To", name],
      ["Sequence", one.sequence_id ?? (one.interview_type_id ? null : "–")],
      ["Interview type", one.interview_type_id],
      ["Interview", `${one.interview_request_id}, created ${moment(one.created_at)}`],
      ["Emailed", one.email_sent_at ? moment(one.email_sent_at) : "no"],
      ["Completed", one.completed_at && moment(one.completed_at)],
      ["Deal", one.deal_id && (actions.hasDeal(one.deal_id)
        ? make("a", { href: `#deals/${encodeURIComponent(one.deal_id)}` }, one.deal_id) : one.deal_id)],
      ["Contact", one.contact_id],
    )),
    section("What Paige knows", known(one.contact_context)),
    section("Objective", one.objective ? said(one.objective) : make("p", { class: "note" }, "None was sent.")),
    one.transcript !== null && section("Transcript", ...turns(one.transcript)),
  ];
}

function httpTone(request) {
  if (request.status === null) return request.seconds === null ? "" : "bad";
  if (request.status < 300) return "good";
  return request.status < 500 && request.status !== 429 ? "care" : "bad";
}

const httpStatus = (request) => String(request.status ?? (request.seconds === null ? "in flight" : "no answer"));

// By their names in whatever case: a fault may have set them otherwise.
function header(headers, wanted) {
  const name = Object.keys(headers).find((one) => one.toLowerCase() === wanted.toLowerCase());
  return name === undefined ? null : headers[name];
}

function left(headers) {
  const [remaining, limit] = [header(headers, "X-RateLimit-Remaining"), header(headers, "X-RateLimit-Limit")];
  const wait = header(headers, "Retry-After");
  return joined(remaining !== null && limit !== null ? `${number(remaining)} of ${number(limit)} left` : null, wait && `retry after ${wait}`);
}

function body(document, text, bytes) {
  if (document === null && text === null) {
    return make("p", { class: "note" }, bytes ? `${size(bytes)} that are not JSON.` : "No body.");
  }
  const shown = document === null ? text : JSON.stringify(document, null, 2);
  const isCut = shown.length > LONGEST_SHOWN || (document === null && bytes > text.length * 4);
  return [make("pre", { dir: "auto" }, shown.slice(0, LONGEST_SHOWN)), isCut && make("p", { class: "note" }, `Cut off: ${size(bytes)} in all.`)];
}

function headers(title, all) {
  const pairs = Object.entries(all);
  return pairs.length > 0 && make("details", {}, make("summary", {}, `${title} (${pairs.length})`), facts(...pairs));
}

const RATE_HEADER = /^(x-ratelimit-|x-usage-|retry-after$)/i;

function request(one) {
  const rate = Object.entries(one.answer_headers).filter(([name]) => RATE_HEADER.test(name));
  return [
    head(`${one.method} ${one.path}`, httpStatus(one), httpTone(one)),
    section("Request", facts(
      ["Arrived", `${clockTime(one.arrived_at)} (${ago(one.arrived_at)})`],
      ["Took", one.seconds === null ? "not done yet" : duration(one.seconds)],
      ["Route", one.route ?? "none: nothing is served there"],
    ), headers("Headers", one.headers)),
    section("Body", body(one.body, null, one.body_bytes)),
    rate.length > 0 && section("Rate limit", facts(...rate)),
    section("Answer", body(one.answer_body, one.answer_text, one.answer_bytes), headers("Headers", one.answer_headers)),
  ].flat();
}

function deal(one) {
  const set = Object.entries(one).filter(([, value]) => value !== null);
  return [
    head(one.name ?? one.id, one.status),
    section("Deal", facts(...set.map(([name, value]) => [name, typeof value === "object" ? JSON.stringify(value, null, 2) : String(value)]))),
  ];
}

function upload(one) {
  return [
    head(one.fields.file_name ?? one.document_id),
    section("Document", facts(
      ["Id", one.document_id], ["Arrived", moment(one.created_at)],
      ["Size", one.bytes === null ? "not sent: a file_url was given" : size(one.bytes)],
    )),
    section("Form", facts(...Object.entries(one.fields))),
  ];
}

const found = async (ask, path, name) => (await ask(path))[name][0] ?? null;

export const KINDS = {
  emails: {
    name: "Emails", one: "email", path: "/outbox", count: (state) => state.emails,
    empty: "No email yet: an interview with a sequence_id emails its contact, and here it stays instead of going out.",
    id: (email) => String(email.number),
    row: (email) => ({
      title: email.to, side: ago(email.sent_at),
      under: joined(isolated(email.interview.contact_name), isolated(email.interview.sequence_id), email.interview.status),
    }),
    find: (ask, id) => found(ask, `/outbox?after=${Number(id) - 1}&limit=1`, "emails"),
    detail: (email, actions) => interview(email.interview, actions, email),
  },
  interviews: {
    name: "Interviews", one: "interview", path: "/interviews", statuses: true,
    count: (state) => Object.values(state.interviews).reduce((sum, count) => sum + count, 0),
    empty: "No interview yet: POST /interviews creates one.",
    id: (one) => String(one.interview_request_id),
    row: (one) => ({
      title: one.contact_email, side: one.status, tone: STATUS_TONES[one.status],
      under: joined(`#${one.interview_request_id}`, isolated(one.contact_name), isolated(one.sequence_id ?? "link only"), ago(one.created_at)),
    }),
    find: (ask, id) => found(ask, `/interviews?after=${Number(id) - 1}&limit=1`, "interviews"),
    detail: interview,
  },
  requests: {
    name: "Requests", one: "request", path: "/requests", count: (state) => state.requests,
    empty: "No request yet: point your program at this emulator with HINDSIGHT_BASE_URL and HINDSIGHT_API_KEY.",
    id: (one) => String(one.number),
    row: (one) => ({
      title: `${one.method} ${one.path.replace(/^\/api\/v1(?=\/)/, "")}`, mono: true, side: httpStatus(one), tone: httpTone(one),
      under: joined(clockTime(one.arrived_at), one.seconds === null ? null : duration(one.seconds), left(one.answer_headers)),
    }),
    find: (ask, id) => ask(`/requests/${encodeURIComponent(id)}`),
    detail: request,
  },
  deals: {
    name: "Deals", one: "deal", path: "/deals", count: (state) => state.deals,
    empty: "No deal yet: put some in with emulator.deals.add(…) or POST /_emulator/v1/deals.",
    id: (one) => one.id,
    row: (one) => ({
      title: one.name ?? one.id, side: one.status ?? "", tone: one.status === null ? undefined : "",
      under: joined(isolated(one.id), one.amount === null ? null : number(one.amount), isolated(one.region)),
    }),
    find: async (ask, id) =>
      (await ask(`/deals?limit=1000&search=${encodeURIComponent(id)}`)).deals.find((one) => one.id === id) ?? null,
    detail: deal,
  },
  documents: {
    name: "Documents", one: "document", path: "/documents", count: (state) => state.documents,
    empty: "No document yet: uploads to a deal or to the library are kept here.",
    id: (one) => String(one.number),
    row: (one) => ({
      title: one.fields.file_name ?? one.document_id, side: one.bytes === null ? "by URL" : size(one.bytes),
      under: joined(isolated(one.fields.content_type ?? one.fields.type), isolated(one.fields.deal_id ?? one.fields.salesforce_id ?? one.fields.hubspot_id ?? "library"), ago(one.created_at)),
    }),
    find: (ask, id) => found(ask, `/documents?after=${Number(id) - 1}&limit=1`, "documents"),
    detail: upload,
  },
};
