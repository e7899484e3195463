// The page: an image, a sentence or a sound goes in, the answer and its latency come out.
//
//     show({name, task, kind, pair, rate}, async (raw) => ({answer, milliseconds}))
//
// `raw` is a text, two texts, or a Blob (an image, a recording as .wav, arrays).

const COLOURS = ["#ff4d4f", "#2f9e44", "#1971c2", "#e8590c", "#9c36b5", "#0c8599", "#f08c00", "#5c940d"];

/** Build the page in <main> and answer with `predict` whatever the user gives. */
export function show({ name, task, kind, pair, rate }, predict) {
  const main = document.querySelector("main");
  document.title = name;
  main.replaceChildren(element("h1", { textContent: name }), element("p", { className: "soft", textContent: task }));
  const card = element("section", { className: "card" });
  const result = element("section", { className: "card", hidden: true, ariaLive: "polite" });
  main.append(card, result);
  let busy = false;
  const answer = async (raw, view) => {
    if (busy) return;
    busy = true;
    try {
      const start = performance.now();
      const { answer: found, milliseconds } = await predict(raw);
      result.replaceChildren(...lines(found, raw, view), element("p", { className: "soft", id: "latency",
        textContent: `${(milliseconds ?? performance.now() - start).toFixed(1)} ms` }));
    } catch (error) {
      result.replaceChildren(element("p", { className: "error", textContent: error.message }));
    } finally {
      result.hidden = false;
      busy = false;
    }
  };
  ({ image: images, audio: sounds, text: texts }[kind] ?? arrays)(card, answer, { pair, rate });
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function chooser(accept, label, take) {
  const input = element("input", { type: "file", accept, hidden: true });
  input.addEventListener("change", () => input.files[0] && take(input.files[0]));
  const button = element("button", { textContent: label, className: "main" });
  button.addEventListener("click", () => input.click());
  const drop = element("div", { className: "drop" }, "Drop a file here, or");
  drop.append(element("div", { style: "margin-top:.5rem" }, button), input);
  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
  return drop;
}

function images(card, answer) {
  const canvas = element("canvas", { hidden: true });
  const video = element("video", { hidden: true, playsInline: true, muted: true });
  const take = async (blob) => {
    let bitmap;
    try {
      bitmap = await createImageBitmap(blob);
    } catch {
      return answer(blob, null); // the answer is the error
    }
    Object.assign(canvas, { width: bitmap.width, height: bitmap.height, hidden: false });
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    return answer(blob, canvas);
  };
  const camera = element("button", { textContent: "Camera" });
  let stream = null;
  camera.addEventListener("click", async () => {
    if (stream) {
      stream.getTracks().forEach((track) => track.stop());
      stream = null;
      camera.textContent = "Camera";
      return;
    }
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch (error) {
      alert(`No camera: ${error.message}`);
      return;
    }
    camera.textContent = "Stop";
    video.srcObject = stream;
    await video.play();
    const frame = new OffscreenCanvas(video.videoWidth, video.videoHeight);
    while (stream) {
      frame.getContext("2d").drawImage(video, 0, 0);
      await take(await frame.convertToBlob({ type: "image/png" }));
      await new Promise(requestAnimationFrame);
    }
  });
  card.append(canvas, video, chooser("image/*", "Choose an image", take), element("div", { className: "row" }, camera));
}

function texts(card, answer, { pair }) {
  const fields = (pair ? ["First text", "Second text"] : ["Type a sentence"]).map((placeholder) => element("textarea", { placeholder }));
  const go = element("button", { textContent: "Answer", className: "main" });
  go.addEventListener("click", () => answer(pair ? fields.map((field) => field.value) : fields[0].value, null));
  for (const field of fields) {
    field.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) go.click(); });
  }
  card.append(...fields, element("div", { className: "row" }, go));
}

function sounds(card, answer, { rate }) {
  const record = element("button", { textContent: "Record" });
  let stop = null;
  record.addEventListener("click", async () => {
    if (stop) return stop();
    try {
      stop = await recorder(rate, (blob) => { stop = null; record.textContent = "Record"; answer(blob, null); });
      record.textContent = "Stop";
    } catch (error) {
      alert(`No microphone: ${error.message}`);
    }
  });
  card.append(chooser("audio/wav,.wav", "Choose a .wav", (blob) => answer(blob, null)), element("div", { className: "row" }, record));
}

async function recorder(rate, done) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const context = new AudioContext({ sampleRate: rate || 16000 });
  const code = "registerProcessor('tap', class extends AudioWorkletProcessor { process([[x]]) { if (x) this.port.postMessage(x.slice()); return true; } });";
  await context.audioWorklet.addModule(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
  const parts = [];
  const tap = new AudioWorkletNode(context, "tap");
  tap.port.onmessage = (event) => parts.push(event.data);
  context.createMediaStreamSource(stream).connect(tap);
  return () => {
    stream.getTracks().forEach((track) => track.stop());
    context.close();
    done(wav(parts, context.sampleRate));
  };
}

