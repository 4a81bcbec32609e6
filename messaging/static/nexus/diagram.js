// Zoom of the sequence diagram: buttons, and the wheel with Ctrl. Without script it scrolls.
"use strict";
(() => {
  const box = document.querySelector(".nexus-diagram");
  const drawing = box && box.querySelector("svg");
  const bar = document.querySelector(".nexus-zoom");
  if (!drawing || !bar) return;
  const width = drawing.viewBox.baseVal.width;
  const height = drawing.viewBox.baseVal.height;
  let scale = 1;
  const zoom = (wanted) => {
    scale = Math.min(3, Math.max(0.2, wanted));
    drawing.setAttribute("width", Math.round(width * scale));
    drawing.setAttribute("height", Math.round(height * scale));
  };
  bar.hidden = false;
  bar.addEventListener("click", (event) => {
    const step = event.target.dataset.zoom;
    if (step === "in") zoom(scale * 1.25);
    if (step === "out") zoom(scale / 1.25);
    if (step === "fit") zoom((box.clientWidth - 4) / width);
  });
  box.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoom(scale * (event.deltaY < 0 ? 1.1 : 1 / 1.1));
  }, { passive: false });
})();
