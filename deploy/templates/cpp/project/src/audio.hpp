// Recordings become model inputs: .wav to mono samples, resampled, cut or padded, and a (log-mel) spectrogram if asked for.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "arrays.hpp"
#include "json.hpp"
#include "ort.hpp"

namespace audio {

using Samples = std::vector<double>;

inline double sinc(double x) { return x == 0 ? 1 : std::sin(M_PI * x) / (M_PI * x); }

inline Samples read_wav(const std::vector<unsigned char>& b, int& rate) {
  const auto number = [&](size_t at, int width) {
    uint32_t value = 0;
    for (int k = width - 1; k >= 0; --k) value = value << 8 | (at + static_cast<size_t>(k) < b.size() ? b[at + static_cast<size_t>(k)] : 0u);
    return value;
  };
  if (b.size() < 12 || std::memcmp(b.data(), "RIFF", 4) != 0 || std::memcmp(&b[8], "WAVE", 4) != 0) throw std::runtime_error("not a .wav file");
  uint32_t channels = 0, width = 0;
  rate = 0;
  for (size_t at = 12; at + 8 <= b.size();) {
    const size_t size = number(at + 4, 4);
    if (std::memcmp(&b[at], "fmt ", 4) == 0) {
      const uint32_t kind = number(at + 8, 2);
      channels = number(at + 10, 2);
      rate = static_cast<int>(number(at + 12, 4));
      width = number(at + 22, 2) / 8;
      if ((kind != 1 && kind != 0xfffe) || width < 1 || width > 4 || channels < 1 || rate < 1000 || rate > 768000) throw std::runtime_error("not a .wav file of integers (PCM)");
    } else if (std::memcmp(&b[at], "data", 4) == 0 && channels) {
      const size_t bytes = std::min(size, b.size() - at - 8), count = bytes / width / channels;
      Samples samples(count);
      for (size_t k = 0; k < count; ++k) {
        for (size_t c = 0; c < channels; ++c) {
          const size_t from = at + 8 + (k * channels + c) * width;
          const double value = width == 1 ? (b[from] - 128) / 128.0 : static_cast<int32_t>(number(from, static_cast<int>(width)) << (32 - 8 * width)) / 2147483648.0;
          samples[k] += value / channels;
        }
      }
      return samples;
    }
    at += 8 + size + size % 2;
  }
  throw std::runtime_error("not a whole .wav file");
}

inline void normalise(Samples& values) {
  if (values.empty()) return;
  const double count = static_cast<double>(values.size()), mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
  double variance = 0;
  for (const double value : values) variance += (value - mean) * (value - mean) / count;
  for (double& value : values) value = (value - mean) / std::sqrt(variance + 1e-7);
}

/** Return samples at another rate: a sinc below the lower of both Nyquist frequencies under a Hann window. */
inline Samples resample(const Samples& values, int rate, int wanted) {
  if (rate == wanted || values.empty()) return values;
  const int64_t shared = std::gcd(rate, wanted), up = wanted / shared, down = rate / shared;
  const double cutoff = 0.97 * std::min(1.0, static_cast<double>(up) / static_cast<double>(down));
  const int64_t reach = static_cast<int64_t>(std::ceil(16 / cutoff)), size = static_cast<int64_t>(values.size());
  Samples result(static_cast<size_t>((size * up + down - 1) / down));
  for (int64_t phase = 0; phase < up; ++phase) {
    const double offset = static_cast<double>(phase * down) / static_cast<double>(up);
    const int64_t first = static_cast<int64_t>(offset);
    Samples taps(static_cast<size_t>(2 * reach + 1));
    for (int64_t k = 0; k <= 2 * reach; ++k) {
      const double distance = static_cast<double>(k - reach) - (offset - static_cast<double>(first));
      taps[static_cast<size_t>(k)] = std::fabs(distance) <= static_cast<double>(reach) ? cutoff * sinc(cutoff * distance) * (0.5 + 0.5 * std::cos(M_PI * distance / static_cast<double>(reach))) : 0;
    }
    int64_t start = first - reach;
    for (size_t at = static_cast<size_t>(phase); at < result.size(); at += static_cast<size_t>(up), start += down) {
      double sum = 0;
      for (int64_t k = std::max<int64_t>(0, -start); k <= 2 * reach && start + k < size; ++k) sum += taps[static_cast<size_t>(k)] * values[static_cast<size_t>(start + k)];
      result[at] = sum;
    }
  }
  return result;
}

/** Return |spectrum|² of the bins 0…n/2: a fast transform for powers of two, a plain one for other sizes. */
inline Samples spectrum(const Samples& values) {
  const size_t n = values.size();
  Samples squares(n / 2 + 1);
  if (n & (n - 1)) {
    for (size_t k = 0; k < squares.size(); ++k) {
      double re = 0, im = 0;
      for (size_t t = 0; t < n; ++t) {
        const double angle = 2 * M_PI * static_cast<double>(k * t % n) / static_cast<double>(n);
        re += values[t] * std::cos(angle);
        im -= values[t] * std::sin(angle);
      }
      squares[k] = re * re + im * im;
    }
    return squares;
  }
  Samples re(n), im(n);
  for (size_t k = 0, j = 0; k < n; ++k) {
    re[j] = values[k];
    size_t bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j |= bit;
  }
  for (size_t size = 2; size <= n; size <<= 1) {
    const size_t half = size >> 1;
    for (size_t k = 0; k < half; ++k) {
      const double angle = -2 * M_PI * static_cast<double>(k) / static_cast<double>(size), c = std::cos(angle), s = std::sin(angle);
      for (size_t at = k; at < n; at += size) {
        const double x = re[at + half] * c - im[at + half] * s, y = re[at + half] * s + im[at + half] * c;
        re[at + half] = re[at] - x;
        im[at + half] = im[at] - y;
        re[at] += x;
        im[at] += y;
      }
    }
  }
  for (size_t k = 0; k < squares.size(); ++k) squares[k] = re[k] * re[k] + im[k] * im[k];
  return squares;
}

inline double to_mel(double hertz, const std::string& scale) {
  if (scale == "htk") return 2595 * std::log10(1 + hertz / 700);
  return hertz < 1000 ? hertz * 3 / 200 : 15 + std::log(hertz / 1000) * 27 / std::log(6.4);
}

inline double from_mel(double mel, const std::string& scale) {
  if (scale == "htk") return 700 * (std::pow(10, mel / 2595) - 1);
  return mel < 15 ? mel * 200 / 3 : 1000 * std::exp(std::log(6.4) / 27 * (mel - 15));
}

/** Return the (log-mel) spectrogram as a tensor without batch axis. */
inline ort::Tensor features(Samples values, int rate, const json::Value& options) {
  const size_t fft = static_cast<size_t>(options.whole("fft")), frame = static_cast<size_t>(options.whole("frame")), hop = static_cast<size_t>(options.whole("hop"));
  if (options["centre"].truthy()) {
    const size_t half = fft / 2, count = values.size();
    Samples padded(count + 2 * half);
    std::copy(values.begin(), values.end(), padded.begin() + static_cast<long>(half));
    if (count > half) for (size_t k = 0; k < half; ++k) { padded[half - 1 - k] = values[k + 1]; padded[half + count + k] = values[count - 2 - k]; }
    values = padded;
  }
  if (values.size() < fft) values.resize(fft);
  Samples window(frame);
  for (size_t k = 0; k < frame; ++k) {
    const double wave = std::cos(2 * M_PI * static_cast<double>(k) / static_cast<double>(frame));
    window[k] = options.str("window") == "hamming" ? 0.54 - 0.46 * wave : options.str("window") == "hann" ? 0.5 - 0.5 * wave : 1;
  }
  const size_t mels = static_cast<size_t>(options.whole("mels")), bins = fft / 2 + 1, bands = mels ? mels : bins, left = (fft - frame) / 2;
  std::vector<Samples> filters(mels, Samples(bins));
  const std::string& scale = options.str("scale");
  const double first = to_mel(options.num("low"), scale), last = to_mel(options["high"].is_null() ? rate / 2.0 : options.num("high"), scale);
  const auto corner = [&](size_t k) { return from_mel(first + (last - first) * static_cast<double>(k) / static_cast<double>(mels + 1), scale); };
  for (size_t m = 0; m < mels; ++m) {
    const double a = corner(m), b = corner(m + 1), c = corner(m + 2);
    for (size_t k = 0; k < bins; ++k) {
      const double hertz = static_cast<double>(k) * rate / static_cast<double>(fft);
      filters[m][k] = std::max(0.0, std::min((hertz - a) / (b - a), (c - hertz) / (c - b))) * (options["area"].truthy() ? 2 / (c - a) : 1);
    }
  }
  Samples level;
  size_t time = 0;
  for (size_t start = 0; start + fft <= values.size(); start += hop, ++time) {
    Samples part(fft);
    for (size_t k = 0; k < frame; ++k) part[left + k] = values[start + left + k] * window[k];
    Samples power = spectrum(part);
    if (options.whole("power") == 1) for (double& value : power) value = std::sqrt(value);
    for (size_t m = 0; m < bands; ++m) level.push_back(mels ? std::inner_product(power.begin(), power.end(), filters[m].begin(), 0.0) : power[m]);
  }
  const std::string& log = options.str("log");
  const double floor = options.num("floor");
  double top = -1e300;
  for (double& value : level) {
    if (log == "none") continue;
    value = log == "ln+" ? std::log(value + floor) : log == "ln" ? std::log(std::max(value, floor)) : std::log10(std::max(value, floor));
    if (log == "db") value *= 10;
    top = std::max(top, value);
  }
  if (log == "whisper") for (double& value : level) value = (std::max(value, top - 8) + 4) / 4;
  if (options["normalise"].truthy()) normalise(level);
  for (double& value : level) value = (value - options.num("mean")) / options.num("std");
  if (!options["frames"].is_null()) {
    time = static_cast<size_t>(options.whole("frames"));
    level.resize(time * bands, options.num("pad"));
  }
  ort::Tensor tensor;
  const auto t = static_cast<int64_t>(time), b = static_cast<int64_t>(bands);
  if (options.str("layout") == "time-bands") {
    tensor.data = level;
    tensor.shape = {t, b};
    return tensor;
  }
  tensor.data.resize(level.size());
  for (size_t k = 0; k < time; ++k) for (size_t m = 0; m < bands; ++m) tensor.data[m * time + k] = level[k * bands + m];
  tensor.shape = {b, t};
  return tensor;
}

/** Return mono samples as the model's input. */
inline ort::Tensor input(const Samples& samples, int rate, const json::Value& steps) {
  Samples values = resample(samples, rate, steps.whole("rate"));
  if (steps["normalise"].truthy()) normalise(values);
  if (!steps["length"].is_null()) values.resize(static_cast<size_t>(steps.whole("length")));
  ort::Tensor tensor;
  if (steps["features"].is_null()) {
    tensor.shape = {static_cast<int64_t>(values.size())};
    tensor.data = values;
  } else {
    tensor = features(values, steps.whole("rate"), steps["features"]);
  }
  tensor.shape.insert(tensor.shape.begin(), static_cast<size_t>(1 + steps.whole("channel_axes")), 1);
  for (double& value : tensor.data) value = static_cast<float>(value);
  return tensor;
}

}  // namespace audio
