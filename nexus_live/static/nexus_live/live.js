// A workflow as it goes on: a stream of events, or short requests where the server has no streams.
// Whatever agents wrote enters the page as text only (textContent).
"use strict";

(() => {
  const POLL_EVERY = 1000, POLL_HIDDEN = 5000, POLL_MOST = 30000, STREAM_AGAIN = 60000, MOST_SHOWN = 2000, NEAR = 80;
  const STEPS = new Set(["chat.turn", "chat.select", "chat.wake", "chat.proceed", "chat.stop"]);
  const live = document.getElementById("live");
  const find = (id) => document.getElementById(id);
  const log = find("log"), token = document.querySelector("input[name=csrfmiddlewaretoken]");
  let last = 0, removed = 0, over = false, source = null, timer = 0, failures = 0, streamAfter = 0, follows = true;

  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const two = (number) => String(number).padStart(2, "0");
  const moment = (text) => {
    const at = new Date(text);
    return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  };
  const connection = (text) => { if (find("connection").textContent !== text) find("connection").textContent = text; };

  // --- messages ---

  const answered = (data) => data.text || (data.approved ? "Approved." : "Denied.");
  const body = ({ type, data }) => {
    if (type === "chat.answer" && data) return make("p", "text", answered(data));
    if (typeof data === "string") return make("p", "text", data);
    if (data && typeof data === "object")
      for (const field of ["content", "task", "text", "answer"])
        if (typeof data[field] === "string" && data[field]) return make("p", "text", data[field]);
    return make("pre", "text data", JSON.stringify(data, null, 2));
  };

  const toNewest = () => { log.scrollTop = log.scrollHeight; };

  const show = (message) => {
    if (message.sequence <= last) return; // a stream that began anew may overlap with a poll
    last = message.sequence;
    const fromUser = message.sender === "chat-desk", step = STEPS.has(message.type);
    const row = make("article", `message${step ? " step" : ""}${fromUser ? " user" : ""}`);
    const header = make("header");
    header.append(make("span", "", `#${message.sequence}`), make("b", "", fromUser ? (message.data && message.data.by) || "user" : message.sender),
      make("span", "", `to ${message.recipient || "everybody"}`), make("span", "", message.type));
    const time = make("time", "", moment(message.created_at));
    time.dateTime = message.created_at;
    header.append(time);
    row.append(header, body(message));
    row.dataset.sequence = message.sequence;
    log.append(row);
    if (message.type.startsWith("chat.")) find("steps-choice").hidden = false;
    if (log.childElementCount > MOST_SHOWN) {
      log.firstElementChild.remove();
      find("left-out").textContent = `${++removed} earlier messages are not shown any more.`;
      find("left-out").hidden = false;
    }
    find("empty").hidden = true;
    if (follows) toNewest();
    else find("newest").hidden = false;
  };

  // --- how it stands, and what waits for a person ---

  const field = (tag, id, label, name) => {
    const input = make(tag);
    input.id = id;
    input.name = name;
    const text = make("label", "", label);
    text.htmlFor = id;
    return [text, input];
  };

  const ask = (one, action, title, content, buttons) => {
    const row = make("article"), form = make("form", "stack"), secret = make("input");
    row.dataset.id = one.id;
    row.append(make("p", "", title));
    if (content) row.append(make("pre", "content", content));
    if (!live.dataset.page || !token) return row;
    form.method = "post";
    form.action = `${live.dataset.page}${action}`;
    form.dataset.live = "";
    secret.type = "hidden";
    secret.name = token.name;
    secret.value = token.value;
    const options = Array.isArray(one.options) ? one.options : [];
    const chooses = one.purpose === "speaker";
    const [label, input] = field(chooses ? "select" : "textarea", `text-${one.id}`,
      chooses ? "Who speaks next" : one.purpose === "approval" ? "Comment (may be empty)" : "Your answer", "text");
    if (chooses) for (const option of options) input.append(new Option(option, option));
    else {
      input.rows = 2;
      input.maxLength = 50000;
      if (options.length) row.append(make("p", "soft", `Options: ${options.join(", ")}`));
    }
    const bar = make("div", "row");
    for (const [decision, text, className] of buttons) {
      const button = make("button", className, text);
      button.name = "decision";
      button.value = decision;
      bar.append(button);
    }
    const told = make("p", "told");
    told.setAttribute("role", "status");
    form.append(secret, label, input, bar, told);
    row.append(form);
    return row;
  };

  const approval = (one) => {
    const until = one.deadline ? ` (until ${moment(one.deadline)})` : "";
    const yes = { approval: "Approve", input: "Send", speaker: "Choose" }[one.purpose] || "Approve";
    return ask(one, `approvals/${one.id}`, `${one.member ? `${one.member}: ` : ""}${one.question}${until}`, one.content,
      [["approve", yes, ""], ["deny", one.purpose === "approval" ? "Deny" : "Decline", "other"]]);
  };
  const question = (one) => ask(one, `questions/${one.id}`, `${one.from} asks ${one.proxy} (${one.type})`,
    typeof one.data === "string" ? one.data : JSON.stringify(one.data, null, 2), [["approve", "Answer", ""]]);

  const stand = (state) => {
    const status = find("state"), asked = [...(state.approvals || []).map((one) => [one, approval]),
      ...(state.questions || []).map((one) => [one, question])];
    if (state.status) {
      status.textContent = state.status;
      status.className = `state ${state.status}`;
      find("reason").textContent = (state.chat && state.chat.reason) || state.reason || "";
    }
    const waiting = find("waiting"), wanted = new Set(asked.map(([one]) => one.id));
    for (const row of [...waiting.children]) if (!wanted.has(row.dataset.id)) {
      const focused = row.contains(document.activeElement);
      row.remove();
      if (focused) log.focus();
    }
    const shown = new Set([...waiting.children].map((row) => row.dataset.id));
    for (const [one, build] of asked) if (!shown.has(one.id)) waiting.append(build(one)); // what is being typed stays
    if (!asked.length && state.waiting) {
      const note = make("p", "", `${state.waiting} ${state.waiting === 1 ? "answer is" : "answers are"} waited for.`);
      note.dataset.id = "note";
      waiting.append(note);
    }
    find("asked").hidden = !waiting.childElementCount;
    if (state.over) {
      over = true;
      const say = find("say");
      if (say) say.hidden = true;
    }
  };

  // --- reading ---

  const stream = () => {
    source = new EventSource(`${live.dataset.events}?after=${last}`);
    source.addEventListener("open", () => connection("Live."));
    source.addEventListener("message", (event) => show(JSON.parse(event.data)));
    source.addEventListener("state", (event) => stand(JSON.parse(event.data)));
    source.addEventListener("end", () => {
      source.close();
      connection("It is over.");
    });
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) { // refused: all places are taken, or the session is over
        streamAfter = Date.now() + STREAM_AGAIN;
        poll();
      } else connection("The connection is lost; it comes back by itself.");
    });
  };

  const again = (delay) => {
    clearTimeout(timer);
    timer = setTimeout(poll, delay);
  };

  const poll = async () => {
    if (live.dataset.transport === "stream" && Date.now() >= streamAfter) return stream();
    try {
      const response = await fetch(`${live.dataset.poll}?after=${last}`,
        { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(15000) });
      if (response.status === 403 || response.status === 404) {
        connection(response.status === 403 ? "Log in again to go on." : "This page may not be seen any more.");
        return;
      }
      if (!response.ok) throw new Error(String(response.status));
      const answer = await response.json();
      failures = 0;
      answer.messages.forEach(show);
      stand(answer.state);
      if (answer.more) return again(0);
      if (over) return connection("It is over.");
      connection("Live.");
      again(document.hidden ? POLL_HIDDEN : POLL_EVERY);
    } catch {
      connection("The connection is lost; it comes back by itself.");
      again(Math.min(POLL_MOST, POLL_EVERY * 2 ** ++failures));
    }
  };

  // --- acting ---

  const send = async (form, button) => {
    const data = new FormData(form), told = form.querySelector(".told");
    if (button && button.name) data.set(button.name, button.value);
    const buttons = form.querySelectorAll("button");
    buttons.forEach((one) => { one.disabled = true; });
    told.textContent = "";
    try {
      const response = await fetch(form.action,
        { method: "POST", body: data, headers: { Accept: "application/json" }, signal: AbortSignal.timeout(30000) });
      const answer = await response.json().catch(() => ({ detail: "Log in again to go on." }));
      told.textContent = answer.detail;
      told.className = response.ok ? "told" : "told error";
      if (response.ok && find("waiting").contains(form)) connection(answer.detail); // the form goes away
      if (response.ok && form.dataset.keep === undefined) {
        form.querySelectorAll("textarea").forEach((one) => { one.value = ""; });
        const key = form.querySelector("input[name=key]");
        if (key) key.value = crypto.randomUUID ? crypto.randomUUID() : `${Date.now()}-${Math.random()}`;
      }
    } catch {
      told.textContent = "No answer came. Try again: what was done already is not done twice.";
      told.className = "told error";
    }
    buttons.forEach((one) => { one.disabled = false; });
  };

  document.addEventListener("submit", (event) => {
    if (event.target.dataset.live === undefined) return;
    event.preventDefault();
    send(event.target, event.submitter);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.matches("#say-text")) event.target.form.requestSubmit();
  });
  document.addEventListener("visibilitychange", () => { if (!document.hidden && timer && !over) again(0); });
  find("steps").addEventListener("change", (event) => { log.classList.toggle("talk", !event.target.checked); });
  find("newest").addEventListener("click", () => {
    follows = true;
    toNewest();
    log.focus();
  });
  log.addEventListener("scroll", () => {
    follows = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR;
    if (follows) find("newest").hidden = true;
  });
  new ResizeObserver(() => { if (follows) toNewest(); }).observe(log);
  log.classList.add("talk");
  poll();
})();
