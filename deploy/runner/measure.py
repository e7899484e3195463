"""What runs ON the device: measures ONNX models with onnxruntime and answers requests in JSON lines.

One file on purpose: copied to a board or a phone it needs Python >= 3.9, numpy and onnxruntime, nothing else. It measures and
describes; it decides nothing. What the samples mean (warm-up, intervals, verdicts) is decided by the caller.

    $ python measure.py serve          one JSON request a line on stdin, one JSON reply a line on stdout; ends at end of file
    $ python measure.py cold           one request, one reply: load and first run in a process that has done nothing before

A request is {"do": NAME, ...}; its reply {"ok": {...}} or {"error": {"kind": "model|machine|request|fault", "message": ...}}.

    hello      -> protocol, versions, providers, device, overhead_ns      what is here
    state      -> frequency, temperature, throttling, battery, energy     what the system shows now (null: not shown)
    open       {name, model, inputs, session} -> load_ns, first_run_ns    load a variant and run it once
    sample     {blocks: [[name, first_batch, runs], ...], limit_s}
               -> blocks: [[name, [ns, ...], [thread ns]], ...], noise    time runs; blocks are run in the order given
    cold       as open, + seconds, limit_s -> load_ns, first_run_ns, memory   the same in a child process, ended after limit_s
    operators  {name, runs} -> runs, operators, arena_peak_bytes, memory  where time and memory go, from onnxruntime's profile
    placement  {name} -> partitions: [{provider, nodes}] or null          what onnxruntime gave to which provider
    outputs    {name} -> path, count                                      write what the model answers to an .npz file
    close      {name}                                                     forget a variant

`inputs` is an .npz file whose entries are called "<batch>/<input name>". `session` is {provider, options, threads, config}.
Nothing is left behind: temporary files live in one folder that goes away at the end, and no process but its own is ended. When
the replies are no longer read (the caller was killed, the connection is lost), it ends at once, even if a model hangs.
"""

from __future__ import annotations

import contextlib
import gc
import glob
import json
import os
import platform
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Tuple

if __name__ == "__main__":  # onnxruntime writes into TMPDIR and ~/.cache when it is imported: let that go away at the end, too
    os.environ["TMPDIR"] = os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="edgeopt-measure-")

import numpy as np
import onnxruntime as ort

with contextlib.suppress(ImportError):  # Windows has none
    import resource

PROTOCOL = 1
Reply = Dict[str, Any]
Call = Callable[[], Any]


class Refusal(Exception):  # noqa: N818  (it is an answer, not a crash)
    """A request that cannot be answered, made of who must act and the message."""


def time_calls(calls: List[Call], clock: Callable[[], int] = time.perf_counter_ns) -> Tuple[List[int], List[int]]:
    """Make each of `calls` once, in order; return the ns each took, and those this thread really had the processor."""
    cpu, samples, own = time.thread_time_ns, [], []
    for call in calls:
        before = cpu()
        begin = clock()
        call()
        end = clock()
        own.append(cpu() - before)
        samples.append(end - begin)
    return samples, own


