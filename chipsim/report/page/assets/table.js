// A table that can be sorted, filtered and copied as CSV; it holds the numbers of the JSON, unrounded.

const ROWS_SHOWN = 200;

/**
 * columns: {name, number?, value(row), title?}; `go(row)` is called for a row that is clicked.
 * Every cell carries its unrounded value in data-value.
 */
function table(title, columns, rows, go = null) {
  const view = { column: null, falling: false, filter: "", most: ROWS_SHOWN };
  const body = make("tbody"), count = make("span"), head = make("tr");
  const filter = make("input", { type: "search", placeholder: "filter rows", "aria-label": `Filter ${title}`, oninput: () => {
    view.filter = filter.value.toLowerCase();
    draw();
  } });
  const copy = make("button", { type: "button", onclick: () => copyText(csv(), copy) }, "Copy as CSV");
  const more = make("button", { type: "button", onclick: () => { view.most = Infinity; draw(); } });

  columns.forEach((column, number) => {
    const button = make("button", { type: "button", title: column.title, onclick: () => {
      view.falling = view.column === number ? !view.falling : !!column.number;
      view.column = number;
      draw();
    } }, column.name);
    head.append(make("th", { scope: "col", class: column.number ? "number" : null, "aria-sort": "none" }, button));
  });

  function shown() {
    let found = rows;
    if (view.filter) found = found.filter((row) => columns.some((c) => String(c.value(row)).toLowerCase().includes(view.filter)));
    if (view.column !== null) {
      const { value } = columns[view.column];
      const sign = view.falling ? -1 : 1;
      found = [...found].sort((a, b) => sign * compare(value(a), value(b)));
    }
    return found;
  }

  function csv() {
    const lines = shown().map((row) => columns.map((column) => cell(column.value(row))).join(","));
    return [columns.map((column) => cell(column.name)).join(","), ...lines].join("\n") + "\n";
  }

  function draw() {
    const found = shown();
    body.replaceChildren(...found.slice(0, view.most).map((row) => {
      const line = make("tr", go ? { class: "go", tabindex: 0, onclick: () => go(row), onkeydown: (event) => {
        if (event.key === "Enter") go(row);
      } } : {});
      for (const column of columns) {
        const value = column.value(row);
        line.append(make("td", { class: column.number ? "number" : null, "data-value": value ?? "" }, said(value)));
      }
      return line;
    }));
    [...head.children].forEach((cellOf, number) => {
      cellOf.setAttribute("aria-sort", number !== view.column ? "none" : view.falling ? "descending" : "ascending");
    });
    count.textContent = found.length === rows.length ? plural(rows.length, "row") : `${said(found.length)} of ${plural(rows.length, "row")}`;
    more.hidden = found.length <= view.most;
    more.textContent = `Show all ${said(found.length)}`;
  }

  draw();
  const scroll = make("div", { class: "table-scroll", tabindex: 0 }, make("table", {}, make("thead", {}, head), body));
  return make("div", { class: "table-box", "data-table": title },
    make("div", { class: "table-tools" }, make("h3", {}, title), count, filter, copy), scroll, more);
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a ?? "").localeCompare(String(b ?? ""), "en", { numeric: true });
}

/** A field of a CSV file; text that a spreadsheet would run as a formula gets an apostrophe. */
function cell(value) {
  if (typeof value === "number" || value === null || value === undefined) return String(value ?? "");
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

async function copyText(text, button) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make("textarea", {});
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = before; }, 1500);
}
