// Files, and numpy's formats: .npy, and .npz with stored (not compressed) entries.
#pragma once

#include <cstring>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "ort.hpp"

namespace arrays {

constexpr size_t kMostBytes = 1u << 30;

inline std::vector<unsigned char> file(const std::string& path) {
  std::ifstream stream(path, std::ios::binary | std::ios::ate);
  if (!stream) throw std::runtime_error(path + ": cannot be opened");
  const auto size = stream.tellg();
  if (size < 0 || static_cast<size_t>(size) > kMostBytes) throw std::runtime_error(path + ": not a file of a size that is read");
  std::vector<unsigned char> bytes(static_cast<size_t>(size));
  stream.seekg(0);
  stream.read(reinterpret_cast<char*>(bytes.data()), size);
  if (!stream) throw std::runtime_error(path + ": cannot be read");
  return bytes;
}

/** Return the path of a bundle's file; a name that leaves the folder is refused. */
inline std::string inside(const std::string& folder, const std::string& name) {
  std::string part;
  for (size_t k = 0; k <= name.size(); ++k) {
    const char c = k < name.size() ? name[k] : '/';
    if (c == '\\' || c == '\0') throw std::runtime_error("bundle.json: a path leaves the bundle; refused");
    if (c != '/') { part += c; continue; }
    if (part.empty() || part == "." || part == "..") throw std::runtime_error("bundle.json: a path leaves the bundle; refused");
    part.clear();
  }
  return folder + "/" + name;
}

inline std::string text(const std::string& path) {
  const auto bytes = file(path);
  return std::string(bytes.begin(), bytes.end());
}

template <class T>
void values(const unsigned char* from, size_t count, std::vector<double>& to) {
  to.resize(count);
  for (size_t k = 0; k < count; ++k) {
    T value;
    std::memcpy(&value, from + k * sizeof(T), sizeof(T));
    to[k] = static_cast<double>(value);
  }
}

inline ort::Tensor npy(const std::vector<unsigned char>& bytes) {
  const auto bad = [] { return std::runtime_error("not an array (.npy) that can be read"); };
  if (bytes.size() < 12 || bytes[0] != 0x93 || std::memcmp(&bytes[1], "NUMPY", 5) != 0) throw bad();
  const bool wide = bytes[6] > 1;
  size_t length = 0;
  for (int k = wide ? 3 : 1; k >= 0; --k) length = length << 8 | bytes[8 + static_cast<size_t>(k)];
  const size_t head = wide ? 12 : 10;
  if (length > bytes.size() - head) throw bad();
  const std::string header(bytes.begin() + static_cast<long>(head), bytes.begin() + static_cast<long>(head + length));
  const size_t type = header.find("'descr': '"), shape = header.find("'shape': (");
  if (type == std::string::npos || shape == std::string::npos || header.find("'fortran_order': False") == std::string::npos) throw bad();
  const std::string code = header.substr(type + 10, header.find('\'', type + 10) - type - 10);
  ort::Tensor tensor;
  size_t count = 1;
  for (size_t at = shape + 10; at < header.size() && header[at] != ')';) {
    if (header[at] < '0' || header[at] > '9') { ++at; continue; }
    size_t used = 0;
    const unsigned long long axis = std::stoull(header.substr(at, 18), &used);
    if (axis && count > kMostBytes / axis) throw bad();
    count *= axis;
    tensor.shape.push_back(static_cast<int64_t>(axis));
    at += used;
  }
  const unsigned char* from = bytes.data() + head + length;
  const size_t there = bytes.size() - head - length;
  const auto need = [&](size_t width) { if (count > there / width) throw bad(); };
  if (code == "<f4") { need(4); tensor.dtype = "float32"; values<float>(from, count, tensor.data); }
  else if (code == "<f8") { need(8); tensor.dtype = "float64"; values<double>(from, count, tensor.data); }
  else if (code == "<i8") { need(8); tensor.dtype = "int64"; values<int64_t>(from, count, tensor.data); }
  else if (code == "<i4") { need(4); tensor.dtype = "int32"; values<int32_t>(from, count, tensor.data); }
  else if (code == "|u1") { need(1); tensor.dtype = "uint8"; values<uint8_t>(from, count, tensor.data); }
  else if (code == "|i1") { need(1); tensor.dtype = "int8"; values<int8_t>(from, count, tensor.data); }
  else if (code == "|b1") { need(1); tensor.dtype = "bool"; values<uint8_t>(from, count, tensor.data); }
  else throw std::runtime_error("arrays of type " + code + " are not read here");
  return tensor;
}

inline std::map<std::string, ort::Tensor> npz(const std::vector<unsigned char>& bytes) {
  std::map<std::string, ort::Tensor> found;
  const auto number = [&](size_t at, int width) {
    if (at + static_cast<size_t>(width) > bytes.size()) throw std::runtime_error("not a whole .npz");
    size_t value = 0;
    for (int k = width - 1; k >= 0; --k) value = value << 8 | bytes[at + static_cast<size_t>(k)];
    return value;
  };
  if (bytes.size() < 22) throw std::runtime_error("not an .npz");
  size_t end = bytes.size() - 22;
  while (number(end, 4) != 0x06054b50) if (end-- == 0) throw std::runtime_error("not an .npz");
  size_t entry = number(end + 16, 4);
  for (size_t left = number(end + 10, 2); left > 0; --left) {
    const size_t method = number(entry + 10, 2), packed = number(entry + 20, 4), length = number(entry + 28, 2), local = number(entry + 42, 4);
    if (entry + 46 + length > bytes.size()) throw std::runtime_error("not a whole .npz");
    std::string name(bytes.begin() + static_cast<long>(entry + 46), bytes.begin() + static_cast<long>(entry + 46 + length));
    if (method != 0) throw std::runtime_error("a compressed .npz is not read here; write it with numpy.savez");
    const size_t start = local + 30 + number(local + 26, 2) + number(local + 28, 2);
    if (start > bytes.size() || packed > bytes.size() - start) throw std::runtime_error("not a whole .npz");
    if (name.size() > 4 && name.substr(name.size() - 4) == ".npy") name.resize(name.size() - 4);
    found[name] = npy(std::vector<unsigned char>(bytes.begin() + static_cast<long>(start), bytes.begin() + static_cast<long>(start + packed)));
    entry += 46 + length + number(entry + 30, 2) + number(entry + 32, 2);
  }
  return found;
}

}  // namespace arrays
