"use strict";
(function () {
  const root = document.documentElement;
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const holder = document.getElementById("figures");
  const figures = holder ? JSON.parse(holder.textContent) : [];

  function dark() {
    return root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
  }

  function themed(layout) {
    const ink = dark() ? "#c3cbd6" : "#3b4350";
    const line = dark() ? "#272e38" : "#e3e6eb";
    const merged = Object.assign({}, layout, {
      autosize: true,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, -apple-system, Segoe UI, Roboto, Liberation Sans, Arial, sans-serif", size: 12.5, color: ink },
      margin: { l: 64, r: 24, t: 24, b: 48 },
      hoverlabel: { font: { size: 12.5 } },
      legend: Object.assign({ orientation: "h", y: 1.12, x: 0 }, layout.legend || {}),
    });
    for (const key of Object.keys(layout)) {
      if (/^[xy]axis[0-9]*$/.test(key)) {
        merged[key] = Object.assign({ gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true }, layout[key]);
      }
    }
    return merged;
  }

  function draw() {
    for (const figure of figures) {
      const place = document.getElementById("plot-" + figure.id);
      window.Plotly.react(place, figure.data, themed(figure.layout), { responsive: true, displaylogo: false, displayModeBar: false });
    }
  }

  document.getElementById("theme").addEventListener("click", function () {
    root.dataset.theme = dark() ? "light" : "dark";
    draw();
  });
  system.addEventListener("change", draw);
  draw();
})();
