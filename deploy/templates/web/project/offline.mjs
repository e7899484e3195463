// The service worker, which keeps the page for times without a network; and what a test of the page reports to server.py.

/** Let sw.js keep the page; return "ready", or why it does not. */
export async function keepOffline() {
  if (!("serviceWorker" in navigator)) return "no service worker";
  try {
    await navigator.serviceWorker.register("sw.js");
    const { active } = await navigator.serviceWorker.ready;
    return active ? "ready" : "not active";
  } catch (error) {
    return error.message;
  }
}

/** Say what the golden answers gave, {count, problems}: in the title, and to server.py where it asked (?golden). */
export async function report(values) {
  document.title = values.problems.length ? "failed" : "passed";
  const controlled = Boolean(navigator.serviceWorker?.controller);
  if (new URLSearchParams(location.search).has("golden")) await fetch("/result", { method: "POST", body: JSON.stringify({ ...values, controlled }) });
}
