// What the page can do beyond being read: sort and filter tables, choose among charts, copy code, show where one is.
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

function sort(table, heading, column) {
  const descending = heading.ariaSort ? heading.ariaSort === "ascending" : heading.classList.contains("number");
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, (row) => [key(row.cells[column]), row]);
  rows.sort(([one], [other]) => compare(one, other, descending ? -1 : 1));
  body.replaceChildren(...rows.map(([, row]) => row));
}

function makeSortable(table) {
  Array.from(table.tHead.rows[0].cells).forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.addEventListener("click", () => sort(table, heading, column));
    heading.append(button);
  });
  table.dataset.sortable = "";
}

function makeFilter(holder, table) {
  const bar = document.createElement("p");
  const input = document.createElement("input");
  const found = document.createElement("span");
  const rows = Array.from(table.tBodies[0].rows, (row) => [row.textContent.toLowerCase(), row]);
  bar.className = "filter";
  input.type = "search";
  input.placeholder = "Filter rows";
  input.setAttribute("aria-label", `Filter: ${table.caption.textContent}`);
  found.setAttribute("role", "status");
  input.addEventListener("input", () => {
    const parts = input.value.toLowerCase().split(/\s+/);
    let shown = 0;
    for (const [text, row] of rows) {
      row.hidden = !parts.every((part) => text.includes(part));
      shown += !row.hidden;
    }
    found.textContent = input.value ? `${shown} of ${rows.length}` : "";
  });
  bar.append(input, found);
  holder.prepend(bar);
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

document.querySelectorAll("table").forEach(makeSortable);
document.querySelectorAll("[data-filter]").forEach((holder) => makeFilter(holder, holder.querySelector("table")));
document.querySelectorAll("[data-choice]").forEach(makeChoice);
if (navigator.clipboard) document.querySelectorAll(".listing").forEach(makeCopyable);
followSections();
addEventListener("hashchange", openTarget);
openTarget();
document.documentElement.dataset.ready = "";
