// Tables of class "sortable": a reader orders their rows by a column, by mouse or keys.
// Cells carry their value in data-value; a row without one stands last in either order.
(() => {
  const OTHER = { ascending: "descending", descending: "ascending" };

  const compare = (a, b) =>
    typeof a === "string" ? a.localeCompare(b) : a - b;

  const valueOf = (row, column) => {
    const text = row.cells[column].dataset.value;
    if (text === undefined) return undefined;
    return text === "" || Number.isNaN(Number(text)) ? text : Number(text);
  };

  const sort = (table, column, order) => {
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => ({ row, value: valueOf(row, column) }));
    const sign = order === "ascending" ? 1 : -1;
    rows.sort((a, b) => {
      if (a.value === undefined || b.value === undefined) {
        return (a.value === undefined) - (b.value === undefined);
      }
      return sign * compare(a.value, b.value);
    });
    body.append(...rows.map(({ row }) => row));
  };

  const makeSortable = (table) => {
    const said = document.createElement("p");
    said.className = "visually-hidden";
    said.setAttribute("role", "status");
    table.parentElement.after(said);
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const order = OTHER[head.getAttribute("aria-sort")] ?? head.dataset.first;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", order);
        sort(table, column, order);
        said.textContent = `Sorted by ${button.textContent.trim()}, ${order}.`;
      });
    });
  };

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("table.sortable").forEach(makeSortable);
  });
})();
