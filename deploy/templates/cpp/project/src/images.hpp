// Images become model inputs: read, resize as Pillow does it, letterbox or crop, reorder, normalise.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>
#ifdef HAVE_JPEG
#include <jpeglib.h>
#endif
#ifdef HAVE_PNG
#include <png.h>
#endif

#include "arrays.hpp"
#include "json.hpp"
#include "ort.hpp"

namespace images {

struct Image {
  int width = 0, height = 0, channels = 3;
  std::vector<float> data;
};

/** Where an image lies in the model's input: x_input = x · scale + offset. */
struct Placement {
  std::array<double, 2> size{}, input{}, scale{1, 1}, offset{0, 0};
};

constexpr double kMostPixels = 1 << 28;

inline Image of_bytes(const unsigned char* rgb, int width, int height) {
  Image image;
  image.width = width;
  image.height = height;
  image.data.assign(rgb, rgb + static_cast<size_t>(width) * height * 3);
  return image;
}

#ifdef HAVE_JPEG
struct JpegError {
  jpeg_error_mgr manager;
  std::jmp_buf place;
};

inline Image read_jpeg(const std::vector<unsigned char>& bytes) {
  jpeg_decompress_struct state;
  JpegError error;
  std::vector<unsigned char> rgb;
  state.err = jpeg_std_error(&error.manager);
  error.manager.error_exit = [](j_common_ptr common) { std::longjmp(reinterpret_cast<JpegError*>(common->err)->place, 1); };
  error.manager.output_message = [](j_common_ptr) {};
  if (setjmp(error.place)) {
    jpeg_destroy_decompress(&state);
    throw std::runtime_error("not an image that can be read");
  }
  jpeg_create_decompress(&state);
  jpeg_mem_src(&state, bytes.data(), bytes.size());
  jpeg_read_header(&state, TRUE);
  if (static_cast<double>(state.image_width) * state.image_height > kMostPixels) {
    jpeg_destroy_decompress(&state);
    throw std::runtime_error("an image of too many pixels");
  }
  state.out_color_space = JCS_RGB;
  jpeg_start_decompress(&state);
  const int width = static_cast<int>(state.output_width), height = static_cast<int>(state.output_height);
  rgb.resize(static_cast<size_t>(width) * height * 3);
  while (state.output_scanline < state.output_height) {
    unsigned char* row = rgb.data() + static_cast<size_t>(state.output_scanline) * width * 3;
    jpeg_read_scanlines(&state, &row, 1);
  }
  jpeg_finish_decompress(&state);
  jpeg_destroy_decompress(&state);
  return of_bytes(rgb.data(), width, height);
}
#endif

/** Return the EXIF orientation (1 to 8) of a JPEG; 1 where there is none. */
inline int orientation(const std::vector<unsigned char>& b) {
  for (size_t at = 2; at + 10 < b.size() && b[at] == 0xff;) {
    const size_t size = static_cast<size_t>(b[at + 2]) << 8 | b[at + 3];
    if (b[at + 1] == 0xe1 && at + 2 + size <= b.size() && size > 16 && std::memcmp(&b[at + 4], "Exif\0\0", 6) == 0) {
      const size_t base = at + 10, end = at + 2 + size;
      const bool little = b[base] == 'I';
      const auto number = [&](size_t place, int width) -> uint32_t {
        uint32_t value = 0;
        for (int k = 0; k < width; ++k) {
          const size_t from = place + (little ? static_cast<size_t>(width - 1 - k) : static_cast<size_t>(k));
          value = value << 8 | (from < end ? b[from] : 0u);
        }
        return value;
      };
      const size_t directory = base + number(base + 4, 4);
      const uint32_t count = directory + 2 < end ? number(directory, 2) : 0;
      for (uint32_t k = 0; k < count && directory + 2 + 12 * (k + 1) <= end; ++k) {
        const size_t entry = directory + 2 + 12 * static_cast<size_t>(k);
        if (number(entry, 2) == 0x0112) return static_cast<int>(std::min<uint32_t>(8, std::max<uint32_t>(1, number(entry + 8, 2))));
      }
      return 1;
    }
    if (b[at + 1] == 0xda) break;
    at += 2 + size;
  }
  return 1;
}

inline Image turned(const Image& from, int way) {
  if (way < 2) return from;
  const bool swaps = way > 4;
  Image to;
  to.width = swaps ? from.height : from.width;
  to.height = swaps ? from.width : from.height;
  to.data.resize(from.data.size());
  for (int y = 0; y < to.height; ++y) {
    for (int x = 0; x < to.width; ++x) {
      const int w = from.width - 1, h = from.height - 1;
      const int sx = way == 2 ? w - x : way == 3 ? w - x : way == 4 ? x : way == 5 ? y : way == 6 ? y : way == 7 ? w - y : w - y;
      const int sy = way == 2 ? y : way == 3 ? h - y : way == 4 ? h - y : way == 5 ? x : way == 6 ? h - x : way == 7 ? h - x : x;
      for (int c = 0; c < 3; ++c) to.data[(static_cast<size_t>(y) * to.width + x) * 3 + c] = from.data[(static_cast<size_t>(sy) * from.width + sx) * 3 + c];
    }
  }
  return to;
}

/** Read a JPEG or PNG (where this program was built with their libraries), a binary .ppm, or .npy of uint8 [h, w, 3]. */
inline Image read(const std::string& path) {
  const std::vector<unsigned char> bytes = arrays::file(path);
  if (bytes.size() > 2 && bytes[0] == 0xff && bytes[1] == 0xd8) {
#ifdef HAVE_JPEG
    return turned(read_jpeg(bytes), orientation(bytes));
#else
    throw std::runtime_error(path + ": this program was built without libjpeg; give .ppm or .npy");
#endif
  }
  if (bytes.size() > 4 && bytes[1] == 'P' && bytes[2] == 'N') {
#ifdef HAVE_PNG
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    if (!png_image_begin_read_from_memory(&image, bytes.data(), bytes.size())) throw std::runtime_error(path + ": not an image that can be read");
    image.format = PNG_FORMAT_RGBA;
    image.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;  // 16 bits are no linear light
    if (bytes.size() > 25 && bytes[24] == 16 && bytes[25] == 0) {  // Pillow clips these to 255, here their upper bytes would be read
      png_image_free(&image);
      throw std::runtime_error(path + ": a grey PNG of 16 bits is not read here; save it with 8");
    }
    if (static_cast<double>(image.width) * image.height > kMostPixels) { png_image_free(&image); throw std::runtime_error("an image of too many pixels"); }
    std::vector<unsigned char> rgba(PNG_IMAGE_SIZE(image)), rgb(static_cast<size_t>(image.width) * image.height * 3);
    const int width = static_cast<int>(image.width), height = static_cast<int>(image.height);
    if (!png_image_finish_read(&image, nullptr, rgba.data(), 0, nullptr)) throw std::runtime_error(path + ": not an image that can be read");
    for (size_t k = 0; k < rgb.size() / 3; ++k) std::copy_n(&rgba[4 * k], 3, &rgb[3 * k]);
    return of_bytes(rgb.data(), width, height);
#else
    throw std::runtime_error(path + ": this program was built without libpng; give .ppm or .npy");
#endif
  }
  if (bytes.size() > 2 && bytes[0] == 'P' && bytes[1] == '6') {
    int width = 0, height = 0, most = 0, used = 0;
    const std::string head(bytes.begin(), bytes.begin() + static_cast<long>(std::min<size_t>(bytes.size(), 64)));
    if (std::sscanf(head.c_str(), "P6 %d %d %d%n", &width, &height, &most, &used) != 3 || most != 255 || width < 1 || height < 1 ||
        static_cast<double>(width) * height > kMostPixels || bytes.size() < static_cast<size_t>(used) + 1 + static_cast<size_t>(width) * height * 3)
      throw std::runtime_error(path + ": not a .ppm that can be read");
    return of_bytes(bytes.data() + used + 1, width, height);
  }
  const ort::Tensor array = arrays::npy(bytes);
  if (array.dtype != "uint8" || array.shape.size() != 3 || array.shape[2] != 3) throw std::runtime_error(path + ": not an image that can be read");
  Image image;
  image.height = static_cast<int>(array.shape[0]);
  image.width = static_cast<int>(array.shape[1]);
  image.data.assign(array.data.begin(), array.data.end());
  return image;
}

inline double sinc(double x) { return x == 0 ? 1 : std::sin(M_PI * x) / (M_PI * x); }

inline double filter(const std::string& kind, double x) {
  if (kind == "bicubic") return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
  if (kind == "lanczos") return x < 3 ? sinc(x) * sinc(x / 3) : 0;
  return std::max(0.0, 1 - x);
}

/** Resize the middle axis of [outer, size, inner], rounded to 0…255. */
inline std::vector<float> along(const std::vector<float>& data, size_t outer, int size, size_t inner, int wanted, const std::string& kind) {
  if (size == wanted) return data;
  const double ratio = static_cast<double>(size) / wanted, reach = std::max(ratio, 1.0);
  const double support = (kind == "bicubic" ? 2 : kind == "lanczos" ? 3 : 1) * reach;
  std::vector<float> values(outer * static_cast<size_t>(wanted) * inner);
  std::vector<double> sums(inner);
  for (int k = 0; k < wanted; ++k) {
    const double centre = (k + 0.5) * ratio;
    const int low = static_cast<int>(std::max(centre - support + 0.5, 0.0)), high = static_cast<int>(std::min(centre + support + 0.5, static_cast<double>(size)));
    std::vector<double> taps;
    double sum = 0;
    for (int t = low; t < high; ++t) {
      taps.push_back(filter(kind, std::fabs(t + 0.5 - centre) / reach));
      sum += taps.back();
    }
    for (double& tap : taps) tap = static_cast<float>(tap / sum);
    for (size_t o = 0; o < outer; ++o) {
      std::fill(sums.begin(), sums.end(), 0.0);
      for (size_t t = 0; t < taps.size(); ++t) {
        const float* from = &data[(o * static_cast<size_t>(size) + static_cast<size_t>(low) + t) * inner];
        for (size_t i = 0; i < inner; ++i) sums[i] += taps[t] * from[i];
      }
      float* to = &values[(o * static_cast<size_t>(wanted) + static_cast<size_t>(k)) * inner];
      for (size_t i = 0; i < inner; ++i) to[i] = static_cast<float>(std::min(255.0, std::max(0.0, std::floor(sums[i] + 0.5))));
    }
  }
  return values;
}

inline Image resize(const Image& image, int width, int height, const std::string& kind) {
  if (width == image.width && height == image.height) return image;
  Image result;
  result.width = width;
  result.height = height;
  result.channels = image.channels;
  const size_t channels = static_cast<size_t>(image.channels);
  if (kind == "nearest") {
    result.data.resize(static_cast<size_t>(width) * height * channels);
    for (int y = 0; y < height; ++y) {
      const int row = static_cast<int>((y + 0.5) * image.height / height);
      for (int x = 0; x < width; ++x) {
        const int column = static_cast<int>((x + 0.5) * image.width / width);
        std::copy_n(&image.data[(static_cast<size_t>(row) * image.width + column) * channels], channels, &result.data[(static_cast<size_t>(y) * width + x) * channels]);
      }
    }
    return result;
  }
  const std::vector<float> across = along(image.data, static_cast<size_t>(image.height), image.width, channels, width, kind);
  result.data = along(across, 1, image.height, static_cast<size_t>(width) * channels, height, kind);
  return result;
}

inline Image coloured(const Image& image, const std::string& colour) {
  if (colour == "RGB") return image;
  Image result = image;
  const size_t count = static_cast<size_t>(image.width) * image.height;
  if (colour == "GREY") {
    result.channels = 1;
    result.data.resize(count);
    for (size_t k = 0; k < count; ++k)
      result.data[k] = static_cast<float>((static_cast<int>(image.data[3 * k]) * 19595 + static_cast<int>(image.data[3 * k + 1]) * 38470 + static_cast<int>(image.data[3 * k + 2]) * 7471 + 0x8000) >> 16);
    return result;
  }
  for (size_t k = 0; k < count; ++k) std::swap(result.data[3 * k], result.data[3 * k + 2]);
  return result;
}

inline Image cut(const Image& image, int left, int top, int width, int height) {
  Image result;
  result.width = width;
  result.height = height;
  result.channels = image.channels;
  for (int y = 0; y < height; ++y) {
    const auto row = image.data.begin() + static_cast<long>((static_cast<size_t>(top + y) * image.width + left) * image.channels);
    result.data.insert(result.data.end(), row, row + static_cast<long>(width) * image.channels);
  }
  return result;
}

inline Image fitted(const Image& image, const json::Value& steps, Placement& place) {
  const int width = steps.whole("width"), height = steps.whole("height");
  const std::string& kind = steps.str("resample");
  place.size = {static_cast<double>(image.width), static_cast<double>(image.height)};
  place.input = {static_cast<double>(width), static_cast<double>(height)};
  if (const json::Value* letterbox = steps.find("letterbox"); letterbox && letterbox->truthy()) {
    const double ratio = std::min(static_cast<double>(width) / image.width, static_cast<double>(height) / image.height);
    const int inner_width = std::max(1, std::min(width, static_cast<int>(image.width * ratio))), inner_height = std::max(1, std::min(height, static_cast<int>(image.height * ratio)));
    const bool centre = steps.str("pad_position") == "centre";
    const int left = centre ? (width - inner_width) / 2 : 0, top = centre ? (height - inner_height) / 2 : 0;
    Image whole = image;
    whole.width = width;
    whole.height = height;
    whole.data.resize(static_cast<size_t>(width) * height * image.channels);
    const auto& pad = steps.items("pad");
    for (size_t k = 0; k < whole.data.size(); ++k) whole.data[k] = static_cast<float>(pad[pad.size() == 1 ? 0 : k % static_cast<size_t>(image.channels)].number);
    const Image small = resize(image, inner_width, inner_height, kind);
    const size_t row = static_cast<size_t>(inner_width) * image.channels;
    for (int y = 0; y < inner_height; ++y) std::copy_n(&small.data[static_cast<size_t>(y) * row], row, &whole.data[(static_cast<size_t>(top + y) * width + left) * image.channels]);
    place.scale = {static_cast<double>(inner_width) / image.width, static_cast<double>(inner_height) / image.height};
    place.offset = {static_cast<double>(left), static_cast<double>(top)};
    return whole;
  }
  if (!steps["shorter_edge"].is_null()) {
    const int64_t edge = steps.whole("shorter_edge"), shorter = std::min(image.width, image.height);
    const int wide = static_cast<int>(edge * image.width / shorter), tall = static_cast<int>(edge * image.height / shorter);
    const int left = (wide - width) / 2, top = (tall - height) / 2;
    place.scale = {static_cast<double>(wide) / image.width, static_cast<double>(tall) / image.height};
    place.offset = {-static_cast<double>(left), -static_cast<double>(top)};
    return cut(resize(image, wide, tall, kind), left, top, width, height);
  }
  place.scale = {static_cast<double>(width) / image.width, static_cast<double>(height) / image.height};
  return resize(image, width, height, kind);
}

/** Return the image as the model's input, and where it lies in there. */
inline ort::Tensor input(const Image& raw, const json::Value& steps, Placement& place) {
  const Image image = fitted(coloured(raw, steps.str("colour")), steps, place);
  const auto& mean = steps.items("mean");
  const auto& scale = steps.items("scale");
  const size_t channels = static_cast<size_t>(image.channels), pixels = static_cast<size_t>(image.width) * image.height;
  const bool planes = steps.str("layout") == "NCHW";
  ort::Tensor tensor;
  tensor.data.resize(image.data.size());
  for (size_t c = 0; c < channels; ++c) {
    const float minus = static_cast<float>(mean[mean.size() == 1 ? 0 : c].number), by = static_cast<float>(scale[scale.size() == 1 ? 0 : c].number);
    for (size_t p = 0; p < pixels; ++p) tensor.data[planes ? c * pixels + p : p * channels + c] = (image.data[p * channels + c] - minus) / by;
  }
  if (planes) tensor.shape = {1, image.channels, image.height, image.width};
  else tensor.shape = {1, image.height, image.width, image.channels};
  return tensor;
}

}  // namespace images