def overhead_ns(count: int = 2000) -> int:
    """Return the median time of an empty call: what the timing itself adds to every sample."""
    return sorted(time_calls([partial(int)] * count)[0])[count // 2]


class Variant:
    """One loaded model and its calls, one for each batch of inputs."""

    def __init__(self, model: str, batches: List[Dict[str, Any]], session: Reply, extra: Optional[Reply] = None) -> None:
        begin = time.perf_counter_ns()
        self.session = open_session(model, session, extra or {})
        self.load_ns = time.perf_counter_ns() - begin
        self.loaded_rss_bytes = memory_bytes("VmRSS")
        self.batches = batches
        kinds = [value.type for value in [*self.session.get_inputs(), *self.session.get_outputs()]]
        self.bound = all(kind.startswith("tensor(") and "string" not in kind for kind in kinds)
        self.calls = [self._call(batch) for batch in batches]
        try:
            self.first_run_ns = time_calls(self.calls[:1])[0][0]
        except Exception as error:
            raise Refusal("model", f"{model}: onnxruntime {ort.__version__} cannot run it: {_first_line(error)}") from error

    def _call(self, batch: Dict[str, Any]) -> Call:
        """Bind inputs once where tensors allow it: a sample then holds the model and 2 us of call, no conversions."""
        if not self.bound:
            return partial(self.session.run, None, batch)
        binding = self.session.io_binding()
        for name, array in batch.items():
            binding.bind_cpu_input(name, array)
        for value in self.session.get_outputs():
            binding.bind_output(value.name, "cpu")
        return partial(self.session.run_with_iobinding, binding)

    def take(self, first: int, runs: int) -> Tuple[List[int], List[int]]:
        """Time `runs` runs, going round the batches from number `first`."""
        with contextlib.suppress(*((Exception,) if self.bound else ())):
            return time_calls([self.calls[(first + run) % len(self.calls)] for run in range(runs)])
        self.bound = False  # a bound output is refused in its second run where the file is wrong about its shape
        self.calls = [self._call(batch) for batch in self.batches]
        return self.take(first, runs)


def open_session(model: str, session: Reply, extra: Reply) -> Any:
    """Open `model` on the provider that `session` names; `extra` holds attributes of SessionOptions."""
    provider, options = session.get("provider", "CPUExecutionProvider"), ort.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised and said once
    options.intra_op_num_threads = int(session.get("threads", 1))
    options.inter_op_num_threads = 1
    for key, value in session.get("config", {}).items():
        options.add_session_config_entry(key, value)
    for key, value in extra.items():
        setattr(options, key, value)
    if not os.path.isfile(model):
        raise Refusal("model", f"{model}: no such file")
    try:
        opened = _open_plugin(model, session, options) if session.get("plugin") else _open_built_in(model, session, options)
    except Refusal:
        raise
    except Exception as error:
        raise Refusal("model", f"{model}: onnxruntime {ort.__version__} cannot load it: {_first_line(error)}") from error
    if not session.get("plugin") and provider not in opened.get_providers():
        raise Refusal("machine", f"provider {provider} is in this onnxruntime but did not start; its libraries may be missing")
    return opened


def _open_built_in(model: str, session: Reply, options: Any) -> Any:
    provider = session.get("provider", "CPUExecutionProvider")
    if provider not in ort.get_available_providers():
        has = ", ".join(ort.get_available_providers())
        raise Refusal("machine", f"provider {provider} is not in onnxruntime {ort.__version__} here; it has: {has}")
    return ort.InferenceSession(model, options, providers=[(provider, session.get("options", {}))])


def _open_plugin(model: str, session: Reply, options: Any) -> Any:
    """Open on a provider that comes as a library of its own: `plugin` is {module, name}; options may name module functions."""
    plugin = session["plugin"]
    try:
        module = __import__(plugin["module"])
    except ImportError as error:
        raise Refusal("machine", f"module {plugin['module']} is not installed for {sys.executable}") from error
    if all(device.ep_name != plugin["name"] for device in ort.get_ep_devices()):
        ort.register_execution_provider_library(plugin["name"], module.get_library_path())
    devices = [device for device in ort.get_ep_devices() if device.ep_name == plugin["name"]]
    if not devices:
        raise Refusal("machine", f"{plugin['module']} shows no device for {plugin['name']} here")
    values = session.get("options", {}).items()
    called = {key: getattr(module, value[5:])() if value.startswith("call:") else value for key, value in values}
    options.add_provider_for_devices(devices[:1], called)
    return ort.InferenceSession(model, options)


def read_batches(path: str) -> List[Dict[str, Any]]:
    """Read the batches of `path`, whose entries are called "<batch>/<input>"."""
    batches: Dict[int, Dict[str, Any]] = {}
    try:
        with np.load(path, allow_pickle=False) as stored:
            for key in stored.files:
                number, name = key.split("/", 1)
                batches.setdefault(int(number), {})[name] = np.asarray(stored[key], order="C")
    except (OSError, ValueError) as error:
        raise Refusal("request", f"{path}: not a file of batches: {_first_line(error)}") from error
    return [batches[number] for number in sorted(batches)]


def reset_peak() -> None:
    """Forget the peak so far (Linux): what was resident before the load does not count as the model's."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def memory_bytes(field: str) -> Optional[int]:
    """Return this process' "VmHWM" (peak) or "VmRSS" (now); on Linux `ru_maxrss` would hold its parent's peak, too."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            found = re.search(rf"^{field}:\s+(\d+) kB", file.read(), re.MULTILINE)
            return int(found[1]) * 1024 if found else None
    except OSError:
        if field != "VmHWM" or "resource" not in sys.modules:
            return None
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def measure_cold(request: Reply) -> Reply:
    """Load and run a model here; meant for a process that has done nothing else."""
    batches = read_batches(request["inputs"])
    reset_peak()
    before = memory_bytes("VmRSS")
    variant = Variant(request["model"], batches, request.get("session", {}))
    after = variant.load_ns + variant.first_run_ns
    memory = [["before load", 0, before], ["loaded", variant.load_ns, variant.loaded_rss_bytes]]
    memory.append(["first run", after, memory_bytes("VmRSS")])
    begin, runs, stop = time.perf_counter(), 1, float(request.get("seconds", 1.0))
    while runs < int(request.get("runs", 2 * len(variant.calls))) and time.perf_counter() - begin < stop:
        variant.take(runs, 1)
        runs += 1
    memory.append([f"steady, {runs} runs", after + int((time.perf_counter() - begin) * 1e9), memory_bytes("VmRSS")])
    peak = {"before_rss_bytes": before, "peak_rss_bytes": memory_bytes("VmHWM"), "memory": memory}
    return {"load_ns": variant.load_ns, "first_run_ns": variant.first_run_ns, **peak}


def cpu_ticks() -> Optional[Tuple[float, float, float]]:
    """Return (busy, stolen, all) ticks of all cores since boot, where /proc/stat shows them."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            user, nice, system, idle, wait, irq, soft, steal = (float(part) for part in file.readline().split()[1:9])
    except (OSError, ValueError):
        return None
    busy = user + nice + system + irq + soft
    return busy, steal, busy + idle + wait + steal


class Noise:
    """What else went on while runs were timed: other load, stolen time, involuntary switches."""

    def __init__(self) -> None:
        self.begin, self.ticks, self.usage = time.perf_counter(), cpu_ticks(), _usage()

    def seen(self) -> Reply:
        """Return what happened since this was made; null where the system does not tell."""
        usage, ticks, wall_s = _usage(), cpu_ticks(), time.perf_counter() - self.begin
        own_s = usage[0] - self.usage[0]
        seen: Reply = {"wall_s": wall_s, "own_cpu_s": own_s, "others_cores": None, "steal_share": None}
        seen["involuntary_switches"] = usage[1] - self.usage[1]
        if self.ticks and ticks and ticks[2] > self.ticks[2]:
            busy, steal, total = (ticks[field] - self.ticks[field] for field in range(3))
            per_second = total / (os.cpu_count() or 1) / wall_s
            seen["others_cores"] = max(0.0, (busy / per_second - own_s) / wall_s)
            seen["steal_share"] = steal / total
        return seen


def _usage() -> Tuple[float, int]:
    usage = resource.getrusage(resource.RUSAGE_SELF) if "resource" in sys.modules else None
    return time.process_time(), usage.ru_nivcsw if usage else 0


def _read_numbers(pattern: str) -> List[float]:
    numbers = []
    for path in sorted(glob.glob("/sys/" + pattern)):
        with contextlib.suppress(OSError, ValueError), open(path, encoding="ascii") as file:
            numbers.append(float(file.read()))
    return numbers


def device_state() -> Reply:
    """Return what the system shows of frequency, temperature, throttling, battery and energy; null where it does not."""
    patterns = ("devices/system/cpu/cpu*/cpufreq/scaling_cur_freq", "class/thermal/thermal_zone*/temp")
    mhz, celsius = (max(numbers) / 1e3 if numbers else None for numbers in map(_read_numbers, patterns))
    patterns = ("devices/system/cpu/cpu*/thermal_throttle/core_throttle_count", "class/powercap/intel-rapl:?/energy_uj")
    events, energy_uj = (sum(numbers) if numbers else None for numbers in map(_read_numbers, patterns))
    state: Reply = {"frequency_mhz": mhz, "temperature_c": celsius, "throttle_events": events, "energy_uj": energy_uj}
    battery = _read_numbers("class/power_supply/*/capacity")
    return {**state, "battery_percent": min(battery) if battery else None}


def device_facts() -> Reply:
    """Return what this device is."""
    text = ""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        text = file.read()
    model = re.search(r"^(?:model name|Hardware|Processor)\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    memory = None
    with contextlib.suppress(AttributeError, ValueError, OSError):
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    facts = {"machine": platform.machine(), "system": f"{platform.system()} {platform.release()}", "cores": os.cpu_count()}
    cpu = model[1].strip() if model else platform.processor() or platform.machine()
    return {**facts, "cpu": cpu, "cpu_flags": sorted(flags[1].split()) if flags else [], "memory_bytes": memory}


def read_profile(path: str) -> Reply:
    """Sum onnxruntime's profile by node and shapes, us per run; the first run does not count.

    A node that holds a subgraph (If, Loop) counts without what ran inside it. `memory` is the arena of the first run, which
    still takes and gives back piece by piece (later ones take one block): [node, op, us since the run began, bytes at its end].
    """
    with open(path, encoding="utf-8") as file:
        trace = json.load(file)
    passes = sorted(event["ts"] + event["dur"] for event in trace if event.get("name") == "model_run")
    events = [event for event in trace if str(event.get("name", "")).endswith("_kernel_time")]
    arena = max([int(event["args"].get("mem_in_use_peak", 0)) for event in events] or [0])
    events.sort(key=lambda event: (event["ts"], -event["dur"]))
    memory = _held([event for event in events if event["ts"] < passes[0]])
    events = [event for event in events if event["ts"] >= passes[0]]
    nodes: Dict[str, Reply] = {}
    around: List[Tuple[float, Reply]] = []
    for event in events:
        node = _node(event)
        node = nodes.setdefault(json.dumps(node), {**node, "calls": 0, "us": 0.0})
        node["calls"] += 1
        node["us"] += event["dur"]
        while around and around[-1][0] <= event["ts"]:
            around.pop()
        if around:
            around[-1][1]["us"] -= event["dur"]
        around.append((event["ts"] + event["dur"], node))
    runs = len(passes) - 1
    for node in nodes.values():
        node["us"] = max(0.0, node["us"] / runs)
        node["calls"] /= runs
    return {"runs": runs, "operators": list(nodes.values()), "arena_peak_bytes": arena, "memory": memory}


def _held(events: List[Reply]) -> List[List[Any]]:
    held = []
    for event in sorted(events, key=lambda event: event["ts"] + event["dur"]):
        facts, end = event["args"], event["ts"] + event["dur"] - events[0]["ts"]
        if "mem_bytes_in_use" in facts:  # a provider with an arena
            held.append([event["name"][: -len("_kernel_time")], facts["op_name"], end, int(facts["mem_bytes_in_use"])])
    return held


def _node(event: Reply) -> Reply:
    facts = event["args"]
    node = {"name": event["name"][: -len("_kernel_time")], "op": facts["op_name"], "provider": facts.get("provider", "")}
    for ends in ("input", "output"):
        shapes = facts.get(ends + "_type_shape", [])
        node[ends + "s"] = [[dtype, shape] for entry in shapes for dtype, shape in entry.items()]
    return {**node, "bytes": sum(int(facts.get(f"{kind}_size", 0)) for kind in ("parameter", "activation", "output"))}


def hello() -> Reply:
    """Say what is here."""
    versions = {"python": platform.python_version(), "numpy": np.__version__, "onnxruntime": ort.__version__}
    here = {"protocol": PROTOCOL, "versions": versions, "providers": ort.get_available_providers()}
    return {**here, "device": device_facts(), "overhead_ns": overhead_ns()}


class Server:
    """Answers requests; holds the open variants and one temporary folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.variants: Dict[str, Variant] = {}
        self.requests: Dict[str, Reply] = {}
        self.commands: Dict[str, Callable[[Reply], Reply]] = {"hello": lambda _: hello(), "state": lambda _: device_state()}
        for own in (self.open, self.sample, self.cold, self.operators, self.placement, self.outputs, self.close):
            self.commands[own.__name__] = own

    def answer(self, line: str) -> Reply:
        """Answer one line; whatever goes wrong becomes an error reply."""
        try:
            request = json.loads(line)
            command = self.commands.get(str(request.get("do"))) if isinstance(request, dict) else None
            if command is None:
                raise Refusal("request", f"not a request: {line[:80].strip()!r}; known: {', '.join(self.commands)}")
            return {"ok": command(request)}
        except Refusal as refusal:
            return {"error": {"kind": refusal.args[0], "message": refusal.args[1]}}
        except (json.JSONDecodeError, KeyError) as error:
            return {"error": {"kind": "request", "message": f"{type(error).__name__}: {error} in {line[:80].strip()!r}"}}
        except Exception as error:  # noqa: BLE001  (a server answers; it does not die of one request)
            return {"error": {"kind": "fault", "message": f"{type(error).__name__}: {_first_line(error)}"}}

    def open(self, request: Reply) -> Reply:
        """Load a variant and run it once."""
        variant = Variant(request["model"], read_batches(request["inputs"]), request.get("session", {}))
        self.variants[request["name"]] = variant
        self.requests[request["name"]] = request
        how = {"providers": variant.session.get_providers(), "call": "io_binding" if variant.bound else "run"}
        return {"load_ns": variant.load_ns, "first_run_ns": variant.first_run_ns, "batches": len(variant.batches), **how}

    def _variant(self, name: str) -> Variant:
        if name not in self.variants:
            raise Refusal("request", f"variant {name!r} is not open; open: {', '.join(self.variants) or 'none'}")
        return self.variants[name]

    def sample(self, request: Reply) -> Reply:
        """Time blocks of runs in the order given; stop between blocks once `limit_s` is over."""
        plan = [(name, self._variant(name), first, runs) for name, first, runs in request["blocks"]]
        stop = time.perf_counter() + float(request.get("limit_s", 60.0))
        noise = Noise()
        taken = []
        gc.disable()
        try:
            for name, variant, first, runs in plan:
                taken.append([name, *variant.take(first, runs)])
                if time.perf_counter() > stop:
                    break
        finally:
            gc.enable()
        return {"blocks": taken, "noise": noise.seen(), "state": device_state()}

    def cold(self, request: Reply) -> Reply:
        """Load and run in a child process, which has nothing in memory and no warm caches of its own."""
        command, limit = [sys.executable, os.path.abspath(__file__), "cold"], float(request.get("limit_s", 600.0))
        try:
            child = subprocess.run(command, input=json.dumps(request).encode(), capture_output=True, timeout=limit, check=False)
            reply: Reply = json.loads(child.stdout)
        except subprocess.TimeoutExpired as error:
            took = f"{request['model']}: loading and running it did not end within {limit:.0f} s"
            raise Refusal("model", f"{took}; if it is no endless loop, give the measurement more seconds") from error
        except (ValueError, RecursionError) as error:
            said = child.stderr.decode(errors="replace").strip()[-200:]
            raise Refusal("machine", f"its process ended with {child.returncode}: {said}") from error
        if "error" in reply:
            raise Refusal(reply["error"]["kind"], reply["error"]["message"])
        return reply["ok"]  # type: ignore[no-any-return]

    def operators(self, request: Reply) -> Reply:
        """Run with onnxruntime's profiler on, in a session of its own, since profiling costs time."""
        opened, batches = self.requests[request["name"]], self._variant(request["name"]).batches
        extra = {"enable_profiling": True, "profile_file_prefix": os.path.join(self.folder, "profile")}
        profiled = Variant(opened["model"], batches, opened.get("session", {}), extra)
        profiled.take(0, int(request["runs"]))
        path = profiled.session.end_profiling()
        told = read_profile(path)
        os.remove(path)
        return told

    def placement(self, request: Reply) -> Reply:
        """Say which node went to which provider, as onnxruntime decided when it loaded the model."""
        opened, record = self.requests[request["name"]], {"session.record_ep_graph_assignment_info": "1"}
        session = opened.get("session", {})
        loaded = open_session(opened["model"], {**session, "config": {**session.get("config", {}), **record}}, {})
        parts = getattr(loaded, "get_provider_graph_assignment_info", lambda: None)()
        if parts is None:  # an onnxruntime that does not tell
            return {"partitions": None}
        told = [{"provider": part.ep_name, "nodes": [[node.name, node.op_type] for node in part.get_nodes()]} for part in parts]
        return {"partitions": told}

    def outputs(self, request: Reply) -> Reply:
        """Write the model's answers to all batches, entries called "<batch>/<output name>"."""
        variant = self._variant(request["name"])
        names = [value.name for value in variant.session.get_outputs()]
        answers = {}
        for number, batch in enumerate(variant.batches):
            for place, array in enumerate(variant.session.run(names, batch)):
                if isinstance(array, np.ndarray) and array.dtype != object:
                    answers[f"{number}/{names[place]}"] = array
        path = os.path.join(self.folder, f"outputs-{len(os.listdir(self.folder))}.npz")
        np.savez(path, **answers)  # type: ignore[arg-type]
        return {"path": path, "count": len(answers)}

    def close(self, request: Reply) -> Reply:
        """Forget a variant."""
        self.variants.pop(request["name"], None)
        self.requests.pop(request["name"], None)
        gc.collect()
        return {}


def _first_line(error: BaseException) -> str:
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from \S+ failed:)?", "", str(error))
    return text.split("\n", 1)[0][:300]


def end_when_alone(replies: int, folder: str) -> None:
    """End this process once `replies` has no reader: a model may be running, which no exception would interrupt."""
    if hasattr(select, "poll") and sys.platform != "darwin":  # where poll tells that the other end of a pipe is gone
        watch = select.poll()
        watch.register(replies, 0)
        watch.poll()
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)


def main(arguments: List[str]) -> int:
    """Serve requests until end of file, or answer one cold request."""
    if arguments not in (["serve"], ["cold"]):
        print(__doc__, file=sys.stderr)
        return 2
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the temporary folder goes away
    os.dup2(2, 1)  # libraries that print must not break the protocol
    server = Server(os.environ["TMPDIR"])
    threading.Thread(target=end_when_alone, args=(replies.fileno(), server.folder), daemon=True).start()
    server.commands = {"cold": measure_cold} if arguments == ["cold"] else server.commands
    try:
        for line in sys.stdin:
            replies.write(json.dumps(server.answer(line)) + "\n")
            replies.flush()
    except (BrokenPipeError, KeyboardInterrupt):
        return 1
    finally:
        shutil.rmtree(server.folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
