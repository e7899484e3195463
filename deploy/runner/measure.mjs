// The runner for JavaScript: answers the requests of measure.py (see there for the protocol) with onnxruntime-web or -node.
//
// `Server` is the same everywhere; a host says how files are read and what the surroundings show. The host of a page is below,
// Node's in measure-node.mjs. A page has no stdin: it asks its server for the next request (GET next) and posts the reply (POST
// reply), until the server is gone. What a host cannot see (memory, other load, temperature, operators, placement) is null or empty.
// A page's cold start is a new session in the same page: the module is compiled already.

const PROTOCOL = 1;
const KINDS = {
  "<f4": ["float32", Float32Array], "<f8": ["float64", Float64Array], "<f2": ["float16", Uint16Array],
  "<i8": ["int64", BigInt64Array], "<i4": ["int32", Int32Array], "<i2": ["int16", Int16Array], "|i1": ["int8", Int8Array],
  "<u8": ["uint64", BigUint64Array], "<u4": ["uint32", Uint32Array], "<u2": ["uint16", Uint16Array], "|u1": ["uint8", Uint8Array],
  "|b1": ["bool", Uint8Array],
};

class Refusal extends Error {
  constructor(kind, message) { super(message); this.kind = kind; }
}

// Read an .npz file as numpy.savez writes it: a zip of entries that are stored, not compressed.
export function readNpz(buffer) {
  const view = new DataView(buffer), text = new TextDecoder();
  let end = buffer.byteLength - 22;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end--;
  if (end < 0) throw new Refusal("request", "not an .npz file");
  const entries = {};
  let at = view.getUint32(end + 16, true);
  for (let left = view.getUint16(end + 10, true); left > 0; left--) {
    const size = view.getUint32(at + 20, true), nameLength = view.getUint16(at + 28, true), local = view.getUint32(at + 42, true);
    const name = text.decode(new Uint8Array(buffer, at + 46, nameLength)).replace(/\.npy$/, "");
    const begin = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    entries[name] = readNpy(buffer.slice(begin, begin + size));
    at += 46 + nameLength + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
  }
  return entries;
}

function readNpy(buffer) {
  const view = new DataView(buffer), wide = view.getUint8(6) > 1;
  const length = wide ? view.getUint32(8, true) : view.getUint16(8, true), begin = wide ? 12 : 10;
  const header = new TextDecoder().decode(new Uint8Array(buffer, begin, length));
  const descr = /'descr': '([^']+)'/.exec(header)[1], dims = /'shape': \(([^)]*)\)/.exec(header)[1];
  if (!KINDS[descr] || /'fortran_order': True/.test(header)) throw new Refusal("request", `arrays of ${descr} cannot be read here`);
  const [dtype, Kind] = KINDS[descr];
  return { dtype, shape: dims.split(",").filter((part) => part.trim()).map(Number), data: new Kind(buffer.slice(begin + length)) };
}

export class Server {
  // ort: the module; host: { name, providers, version(ort), device(), read(path), open(ort, request), usage(), rss(), cold?(request) }.
  constructor(ort, host) { this.ort = ort; this.host = host; this.variants = new Map(); }

  async answer(request) {
    try {
      const command = { hello: 1, state: 1, open: 1, sample: 1, cold: 1, operators: 1, placement: 1, close: 1 }[request.do];
      if (!command) throw new Refusal("request", `not a request that ${this.host.name} answers: ${request.do}`);
      return { ok: await this[request.do](request) };
    } catch (error) {
      return { error: { kind: error.kind ?? "fault", message: String(error.message ?? error).split("\n")[0].slice(0, 300) } };
    }
  }

  async hello() {
    const { host, ort } = this;
    const here = { versions: { onnxruntime: host.version(ort) }, providers: host.providers, device: host.device() };
    return { protocol: PROTOCOL, ...here, overhead_ns: await this.overhead() };
  }

  async overhead() {
    const nothing = async () => {}, samples = [];
    for (let i = 0; i < 200; i++) {
      const begin = performance.now();
      for (let j = 0; j < 100; j++) await nothing();
      samples.push((performance.now() - begin) * 1e4); // ns of one
    }
    return samples.sort((a, b) => a - b)[100];
  }

  state() {
    return { frequency_mhz: null, temperature_c: null, throttle_events: null, battery_percent: null, energy_uj: null };
  }

