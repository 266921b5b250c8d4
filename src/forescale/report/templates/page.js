"use strict";
(() => {
  const themes = JSON.parse(document.getElementById("themes").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  const between = (anchors, at) => {
    const position = Math.min(Math.max(at, 0), 1) * (anchors.length - 1);
    const low = Math.min(Math.floor(position), anchors.length - 2), share = position - low;
    return "#" + [1, 3, 5].map((i) => Math.round((1 - share) * parseInt(anchors[low].slice(i, i + 2), 16)
      + share * parseInt(anchors[low + 1].slice(i, i + 2), 16)).toString(16).padStart(2, "0")).join("");
  };

  // Colour tokens, as report/colours.py resolves them.
  const colour = (token, theme) => {
    const [name, alpha] = token.slice(1).split("/");
    if (name.startsWith("heat")) return theme.heat[Number(name.slice(4))];
    let hex = theme[name];
    if (name.includes(":")) {
      const [place, of] = name.split(":").map(Number);
      hex = between(theme.order, place / Math.max(1, of - 1));
    }
    if (!alpha) return hex;
    return `rgba(${[1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)).join(",")},${alpha})`;
  };

  const coloured = (value, theme) => {
    if (Array.isArray(value)) return value.map((v) => coloured(v, theme));
    if (value && typeof value === "object")
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, coloured(v, theme)]));
    return typeof value === "string" && value.startsWith("@") ? colour(value, theme) : value;
  };

  const show = (id) => {
    const row = document.getElementById(id);
    if (!row) return false;
    for (let up = row.parentElement; up; up = up.parentElement) if (up.tagName === "DETAILS") up.open = true;
    row.scrollIntoView({ block: "center" });
    document.querySelectorAll("tr.found").forEach((old) => old.classList.remove("found"));
    row.classList.add("found");
    return true;
  };
  const rows = new Map([...document.querySelectorAll("tr[id]")].map((row) => [row.cells[0].textContent.trim(), row.id]));

  const draw = (figure) => {
    const plot = figure.querySelector(".plot");
    const { data, layout } = coloured(JSON.parse(figure.querySelector("script").textContent),
      themes[dark.matches ? "dark" : "light"]);
    layout.font.family = getComputedStyle(document.body).fontFamily;
    // Printed cells that would overlap are left to hover and to the table.
    for (const trace of data) if (trace.type === "heatmap" && plot.clientWidth < 62 * trace.x.length) delete trace.texttemplate;
    if (plot.clientWidth < 480) layout.legend.font.size = 11;
    Plotly.react(plot, data, layout, { responsive: true, displaylogo: false, displayModeBar: window.matchMedia("(hover: hover)").matches ? "hover" : false,
      modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"],
      toImageButtonOptions: { format: "svg", filename: figure.id } });
    if (plot.dataset.ready) return;
    plot.dataset.ready = "1";
    plot.on("plotly_click", (event) => {
      const named = event.points[0].customdata;
      const id = typeof named === "string" && rows.get(named.replace(/^run /, ""));
      if (id && show(id)) history.replaceState(null, "", "#" + id);
    });
  };
  const figures = [...document.querySelectorAll("figure")];
  const drawAll = (left) => { if (left.length) { draw(left[0]); setTimeout(() => drawAll(left.slice(1)), 0); } };
  drawAll(figures);
  dark.addEventListener("change", () => drawAll(figures));

  const follow = () => { const id = decodeURIComponent(location.hash.slice(1)); if (id.startsWith("run-")) show(id); };
  window.addEventListener("hashchange", follow);
  follow();

  document.querySelectorAll("button.copy").forEach((button) => button.addEventListener("click", async () => {
    const text = button.dataset.copy;
    try { await navigator.clipboard.writeText(text); } catch {
      // Files opened from disk may have no clipboard: the old way still works there.
      const area = document.createElement("textarea");
      area.value = text; document.body.append(area); area.select(); document.execCommand("copy"); area.remove();
    }
    const words = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = words; }, 1200);
  }));

  const scale = { K: 1e3, M: 1e6, B: 1e9, T: 1e12 };
  const numeric = (text) => {
    const match = text.replaceAll(",", "").replace("−", "-").match(/^-?[\d.]+(e-?\d+)?/);
    const unit = text.match(/ ([KMBT])$/);
    return match ? Number(match[0]) * (unit ? scale[unit[1]] : 1) : NaN;
  };
  document.querySelectorAll("table.sortable th button").forEach((button) => button.addEventListener("click", () => {
    const head = button.parentElement, body = head.closest("table").tBodies[0], up = head.ariaSort !== "ascending";
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = (row) => row.cells[head.cellIndex].textContent.trim();
    const order = (a, b) => {
      const [x, y] = [numeric(key(a)), numeric(key(b))];
      const by = head.classList.contains("words") || isNaN(x) || isNaN(y) ? key(a).localeCompare(key(b), "en", { numeric: true }) : x - y;
      return up ? by : -by;
    };
    body.append(...[...body.rows].sort(order));
  }));

  // The section being read is marked in the list.
  const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.getAttribute("href").slice(1), a]));
  const watch = new IntersectionObserver((seen) => {
    for (const one of seen) if (one.isIntersecting) {
      links.forEach((a) => a.removeAttribute("aria-current"));
      links.get(one.target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-20% 0px -70% 0px" });
  document.querySelectorAll("main > section").forEach((section) => watch.observe(section));
})();
