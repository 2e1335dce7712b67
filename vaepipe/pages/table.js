"use strict";
// a click on the head of a column sorts a table by it, a second one the other way round
const rank = (cell) => {
  const text = cell.textContent.trim();
  const number = parseFloat(text.replace("–", "").replaceAll(",", ""));
  return Number.isNaN(number) ? text : number;
};
const compare = (a, b) => (typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1);
for (const head of document.querySelectorAll("table.sortable th")) {
  const button = document.createElement("button");
  button.textContent = head.textContent;
  button.title = "sort";
  head.replaceChildren(button);
  button.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = head.closest("table").tBodies[0];
    const rows = [...body.rows].sort((a, b) => compare(rank(a.cells[head.cellIndex]), rank(b.cells[head.cellIndex])));
    body.append(...(down ? rows.reverse() : rows));
  });
}
// inside Snakemake's report a page has no neighbours that a link could lead to
if (location.protocol === "data:") {
  for (const link of document.querySelectorAll('a:not([href^="#"])')) link.replaceWith(...link.childNodes);
}