  async load(request) {
    const { ort, host } = this, provider = request.session.provider;
    if (!host.providers.includes(provider)) {
      throw new Refusal("machine", `provider ${provider} is not in ${host.name} here; it has: ${host.providers.join(", ")}`);
    }
    const batches = [];
    for (const [key, { dtype, shape, data: values }] of Object.entries(readNpz(await host.read(request.inputs)))) {
      const [number, name] = [key.slice(0, key.indexOf("/")), key.slice(key.indexOf("/") + 1)];
      (batches[Number(number)] ??= {})[name] = new ort.Tensor(dtype, values, shape);
    }
    const [source, options] = await host.open(ort, request);
    const before = host.rss(), begin = performance.now();
    let opened;
    try {
      opened = await ort.InferenceSession.create(source, { executionProviders: [provider], ...options });
    } catch (error) {
      throw new Refusal("model", `${request.model}: ${host.name} cannot load it: ${error.message ?? error}`);
    }
    const loaded = performance.now(), loadedRss = host.rss();
    try {
      await opened.run(batches[0]);
    } catch (error) {
      throw new Refusal("model", `${request.model}: ${host.name} cannot run it: ${error.message ?? error}`);
    }
    const times = { load_ns: Math.round((loaded - begin) * 1e6), first_run_ns: Math.round((performance.now() - loaded) * 1e6) };
    return { opened, batches, times, before, loadedRss };
  }

  async open(request) {
    const variant = await this.load(request);
    this.variants.set(request.name, variant);
    return { ...variant.times, batches: variant.batches.length, providers: [request.session.provider], call: "run" };
  }

  async cold(request) {
    if (this.host.cold) return this.host.cold(request);
    const { opened, times } = await this.load(request);
    await opened.release();
    return { ...times, before_rss_bytes: null, peak_rss_bytes: null, memory: [] };
  }

  async sample({ blocks, limit_s: limit = 60 }) {
    const start = performance.now(), before = this.host.usage(), taken = [];
    for (const [name, first, runs] of blocks) {
      const variant = this.variants.get(name);
      if (!variant) throw new Refusal("request", `variant '${name}' is not open`);
      const samples = [];
      for (let run = 0; run < runs; run++) {
        const feeds = variant.batches[(first + run) % variant.batches.length];
        const begin = performance.now();
        await variant.opened.run(feeds);
        samples.push(Math.round((performance.now() - begin) * 1e6));
      }
      taken.push([name, samples]);
      if (performance.now() - start > limit * 1e3) break;
    }
    return { blocks: taken, noise: noiseSince(before, this.host.usage(), (performance.now() - start) / 1e3), state: this.state() };
  }

  operators() { return { runs: 0, operators: [], arena_peak_bytes: null }; }

  placement() { return { partitions: null }; }

  async close({ name }) {
    await this.variants.get(name)?.opened.release();
    this.variants.delete(name);
    return {};
  }
}

// What went on between two usages { own_s, busy_s, involuntary } of a host; null: it does not tell.
function noiseSince(before, after, wall) {
  const noise = { wall_s: wall, own_cpu_s: null, others_cores: null, steal_share: null, involuntary_switches: 0 };
  if (!before || !after) return noise;
  const own = after.own_s - before.own_s, others = Math.max(0, (after.busy_s - before.busy_s - own) / wall);
  return { ...noise, own_cpu_s: own, others_cores: others, involuntary_switches: after.involuntary - before.involuntary };
}

// Serve from inside a page until the server at `base` is gone.
export async function serve(ort, base) {
  const read = async (path) => {
    const reply = await fetch(`${base}/file/${path}`);
    if (!reply.ok) throw new Refusal("request", `${path}: no such file`);
    return reply.arrayBuffer();
  };
  const host = {
    name: "onnxruntime-web",
    providers: ["wasm"],
    version: (ort) => `web ${ort.env.versions.web ?? ort.env.versions.common}`,
    device: () => (
      { machine: "wasm", system: navigator.userAgent, cpu: "as the browser sees it", cores: navigator.hardwareConcurrency }
    ),
    read,
    async open(ort, { model, data = {}, session }) {
      ort.env.wasm.numThreads = session.threads ?? 1;
      const externalData = [];
      for (const [path, from] of Object.entries(data)) externalData.push({ path, data: await read(from) });
      return [await read(model), { externalData }];
    },
    usage: () => null,
    rss: () => null,
  };
  const server = new Server(ort, host);
  for (;;) {
    const reply = await fetch(`${base}/next`);
    if (reply.status !== 200) continue; // nothing asked yet
    const answer = await server.answer(await reply.json());
    await fetch(`${base}/reply`, { method: "POST", body: JSON.stringify(answer) });
  }
}
