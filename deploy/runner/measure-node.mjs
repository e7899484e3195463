// The runner for Node: answers the requests of measure.py (see there for the protocol) with onnxruntime-node.
//
//   node measure-node.mjs NODE_MODULES serve    one JSON request a line on stdin, one JSON reply a line on stdout; ends at end of file
//   node measure-node.mjs NODE_MODULES cold     one request, one reply: load and first run in a process that has done nothing before
//
// NODE_MODULES is the folder that holds onnxruntime-node. Nothing is written anywhere.
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Server } from "./measure.mjs";

const [modules, mode] = process.argv.slice(2);
const ort = createRequire(`${modules}/`)("onnxruntime-node");

async function coldHere(server, request) {
  resetPeak();
  const variant = await server.load(request);
  const after = variant.times.load_ns + variant.times.first_run_ns, begin = performance.now(), firstRss = host.rss();
  const most = request.runs ?? 2 * variant.batches.length, seconds = request.seconds ?? 1;
  let runs = 1;
  for (; runs < most && performance.now() - begin < seconds * 1e3; runs++) {
    await variant.opened.run(variant.batches[runs % variant.batches.length]);
  }
  const memory = [["before load", 0, variant.before], ["loaded", variant.times.load_ns, variant.loadedRss]];
  memory.push(["first run", after, firstRss]);
  memory.push([`steady, ${runs} runs`, after + Math.round((performance.now() - begin) * 1e6), host.rss()]);
  return { ...variant.times, before_rss_bytes: variant.before, peak_rss_bytes: peakRss(), memory };
}

// Linux: forget the peak so far. Not maxRSS there: across fork and exec a child inherits its parent's peak.
function resetPeak() {
  try { writeFileSync("/proc/self/clear_refs", "5"); } catch { /* another system */ }
}

function peakRss() {
  try {
    return 1024 * Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync("/proc/self/status", "latin1"))[1]);
  } catch {
    return 1024 * process.resourceUsage().maxRSS;
  }
}

function coldInAChild(request) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [fileURLToPath(import.meta.url), modules, "cold"], { stdio: ["pipe", "pipe", "inherit"] });
    const limit = setTimeout(() => {
      child.kill("SIGKILL");
      const took = `${request.model}: loading and running it did not end within ${request.limit_s ?? 600} s`;
      reject({ kind: "model", message: `${took}; if it is no endless loop, give the measurement more seconds` });
    }, 1e3 * (request.limit_s ?? 600));
    let said = "";
    child.stdout.on("data", (data) => { said += data; });
    child.on("close", (code) => {
      clearTimeout(limit);
      try {
        const reply = JSON.parse(said);
        if (reply.ok) resolve(reply.ok);
        else reject(reply.error);
      } catch {
        reject({ kind: "machine", message: `its process ended with ${code}` });
      }
    });
    child.stdin.end(`${JSON.stringify(request)}\n`);
  });
}

const host = {
  name: "onnxruntime-node",
  providers: ort.listSupportedBackends().filter((backend) => backend.bundled).map((backend) => backend.name),
  version: (ort) => `node ${ort.env.versions.node ?? ort.env.versions.common}`,
  device: () => (
    { machine: os.arch(), system: `${os.type()} ${os.release()}, Node ${process.version}`, cpu: os.cpus()[0]?.model ?? os.arch(), cores: os.cpus().length }
  ),
  read(path) {
    const bytes = readFileSync(path);
    return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  },
  open: (ort, { model, session }) => [model, { intraOpNumThreads: session.threads ?? 1, interOpNumThreads: 1, logSeverityLevel: 3 }],
  usage() {
    const own = process.resourceUsage();
    const busy = os.cpus().reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0);
    return { own_s: (own.userCPUTime + own.systemCPUTime) / 1e6, busy_s: busy / 1e3, involuntary: own.involuntaryContextSwitches };
  },
  rss: () => process.memoryUsage.rss(),
  cold: mode === "cold" ? null : coldInAChild,
};

const server = new Server(ort, host);
if (mode === "cold") server.cold = (request) => coldHere(server, request);
for await (const line of createInterface({ input: process.stdin })) {
  let reply;
  try {
    reply = await server.answer(JSON.parse(line));
  } catch (error) {
    reply = { error: { kind: "request", message: String(error.message ?? error) } };
  }
  process.stdout.write(`${JSON.stringify(reply)}\n`);
}
