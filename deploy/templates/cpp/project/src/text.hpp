// Texts become token ids, with the character offsets of every token: BERT's WordPiece here, other tokenizers in tokenizer.hpp. What
// Unicode says of characters was written into unicode.txt when this project was made, for this tokenizer.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "arrays.hpp"
#include "json.hpp"
#include "models.hpp"
#include "tokenizer.hpp"
#include "unicode.hpp"

namespace text {

using models::Piece;
using unicode::Chars;
using unicode::decoded;
using unicode::encoded;

struct Encoded {
  std::vector<int64_t> ids, types;
  std::vector<int> sequences;  // 0 or 1: which text; -1: a special token
  std::vector<std::pair<int, int>> offsets;
};

/** One place of a template: a special token, or a text. */
struct Place { int text; int type; std::vector<int64_t> ids; };  // text -1: special tokens

/** What a post-processor puts around one text or two, and whether white space is left out of offsets. */
struct Template {
  std::vector<Place> single = {{0, 0, {}}}, pair = {{0, 0, {}}, {1, 1, {}}};
  bool trims = false, prefix = false;

  explicit Template(const json::Value* processor) {
    if (!processor || processor->is_null()) return;
    if (processor->str("type") != "Sequence") read(*processor);
    else for (const json::Value& part : processor->items("processors")) read(part);
  }

 private:
  void read(const json::Value& part) {
    const std::string& kind = part.str("type");
    if (kind == "TemplateProcessing") {
      single = places(part, "single");
      pair = places(part, "pair");
    } else if (kind == "RobertaProcessing" || kind == "BertProcessing") {
      const int second = kind == "BertProcessing" ? 1 : 0;
      const auto mark = [&part](const char* name, int type) { return Place{-1, type, {static_cast<int64_t>(part.items(name).at(1).number)}}; };
      single = {mark("cls", 0), {0, 0, {}}, mark("sep", 0)};
      pair = single;
      if (!second) pair.push_back(mark("sep", 0));
      pair.push_back({1, second, {}});
      pair.push_back(mark("sep", second));
      if (models::says(part, "trim_offsets")) trim(part);
    } else if (kind == "ByteLevel") {
      if (models::says(part, "trim_offsets")) trim(part);
    } else {
      throw std::runtime_error("tokenizer.json: a post-processor of the kind " + kind + " is not read here");
    }
  }
  void trim(const json::Value& part) { trims = true; prefix = models::says(part, "add_prefix_space"); }

