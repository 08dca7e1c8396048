// The live page: unpacks the network and the runtime, reads a photo, shows the winners with their regions and votes.
const network = JSON.parse(document.getElementById("network").textContent);
const { labels, bias, preparation, places, colours, measured } = network;
const find = (selector) => document.querySelector(selector);

// An element with attributes and children; text is always text.
const element = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
};

// A word that says what it means, as on the other pages (terms.js shows it).
const explained = JSON.parse(find(".live").dataset.terms);
const term = (word) => element("button", { type: "button", class: "term", "aria-describedby": explained[word] }, word);

const bytesOf = (text) => {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const letters = atob(text), bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
};

const unpack = async (id) => {
  const stream = new Blob([bytesOf(document.getElementById(id).textContent)]).stream();
  return new Uint8Array(await new Response(stream.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer());
};

const weights = new Float32Array(bytesOf(network.weights).buffer); // classes x units
const width = network.units.length;

const started = (async () => {
  const [module, wasm, onnx] = await Promise.all(["runtime-module", "runtime-wasm", "network-onnx"].map(unpack));
  const ort = await import(URL.createObjectURL(new Blob([module], { type: "text/javascript" })));
  Object.assign(ort.env.wasm, { wasmBinary: wasm.buffer, numThreads: 1, proxy: false });
  const session = await ort.InferenceSession.create(onnx, { executionProviders: ["wasm"] });
  return { ort, session };
})();

// A photo as RGB, upright; transparency is laid on white.
const read = async (blob) => {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  const canvas = element("canvas", { width: bitmap.width, height: bitmap.height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const rgb = new Uint8ClampedArray((data.length / 4) * 3);
  for (let i = 0, j = 0; i < data.length; i += 4) { rgb[j++] = data[i]; rgb[j++] = data[i + 1]; rgb[j++] = data[i + 2]; }
  return { width: canvas.width, height: canvas.height, rgb };
};

// One pass. `off`: of each row the units that are switched off, in a network that is measured.
const run = async (seen, off = []) => {
  const { ort, session } = await started;
  const shape = [1, 3, preparation.height, preparation.width];
  const given = { images: new ort.Tensor("float32", standardise(seen, preparation), shape) };
  if (measured) {
    const keep = new Float32Array(network.rows * width).fill(1);
    off.forEach((units, row) => units.forEach((unit) => { keep[row * width + unit] = 0; }));
    given.keep = new ort.Tensor("float32", keep, [network.rows, width]);
  }
  return session.run(given);
};

const rowsOf = ({ data, dims: [rows, classes] }) =>
  Array.from({ length: rows }, (_, row) => [...data.subarray(row * classes, (row + 1) * classes)]);

// What the network says of a photo: its logits, and at each position the winners and their values; of a network that is
// measured the logits without each of the units with the largest values.
const answer = async (blob) => {
  const seen = prepare(await read(blob), preparation);
  const { logits, units, values } = await run(seen);
  if (!measured) {
    return {
      seen, logits: [...logits.data], units: [...units.data], values: [...values.data], positions: units.dims[1],
    };
  }
  const sizes = new Float64Array(width);
  values.data.forEach((value, at) => { if (network.reaches[Math.floor(at / width)]) sizes[at % width] += Math.abs(value); });
  const strongest = bestFirst([...sizes]).slice(0, network.rows - 1).filter((unit) => sizes[unit] > 0);
  const without = rowsOf((await run(seen, strongest.map((unit) => [unit]))).logits).slice(0, strongest.length);
  return {
    seen, logits: rowsOf(logits)[0], units: strongest, values: [...values.data], positions: values.dims[1], without,
    passed: sizes.filter((size) => size > 0).length,
  };
};

// What each unit of `answer` did, measured; where on the picture, by its values.
const measuredOf = ({ logits, units, values, positions, without }) => {
  const [target, rival] = bestFirst(logits), lead = (of) => of[target] - of[rival];
  const reached = Array.from({ length: positions }, (_, p) => p).filter((p) => network.reaches[p]);
  const rows = units.map((unit, i) => {
    const said = reached.map((p) => values[p * width + unit]);
    return {
      unit, value: said.reduce((a, b) => a + b, 0), won: said.filter((value) => value !== 0).length,
      lead: lead(logits) - lead(without[i]), votes: logits.map((z, c) => z - without[i][c]),
    };
  }).sort((a, b) => Math.abs(b.lead) - Math.abs(a.lead));
  const grids = places && rows.slice(0, network.top).map((row) => {
    const cells = reached.slice(-places[0] * places[1]).map((p) => values[p * width + row.unit]);
    const all = cells.reduce((sum, value) => sum + Math.abs(value), 0) || 1;
    return cells.map((value) => (value === 0 ? null : { value, lead: (row.lead * Math.abs(value)) / all }));
  });
  return { target, rival, rows, grids };
};

// The votes behind an answer: for each winner what it adds to every class and to the lead, and where it won.
const votesOf = ({ logits, units, values, positions }) => {
  const [target, rival] = bestFirst(logits), sums = new Map();
  const toLead = (unit, value) => value * (weights[target * width + unit] - weights[rival * width + unit]);
  units.forEach((unit, at) => {
    if (!sums.has(unit)) sums.set(unit, { unit, value: 0, won: 0 });
    const sum = sums.get(unit);
    sum.value += values[at]; sum.won += 1;
  });
  const rows = [...sums.values()].map((row) => ({
    ...row, lead: toLead(row.unit, row.value), votes: labels.map((_, c) => row.value * weights[c * width + row.unit]),
  })).sort((a, b) => Math.abs(b.lead) - Math.abs(a.lead));
  const groups = units.length / positions;
  const grids = places && rows.slice(0, network.top).map(({ unit }) => Array.from({ length: positions }, (_, p) => {
    const at = units.indexOf(unit, p * groups);
    return at >= 0 && at < (p + 1) * groups ? { value: values[at], lead: toLead(unit, values[at]) } : null;
  }));
  return { target, rival, rows, grids };
};

// Where on the picture a unit adds to the lead, in words: the half, or quarter, that holds three quarters of it.
const placeOf = (grid) => {
  const [rows, columns] = places, sizes = grid.map((cell) => (cell ? Math.abs(cell.lead) : 0));
  const total = sizes.reduce((a, b) => a + b, 0);
  if (!total) return "";
  const half = (count, along, [first, second]) => {
    let before = 0;
    sizes.forEach((size, p) => {
      const at = along(p) / (count - 1);
      before += at < 0.5 ? size : at === 0.5 ? size / 2 : 0;
    });
    return before / total >= 0.75 ? first : 1 - before / total >= 0.75 ? second : "";
  };
  const height = half(rows, (p) => Math.floor(p / columns), ["top", "bottom"]);
  const side = half(columns, (p) => p % columns, ["left", "right"]);
  return height && side ? `${height} ${side}` : height || side ? `${height || side} half` : "";
};

const labelOf = (unit) => network.units[unit].name || `unit ${unit}`;

const sentenceOf = ({ target, rows, grids }) => {
  const shown = rows.slice(0, network.top).map((row, r) => ({ ...row, place: grids ? placeOf(grids[r]) : "" }));
  const list = (some) => some.map(({ unit, lead, place }) =>
    `${labelOf(unit)} ${signed(lead)}${place ? ` (${place})` : ""}`).join(", ");
  const ahead = shown.filter(({ lead }) => lead > 0).slice(0, 3), behind = shown.filter(({ lead }) => lead < 0).slice(0, 2);
  return labels[target] + (ahead.length ? `, because ${list(ahead)}` : "") + (behind.length ? `, against ${list(behind)}` : "");
};

// One pixel a place, drawn by `colour(place)`: [red, green, blue, alpha].
const drawPlaces = (canvas, colour) => {
  const [rows, columns] = places, context = canvas.getContext("2d");
  [canvas.width, canvas.height] = [columns, rows];
  const image = context.createImageData(columns, rows);
  for (let p = 0; p < rows * columns; p++) image.data.set(colour(p), 4 * p);
  context.putImageData(image, 0, 0);
  return canvas;
};

const rgbOf = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));

const drawRegions = ({ rows, grids }) => {
  const cut = find(".cut"), canvas = find(".regions");
  cut.querySelectorAll(".region").forEach((label) => label.remove());
  canvas.hidden = !places;
  if (!places) return;
  const owned = new Map();
  const owner = (p) => {
    const sizes = grids.map((grid) => (grid[p] ? Math.abs(grid[p].lead) : 0)), most = Math.max(...sizes);
    return most > 0 ? sizes.indexOf(most) : -1;
  };
  drawPlaces(canvas, (p) => {
    const row = owner(p);
    if (row >= 0) owned.set(row, [...(owned.get(row) ?? []), p]);
    return [...rgbOf(row < 0 ? "#8a8f98" : colours[row % colours.length]), 140];
  });
  const [high, wide] = places, within = (x) => Math.min(Math.max(x, 16), 84);
  const named = []; // names nearer to one another would overlap
  [...owned].sort((a, b) => b[1].length - a[1].length).forEach(([row, cells]) => {
    const mean = (of) => cells.reduce((sum, p) => sum + of(p), 0) / cells.length;
    const y = mean((p) => Math.floor(p / wide)), x = mean((p) => p % wide);
    const distance = (p) => (Math.floor(p / wide) - y) ** 2 + ((p % wide) - x) ** 2;
    const at = cells.reduce((best, p) => (distance(p) < distance(best) ? p : best));
    const left = within((100 * ((at % wide) + 0.5)) / wide), top = (100 * (Math.floor(at / wide) + 0.5)) / high;
    if (named.length >= 5 || named.some(([x, y]) => Math.abs(left - x) < 26 && Math.abs(top - y) < 9)) return;
    named.push([left, top]);
    const label = element("span", { class: "region" }, labelOf(rows[row].unit));
    label.style.cssText = `left: ${left}%; top: ${top}%; --colour: var(--region-${row % colours.length})`;
    cut.append(label);
  });
};

const veil = (grid) => {
  const strongest = Math.max(...grid.map((cell) => (cell ? Math.abs(cell.value) : 0))) || 1;
  return drawPlaces(element("canvas"), (p) => {
    const lifted = grid[p] ? Math.sqrt(Math.abs(grid[p].value) / strongest) : 0;
    return [0, 0, 0, Math.round(255 * 0.82 * (1 - lifted))];
  });
};

const switchOf = (row, label) => element("label", { class: "switch" },
  element("input", { type: "checkbox", role: "switch", checked: "", "data-row": row, "aria-label": `${label}: on` }),
  element("span", { "aria-hidden": "true" }));

const kind = (value) => (value >= 0 ? "for" : "against");

const unitLine = ({ unit, lead, value, won }, row, grid, positions, [zero, perLogit]) => {
  const { name, was, alternatives, r, strip, tiles, masks } = network.units[unit];
  const line = element("li", { class: "unit switched" });
  line.style.setProperty("--colour", `var(--region-${row % colours.length})`);
  const where = element("div", grid ? { class: "where", role: "img", "aria-label": `Where ${labelOf(unit)} won` }
    : { class: "where none", "aria-hidden": "true" });
  if (grid) where.append(veil(grid));
  const place = grid ? placeOf(grid) : "";
  const heading = element("h4", {}, ...(grid ? [element("i", { class: "swatch", "aria-hidden": "true" })] : []),
    name || element("span", { class: "unnamed" }, `unit ${unit}, unnamed`),
    ...(place ? [" ", element("span", { class: "place" }, place)] : []));
  const about = [name ? `unit ${unit} · ` : "", ...(was === null ? [] : [term("renamed"), " · "]), term("value"), ` ${signed(value / won)}`,
    ...(positions > 1 ? [" · ", term(network.competitors > 1 ? "won" : "active at"), ` ${percent(won / positions)} of the places`] : [])];
  const what = element("div", { class: "what" }, heading, element("p", { class: "meta" }, ...about));
  if (name && r) {
    const [at, low, high] = r.map((x) => x.toFixed(2).replace("-", MINUS));
    what.append(element("p", { class: "meta" }, was === null ? "name " : `the name that was found, ${was}, `, term("agrees"), ` ${at} (${low} to ${high})`,
      ...(alternatives.length ? [" · ", term("other words"), `: ${alternatives.join(", ")}`] : [])));
  }
  const fill = element("span", { class: `fill ${kind(lead)}` }), size = 100 * Math.abs(lead) * perLogit;
  fill.style.cssText = `left: ${100 * zero - (lead >= 0 ? 0 : size)}%; width: ${size}%`;
  const track = element("span", { class: "track zeroed" }, fill);
  track.style.setProperty("--zero", `${100 * zero}%`);
  line.append(where, what, element("div", { class: "vote" },
    element("span", { class: `number ${kind(lead)}` }, signed(lead)), track));
  if (strip) {
    const pictures = element("div", { class: "strip shown", role: "img", "aria-label": `Pictures that ${labelOf(unit)} answers to most` },
      ...(masks ? [element("img", { class: "masks", src: masks, alt: "" })] : []));
    pictures.style.cssText = `--strip: url(${strip}); --tiles: ${tiles}`;
    line.append(pictures);
  }
  line.append(switchOf(row, labelOf(unit)));
  return line;
};

const sumLine = (what, value, attributes = {}, ...before) => element("tr", attributes,
  element("th", { scope: "row" }, ...before, what), element("td", {}, signed(value)));

const show = (found, name) => {
  const cast = measured ? measuredOf(found) : votesOf(found), { target, rival, rows } = cast;
  const shown = rows.slice(0, network.top), rest = measured ? [] : rows.slice(network.top);
  const others = { lead: rest.reduce((sum, { lead }) => sum + lead, 0),
    votes: labels.map((_, c) => rest.reduce((sum, { votes }) => sum + votes[c], 0)) };
  const fixed = measured ? 0 : bias[target] - bias[rival], lead = found.logits[target] - found.logits[rival];
  const low = Math.min(0, ...shown.map((row) => row.lead)), high = Math.max(0, ...shown.map((row) => row.lead));
  const scale = [-low / (high - low || 1), 1 / (high - low || 1)];
  const carried = shown.reduce((sum, row) => sum + row.lead, 0);

  const picture = find("canvas.picture"), context = picture.getContext("2d");
  [picture.width, picture.height] = [found.seen.width, found.seen.height];
  const image = context.createImageData(picture.width, picture.height);
  for (let i = 0; i < image.data.length / 4; i++) image.data.set([...found.seen.rgb.subarray(3 * i, 3 * i + 3), 255], 4 * i);
  context.putImageData(image, 0, 0);
  find(".explained").style.setProperty("--picture", `url(${picture.toDataURL()})`);
  drawRegions(cast);

  find(".file").textContent = name;
  find(".sentence").textContent = sentenceOf(cast);
  if (measured) {
    find(".share").replaceChildren("The ", term("lead"), ` of ${labels[target]} over ${labels[rival]} is ${signed(lead)}. What ` +
      "each unit adds is ", term("measured"), `: the network ran again without it, for the ${rows.length} units of ` +
      `${found.passed} with the largest values.${network.adds_up ? "" : " Effects overlap, so they do not add up to the lead."}`);
  } else find(".share").replaceChildren(element("b", {}, percent(carried / lead)), " of the ", term("lead"), ` of ` +
    `${labels[target]} over ${labels[rival]} (${signed(lead)}) is carried by the `, term("vote"), `s of these ${shown.length} ` +
    `units, of ${rows.length} that won somewhere.`);
  find(".axis .against").textContent = `← towards ${labels[rival]}`;
  find(".axis .for").textContent = `towards ${labels[target]} →`;
  find(".units").replaceChildren(...shown.map((row, r) =>
    unitLine(row, r, cast.grids && cast.grids[r], found.positions, scale)));
  const now = sumLine("with these switches", lead, { class: "now", hidden: "" });
  find(".sum tbody").replaceChildren(
    sumLine(`these ${shown.length} units`, carried),
    ...(rest.length ? [sumLine("the other winners", others.lead, { class: "others" }, switchOf(shown.length, "the other winners"))] : []),
    sumLine(element("span", {}, "the ", term("fixed part"), " of the classes"), fixed),
    sumLine(`lead over ${labels[rival]}`, lead, { class: "total" }), now);
  if (measured) find(".sum tbody").replaceChildren(sumLine(`lead over ${labels[rival]}`, lead), now);

  const inputs = [...document.querySelectorAll(".network .switch input")], again = find(".flip button");
  const inputsOff = () => inputs.filter((input) => !input.checked).map((input) => Number(input.dataset.row));
  const add = (off) => bias.map((z, c) =>
    [...shown, others].reduce((sum, { votes }, r) => sum + (off.includes(r) ? 0 : votes[c]), z));
  let asked = 0; // of several passes under way the last one counts
  const update = () => {
    const off = inputsOff(), mine = ++asked;
    if (!off.length) draw(off, found.logits);
    else if (!measured) draw(off, add(off));
    else run(found.seen, [off.map((row) => shown[row].unit)]).then(({ logits }) => { if (mine === asked) draw(off, rowsOf(logits)[0]); });
  };
  const draw = (off, logits) => {
    const shares = softmax(logits), order = bestFirst(logits);
    find(".answer").textContent = labels[order[0]];
    find(".probability").textContent = percent(shares[order[0]]);
    find(".classes").replaceChildren(...order.slice(0, 5).map((c) => {
      const fill = element("span", { class: "fill" });
      fill.style.width = `${100 * shares[c]}%`;
      return element("li", {}, element("span", { class: "label" }, labels[c]),
        element("span", { class: "track" }, fill), element("span", { class: "number" }, percent(shares[c])));
    }));
    inputs.forEach((input) => input.closest("li, tr").classList.toggle("off", !input.checked));
    find(".explained").classList.toggle("changed", off.length > 0);
    again.hidden = now.hidden = !off.length;
    now.lastElementChild.textContent = signed(logits[target] - logits[rival]);
  };
  inputs.forEach((input) => input.addEventListener("change", update));
  again.onclick = () => { inputs.forEach((input) => { input.checked = true; }); update(); };
  find(".explained").hidden = false;
  update();
};

const state = find(".state"), input = find(".drop input"), examples = [...document.querySelectorAll(".example")];

const ask = async (blob, name) => {
  state.textContent = "The network is looking …";
  try {
    const from = performance.now(), found = await answer(blob);
    show(found, name);
    state.textContent = `Answered in ${Math.round(performance.now() - from)} ms, in this page.`;
  } catch (error) {
    state.textContent = `This file cannot be read as a picture here (${error.message}). A JPEG, PNG or WebP would do.`;
  }
};

const askExample = (button) => {
  const [type, content] = button.firstElementChild.src.slice(5).split(";base64,");
  return ask(new Blob([bytesOf(content)], { type }), button.getAttribute("aria-label").replace(/^.*?: /, ""));
};

const choose = (button) => {
  examples.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
  return button && askExample(button);
};

const given = (files) => {
  const file = [...files].find(({ type }) => type.startsWith("image/")) ?? files[0];
  if (file) { choose(null); ask(file, file.name); }
};

const ready = started.then(async () => {
  [input, ...examples].forEach((control) => { control.disabled = false; });
  input.addEventListener("change", () => given(input.files));
  examples.forEach((button) => button.addEventListener("click", () => choose(button)));
  document.addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("over"); });
  document.addEventListener("dragleave", () => document.body.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("over");
    given(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => given(event.clipboardData.files));
  const { startTime } = performance.mark("ready"); // benchmarks/live_page.py reads it
  state.textContent = `Ready after ${(startTime / 1000).toFixed(1)} s.`;
  if (examples.length) await choose(examples[0]);
}).catch((error) => { state.textContent = `The network could not be started in this browser: ${error.message}`; });

globalThis.lwta = { ready, answer, prepare, read }; // for the console, and for tests
