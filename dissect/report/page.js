// With a script one picture is shown at a time, and many are filtered and sorted; without it, all stand below one another.
(() => {
  const nav = document.querySelector(".pictures");
  if (!nav) return;
  const form = document.querySelector(".filters"), count = form.querySelector("output");
  const given = [...nav.querySelectorAll("a")];
  const articleOf = (link) => document.getElementById(link.hash.slice(1));
  let links = given, at = null;

  const show = (wanted) => {
    at = wanted;
    for (const link of given) {
      articleOf(link).hidden = link !== at;
      if (link === at) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
    }
  };
  const go = (link) => { show(link); history.replaceState(null, "", link.hash); };

  const isRight = ({ dataset }) => dataset.says === dataset.shows;
  const orders = {
    sure: (a, b) => b.dataset.ahead - a.dataset.ahead,
    unsure: (a, b) => a.dataset.ahead - b.dataset.ahead,
    says: (a, b) => a.dataset.says.localeCompare(b.dataset.says),
  };
  const filter = () => {
    const { answer, says, shows, order } = Object.fromEntries(new FormData(form));
    const fits = (link) => (!answer || isRight(link) === (answer === "right")) &&
      (!says || link.dataset.says === says) && (!shows || link.dataset.shows === shows);
    links = given.filter(fits);
    if (order) links.sort(orders[order]);
    given.forEach((link) => { link.hidden = !links.includes(link); });
    nav.append(...links);
    const wrong = links.filter((link) => link.dataset.shows && !isRight(link)).length;
    count.textContent = `${links.length} of ${given.length} pictures` + (wrong ? `, ${wrong} answered wrongly` : "");
    if (links.length && (order || !links.includes(at))) show(links[0]);
  };

  const fromAddress = () => given.find((link) => link.hash === location.hash);
  for (const link of given) link.addEventListener("click", (event) => { event.preventDefault(); go(link); });
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest(".scroll, input, select")) return;
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || !links.length) return;
    go(links[Math.max(0, Math.min(links.indexOf(at) + step, links.length - 1))]);
    at.focus();
  });
  window.addEventListener("hashchange", () => { const found = fromAddress(); if (found) show(found); });
  form.hidden = false;
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  filter();
  show(fromAddress() ?? given[0]);
})();
