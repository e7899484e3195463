// What the page needs beside the bundle; sw.js keeps it.
self.PRECACHED = ["./", "index.html", "app.mjs", "offline.mjs", "worker.mjs", "generate.mjs", "template.mjs", "text.mjs", "tokenizer.mjs", "bundle.mjs", "page.mjs", "page.css",
  "app.webmanifest", "ort/jinja.mjs", "ort/ort.wasm.min.mjs", "ort/ort-wasm-simd-threaded.mjs", "ort/ort-wasm-simd-threaded.wasm"];
