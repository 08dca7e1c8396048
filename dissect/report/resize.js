// A picture as timm prepares it: resized with antialiasing to the same bytes as Pillow's, cropped, standardised.

// Each filter's reach on either side, and its value at a distance (Keys' cubic with a = -1/2; Lanczos of 3 lobes).
const FILTERS = {
  bilinear: [1, (x) => Math.max(0, 1 - Math.abs(x))],
  bicubic: [2, (x) => {
    x = Math.abs(x);
    return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
  }],
  lanczos: [3, (x) => {
    const sinc = (t) => t === 0 ? 1 : Math.sin(Math.PI * t) / (Math.PI * t);
    return Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0;
  }],
};
const FRACTION = 1 << 22; // weights are whole numbers of this part, as Pillow's are for 8 bits a channel

// For each output place: the first input it reads, and the weights of the inputs from there on.
const weightsOf = (from, to, [reach, filter]) => {
  const scale = from / to, stretch = Math.max(scale, 1), support = reach * stretch, shrink = 1 / stretch;
  return Array.from({ length: to }, (_, at) => {
    const centre = (at + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const end = Math.min(from, Math.trunc(centre + support + 0.5));
    const raw = Array.from({ length: end - first }, (_, i) => filter((i + first - centre + 0.5) * shrink));
    const sum = raw.reduce((a, b) => a + b, 0) || 1;
    return { first, weights: Int32Array.from(raw, (w) => Math.trunc((w / sum) * FRACTION + (w < 0 ? -0.5 : 0.5))) };
  });
};

// One axis of an RGB picture: `lines` lines a `lineStep` apart, along which pixels are a `step` apart.
const resample = (input, places, lines, [step, lineStep], [outStep, outLineStep]) => {
  const output = new Uint8ClampedArray(lines * places.length * 3);
  places.forEach(({ first, weights }, at) => {
    for (let line = 0; line < lines; line++) {
      const start = line * lineStep + first * step, to = line * outLineStep + at * outStep;
      let r = FRACTION / 2, g = r, b = r;
      for (let i = 0, p = start; i < weights.length; i++, p += step) {
        const w = weights[i];
        r += input[p] * w; g += input[p + 1] * w; b += input[p + 2] * w;
      }
      output[to] = Math.floor(r / FRACTION);
      output[to + 1] = Math.floor(g / FRACTION);
      output[to + 2] = Math.floor(b / FRACTION);
    }
  });
  return output;
};

// {width, height, rgb}, rows first, three bytes a pixel.
const resize = ({ width, height, rgb }, toWidth, toHeight, interpolation) => {
  const filter = FILTERS[interpolation];
  let wide = rgb;
  if (toWidth !== width) {
    wide = resample(rgb, weightsOf(width, toWidth, filter), height, [3, 3 * width], [3, 3 * toWidth]);
  }
  if (toHeight === height) return { width: toWidth, height, rgb: wide };
  const places = weightsOf(height, toHeight, filter), row = 3 * toWidth;
  return { width: toWidth, height: toHeight, rgb: resample(wide, places, toWidth, [row, 3], [row, 3]) };
};

// Python's round: halves go to the even number.
const roundHalfEven = (x) => (x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));

// The part of a picture that the network sees, resized.
const prepare = (picture, { height, width, crop_pct, crop_mode, interpolation }) => {
  let toWidth = Math.floor(width / crop_pct), toHeight = Math.floor(height / crop_pct);
  if (crop_mode === "center") { // the shorter side
    const size = toWidth, [short, long] = [picture.width, picture.height].sort((a, b) => a - b);
    const longer = Math.trunc((size * long) / short);
    [toWidth, toHeight] = picture.width <= picture.height ? [size, longer] : [longer, size];
  }
  const resized = resize(picture, toWidth, toHeight, interpolation);
  const left = roundHalfEven((toWidth - width) / 2), top = roundHalfEven((toHeight - height) / 2);
  const rgb = new Uint8ClampedArray(3 * width * height);
  for (let y = 0; y < height; y++) {
    const start = 3 * ((y + top) * toWidth + left);
    rgb.set(resized.rgb.subarray(start, start + 3 * width), 3 * width * y);
  }
  return { width, height, rgb };
};

// Channels first, standardised.
const standardise = ({ width, height, rgb }, { mean, std }) => {
  const plane = width * height, values = new Float32Array(3 * plane);
  for (let i = 0; i < plane; i++) {
    for (let c = 0; c < 3; c++) values[c * plane + i] = (rgb[3 * i + c] / 255 - mean[c]) / std[c];
  }
  return values;
};
