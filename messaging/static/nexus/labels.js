// Names for the fields that Django's widgets leave without a label, for people who hear a page: two fields of a time,
// the cells of a table of forms, fields that complete what is typed, and the filters of double lists.
"use strict";
(() => {
  const words = (element) => (element ? element.textContent.trim().replace(/:$/, "") : "");
  const give = (field, ...names) => {
    const name = names.filter(Boolean).join(" ");
    if (name && !field.hasAttribute("aria-label")) field.setAttribute("aria-label", name);
  };
  const label = (root) => {
    for (const field of root.querySelectorAll("p.datetime input")) {
      give(field, words(field.closest(".form-row, fieldset").querySelector("label, legend")), words(field.previousSibling));
    }
    for (const cell of root.querySelectorAll(".tabular tbody td")) {
      const column = cell.closest("table").tHead.rows[0].cells[cell.cellIndex];
      for (const field of cell.querySelectorAll("input, select, textarea")) {
        if (!field.labels || !field.labels.length) give(field, words(column));
      }
    }
    for (const shown of root.querySelectorAll(".select2-selection__rendered")) {
      const field = shown.closest(".select2-container").previousElementSibling;
      give(shown, field.getAttribute("aria-label") || words(field.labels && field.labels[0]));
    }
    // Their icon has a name, which browsers may ignore without a role.
    for (const icon of root.querySelectorAll(".selector-filter span[aria-label]")) icon.setAttribute("role", "img");
  };
  const later = (root) => setTimeout(() => label(root));  // once Django's own scripts have made the fields
  window.addEventListener("load", () => later(document));
  document.addEventListener("formset:added", (event) => later(event.target.closest("table") || event.target));
})();
