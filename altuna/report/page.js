"use strict";
const buttons = document.querySelectorAll(".filters button");
const samples = [...document.querySelectorAll(".sample")];
const count = document.querySelector("#count");
for (const button of buttons) {
  button.addEventListener("click", () => {
    const kind = button.dataset.kind;
    for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
    for (const sample of samples) sample.hidden = kind !== "all" && !sample.dataset.kinds.split(" ").includes(kind);
    const shown = samples.filter((sample) => !sample.hidden).length;
    count.textContent = shown === 1 ? "1 sample shown" : `${shown} samples shown`;
  });
}
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  for (const details of closed) details.open = true;
});
addEventListener("afterprint", () => {
  for (const details of closed) details.open = false;
});
