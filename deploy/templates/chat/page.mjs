// A page to chat: messages in, pieces of text out. Text is shown as text, never as HTML; ``` makes blocks of code.

const BODY = `
<header>
  <h1 id="name"></h1>
  <button id="fresh" type="button" title="Forget this conversation">New</button>
  <button id="tune" type="button" title="Settings">Settings</button>
</header>
<main id="scroll"><div id="talk" role="log" aria-live="polite"><p id="empty"></p></div></main>
<form id="form">
  <div id="row">
    <textarea id="text" rows="1" placeholder="Message" aria-label="Message" enterkeyhint="send" autofocus></textarea>
    <button id="send">Send</button>
  </div>
</form>
<dialog id="settings">
  <form method="dialog">
    <label>System message<textarea id="system" rows="3"></textarea></label>
    <label id="last">Longest answer, in tokens<input id="most" type="number" min="1" step="1" value="512"></label>
    <button>Close</button>
  </form>
</dialog>`;

const at = (id) => document.getElementById(id);

/**
 * Build the page and answer with `reply(messages, most, signal)`, an async generator of pieces of text that returns how many tokens
 * it made (or null) and throws an AbortError when `signal` stops it.
 *
 * `hint` stands where nothing was said yet; `fields` are more settings: {id, label, and properties of the input}.
 */
export function chat({ name, hint, fields = [], reply }) {
  const history = [];
  let running = null;
  document.title = name;
  document.body.innerHTML = BODY;
  at("name").textContent = name;
  at("empty").textContent = hint;
  for (const { label, ...properties } of fields) {
    const line = Object.assign(document.createElement("label"), { textContent: label });
    line.append(Object.assign(document.createElement("input"), properties));
    at("last").before(line);
  }
  at("tune").onclick = () => at("settings").showModal();
  at("fresh").onclick = () => {
    running?.abort();
    running = null;
    busy(false);
    history.length = 0;
    at("talk").replaceChildren(at("empty"));
    at("empty").hidden = false;
    at("text").focus();
  };
  at("text").oninput = grow;
  at("text").onkeydown = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      at("form").requestSubmit();
    }
  };
  at("form").onsubmit = (event) => {
    event.preventDefault();
    if (running) return running.abort();
    const text = at("text").value.trim();
    if (!text) return;
    at("text").value = "";
    grow();
    ask(text);
  };

  async function ask(text) {
    history.push({ role: "user", content: text });
    turn("user", text);
    const place = turn("assistant", "");
    place.classList.add("waiting");
    const own = new AbortController();
    running = own;
    busy(true);
    let said = "", first = 0, note = "", failed = false;
    const started = performance.now();
    try {
      const system = at("system").value.trim();
      const messages = [...(system ? [{ role: "system", content: system }] : []), ...history];
      const pieces = reply(messages, Number(at("most").value) || 512, own.signal);
      let step = await pieces.next();
      for (; !step.done; step = await pieces.next()) {
        first ||= performance.now();
        said += step.value;
        show(place, said);
        follow(false);
      }
      const end = performance.now(), made = step.value ?? 0;
      const speed = made > 1 && first ? `, ${((made - 1) / ((end - first) / 1000)).toFixed(1)} tokens/s` : "";
      note = `${made} tokens${speed}, first after ${Math.round((first || end) - started)} ms`;
    } catch (error) {
      note = error.name === "AbortError" ? "stopped" : error.message;
      failed = error.name !== "AbortError";
    }
    place.classList.remove("waiting");
    if (place.isConnected) { // else the conversation was forgotten meanwhile
      if (said) history.push({ role: "assistant", content: said });
      else history.pop(); // roles take turns
      if (failed && !said) place.remove();
      turn(failed ? "note bad" : "note", note);
    }
    if (running === own) {
      running = null;
      busy(false);
    }
  }
}

function turn(kind, text) {
  at("empty").hidden = true;
  const made = document.createElement("div");
  made.className = `turn ${kind}`;
  show(made, text);
  at("talk").append(made);
  follow(true);
  return made;
}

function show(place, text) {
  const parts = text.split(/^```.*\n?/m);
  place.replaceChildren(...parts.map((part, index) => {
    if (index % 2 === 0) return document.createTextNode(part);
    const block = document.createElement("pre");
    block.textContent = part.replace(/\n$/, "");
    return block;
  }));
}

function follow(always) {
  const view = at("scroll");
  if (always || view.scrollHeight - view.scrollTop - view.clientHeight < 120) view.scrollTop = view.scrollHeight;
}

function busy(on) {
  at("send").textContent = on ? "Stop" : "Send";
}

function grow() {
  const box = at("text");
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight + 2}px`;
}
