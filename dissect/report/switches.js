// Switches of a decision layer: logits = bias + the votes that are on. No network is needed, so every figure follows at once.
(() => {
  for (const article of document.querySelectorAll(".explained")) {
    const data = article.querySelector(".network:not(.twin) script.switches");
    if (!data) continue;
    const { labels, bias, votes, target, runner_up } = JSON.parse(data.textContent);
    const network = article.querySelector(".network:not(.twin)");
    const switches = [...network.querySelectorAll(".switch input")];
    const answer = article.querySelector(".answer"), probability = article.querySelector(".probability");
    const bars = article.querySelector(".classes"), now = network.querySelector(".now");
    const again = network.querySelector(".flip button"), first = answer.textContent;
    const original = { bars: bars.innerHTML, probability: probability.textContent };
    article.classList.add("live");

    const update = () => {
      const off = switches.filter((input) => !input.checked);
      const logits = bias.slice();
      votes.forEach((row, r) => {
        if (off.some((input) => Number(input.dataset.row) === r)) return;
        row.forEach((vote, c) => { logits[c] += vote; });
      });
      switches.forEach((input) => input.closest("li, tr").classList.toggle("off", !input.checked));
      again.hidden = !off.length;
      now.hidden = !off.length;
      article.classList.toggle("changed", off.length > 0);
      if (!off.length) {
        answer.textContent = first;
        probability.textContent = original.probability;
        bars.innerHTML = original.bars;
        return;
      }
      const shares = softmax(logits), order = bestFirst(logits);
      answer.textContent = labels[order[0]];
      probability.textContent = percent(shares[order[0]]);
      now.lastElementChild.textContent = signed(logits[target] - logits[runner_up]);
      [...bars.children].forEach((line, i) => {
        const share = shares[order[i]];
        line.querySelector(".label").textContent = labels[order[i]];
        line.querySelector(".fill").style.width = (100 * share).toFixed(1) + "%";
        line.querySelector(".number").textContent = percent(share);
      });
    };
    switches.forEach((input) => input.addEventListener("change", update));
    again.addEventListener("click", () => { switches.forEach((input) => { input.checked = true; }); update(); });
    update();
  }
})();
