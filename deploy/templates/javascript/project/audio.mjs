// Recordings become model inputs: .wav to mono samples, resampled, cut or padded, and a (log-mel) spectrogram if asked for.

const ZEROS = 16; // zero crossings of the resampler's sinc on either side
const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

/** Return {samples: Float64Array of mono samples in −1…1, rate} of a PCM .wav. */
export function readWav(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const word = (at) => String.fromCharCode(...bytes.subarray(at, at + 4));
  if (bytes.length < 12 || word(0) !== "RIFF" || word(8) !== "WAVE") throw new Error("not a .wav file");
  let [format, samples] = [null, null];
  for (let at = 12; at + 8 <= bytes.length; ) {
    const size = view.getUint32(at + 4, true);
    if (word(at) === "fmt " && at + 24 <= bytes.length) {
      const kind = view.getUint16(at + 8, true);
      format = { channels: view.getUint16(at + 10, true), rate: view.getUint32(at + 12, true), width: view.getUint16(at + 22, true) / 8 };
      if ((kind !== 1 && kind !== 0xfffe) || ![1, 2, 3, 4].includes(format.width) || !format.channels || format.rate < 1000 || format.rate > 768000) throw new Error("not a .wav file of integers (PCM)");
    } else if (word(at) === "data" && format) {
      samples = bytes.subarray(at + 8, Math.min(bytes.length, at + 8 + size));
      break;
    }
    at += 8 + size + (size % 2);
  }
  if (!samples) throw new Error("not a whole .wav file");
  const { channels, rate, width } = format;
  const count = Math.floor(samples.length / width / channels);
  const mono = new Float64Array(count);
  const data = new DataView(samples.buffer, samples.byteOffset, samples.byteLength);
  const value = [null,
    (at) => (data.getUint8(at) - 128) / 128,
    (at) => data.getInt16(at, true) / 32768,
    (at) => ((data.getUint16(at, true) | (data.getInt8(at + 2) << 16)) / 8388608),
    (at) => data.getInt32(at, true) / 2147483648][width];
  for (let k = 0; k < count; k += 1) {
    for (let c = 0; c < channels; c += 1) mono[k] += value((k * channels + c) * width);
    mono[k] /= channels;
  }
  return { samples: mono, rate };
}

/** Return {data: Float32Array, shape} of mono samples. */
export function audioInput(samples, rate, steps) {
  let values = resample(samples, rate, steps.rate);
  if (steps.normalise && values.length) values = normalised(values);
  if (steps.length !== null) values = fixed(values, steps.length, 0);
  let shape = [values.length];
  if (steps.features !== null) ({ values, shape } = features(values, steps.rate, steps.features));
  return { data: Float32Array.from(values), shape: [1, ...new Array(steps.channel_axes).fill(1), ...shape] };
}

function normalised(values) {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length;
  return values.map((value) => (value - mean) / Math.sqrt(variance + 1e-7));
}

function fixed(values, length, fill) {
  const whole = new Float64Array(length).fill(fill);
  whole.set(values.subarray(0, length));
  return whole;
}

/** Return samples at another rate: a sinc below the lower of both Nyquist frequencies under a Hann window. */
export function resample(values, rate, wanted) {
  if (rate === wanted || !values.length) return values;
  const gcd = (a, b) => (b ? gcd(b, a % b) : a);
  const [up, down] = [wanted / gcd(rate, wanted), rate / gcd(rate, wanted)];
  const cutoff = 0.97 * Math.min(1, up / down);
  const reach = Math.ceil(ZEROS / cutoff);
  const result = new Float64Array(Math.ceil((values.length * up) / down));
  for (let phase = 0; phase < up; phase += 1) {
    const offset = (phase * down) / up;
    const first = Math.trunc(offset);
    const taps = Float64Array.from({ length: 2 * reach + 1 }, (_, k) => {
      const distance = k - reach - (offset - first);
      return Math.abs(distance) <= reach ? cutoff * sinc(cutoff * distance) * (0.5 + 0.5 * Math.cos((Math.PI * distance) / reach)) : 0;
    });
    for (let at = phase, start = first - reach; at < result.length; at += up, start += down) {
      let sum = 0;
      for (let k = Math.max(0, -start); k < taps.length && start + k < values.length; k += 1) sum += taps[k] * values[start + k];
      result[at] = sum;
    }
  }
  return result;
}

/** Return {values, shape} of the (log-mel) spectrogram. */
export function features(samples, rate, options) {
  const power = spectrogram(samples, options);
  const bins = options.fft / 2 + 1;
  const filters = options.mels ? melFilters(rate, options) : null;
  let [time, bands] = [power.length, options.mels || Math.floor(bins)];
  let values = new Float64Array(time * bands);
  power.forEach((row, t) => {
    for (let b = 0; b < bands; b += 1) {
      let sum = 0;
      if (filters) for (let k = 0; k < row.length; k += 1) sum += filters[b][k] * row[k];
      values[t * bands + b] = filters ? sum : row[b];
    }
  });
  values = logarithm(values, options.log, options.floor);
  if (options.normalise && values.length) values = normalised(values);
  values = values.map((value) => (value - options.mean) / options.std);
  if (options.frames !== null) {
    values = fixed(values, options.frames * bands, options.pad);
    time = options.frames;
  }
  if (options.layout === "time-bands") return { values, shape: [time, bands] };
  const turned = new Float64Array(values.length);
  for (let t = 0; t < time; t += 1) for (let b = 0; b < bands; b += 1) turned[b * time + t] = values[t * bands + b];
  return { values: turned, shape: [bands, time] };
}

