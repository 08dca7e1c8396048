// With a script one picture is shown at a time; without it, all of them stand below one another and the links jump.
(() => {
  const links = [...document.querySelectorAll(".pictures a")];
  const articles = [...document.querySelectorAll(".explained")];
  if (!links.length) return;
  const show = (wanted) => {
    const at = Math.max(0, Math.min(wanted, articles.length - 1));
    articles.forEach((article, i) => { article.hidden = i !== at; });
    links.forEach((link, i) => i === at ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current"));
    return at;
  };
  const fromAddress = () => links.findIndex((link) => link.hash === location.hash);
  let at = show(fromAddress());
  links.forEach((link, i) => link.addEventListener("click", (event) => {
    event.preventDefault();
    at = show(i);
    history.replaceState(null, "", link.hash);
  }));
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest(".scroll")) return;
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    at = show(at + step);
    links[at].focus();
    history.replaceState(null, "", links[at].hash);
  });
  window.addEventListener("hashchange", () => { const found = fromAddress(); if (found >= 0) at = show(found); });
})();
