// Numbers as people read them (as numbers.py writes them), and probabilities from logits.
const MINUS = "\u2212";

const signed = (value) => {
  const text = Math.abs(value).toFixed(2);
  return Number(text) ? (value > 0 ? "+" : MINUS) + text : text;
};

const percent = (share) => {
  const value = 100 * share, size = Math.abs(value);
  return (value < 0 ? MINUS : "") + size.toFixed(size >= 9.95 || size === 0 ? 0 : size >= 0.095 ? 1 : 2) + "\u00a0%";
};

const softmax = (logits) => {
  const top = Math.max(...logits), weights = logits.map((z) => Math.exp(z - top));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / sum);
};

const bestFirst = (logits) => logits.map((_, c) => c).sort((a, b) => logits[b] - logits[a]);
