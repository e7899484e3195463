// MODEL THREADS PROMPT STEPS SEED: one measurement of llama.cpp (node-llama-cpp), as JSON; run in a folder that has the package.
import {getLlama, LlamaLogLevel} from "node-llama-cpp";

const [modelPath, ...numbers] = process.argv.slice(2);
const [threads, prompt, steps, seed] = numbers.map(Number);
const llama = await getLlama({gpu: false, build: "never", logLevel: LlamaLogLevel.error});
const model = await llama.loadModel({modelPath, gpuLayers: 0});
let state = seed * 7919 + 1;
const draw = () => 5 + (state = (state * 48271) % 2147483647) % 40000;

async function run(length, count) {
    const context = await model.createContext({contextSize: length + count + 8, threads, batchSize: Math.max(length, 16)});
    const sequence = context.getSequence();
    const tokens = Array.from({length}, draw);
    const start = performance.now();
    let first, made = 0;
    for await (const _ of sequence.evaluate(tokens, {temperature: 0, yieldEogToken: true})) {
        if (first === undefined) first = performance.now();
        else made += 1;
        if (made === count) break;
    }
    const end = performance.now();
    await context.dispose();
    return {prefill_s: (first - start) / 1000, decode_s: (end - first) / 1000, steps: made};
}

await run(16, 3);
const found = await run(prompt, steps);
console.log(JSON.stringify({...found, rss: process.resourceUsage().maxRSS * 1024}));
process.exit(0);
