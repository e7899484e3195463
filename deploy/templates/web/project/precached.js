// What the page needs beside the bundle; sw.js keeps it.
self.PRECACHED = ["./", "index.html", "app.mjs", "offline.mjs", "audio.mjs", "bundle.mjs", "decoding.mjs", "images.mjs", "inference.mjs", "text.mjs", "tokenizer.mjs", "ui.mjs", "ui.css",
  "app.webmanifest", "ort/ort.wasm.min.mjs", "ort/ort-wasm-simd-threaded.mjs", "ort/ort-wasm-simd-threaded.wasm"];
