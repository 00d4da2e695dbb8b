// What is printed is read as a whole.
addEventListener("beforeprint", () => {
  for (const each of document.querySelectorAll("details")) each.open = true;
});
// Each heading of a table becomes a button that sorts by its column; without it, all is there in its own order.
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => row.cells[column].textContent;
      const number = (text) => parseFloat(text.replace("> ", ""));
      const compare = head.classList.contains("figure")
        ? (a, b) => (number(key(a)) || 0) - (number(key(b)) || 0)
        : (a, b) => key(a).localeCompare(key(b));
      const rows = [...table.tBodies[0].rows].sort(compare);
      table.tBodies[0].replaceChildren(...(up ? rows : rows.reverse()));
    });
  });
}
