// What the page needs beside the bundle, and the golden sources in it; sw.js keeps them.
self.PRECACHED = ["./", "index.html", "app.mjs", "offline.mjs", "audio.mjs", "bundle.mjs", "generate.mjs", "inference.mjs", "text.mjs", "tokenizer.mjs", "ui.mjs", "ui.css",
  "app.webmanifest", "bundle/golden.npz", "ort/ort.wasm.min.mjs", "ort/ort-wasm-simd-threaded.mjs", "ort/ort-wasm-simd-threaded.wasm"];
