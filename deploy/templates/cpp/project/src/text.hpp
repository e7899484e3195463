// Texts become token ids: BERT's WordPiece with the character offsets of every token. What Unicode says of characters was written
// into unicode.txt when this project was made, for this tokenizer.
#pragma once

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "arrays.hpp"
#include "json.hpp"

namespace text {

using Chars = std::vector<uint32_t>;

/** Return the code points of UTF-8; bytes that are none become U+FFFD. */
inline Chars decoded(const std::string& bytes) {
  Chars chars;
  for (size_t at = 0; at < bytes.size();) {
    const auto first = static_cast<unsigned char>(bytes[at]);
    const int more = first < 0x80 ? 0 : first >= 0xf0 && first < 0xf8 ? 3 : first >= 0xe0 ? 2 : first >= 0xc2 ? 1 : -1;
    uint32_t code = more == 3 ? first & 7u : more == 2 ? first & 15u : more == 1 ? first & 31u : first;
    bool good = more >= 0 && at + static_cast<size_t>(more) < bytes.size() + 0 && first < 0xf8;
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

struct Encoded {
  std::vector<int64_t> ids, types;
  std::vector<int> sequences;  // 0 or 1: which text; -1: a special token
  std::vector<std::pair<int, int>> offsets;
};

class Tokenizer {
 public:
  Tokenizer(const std::string& file, const std::string& table, size_t max_length) : most_(max_length) {
    const std::string content = arrays::text(file);
    settings_ = json::Parser(content).parse();
    for (const auto& [word, id] : settings_["model"]["vocab"].object) vocabulary_[word] = static_cast<int64_t>(id.number);
    for (const auto& token : settings_.items("added_tokens")) special_.emplace_back(decoded(token.str("content")), token.whole("id"));
    std::ifstream stream(table);
    if (!stream) throw std::runtime_error(table + ": missing");
    std::string line;
    while (std::getline(stream, line)) {
      std::istringstream parts(line);
      char kind = 0;
      uint32_t first = 0, value = 0;
      parts >> kind >> std::hex >> first;
      if (kind == 'R') {
        Chars& to = replaced_[first];
        while (parts >> value) to.push_back(value);
      } else {
        parts >> value;
        ranges_[kind].emplace_back(first, value);
      }
    }
  }

  Encoded encode(const std::vector<std::string>& texts) const {
    const json::Value& processor = settings_["post_processor"];
    const auto& pattern = processor.items(texts.size() > 1 ? "pair" : "single");
    std::vector<std::vector<Piece>> parts;
    for (const auto& one : texts) parts.push_back(pieces(one));
    size_t room = most_;
    const auto specials = [&](const json::Value& item) -> const std::vector<json::Value>& { return processor["special_tokens"][item["SpecialToken"].str("id")].items("ids"); };
    for (const auto& item : pattern) if (item.find("SpecialToken")) room -= std::min(room, specials(item).size());
    std::vector<size_t> sizes = {room, 0};
    if (parts.size() > 1) sizes = longest_first(parts[0].size(), parts[1].size(), room);
    Encoded found;
    const auto add = [&](const Piece& piece, int type, int sequence) {
      found.ids.push_back(piece.id);
      found.types.push_back(type);
      found.sequences.push_back(sequence);
      found.offsets.emplace_back(piece.start, piece.end);
    };
    for (const auto& item : pattern) {
      if (const json::Value* token = item.find("SpecialToken")) {
        for (const auto& id : specials(item)) add({static_cast<int64_t>(id.number), 0, 0}, token->whole("type_id"), -1);
        continue;
      }
      const size_t which = item["Sequence"].str("id") == "A" ? 0 : 1;
      for (size_t k = 0; k < std::min(parts[which].size(), sizes[which]); ++k) add(parts[which][k], item["Sequence"].whole("type_id"), static_cast<int>(which));
    }
    return found;
  }

  static std::vector<size_t> longest_first(size_t first, size_t second, size_t room) {
    size_t brief = std::min(first, second), length = std::max(first, second);
    if (brief + length > room) {
      length = std::max(brief, room > brief ? room - brief : 0);
      if (brief + length > room) { brief = room / 2; length = room / 2 + room % 2; }
    }
    return first <= second ? std::vector<size_t>{brief, length} : std::vector<size_t>{length, brief};
  }

 private:
  struct Piece { int64_t id; int start, end; };
  using Word = std::vector<std::pair<uint32_t, int>>;
  json::Value settings_;
  size_t most_;
  std::unordered_map<std::string, int64_t> vocabulary_;
  std::vector<std::pair<Chars, int>> special_;
  std::map<char, std::vector<std::pair<uint32_t, uint32_t>>> ranges_;  // Drop, Space, Punctuation, Chinese: sorted
  std::unordered_map<uint32_t, Chars> replaced_;

  bool in(char kind, uint32_t code) const {
    const auto found = ranges_.find(kind);
    if (found == ranges_.end()) return false;
    const auto after = std::upper_bound(found->second.begin(), found->second.end(), code, [](uint32_t c, const auto& range) { return c < range.first; });
    return after != found->second.begin() && code <= std::prev(after)->second;
  }

  std::vector<Piece> pieces(const std::string& bytes) const {
    const Chars chars = decoded(bytes);
    std::vector<Piece> found;
    size_t start = 0;
    for (size_t at = 0; at <= chars.size();) {
      const std::pair<Chars, int>* hit = nullptr;
      for (const auto& token : special_) {
        if (token.first.empty() || at + token.first.size() > chars.size() || !std::equal(token.first.begin(), token.first.end(), chars.begin() + static_cast<long>(at))) continue;
        hit = &token;
        break;
      }
      if (!hit && at < chars.size()) { ++at; continue; }
      for (const Word& word : words(chars, start, at)) of_word(word, found);
      if (!hit) break;
      found.push_back({hit->second, static_cast<int>(at), static_cast<int>(at + hit->first.size())});
      at += hit->first.size();
      start = at;
    }
    return found;
  }

  std::vector<Word> words(const Chars& chars, size_t from, size_t to) const {
    std::vector<Word> found(1);
    for (size_t place = from; place < to; ++place) {
      const uint32_t code = chars[place];
      if (in('D', code)) continue;
      const bool alone = in('C', code);
      const auto other = replaced_.find(code);
      const Chars parts = other == replaced_.end() ? Chars{code} : other->second;
      for (const uint32_t part : parts) {
        if (in('S', part)) found.emplace_back();
        else if (alone || in('P', part)) { found.push_back({{part, static_cast<int>(place)}}); found.emplace_back(); }
        else found.back().emplace_back(part, static_cast<int>(place));
      }
      if (alone) found.emplace_back();
    }
    found.erase(std::remove_if(found.begin(), found.end(), [](const Word& word) { return word.empty(); }), found.end());
    return found;
  }

  void of_word(const Word& word, std::vector<Piece>& found) const {
    const json::Value& model = settings_["model"];
    const size_t before = found.size();
    bool known = word.size() <= static_cast<size_t>(model.whole("max_input_chars_per_word"));
    for (size_t start = 0; known && start < word.size();) {
      std::string piece = start ? model.str("continuing_subword_prefix") : "";
      std::vector<size_t> lengths = {piece.size()};
      for (size_t k = start; k < word.size(); ++k) { json::Parser::append(piece, word[k].first); lengths.push_back(piece.size()); }
      size_t end = word.size();
      for (; end > start; --end) {
        const auto hit = vocabulary_.find(piece.substr(0, lengths[end - start]));
        if (hit == vocabulary_.end()) continue;
        found.push_back({hit->second, word[start].second, word[end - 1].second + 1});
        break;
      }
      known = end > start;
      start = end;
    }
    if (known) return;
    found.resize(before);
    found.push_back({vocabulary_.at(model.str("unk_token")), word.front().second, word.back().second + 1});
  }
};

}  // namespace text
