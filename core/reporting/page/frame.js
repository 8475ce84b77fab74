// What the page can do beyond being read: sort, filter and leaf through tables, choose among charts, copy code, show where one is.
// Without it everything is still there.
"use strict";

const words = new Intl.Collator(undefined, { numeric: true });

function key(cell) {
  if (cell.dataset.key !== undefined) return Number(cell.dataset.key);
  return cell.classList.contains("number") ? NaN : cell.textContent;
}

function compare(one, other, direction) {
  if (typeof one === "string") return direction * words.compare(one, other);
  if (Number.isNaN(one) || Number.isNaN(other)) return Number.isNaN(one) - Number.isNaN(other); // missing: last
  return direction * (one - other);
}

function sortRows(table, column, direction) {
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, (row) => [key(row.cells[column]), row]);
  rows.sort(([one], [other]) => compare(one, other, direction));
  body.replaceChildren(...rows.map(([, row]) => row));
}

function makeSortable(table, sort) {
  const headings = Array.from(table.tHead.rows[0].cells);
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.addEventListener("click", () => {
      const descending = heading.ariaSort ? heading.ariaSort === "ascending" : heading.classList.contains("number");
      for (const other of headings) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sort(column, descending ? -1 : 1);
    });
    heading.append(button);
  });
  table.dataset.sortable = "";
}

function filterRows(table) {
  const rows = Array.from(table.tBodies[0].rows, (row) => [row.textContent.toLowerCase(), row]);
  return (fits) => {
    for (const [text, row] of rows) row.hidden = !fits(text);
    return [rows.filter(([, row]) => !row.hidden).length, rows.length];
  };
}

function makeFilter(holder, table, filter) {
  const bar = document.createElement("p");
  const input = document.createElement("input");
  const found = document.createElement("span");
  bar.className = "filter";
  input.type = "search";
  input.placeholder = "Filter rows";
  input.setAttribute("aria-label", `Filter: ${table.caption.textContent}`);
  found.setAttribute("role", "status");
  input.addEventListener("input", () => {
    const parts = input.value.toLowerCase().split(/\s+/);
    const [shown, all] = filter((text) => parts.every((part) => text.includes(part)));
    found.textContent = input.value ? `${shown} of ${all}` : "";
  });
  bar.append(input, found);
  holder.prepend(bar);
}

// A long table: one page of its rows is in the document, all of them wait as JSON until they are asked for.
function makePaged(holder, table) {
  const body = table.tBodies[0];
  const size = body.rows.length;
  const numbers = Array.from(table.tHead.rows[0].cells, (heading) => heading.classList.contains("number"));
  const bar = holder.querySelector(".pages");
  const shown = bar.firstElementChild;
  const buttons = ["Previous", "Next"].map((name, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(name);
    button.setAttribute("aria-label", `${name} rows: ${table.caption.textContent}`);
    button.addEventListener("click", () => turn(first + (place ? size : -size)));
    return button;
  });
  let all, texts, rows, first = 0, fits = () => true, order = null;

  const packed = (cell) => (typeof cell === "string" ? [cell, null] : cell);
  const cellKey = (cell, column) => (numbers[column] ? packed(cell)[1] ?? NaN : packed(cell)[0]);

  function load() {
    if (all) return;
    all = JSON.parse(holder.querySelector("script").textContent);
    texts = new Map(all.map((row) => [row, row.slice(1).map((cell) => packed(cell)[0]).join(" ").toLowerCase()]));
    rows = all;
  }

  function rowOf([link, ...cells]) {
    const row = document.createElement("tr");
    cells.forEach((cell, column) => {
      const [text, number, classes = numbers[column] ? "number" : ""] = packed(cell);
      const part = document.createElement(column ? "td" : "th");
      if (!column) part.scope = "row";
      if (classes) part.className = classes;
      if (number !== null) part.dataset.key = number;
      if (link && !column) part.append(Object.assign(document.createElement("a"), { href: link, rel: "noopener noreferrer", textContent: text }));
      else part.textContent = text;
      row.append(part);
    });
    return row;
  }

  function turn(start) {
    load();
    first = start;
    body.replaceChildren(...rows.slice(first, first + size).map(rowOf));
    tell(rows.length);
  }

  function tell(count) {
    const last = Math.min(first + size, count);
    shown.textContent = count ? `${first + 1}–${last} of ${count.toLocaleString("en")}` : "none";
    buttons[0].disabled = first === 0;
    buttons[1].disabled = last >= count;
  }

  function arrange() {
    load();
    rows = all.filter((row) => fits(texts.get(row)));
    if (order) {
      const [column, direction] = order;
      rows.sort((one, other) => compare(cellKey(one[column + 1], column), cellKey(other[column + 1], column), direction));
    }
    turn(0);
  }

  bar.replaceChildren(buttons[0], shown, buttons[1]);
  buttons[0].disabled = true;
  return {
    sort: (...by) => { order = by; arrange(); },
    filter: (test) => { fits = test; arrange(); return [rows.length, all.length]; },
  };
}

function makeTable(table) {
  const holder = table.closest(".table");
  const paged = "paged" in holder.dataset && makePaged(holder, table);
  makeSortable(table, paged ? paged.sort : (column, direction) => sortRows(table, column, direction));
  if ("filter" in holder.dataset) makeFilter(holder, table, paged ? paged.filter : filterRows(table));
}

function makeChoice(holder, number) {
  const title = holder.dataset.choice;
  const options = Array.from(holder.children);
  const show = (chosen) => options.forEach((option, place) => (option.hidden = place !== chosen));
  const bar = document.createElement("fieldset");
  const legend = document.createElement("legend");
  bar.className = "choose";
  legend.textContent = title;
  bar.append(legend);
  if (options.length > 4) {
    const list = document.createElement("select");
    list.setAttribute("aria-label", title);
    options.forEach((option, place) => list.append(new Option(option.dataset.name, place)));
    list.addEventListener("change", () => show(Number(list.value)));
    bar.append(list);
  } else {
    options.forEach((option, place) => {
      const label = document.createElement("label");
      const button = document.createElement("input");
      button.type = "radio";
      button.name = `choice-${number}`;
      button.checked = place === 0;
      button.addEventListener("change", () => show(place));
      label.append(button, option.dataset.name);
      bar.append(label);
    });
  }
  holder.prepend(bar);
  show(0);
}

function makeCopyable(holder) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(holder.querySelector("pre").textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  holder.prepend(button);
}

function followSections() {
  const links = new Map(Array.from(document.querySelectorAll("nav a"), (link) => [link.hash.slice(1), link]));
  const visible = new Set();
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) visible[isIntersecting ? "add" : "delete"](target.id);
    let first = true;
    for (const [id, link] of links) {
      const here = first && visible.has(id);
      if (here) first = false;
      if (here) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }, { rootMargin: "-10% 0px -60% 0px" });
  document.querySelectorAll("main > section").forEach((section) => observer.observe(section));
}

function openTarget() {
  // A link into a fold opens it.
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let fold = target && target.closest("details"); fold; fold = fold.parentElement.closest("details")) {
    fold.open = true;
  }
}

document.querySelectorAll("table").forEach(makeTable);
document.querySelectorAll("[data-choice]").forEach(makeChoice);
if (navigator.clipboard) document.querySelectorAll(".listing").forEach(makeCopyable);
followSections();
addEventListener("hashchange", openTarget);
openTarget();
document.documentElement.dataset.ready = "";
