"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;

  // Plotly takes no CSS variables: a hidden element resolves them in the current theme.
  const probe = document.body.appendChild(document.createElement("span"));
  const colour = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };

  // ---- figures are drawn when they are near the window, and again when the theme changes
  const drawn = new Map();
  const waiting = new Map();
  const watcher = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      watcher.unobserve(target);
      drawn.set(target, waiting.get(target));
      drawn.get(target)();
    }
  }, { rootMargin: "600px" });
  const figure = (element, draw) => {
    waiting.set(element, draw);
    watcher.observe(element);
    return () => drawn.get(element)?.();
  };

  // Plotly reads links and other tags in its texts: words that others wrote must have none.
  const plain = (text) => (text === null ? null : String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;"));

  const axis = (title, more = {}) => ({
    title: title ? { text: plain(title), standoff: 8 } : undefined, gridcolor: colour("grid"), zerolinecolor: colour("line"), linecolor: colour("line"),
    automargin: true, fixedrange: true, ...more,
  });
  const plot = (element, traces, x, y, more = {}) => Plotly.react(element, traces, {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("soft") },
    margin: { l: 48, r: 8, t: 10, b: 40 }, xaxis: x, yaxis: y, ...more,
    hoverlabel: { bgcolor: colour("ink"), bordercolor: colour("ink"), font: { color: colour("panel") }, align: "left" },
  }, { displayModeBar: false, responsive: true });

  // ---- figures of a zoo
  for (const panel of document.querySelectorAll("[data-zoo]")) {
    const zoo = data.zoos[panel.dataset.zoo];
    const gap = zoo.train.map((train, i) => (train === null || zoo.test[i] === null ? null : train - zoo.test[i]));
    const quantity = panel.querySelector(".quantity");
    const histogram = (values, fill, size) => ({
      type: "histogram", x: values, xbins: { size }, opacity: 0.72, marker: { color: colour(fill) },
      hovertemplate: "%{x}: %{y} models<extra></extra>",
    });
    const redraws = [];
    for (const element of panel.querySelectorAll(".plot")) {
      const draw = {
        accuracy: () => plot(element, [histogram(zoo.train, "quiet", 0.02), histogram(zoo.test, "accent", 0.02)],
          axis("accuracy"), axis("models"), { barmode: "overlay" }),
        gap: () => plot(element, [histogram(gap, "second", 0.01)], axis("gap"), axis("models")),
        axis: () => {
          const against = zoo.axes[element.dataset.axis];
          const values = quantity.value === "gap" ? gap : zoo.test;
          const fill = colour(quantity.value === "gap" ? "second" : "accent");
          const groups = against.kind === "groups";
          const common = { x: groups ? against.values.map(plain) : against.values, y: values, text: zoo.models.map(plain), hovertemplate: "%{text}<br>%{x}: %{y:.4f}<extra></extra>" };
          const small = { margin: { l: 36, r: 8, t: 10, b: 24 } };
          const y = axis("", { tickformat: ".2~f" });
          if (groups) {
            plot(element, [{
              ...common, type: "box", boxpoints: "all", jitter: 0.6, pointpos: 0, fillcolor: "rgba(0,0,0,0)",
              line: { color: colour("soft"), width: 1.2 }, marker: { color: fill, size: 4, opacity: 0.45 },
            }], axis("", { type: "category", categoryorder: "array", categoryarray: against.groups.map(plain) }), y, small);
          } else {
            plot(element, [{ ...common, type: "scatter", mode: "markers", marker: { color: fill, size: 5, opacity: 0.55 } }],
              axis("", { type: against.kind, ...(against.kind === "log" ? { dtick: 1, tickformat: "~g" } : { nticks: 5 }) }), y, small);
          }
        },
      }[element.dataset.plot];
      redraws.push([element.dataset.plot, figure(element, draw)]);
    }
    quantity.addEventListener("change", () => redraws.forEach(([kind, redraw]) => kind === "axis" && redraw()));
  }

  // ---- boards: predicted against true
  const ranks = (values) => {
    const order = values.map((value, i) => [value, i]).filter(([value]) => value !== null).sort((a, b) => a[0] - b[0]);
    const result = values.map(() => null);
    for (let start = 0, end; start < order.length; start = end) {
      for (end = start; end < order.length && order[end][0] === order[start][0]; end++);
      for (let k = start; k < end; k++) result[order[k][1]] = (start + end + 1) / 2;
    }
    return result;
  };
  for (const section of document.querySelectorAll("[data-board]")) {
    const table = section.querySelector("table");
    if (!table) continue;
    const board = data.boards[section.dataset.board];
    const task = data.tasks[board.task];
    const methods = board.methods.map((place) => task.methods[place]);
    const select = section.querySelector(".method");
    const asRanks = section.querySelector(".ranks");
    const scatter = section.querySelector(".scatter");
    const card = section.querySelector(".card");
    const draw = () => {
      const method = methods[select.value];
      const [x, y] = asRanks.checked ? [ranks(method.prediction), ranks(task.values)] : [method.prediction, task.values];
      const labels = task.models.map((id, i) => `${plain(id)}<br>predicted ${method.prediction[i]}<br>true ${task.values[i]}`);
      const traces = [{
        type: "scatter", mode: "markers", x, y, text: labels, hovertemplate: "%{text}<extra></extra>",
        marker: { color: colour("accent"), size: 8, opacity: 0.62, line: { color: colour("panel"), width: 0.8 } },
      }];
      if (method.on_scale || asRanks.checked) {
        const present = y.filter((value) => value !== null);
        const ends = [Math.min(...present), Math.max(...present)];
        traces.unshift({ type: "scatter", mode: "lines", x: ends, y: ends, hoverinfo: "skip", line: { color: colour("quiet"), width: 1, dash: "dot" } });
      }
      const suffix = asRanks.checked ? ", rank" : "";
      plot(scatter, traces, axis(`prediction${suffix}`), axis(`${task.target}${suffix}`), { margin: { l: 56, r: 12, t: 6, b: 46 } });
    };
    const redraw = figure(scatter, draw);
    const choose = (index) => {
      select.value = index;
      for (const row of table.tBodies[0].rows) {
        const chosenRow = row.dataset.method === String(index);
        row.classList.toggle("chosen", chosenRow);
        row.querySelector(".pick").setAttribute("aria-pressed", chosenRow);
      }
      card.replaceChildren(...methods[index].facts.map(([name, fact]) => {
        const line = document.createElement("div");
        line.append(document.createElement("dt"), document.createElement("dd"));
        line.firstChild.textContent = name;
        line.lastChild.textContent = fact;
        return line;
      }));
      redraw();
    };
    select.addEventListener("change", () => choose(select.value));
    asRanks.addEventListener("change", redraw);
    table.tBodies[0].addEventListener("click", (event) => {
      if (event.target.closest(".pick")) choose(event.target.closest("tr").dataset.method);
    });
    choose((table.querySelector(".leading") ?? table.tBodies[0].rows[0]).dataset.method);

    // ---- sorting: a second click reverses the order; empty cells stay last
    for (const header of table.tHead.querySelectorAll("[data-kind]")) {
      header.querySelector("button").addEventListener("click", () => {
        const opposite = { ascending: "descending", descending: "ascending" };
        const order = header.hasAttribute("aria-sort") ? opposite[header.getAttribute("aria-sort")] : header.dataset.first;
        for (const other of table.tHead.querySelectorAll("[aria-sort]")) other.removeAttribute("aria-sort");
        header.setAttribute("aria-sort", order);
        const value = (row) => row.cells[header.cellIndex].dataset.value;
        const compare = header.dataset.kind === "number" ? (a, b) => a - b : (a, b) => a.localeCompare(b);
        const sorted = [...table.tBodies[0].rows].sort((a, b) => {
          const [left, right] = [value(a), value(b)];
          if (left === "" || right === "") return (left === "") - (right === "");
          return order === "ascending" ? compare(left, right) : compare(right, left);
        });
        table.tBodies[0].append(...sorted);
      });
    }
  }

  // ---- the navigation marks the section on screen
  const links = new Map([...document.querySelectorAll(".side nav a")].map((link) => [link.hash.slice(1), link]));
  const sections = [...links.keys()].map((id) => document.getElementById(id));
  const follow = () => {
    const current = sections.filter((section) => section.getBoundingClientRect().top < innerHeight / 3).at(-1);
    for (const [id, link] of links) {
      if (id === current?.id) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  };
  addEventListener("scroll", follow, { passive: true });
  follow();

  // ---- theme: the system's until the button is clicked
  const system = matchMedia("(prefers-color-scheme: dark)");
  const redrawAll = () => drawn.forEach((redraw) => redraw());
  system.addEventListener("change", redrawAll);
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
    root.dataset.theme = dark ? "light" : "dark";
    redrawAll();
  });
})();
