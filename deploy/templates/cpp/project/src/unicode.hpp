// Characters: UTF-8, and what Unicode says of them, as the table says that was written when this project was made.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "json.hpp"

namespace unicode {

using Chars = std::vector<uint32_t>;

/** Return the code points of UTF-8; bytes that are none become U+FFFD. */
inline Chars decoded(const std::string& bytes) {
  Chars chars;
  for (size_t at = 0; at < bytes.size();) {
    const auto first = static_cast<unsigned char>(bytes[at]);
    const int more = first < 0x80 ? 0 : first >= 0xf0 && first < 0xf8 ? 3 : first >= 0xe0 ? 2 : first >= 0xc2 ? 1 : -1;
    uint32_t code = more == 3 ? first & 7u : more == 2 ? first & 15u : more == 1 ? first & 31u : first;
    bool good = more >= 0 && at + static_cast<size_t>(more) < bytes.size() && first < 0xf8;
    for (int k = 1; good && k <= more; ++k) {
      const auto next = static_cast<unsigned char>(bytes[at + static_cast<size_t>(k)]);
      good = (next & 0xc0) == 0x80;
      code = code << 6 | (next & 63u);
    }
    chars.push_back(good ? code : 0xfffd);
    at += good ? static_cast<size_t>(more) + 1 : 1;
  }
  return chars;
}

inline std::string encoded(const Chars& chars, size_t from, size_t to) {
  std::string bytes;
  for (size_t k = from; k < std::min(to, chars.size()); ++k) json::Parser::append(bytes, chars[k]);
  return bytes;
}

inline bool is_white_space(uint32_t c) {
  return (c >= 9 && c <= 13) || c == 32 || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

/** The table unicode.txt. */
class Table {
 public:
  explicit Table(const std::string& file) {
    std::ifstream stream(file);
    if (!stream) throw std::runtime_error(file + ": missing");
    std::string line;
    while (std::getline(stream, line)) read(line);
  }

  /** Whether a character is of a kind of ranges: Drop, Space, Punctuation, Chinese. */
  bool in(char kind, uint32_t code) const { return range(kind, code) != nullptr; }

  /** Return the general category, such as {'L', 'u'}. */
  std::array<char, 2> category(uint32_t code) const {
    const Range* found = range('G', code);
    return found ? found->category : std::array<char, 2>{'C', 'n'};
  }
  bool is(char group, uint32_t code) const { return category(code)[0] == group; }

  /** Return what a character becomes: R by BERT's normalizer, L in lower case. */
  Chars became(char kind, uint32_t code) const {
    const auto found = changes_.find(key(kind, code));
    return found == changes_.end() ? Chars{code} : found->second;
  }

  /** Return a text in a form of Unicode: NFC, NFD, NFKC or NFKD. */
  Chars normalized(const Chars& text, const std::string& form) const {
    Chars parts;
    for (const uint32_t code : text) decompose(code, form.size() == 4, parts);
    for (size_t start = 0; start < parts.size();) {
      size_t end = start;
      while (end < parts.size() && order(parts[end])) ++end;
      std::stable_sort(parts.begin() + static_cast<long>(start), parts.begin() + static_cast<long>(end), [&](uint32_t a, uint32_t b) { return order(a) < order(b); });
      start = std::max(end, start + 1);
    }
    return form.back() == 'C' ? composed(parts) : parts;
  }

 private:
  struct Range { uint32_t first, last; std::array<char, 2> category; };
  std::map<char, std::vector<Range>> ranges_;  // sorted
  std::unordered_map<uint64_t, Chars> changes_;
  std::unordered_map<uint64_t, uint32_t> pairs_;

  static uint64_t key(char kind, uint32_t code) { return static_cast<uint64_t>(static_cast<unsigned char>(kind)) << 32 | code; }

  void read(const std::string& line) {
    std::istringstream parts(line);
    char kind = 0;
    uint32_t code = 0, value = 0, other = 0;
    parts >> kind >> std::hex >> code;
    if (kind == 'M') {
      parts >> value >> other;
      pairs_[static_cast<uint64_t>(code) << 32 | value] = other;
    } else if (kind == 'R' || kind == 'L' || kind == 'N' || kind == 'K' || kind == 'O') {
      Chars& to = changes_[key(kind, code)];
      while (parts >> value) to.push_back(value);
    } else {
      std::array<char, 2> category{};
      parts >> value;
      if (kind == 'G') parts >> category[0] >> category[1];
      ranges_[kind].push_back({code, value, category});
    }
  }

  const Range* range(char kind, uint32_t code) const {
    const auto found = ranges_.find(kind);
    if (found == ranges_.end()) return nullptr;
    const auto after = std::upper_bound(found->second.begin(), found->second.end(), code, [](uint32_t c, const Range& one) { return c < one.first; });
    return after != found->second.begin() && code <= std::prev(after)->last ? &*std::prev(after) : nullptr;
  }

  uint32_t order(uint32_t code) const {
    const auto found = changes_.find(key('O', code));
    return found == changes_.end() || found->second.empty() ? 0 : found->second[0];
  }

  void decompose(uint32_t code, bool compatible, Chars& to) const {
    if (code >= 0xac00 && code < 0xd7a4) {  // Hangul, by arithmetic
      const uint32_t place = code - 0xac00;
      to.insert(to.end(), {0x1100 + place / 588, 0x1161 + place % 588 / 28});
      if (place % 28) to.push_back(0x11a7 + place % 28);
      return;
    }
    for (const char kind : compatible ? std::string("KN") : std::string("N")) {
      const auto found = changes_.find(key(kind, code));
      if (found == changes_.end()) continue;
      to.insert(to.end(), found->second.begin(), found->second.end());
      return;
    }
    to.push_back(code);
  }

  Chars composed(const Chars& parts) const {
    Chars result;
    size_t starter = 0;
    bool open = false;  // whether there is a starter
    uint32_t before = 0;
    for (const uint32_t code : parts) {
      const uint32_t rank = order(code);
      const bool blocked = !open || (result.size() - 1 > starter && (before >= rank || before == 0));
      const uint32_t joined = blocked ? 0 : pair(result[starter], code);
      if (joined) { result[starter] = joined; continue; }
      if (rank == 0) { starter = result.size(); open = true; }
      before = rank;
      result.push_back(code);
    }
    return result;
  }

  uint32_t pair(uint32_t first, uint32_t second) const {
    if (first >= 0x1100 && first < 0x1113 && second >= 0x1161 && second < 0x1176) return 0xac00 + ((first - 0x1100) * 21 + second - 0x1161) * 28;
    if (first >= 0xac00 && first < 0xd7a4 && (first - 0xac00) % 28 == 0 && second > 0x11a7 && second < 0x11c3) return first + second - 0x11a7;
    const auto found = pairs_.find(static_cast<uint64_t>(first) << 32 | second);
    return found == pairs_.end() ? 0 : found->second;
  }
};

}  // namespace unicode