function spectrogram(samples, { frame, hop, fft, centre, window, power }) {
  let values = samples;
  if (centre) {
    const half = Math.floor(fft / 2);
    values = new Float64Array(samples.length + 2 * half);
    values.set(samples, half);
    if (samples.length > half) {
      for (let k = 0; k < half; k += 1) {
        values[half - 1 - k] = samples[k + 1];
        values[half + samples.length + k] = samples[samples.length - 2 - k];
      }
    }
  }
  if (values.length < fft) values = fixed(values, fft, 0);
  const left = (fft - frame) >> 1;
  const shape = Float64Array.from({ length: frame }, (_, k) => {
    const wave = Math.cos((2 * Math.PI * k) / frame);
    return window === "hamming" ? 0.54 - 0.46 * wave : window === "hann" ? 0.5 - 0.5 * wave : 1;
  });
  const rows = [];
  for (let start = 0; start + fft <= values.length; start += hop) {
    const part = new Float64Array(fft);
    for (let k = 0; k < frame; k += 1) part[left + k] = values[start + left + k] * shape[k];
    rows.push(spectrum(part).map((square) => (power === 2 ? square : Math.sqrt(square))));
  }
  return rows;
}

const CIRCLES = new Map();

/** Return the cosines and sines of n angles, evenly around a circle. */
function circle(n) {
  if (!CIRCLES.has(n)) {
    const angles = Float64Array.from({ length: n }, (_, k) => (2 * Math.PI * k) / n);
    CIRCLES.set(n, { cosines: angles.map(Math.cos), sines: angles.map(Math.sin) });
  }
  return CIRCLES.get(n);
}

/** Return |spectrum|² of the bins 0…n/2: a fast transform for powers of two, a plain one for other sizes. */
function spectrum(values) {
  const n = values.length;
  const squares = new Float64Array(Math.floor(n / 2) + 1);
  if (n & (n - 1)) {
    const { cosines, sines } = circle(n);
    for (let k = 0; k < squares.length; k += 1) {
      let [re, im] = [0, 0];
      for (let t = 0, at = 0; t < n; t += 1, at = (at + k) % n) {
        re += values[t] * cosines[at];
        im -= values[t] * sines[at];
      }
      squares[k] = re * re + im * im;
    }
    return squares;
  }
  const [re, im] = [new Float64Array(n), new Float64Array(n)];
  for (let k = 0, j = 0; k < n; k += 1) {
    re[j] = values[k];
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j |= bit;
  }
  for (let size = 2; size <= n; size <<= 1) {
    for (let half = size >> 1, k = 0; k < half; k += 1) {
      const angle = (-2 * Math.PI * k) / size;
      const [c, s] = [Math.cos(angle), Math.sin(angle)];
      for (let at = k; at < n; at += size) {
        const [x, y] = [re[at + half] * c - im[at + half] * s, re[at + half] * s + im[at + half] * c];
        re[at + half] = re[at] - x; im[at + half] = im[at] - y; re[at] += x; im[at] += y;
      }
    }
  }
  for (let k = 0; k < squares.length; k += 1) squares[k] = re[k] * re[k] + im[k] * im[k];
  return squares;
}

function melFilters(rate, { fft, mels, low, high, scale, area }) {
  const [first, last] = [toMel(low, scale), toMel(high ?? rate / 2, scale)];
  const corners = Array.from({ length: mels + 2 }, (_, k) => fromMel(first + ((last - first) * k) / (mels + 1), scale));
  return Array.from({ length: mels }, (_, m) => Float64Array.from({ length: Math.floor(fft / 2) + 1 }, (__, k) => {
    const hertz = (k * rate) / fft;
    const rise = (hertz - corners[m]) / (corners[m + 1] - corners[m]);
    const fall = (corners[m + 2] - hertz) / (corners[m + 2] - corners[m + 1]);
    return Math.max(0, Math.min(rise, fall)) * (area ? 2 / (corners[m + 2] - corners[m]) : 1);
  }));
}

function toMel(hertz, scale) {
  if (scale === "htk") return 2595 * Math.log10(1 + hertz / 700);
  return hertz < 1000 ? (hertz * 3) / 200 : 15 + (Math.log(hertz / 1000) * 27) / Math.log(6.4);
}

function fromMel(mel, scale) {
  if (scale === "htk") return 700 * (10 ** (mel / 2595) - 1);
  return mel < 15 ? (mel * 200) / 3 : 1000 * Math.exp((Math.log(6.4) / 27) * (mel - 15));
}

function logarithm(values, kind, floor) {
  if (kind === "none") return values;
  if (kind === "ln+") return values.map((value) => Math.log(value + floor));
  if (kind === "ln") return values.map((value) => Math.log(Math.max(value, floor)));
  const level = values.map((value) => Math.log10(Math.max(value, floor)));
  if (kind === "db") return level.map((value) => 10 * value);
  if (kind !== "whisper") return level;
  const top = level.reduce((a, b) => Math.max(a, b), -Infinity);
  return level.map((value) => (Math.max(value, top - 8) + 4) / 4);
}
