"use strict";

// The pages are whole without this script. It counts timers down, and replaces what has changed when the server says so.

const RETRY_MS = 2000;
const LONGEST_RETRY_MS = 30000;
const GATHER_MS = 150; // several changes that come together are shown at once

function spell(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]];
  const written = [];
  let rest = whole;
  for (const [size, unit] of parts) {
    const amount = Math.floor(rest / size);
    rest -= amount * size;
    if (amount > 0) written.push(`${amount}${unit}`);
  }
  return written.slice(0, 2).join(" ") || "0s";
}

function tick() {
  const now = Date.now();
  for (const element of document.querySelectorAll("time[data-until], time[data-for], time[data-ago]")) {
    const away = (Date.parse(element.dateTime) - now) / 1000;
    if ("until" in element.dataset) element.textContent = spell(away);
    else if ("for" in element.dataset) element.textContent = spell(-away);
    else element.textContent = `${spell(-away)} ago`;
  }
}

function say(text) {
  const place = document.getElementById("connection");
  if (place && place.textContent !== text) place.textContent = text;
}

let streamLost = false;

function sayHowItStands() {
  say(streamLost ? "Reconnecting; what is shown may be old" : "");
}

function isBeingFilledIn(forms) {
  if (forms.contains(document.activeElement) && document.activeElement !== document.body) return true;
  return [...forms.querySelectorAll("textarea")].some((area) => area.value.trim() !== "");
}

function keepOpen(before, after) {
  const open = new Set([...before.querySelectorAll("details[open] > summary")].map((one) => one.textContent));
  for (const details of after.querySelectorAll("details")) {
    if (open.has(details.querySelector("summary").textContent)) details.open = true;
  }
}

function replace(id, page) {
  const before = document.getElementById(id);
  const after = page.getElementById(id);
  if (!before || !after || before.innerHTML === after.innerHTML) return;
  keepOpen(before, after);
  before.replaceWith(after);
}

function replaceDecisions(page) {
  const before = document.getElementById("decision-forms");
  const after = page.getElementById("decision-forms");
  if (!before || !after || before.dataset.key === after.dataset.key) return;
  if (isBeingFilledIn(before)) {
    say("What can be decided has changed: reload before you send");
    return;
  }
  replace("decision-forms", page);
}

let refreshing = false;
let again = false;

async function refresh() {
  if (refreshing) {
    again = true;
    return;
  }
  refreshing = true;
  try {
    do {
      again = false;
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
      if (answer.redirected && new URL(answer.url).pathname === "/login") {
        location.assign(answer.url);
        return;
      }
      if (answer.status === 404) {
        location.reload();
        return;
      }
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const fragment of document.querySelectorAll("[data-fragment]")) replace(fragment.id, page);
      replaceDecisions(page);
      tick();
    } while (again);
    sayHowItStands();
  } catch (error) {
    say("The server does not answer; what is shown may be old");
    refreshAfter(RETRY_MS);
  } finally {
    refreshing = false;
  }
}

let soon = 0;

function refreshAfter(milliseconds) {
  clearTimeout(soon);
  soon = setTimeout(refresh, milliseconds);
}

function refreshSoon() {
  refreshAfter(GATHER_MS);
}

// A browser reconnects by itself when a connection breaks, but gives up for good at any answer other than 200.
function follow(address) {
  let pause = RETRY_MS;

  function connect() {
    const stream = new EventSource(address);
    stream.addEventListener("open", () => {
      if (streamLost) refreshSoon();
      streamLost = false;
      pause = RETRY_MS;
      sayHowItStands();
    });
    for (const kind of ["audit", "deployment", "deployments", "gone"]) stream.addEventListener(kind, refreshSoon);
    stream.addEventListener("error", () => {
      streamLost = true;
      sayHowItStands();
      if (stream.readyState !== EventSource.CLOSED) return;
      setTimeout(connect, pause * (0.75 + Math.random() / 2));
      pause = Math.min(pause * 2, LONGEST_RETRY_MS);
      refreshSoon(); // whoever is logged out is led to the login by it
    });
  }

  connect();
}

document.addEventListener("submit", (event) => {
  for (const button of event.target.querySelectorAll("button[type=submit]")) {
    button.disabled = true;
  }
});

window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  for (const button of document.querySelectorAll("button[disabled]")) button.disabled = false;
});

tick();
setInterval(tick, 1000);
if (document.body.dataset.stream) follow(document.body.dataset.stream);
const notice = document.getElementById("notice");
if (notice) notice.focus();