function wav(parts, rate) {
  const count = parts.reduce((sum, part) => sum + part.length, 0);
  const view = new DataView(new ArrayBuffer(44 + 2 * count));
  const word = (at, text) => [...text].forEach((char, k) => view.setUint8(at + k, char.charCodeAt(0)));
  word(0, "RIFF"); view.setUint32(4, 36 + 2 * count, true); word(8, "WAVEfmt "); view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); view.setUint16(22, 1, true); view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true); view.setUint16(34, 16, true); word(36, "data"); view.setUint32(40, 2 * count, true);
  let at = 44;
  for (const part of parts) for (const value of part) { view.setInt16(at, Math.max(-1, Math.min(1, value)) * 32767, true); at += 2; }
  return new Blob([view], { type: "audio/wav" });
}

function arrays(card, answer) {
  card.append(chooser(".npy,.npz", "Choose arrays (.npy, .npz)", (blob) => answer(blob, null)));
}

/** Return the elements that show an answer; boxes are drawn on the image. */
function lines(answer, raw, canvas) {
  switch (answer.kind) {
    case "classes":
    case "labels":
      return answer.classes.length ? answer.classes.map(({ label, score }) => bar(label, score)) : [element("p", { textContent: "none" })];
    case "boxes":
      if (canvas) draw(canvas, answer);
      return answer.boxes.length ? answer.boxes.map(({ label, score }) => bar(label, score)) : [element("p", { textContent: "nothing found" })];
    case "spans":
      return [spans(answer, raw)];
    case "text":
    case "answer":
      return [element("p", { textContent: answer.text || "no answer" })];
    case "segmentation":
      if (canvas) paint(canvas, answer);
      return answer.classes.map(({ label, share }) => bar(label, share));
    case "embedding":
      return [element("pre", { textContent: `${answer.vector.length} numbers\n${answer.vector.slice(0, 16).map((x) => x.toFixed(4)).join(" ")} …` })];
    case "value":
      return Object.entries(answer.values).map(([key, value]) => element("p", { textContent: `${key}: ${JSON.stringify(value)}` }));
    default:
      return Object.entries(answer.arrays).map(([key, { dtype, shape, values }]) =>
        element("pre", { textContent: `${key}: ${dtype} [${shape}] ${values.slice(0, 12).map((x) => Number(x).toPrecision(4)).join(" ")}` }));
  }
}

function bar(label, score) {
  const width = `${Math.max(0, Math.min(1, score)) * 100}%`;
  return element("div", { className: "bar" }, element("b", { textContent: label }), element("span", { textContent: `${(100 * score).toFixed(1)} %` }),
    element("i", { style: `width:${width}` }));
}

function spans(answer, raw) {
  const text = [...(Array.isArray(raw) ? raw[raw.length - 1] : raw)]; // positions count characters, not UTF-16 units
  const line = element("p");
  let at = 0;
  for (const { label, start, end } of answer.spans) {
    line.append(text.slice(at, start).join(""), element("mark", {}, text.slice(start, end).join(""), element("small", { textContent: label })));
    at = end;
  }
  line.append(text.slice(at).join(""));
  return line;
}

function draw(canvas, { size, boxes }) {
  const pen = canvas.getContext("2d");
  const [across, down] = [canvas.width / size[0], canvas.height / size[1]];
  const thick = Math.max(2, canvas.width / 250);
  pen.font = `${Math.max(12, canvas.width / 45)}px system-ui, sans-serif`;
  for (const { label, index, score, box } of boxes) {
    const [x0, y0, x1, y1] = [box[0] * across, box[1] * down, box[2] * across, box[3] * down];
    pen.strokeStyle = pen.fillStyle = COLOURS[index % COLOURS.length];
    pen.lineWidth = thick;
    pen.strokeRect(x0, y0, x1 - x0, y1 - y0);
    const text = `${label} ${(100 * score).toFixed(0)} %`;
    const high = Math.max(16, canvas.width / 34);
    pen.fillRect(x0, Math.max(0, y0 - high), pen.measureText(text).width + 8, high);
    pen.fillStyle = "#fff";
    pen.fillText(text, x0 + 4, Math.max(0, y0 - high) + high * 0.75);
  }
}

function paint(canvas, { size, mask }) {
  const layer = new OffscreenCanvas(size[0], size[1]);
  const image = new ImageData(size[0], size[1]);
  let at = 0;
  for (const [index, count] of mask) {
    const [red, green, blue] = [1, 3, 5].map((k) => parseInt(COLOURS[index % COLOURS.length].slice(k, k + 2), 16));
    for (let k = 0; k < count; k += 1, at += 4) image.data.set([red, green, blue, 130], at);
  }
  layer.getContext("2d").putImageData(image, 0, 0);
  canvas.getContext("2d").drawImage(layer, 0, 0, canvas.width, canvas.height);
}
