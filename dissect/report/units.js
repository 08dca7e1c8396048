// The page of units: search and filters hide what does not match; an address with a unit opens its line.
(() => {
  const form = document.querySelector(".filters"), count = form.querySelector("output");
  const lines = [...document.querySelectorAll(".line")].map((line) => ({
    line,
    many: line.querySelector(".many"),
    units: [...line.querySelectorAll(".known")].map((unit) => ({
      unit,
      words: unit.dataset.words,
      layer: unit.dataset.layer,
      r: Number(unit.dataset.r),
      classes: JSON.parse(unit.dataset.classes),
    })),
  }));
  const total = lines.reduce((sum, { units }) => sum + units.length, 0);

  const filter = () => {
    const { words, layer, class: label, r } = Object.fromEntries(new FormData(form));
    const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (unit) => wanted.every((word) => unit.words.includes(word)) && unit.r >= Number(r) &&
      (!layer || unit.layer === layer) && (!label || unit.classes.includes(label));
    let found = 0;
    for (const { line, many, units } of lines) {
      let here = 0;
      for (const unit of units) {
        unit.unit.hidden = !fits(unit);
        here += !unit.unit.hidden;
      }
      line.hidden = !here;
      many.textContent = (here === units.length ? "" : `${here} of `) + `${units.length} unit${units.length > 1 ? "s" : ""}`;
      found += here;
    }
    count.textContent = `${found} of ${total} units`;
  };

  const reveal = () => {
    const unit = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!unit) return;
    form.reset();
    filter();
    unit.closest("details").open = true;
    unit.scrollIntoView({ block: "center" });
    unit.focus({ preventScroll: true });
  };

  form.hidden = false;
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", reveal);
  filter();
  reveal();
})();
