// Images become model inputs: resize as Pillow does it, letterbox or crop, reorder, normalise.

const SUPPORT = { bilinear: 1, bicubic: 2, lanczos: 3 };
const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
const FILTERS = {
  bilinear: (x) => Math.max(0, 1 - x),
  bicubic: (x) => (x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0),
  lanczos: (x) => (x < 3 ? sinc(x) * sinc(x / 3) : 0),
};

/** Return {data: Float32Array, shape, placement} of an image {data: RGB bytes, width, height}. */
export function imageInput(image, steps) {
  const channels = steps.colour === "GREY" ? 1 : 3;
  const { values, placement } = fitted({ ...image, data: coloured(image, steps.colour), channels }, steps);
  const { width, height } = steps;
  const data = new Float32Array(width * height * channels);
  const at = (list, k) => list[list.length === 1 ? 0 : k];
  for (let channel = 0; channel < channels; channel += 1) {
    const [mean, scale] = [at(steps.mean, channel), at(steps.scale, channel)];
    for (let pixel = 0; pixel < width * height; pixel += 1) {
      const to = steps.layout === "NCHW" ? channel * width * height + pixel : pixel * channels + channel;
      data[to] = (values[pixel * channels + channel] - mean) / scale;
    }
  }
  return { data, shape: steps.layout === "NCHW" ? [1, channels, height, width] : [1, height, width, channels], placement };
}

function coloured({ data, width, height }, colour) {
  if (colour === "RGB") return Float32Array.from(data);
  const count = width * height;
  const values = new Float32Array(count * (colour === "GREY" ? 1 : 3));
  for (let k = 0; k < count; k += 1) {
    const [red, green, blue] = [data[3 * k], data[3 * k + 1], data[3 * k + 2]];
    if (colour === "GREY") values[k] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16; // ITU-R 601, as Pillow's "L"
    else values.set([blue, green, red], 3 * k);
  }
  return values;
}

function fitted(image, steps) {
  const { width, height } = steps;
  const place = (scale, offset) => ({ size: [image.width, image.height], inputSize: [width, height], scale, offset });
  if (steps.letterbox) {
    const ratio = Math.min(width / image.width, height / image.height);
    const inner = [image.width, image.height].map((size, k) => Math.max(1, Math.min([width, height][k], Math.trunc(size * ratio))));
    const [left, top] = steps.pad_position === "centre" ? [(width - inner[0]) >> 1, (height - inner[1]) >> 1] : [0, 0];
    const values = new Float32Array(width * height * image.channels);
    for (let k = 0; k < values.length; k += 1) values[k] = steps.pad[steps.pad.length === 1 ? 0 : k % image.channels];
    const small = resize(image, inner[0], inner[1], steps.resample);
    const row = inner[0] * image.channels;
    for (let y = 0; y < inner[1]; y += 1) values.set(small.subarray(y * row, (y + 1) * row), ((top + y) * width + left) * image.channels);
    return { values, placement: place([inner[0] / image.width, inner[1] / image.height], [left, top]) };
  }
  if (steps.shorter_edge) {
    const shorter = Math.min(image.width, image.height);
    const [wide, tall] = [image.width, image.height].map((size) => Math.floor((steps.shorter_edge * size) / shorter));
    const [left, top] = [(wide - width) >> 1, (tall - height) >> 1];
    const large = resize(image, wide, tall, steps.resample);
    const values = new Float32Array(width * height * image.channels);
    const row = width * image.channels;
    for (let y = 0; y < height; y += 1) {
      const from = ((top + y) * wide + left) * image.channels;
      values.set(large.subarray(from, from + row), y * row);
    }
    return { values, placement: place([wide / image.width, tall / image.height], [-left, -top]) };
  }
  return { values: resize(image, width, height, steps.resample), placement: place([width / image.width, height / image.height], [0, 0]) };
}

/** Return pixels of another size in whole steps of 0…255, axis after axis as Pillow does it. */
export function resize({ data, width, height, channels }, wide, tall, resample) {
  if (width === wide && height === tall) return data;
  if (resample === "nearest") {
    const values = new Float32Array(wide * tall * channels);
    for (let y = 0; y < tall; y += 1) {
      const row = Math.trunc(((y + 0.5) * height) / tall);
      for (let x = 0; x < wide; x += 1) {
        const from = (row * width + Math.trunc(((x + 0.5) * width) / wide)) * channels;
        for (let c = 0; c < channels; c += 1) values[(y * wide + x) * channels + c] = data[from + c];
      }
    }
    return values;
  }
  const across = width === wide ? data : along(data, { outer: height, size: width, inner: channels }, wide, resample);
  return height === tall ? across : along(across, { outer: 1, size: height, inner: wide * channels }, tall, resample);
}

/** Resize the middle axis of [outer, size, inner], rounded to 0…255. */
function along(data, { outer, size, inner }, wanted, resample) {
  const values = new Float32Array(outer * wanted * inner);
  const weights = filterWeights(size, wanted, resample);
  const sums = new Float64Array(inner);
  for (let o = 0; o < outer; o += 1) {
    for (let k = 0; k < wanted; k += 1) {
      const { low, taps } = weights[k];
      sums.fill(0);
      for (let t = 0; t < taps.length; t += 1) {
        const from = (o * size + low + t) * inner;
        for (let i = 0; i < inner; i += 1) sums[i] += taps[t] * data[from + i];
      }
      const to = (o * wanted + k) * inner;
      for (let i = 0; i < inner; i += 1) values[to + i] = Math.min(255, Math.max(0, Math.floor(sums[i] + 0.5)));
    }
  }
  return values;
}

function filterWeights(size, wanted, resample) {
  const ratio = size / wanted;
  const reach = Math.max(ratio, 1);
  const support = SUPPORT[resample] * reach;
  return Array.from({ length: wanted }, (_, k) => {
    const centre = (k + 0.5) * ratio;
    const low = Math.floor(Math.max(centre - support + 0.5, 0));
    const high = Math.floor(Math.min(centre + support + 0.5, size));
    const taps = Array.from({ length: high - low }, (__, t) => FILTERS[resample](Math.abs(low + t + 0.5 - centre) / reach));
    const sum = taps.reduce((a, b) => a + b, 0);
    return { low, taps: taps.map((tap) => Math.fround(tap / sum)) };
  });
}