  static std::vector<Place> places(const json::Value& part, const char* which) {
    std::vector<Place> found;
    for (const json::Value& item : part.items(which)) {
      if (const json::Value* token = item.find("SpecialToken")) {
        found.push_back({-1, token->whole("type_id"), {}});
        for (const json::Value& id : part["special_tokens"][token->str("id")].items("ids")) found.back().ids.push_back(static_cast<int64_t>(id.number));
      } else {
        found.push_back({item["Sequence"].str("id") == "A" ? 0 : 1, item["Sequence"].whole("type_id"), {}});
      }
    }
    return found;
  }
};

class Tokenizer {
 public:
  Tokenizer(const std::string& file, const std::string& table, size_t max_length)
      : settings_(json::Parser(arrays::text(file)).parse()), table_(table), template_(settings_.find("post_processor")), most_(max_length) {
    if (is_wordpiece()) {
      model_ = models::made(settings_["model"]);
      for (const auto& token : settings_.items("added_tokens")) special_.emplace_back(decoded(token.str("content")), token.whole("id"));
      std::stable_sort(special_.begin(), special_.end(), [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });  // (one may begin as another does)
    } else {
      pipeline_ = std::make_unique<tokenizer::Pipeline>(settings_, table_);
    }
  }
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  Encoded encode(const std::vector<std::string>& texts) const {
    const auto& places = texts.size() > 1 ? template_.pair : template_.single;
    std::vector<std::vector<Piece>> parts;
    for (const auto& one : texts) parts.push_back(pipeline_ ? trimmed(pipeline_->pieces(one)) : pieces(one));
    size_t room = most_;
    for (const Place& place : places) room -= std::min(room, place.ids.size());
    std::vector<size_t> sizes = {room, 0};
    if (parts.size() > 1) sizes = longest_first(parts[0].size(), parts[1].size(), room);
    Encoded found;
    const auto add = [&](const Piece& piece, const Place& place) {
      found.ids.push_back(piece.id);
      found.types.push_back(place.type);
      found.sequences.push_back(place.text);
      found.offsets.emplace_back(piece.start, piece.end);
    };
    for (const Place& place : places) {
      for (const int64_t id : place.ids) add({id, 0, 0}, place);
      if (place.text < 0) continue;
      const auto which = static_cast<size_t>(place.text);
      for (size_t k = 0; k < std::min(parts.at(which).size(), sizes[which]); ++k) add(parts[which][k], place);
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
  json::Value settings_;
  unicode::Table table_;
  Template template_;
  size_t most_;
  std::unique_ptr<tokenizer::Pipeline> pipeline_;  // not of BERT's tokenizer
  std::unique_ptr<models::Model> model_;
  std::vector<std::pair<Chars, int>> special_;

  bool is_wordpiece() const {
    const std::pair<const char*, const char*> kinds[] = {{"normalizer", "BertNormalizer"}, {"pre_tokenizer", "BertPreTokenizer"}, {"model", "WordPiece"}, {"post_processor", "TemplateProcessing"}};
    for (const auto& [part, kind] : kinds) if (const json::Value* found = settings_.find(part); !found || models::said(*found, "type") != kind) return false;
    const auto& added = settings_.items("added_tokens");
    return std::none_of(added.begin(), added.end(), [](const json::Value& token) { return models::says(token, "normalized") || models::says(token, "lstrip") || models::says(token, "rstrip"); });
  }

  /** Return the tokens, of byte-level ones the offsets without the white space at their ends. */
  std::vector<Piece> trimmed(const std::vector<std::pair<Piece, std::string>>& given) const {
    std::vector<Piece> found;
    for (const auto& [piece, name] : given) {
      found.push_back(piece);
      if (!template_.trims) continue;
      const auto blank = [](uint32_t c) { return c == 0x120 || unicode::is_white_space(c); };
      const Chars letters = decoded(name);
      size_t leading = 0, trailing = 0;
      while (leading < letters.size() && blank(letters[leading])) ++leading;
      while (trailing < letters.size() && blank(letters[letters.size() - 1 - trailing])) ++trailing;
      if (leading && (found.size() == 1 || piece.start == 0) && template_.prefix) --leading;
      found.back().start = std::min(piece.start + static_cast<int>(leading), piece.end);
      if (trailing && piece.end >= static_cast<int>(trailing)) found.back().end = std::max(piece.end - static_cast<int>(trailing), found.back().start);
    }
    return found;
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
      for (const models::Text& word : words(chars, start, at)) model_->pieces(word, found);
      if (!hit) break;
      found.push_back({hit->second, static_cast<int>(at), static_cast<int>(at + hit->first.size())});
      at += hit->first.size();
      start = at;
    }
    return found;
  }

  std::vector<models::Text> words(const Chars& chars, size_t from, size_t to) const {
    std::vector<models::Text> found(1);
    for (size_t k = from; k < to; ++k) {
      const int place = static_cast<int>(k);
      if (table_.in('D', chars[k])) continue;
      const bool alone = table_.in('C', chars[k]);
      for (const uint32_t part : table_.became('R', chars[k])) {
        if (table_.in('S', part)) found.emplace_back();
        else if (alone || table_.in('P', part)) { found.push_back({{part, place, place + 1}}); found.emplace_back(); }
        else found.back().push_back({part, place, place + 1});
      }
      if (alone) found.emplace_back();
    }
    found.erase(std::remove_if(found.begin(), found.end(), [](const models::Text& word) { return word.empty(); }), found.end());
    return found;
  }
};

}  // namespace text
