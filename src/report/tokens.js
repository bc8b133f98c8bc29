// Documents token by token: colours, and what the model thought of each.
"use strict";
(() => {
  const documents = JSON.parse(document.getElementById("data").textContent);
  const about = document.getElementById("about"), what = document.getElementById("what");
  const MOST = 8;  // nats that are as strong as colours get
  const all = [];  // [element, token]
  let current = -1, entropy = false;

  function make(parent, tag, text, attributes = {}) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    parent.appendChild(element);
    return element;
  }

  const visible = text => text.replace(/\n/g, "\u21b5\n").replace(/\t/g, "\u2192\t") || "\u00b7";

  function paint() {
    for (const [element, token] of all) {
      if (!token[1]) continue;
      const nats = entropy ? token[1][1] : -token[1][0];
      const share = Math.min(Math.max(nats, 0) / MOST, 1);
      element.style.background =
        `color-mix(in srgb, var(--c1) ${(share * 70).toFixed(0)}%, transparent)`;
    }
  }

  function show(index) {
    if (index < 0 || index >= all.length) return;
    if (current >= 0) all[current][0].removeAttribute("aria-current");
    current = index;
    const [element, [text, judged]] = all[index];
    element.setAttribute("aria-current", "true");
    about.replaceChildren();
    const table = make(about, "table"), head = make(table, "tr");
    make(head, "th", JSON.stringify(text));
    if (!judged) return make(head, "td", "the first: nothing is before it");
    const [logprob, nats, rank, likeliest] = judged;
    make(head, "td", `log-probability ${logprob}, probability ${Math.exp(logprob).toFixed(4)}`);
    make(head, "td", `entropy ${nats} nats`);
    make(head, "td", `rank ${rank}`);
    const row = make(make(about, "table"), "tr");
    for (const [other, p] of likeliest) make(row, "td", `${JSON.stringify(other)} ${p.toFixed(4)}`);
  }

  for (const tokens of documents) {
    const place = make(document.getElementById("documents"), "p", undefined,
      {class: "document", tabindex: 0});
    const first = all.length;
    for (const token of tokens) {
      const element = make(place, "span", visible(token[0]));
      const index = all.length;
      element.addEventListener("pointerenter", () => show(index));
      all.push([element, token]);
    }
    const last = all.length - 1;
    place.addEventListener("keydown", event => {
      const inside = current >= first && current <= last;
      const keys = {
        ArrowRight: inside ? Math.min(current + 1, last) : first,
        ArrowLeft: inside ? Math.max(current - 1, first) : first, Home: first, End: last,
      };
      if (!(event.key in keys)) return;
      event.preventDefault();
      show(keys[event.key]);
      all[current][0].scrollIntoView({block: "nearest"});
    });
  }
  what.addEventListener("click", () => {
    entropy = !entropy;
    what.setAttribute("aria-pressed", entropy);
    paint();
  });
  paint();
  document.body.dataset.ready = "yes";
})();
