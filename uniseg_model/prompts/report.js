"use strict";
// What the pointer and the keyboard add to the sections below `root`: values that are read out, and the slice that is shown.

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function read(root) {
  for (const table of root.querySelectorAll(".matrix")) {
    const reading = table.closest(".scroll").nextElementSibling;
    const rows = [...table.tBodies[0].rows].map((row) => [...row.querySelectorAll("td")]);
    const cells = rows.flat();
    const read = (cell) => { reading.textContent = cell.dataset.said; };
    cells.forEach((cell, i) => { cell.tabIndex = i ? -1 : 0; });
    table.addEventListener("pointerover", (event) => { if (event.target.dataset.said) read(event.target); });
    table.addEventListener("focusin", (event) => { if (event.target.dataset.said) read(event.target); });
    table.addEventListener("keydown", (event) => {
      const step = STEPS[event.key];
      const row = rows.findIndex((line) => line.includes(event.target));
      if (!step || row < 0) return;
      event.preventDefault();
      const next = rows[row + step[0]]?.[rows[row].indexOf(event.target) + step[1]];
      if (!next) return;
      event.target.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
  }

  for (const group of root.querySelectorAll(".volume")) {
    const slider = group.querySelector("input");
    const said = group.querySelector(".slider output");
    const reading = group.querySelector(".reading");
    const affine = group.dataset.affine ? JSON.parse(group.dataset.affine) : null;
    const stacks = [...group.querySelectorAll(".slices")];
    let last = null;

    const place = (s, row, column) => affine
      ? ["R", "A", "S"].map((letter, i) => `${letter} ${Math.round(affine[i][0] * s + affine[i][1] * row + affine[i][2] * column + affine[i][3])}`).join(", ") + " mm"
      : `row ${row + 1}, column ${column + 1}`;

    const show = () => {
      const s = Number(slider.value);
      for (const stack of stacks) stack.style.setProperty("--shown", s);
      said.textContent = `slice ${s + 1} of ${Number(slider.max) + 1}` + (affine ? `, at S ${Math.round(affine[2][0] * s + affine[2][3])} mm` : "");
      if (last) read(last.stack, last.row, last.column);
    };

    const read = (stack, row, column) => {
      const [, height, width] = JSON.parse(stack.dataset.shape);
      const s = Number(slider.value);
      for (const mark of group.querySelectorAll("i")) {
        mark.hidden = false;
        mark.style.cssText = `left:${column / width * 100}%;top:${row / height * 100}%;width:${100 / width}%;height:${100 / height}%`;
      }
      stack.values ??= JSON.parse(stack.dataset.values);
      const value = stack.values[(s * height + row) * width + column];
      reading.textContent = `${stack.previousElementSibling.textContent}: ${value ?? "nothing"} (${place(s, row, column)})`;
      last = { stack, row, column };
    };

    for (const stack of stacks.filter((one) => one.dataset.values)) {
      const [, height, width] = JSON.parse(stack.dataset.shape);
      const within = (value, n) => Math.max(0, Math.min(n - 1, Math.floor(value)));
      const point = (event) => {
        const box = stack.getBoundingClientRect();
        const [row, column] = [(event.clientY - box.top) / box.height * height, (event.clientX - box.left) / box.width * width];
        read(stack, within(row, height), within(column, width));
      };
      stack.addEventListener("pointermove", point);
      stack.addEventListener("pointerdown", point);
      stack.addEventListener("focus", () => read(stack, last ? last.row : 0, last ? last.column : 0));
      stack.addEventListener("keydown", (event) => {
        const turn = { PageUp: 1, PageDown: -1 }[event.key];
        if (turn) { slider.value = Number(slider.value) + turn; show(); event.preventDefault(); }
        const step = STEPS[event.key];
        if (!step || !last) return;
        event.preventDefault();
        read(stack, within(last.row + step[0], height), within(last.column + step[1], width));
      });
    }
    slider.addEventListener("input", show);
    show();
  }
}
