// What a word means, beside it: on pointing, by keyboard, on a tap. Escape, or a tap elsewhere, puts it away.
(() => {
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.setAttribute("aria-hidden", "true"); // screen readers read the word's description
  const hide = () => tip.remove();
  const show = (word) => {
    tip.textContent = document.getElementById(word.getAttribute("aria-describedby")).textContent;
    document.body.append(tip);
    const at = word.getBoundingClientRect(), { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(8, Math.min(at.left, innerWidth - width - 8))}px`;
    tip.style.top = `${at.bottom + 7 + height > innerHeight ? at.top - height - 7 : at.bottom + 7}px`;
  };
  const showOrHide = ({ target }) => {
    const word = target.closest?.(".term");
    if (word) show(word); else hide();
  };
  for (const kind of ["pointerover", "focusin", "click"]) document.addEventListener(kind, showOrHide);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  document.addEventListener("scroll", hide, { capture: true, passive: true });
})();
