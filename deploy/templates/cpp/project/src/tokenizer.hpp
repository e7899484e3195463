// Tokenizers other than BERT's, as a tokenizer.json describes them: added tokens, normalizers, pre-tokenizers, then the model.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "json.hpp"
#include "models.hpp"
#include "regex.hpp"
#include "unicode.hpp"

namespace tokenizer {

using json::Value;
using models::Char;
using models::Piece;
using models::said;
using models::says;
using models::Text;
using unicode::Chars;

inline Chars codes(const Text& text) {
  Chars chars;
  for (const Char& one : text) chars.push_back(one.code);
  return chars;
}
inline Text part(const Text& text, size_t from, size_t to) { return {text.begin() + static_cast<long>(from), text.begin() + static_cast<long>(to)}; }
inline void append(Text& to, const Text& more) { to.insert(to.end(), more.begin(), more.end()); }

/** Return the character of byte-level BPE for a byte: every byte as one that can be seen. */
inline uint32_t seen(unsigned char byte) {
  static const std::array<uint32_t, 256> alphabet = [] {
    std::array<uint32_t, 256> found{};
    uint32_t next = 256;
    for (uint32_t k = 0; k < 256; ++k) found[k] = (k > 32 && k < 127) || (k > 160 && k != 173) ? k : next++;
    return found;
  }();
  return alphabet[byte];
}

inline Text bytes(const Text& text) {
  Text found;
  for (const Char& one : text) {
    std::string utf8;
    json::Parser::append(utf8, one.code);
    for (const char c : utf8) found.push_back({seen(static_cast<unsigned char>(c)), one.start, one.end});
  }
  return found;
}

/** Return other characters in the place of `text`; what was left out counts to the first of them. */
inline Text replacing(const Text& text, const Chars& content) {
  Text found;
  const size_t less = text.size() > content.size() ? text.size() - content.size() : 0;
  for (size_t k = 0; k < content.size(); ++k) {
    const Char& from = text[k ? std::min(k + less, text.size() - 1) : 0];
    found.push_back({content[k], from.start, from.end});
  }
  return found;
}

/** SentencePiece's map of characters: a double array whose values are places in a text of replacements. */
class CharacterMap {
 public:
  explicit CharacterMap(const std::string& base64) {
    uint32_t bits = 0;
    int count = 0;
    std::string raw;
    for (const char c : base64) {
      const int digit = c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' + 26 : c >= '0' && c <= '9' ? c - '0' + 52 : c == '+' ? 62 : c == '/' ? 63 : -1;
      if (digit < 0) continue;
      bits = bits << 6 | static_cast<uint32_t>(digit);
      if ((count += 6) >= 8) raw += static_cast<char>(bits >> (count -= 8) & 255);
    }
    const auto word = [&raw](size_t at) { uint32_t value = 0; for (size_t k = 4; k-- > 0;) value = value << 8 | static_cast<unsigned char>(raw[at + k]); return value; };
    const size_t size = raw.size() > 4 ? word(0) : 0;
    if (raw.size() <= 4 || size > raw.size() - 4 || size % 4) return;
    for (size_t at = 4; at < 4 + size; at += 4) units_.push_back(word(at));
    texts_ = raw.substr(4 + size);
  }

  /** Whether the map knows a beginning of `text`; the shortest becomes `found`. */
  bool find(const std::string& text, std::string& found) const {
    if (units_.empty()) return false;
    const auto next = [](uint32_t unit) { return (unit >> 10) << ((unit & 512) >> 6); };
    size_t place = next(units_[0]);
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      place ^= byte;
      if (!byte || place >= units_.size() || (units_[place] & 0x800000ff) != byte) return false;
      const uint32_t unit = units_[place];
      place ^= next(unit);
      if (!(unit >> 8 & 1)) continue;
      const size_t start = place < units_.size() ? units_[place] & 0x7fffffff : texts_.size();
      if (start >= texts_.size()) return false;
      found = texts_.substr(start, texts_.find('\0', start) - start);
      return true;
    }
    return false;
  }

 private:
  std::vector<uint32_t> units_;
  std::string texts_;
};

/** A pattern of a tokenizer.json: a text or a regular expression. */
struct Matcher {
  Chars text;
  std::unique_ptr<regex::Pattern> pattern;

  size_t end(const Chars& chars, size_t at) const {
    if (pattern) return pattern->match(chars, at);
    const bool fits = !text.empty() && at + text.size() <= chars.size() && std::equal(text.begin(), text.end(), chars.begin() + static_cast<long>(at));
    return fits ? at + text.size() : regex::kNone;
  }
};

struct Part { Text text; bool hit; };

class Pipeline {
 public:
  Pipeline(const Value& settings, const unicode::Table& table)
      : normalizer_(step_of(settings, "normalizer")), pre_tokenizer_(step_of(settings, "pre_tokenizer")), table_(table), model_(models::made(settings["model"])) {
    for (const auto& [name, source] : kOwn) own_[name].pattern = std::make_unique<regex::Pattern>(source, table_);
    prepare(normalizer_, 0);
    prepare(pre_tokenizer_, 0);
    for (const Value& token : settings.items("added_tokens")) {
      Added added{unicode::decoded(said(token, "content")), token.whole("id"), said(token, "content"), says(token, "lstrip"), says(token, "rstrip"), says(token, "single_word")};
      if (says(token, "normalized")) added.content = codes(normalized(whole(added.content)));
      auto& list = says(token, "normalized") ? normalized_ : plain_;
      if (!added.content.empty()) list.push_back(std::move(added));
    }
    for (auto* list : {&plain_, &normalized_}) std::stable_sort(list->begin(), list->end(), [](const Added& a, const Added& b) { return a.content.size() > b.content.size(); });
  }

  /** Return the tokens of a text, without those of the template, with what is in their place in the text or the vocabulary. */
  std::vector<std::pair<Piece, std::string>> pieces(const std::string& text) const {
    std::vector<std::pair<Piece, std::string>> found;
    for (const Cut& outer : cut(whole(unicode::decoded(text)), plain_)) {
      if (outer.token) { found.push_back(special(outer)); continue; }
      for (const Cut& inner : cut(normalized(outer.text), normalized_)) {
        if (inner.token) { found.push_back(special(inner)); continue; }
        std::vector<Piece> made;
        for (const Text& word : words({inner.text}, pre_tokenizer_)) if (!word.empty()) model_->pieces(word, made);
        for (const Piece& piece : made) found.emplace_back(piece, model_->vocabulary().name(piece.id));
      }
    }
    return found;
  }

 private:
  struct Added { Chars content; int id; std::string text; bool lstrip, rstrip, alone; };
  struct Cut { Text text; const Added* token; };
  const Value &normalizer_, &pre_tokenizer_;
  const unicode::Table& table_;
  std::unique_ptr<models::Model> model_;
  std::vector<Added> plain_, normalized_;
  std::map<const Value*, Matcher> matchers_;
  std::map<const Value*, CharacterMap> maps_;
  std::map<std::string, Matcher> own_;

  static const Value& step_of(const Value& settings, const char* name) {
    static const Value nothing;
    const Value* found = settings.find(name);
    return found ? *found : nothing;
  }

  /** Read the patterns and maps of a step and of those in it. */
  void prepare(const Value& step, int depth) {
    if (depth > 50) throw std::runtime_error("tokenizer.json: steps too deep");
    if (const Value* pattern = step.find("pattern")) {
      const Value* expression = pattern->find("Regex");
      Matcher& made = matchers_[pattern];
      if (expression) made.pattern = std::make_unique<regex::Pattern>(expression->text, table_);
      else made.text = unicode::decoded(said(*pattern, "String"));
    }
    if (said(step, "type") == "Precompiled") maps_.emplace(&step, CharacterMap(said(step, "precompiled_charsmap")));
    for (const char* key : {"normalizers", "pretokenizers"}) if (const Value* inner = step.find(key)) for (const Value& one : inner->list) prepare(one, depth + 1);
  }

  inline static const std::vector<std::pair<std::string, std::string>> kOwn = {
      {"gpt2", "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"},
      {"punctuation", "[\\p{P}!-/:-@\\[-`{-~]"},
      {"space", "\\s"},
      {"digit", "\\p{N}"},
      {"word", "[\\p{L}\\p{M}\\p{Nd}\\p{Pc}]+|[^\\p{L}\\p{M}\\p{Nd}\\p{Pc}\\s]+"},
  };

  static Text whole(const Chars& chars) {
    Text text;
    for (size_t k = 0; k < chars.size(); ++k) text.push_back({chars[k], static_cast<int>(k), static_cast<int>(k) + 1});
    return text;
  }
  static std::pair<Piece, std::string> special(const Cut& cut) {
    return {{cut.token->id, cut.text.front().start, cut.text.back().end}, models::utf8(cut.text, 0, cut.text.size())};
  }

  /** Return the text in parts, some of which are added tokens; a token takes the white space beside it where it says so. */
  std::vector<Cut> cut(const Text& text, const std::vector<Added>& tokens) const {
    std::vector<Cut> found;
    const Chars chars = codes(text);
    const auto letter = [&](size_t place) { return place < chars.size() && (table_.is('L', chars[place]) || table_.is('N', chars[place]) || chars[place] == '_'); };
    size_t start = 0;
    for (size_t at = 0; at < chars.size();) {
      const auto token = std::find_if(tokens.begin(), tokens.end(), [&](const Added& one) {
        const size_t end = at + one.content.size();
        const bool fits = end <= chars.size() && std::equal(one.content.begin(), one.content.end(), chars.begin() + static_cast<long>(at));
        return fits && !(one.alone && ((at && letter(at - 1)) || letter(end)));
      });
      if (token == tokens.end()) { ++at; continue; }
      size_t first = at, last = at + token->content.size();
      if (token->lstrip) while (first > start && unicode::is_white_space(chars[first - 1])) --first;
      if (token->rstrip) while (last < chars.size() && unicode::is_white_space(chars[last])) ++last;
      if (first > start) found.push_back({part(text, start, first), nullptr});
      found.push_back({part(text, first, last), &*token});
      start = at = last;
    }
    if (start < text.size()) found.push_back({part(text, start, text.size()), nullptr});
    return found;
  }

  Text normalized(const Text& text) const { return text.empty() ? text : normalized(text, normalizer_); }

  Text normalized(Text text, const Value& step) const {
    if (step.is_null() || text.empty()) return text;
    const std::string& kind = step.str("type");
    Text found;
    if (kind == "Sequence") {
      for (const Value& one : step.items("normalizers")) text = normalized(std::move(text), one);
      return text;
    }
    if (kind == "NFC" || kind == "NFD" || kind == "NFKC" || kind == "NFKD") return composed(text, kind);
    if (kind == "Lowercase") return each(text, [&](const Char& one) { return replacing({one}, table_.became('L', one.code)); });
    if (kind == "StripAccents") return each(text, [&](const Char& one) { return table_.is('M', one.code) ? Text{} : Text{one}; });
    if (kind == "Strip") {
      size_t from = 0, to = text.size();
      if (says(step, "strip_left")) while (from < to && unicode::is_white_space(text[from].code)) ++from;
      if (says(step, "strip_right")) while (to > from && unicode::is_white_space(text[to - 1].code)) --to;
      return part(text, from, to);
    }
    if (kind == "Prepend") {
      for (const uint32_t code : unicode::decoded(said(step, "prepend"))) found.push_back({code, text[0].start, text[0].end});
      append(found, text);
      return found;
    }
    if (kind == "Replace") {
      const Chars content = unicode::decoded(said(step, "content"));
      for (const Part& one : matches(text, matchers_.at(&step["pattern"]))) {
        if (!one.hit) append(found, one.text);
        else for (const uint32_t code : content) found.push_back({code, one.text.back().start, one.text.back().end});
      }
      return found;
    }
    if (kind == "Precompiled") return precompiled(text, maps_.at(&step));
    if (kind == "ByteLevel") return bytes(text);
    if (kind == "BertNormalizer") return bert(std::move(text), step);
    if (kind == "Nmt") return each(text, [](const Char& one) { return nmt(one); });
    throw std::runtime_error("tokenizer.json: a normalizer of the kind " + kind + " is not read here");
  }

  template <class Step>
  static Text each(const Text& text, Step step) {
    Text found;
    for (const Char& one : text) append(found, step(one));
    return found;
  }

  static Text nmt(Char one) {
    const uint32_t c = one.code;
    if ((c >= 1 && c <= 8) || c == 0xb || (c >= 0xe && c <= 0x1f) || c == 0x7f || c == 0x8f || c == 0x9f) return {};
    const bool space = c == 9 || c == 10 || c == 12 || c == 13 || c == 0x1680 || (c >= 0x200b && c <= 0x200f) || c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xfeff || c == 0xfffd;
    if (space) one.code = ' ';
    return {one};
  }

  /** Return the text in a form of Unicode, one base character with its marks after the other. */
  Text composed(const Text& text, const std::string& form) const {
    Text found;
    for (size_t start = 0; start < text.size();) {
      size_t end = start + 1;
      const auto belongs = [&](uint32_t c) { return table_.is('M', c) || (c >= 0x1160 && c <= 0x11ff) || c == 0xff9e || c == 0xff9f; };
      while (end < text.size() && belongs(text[end].code)) ++end;
      const Text one = part(text, start, end);
      append(found, replacing(one, table_.normalized(codes(one), form)));
      start = end;
    }
    return found;
  }

  Text bert(Text text, const Value& step) const {
    if (says(step, "clean_text")) text = each(text, [&](Char one) {
      const auto category = table_.category(one.code);
      const bool plain = one.code == '\t' || one.code == '\n' || one.code == '\r';
      if (!plain && (one.code == 0xfffd || (category[0] == 'C' && category[1] != 'n'))) return Text{};
      if (unicode::is_white_space(one.code)) one.code = ' ';
      return Text{one};
    });
    if (says(step, "handle_chinese_chars")) text = each(text, [](const Char& one) {
      const Char space{' ', one.start, one.end};
      return is_chinese(one.code) ? Text{space, one, space} : Text{one};
    });
    const Value* strip = step.find("strip_accents");
    if (!strip || strip->is_null() ? says(step, "lowercase") : strip->truthy())
      text = each(composed(text, "NFD"), [&](const Char& one) { return table_.category(one.code) == std::array<char, 2>{'M', 'n'} ? Text{} : Text{one}; });
    return says(step, "lowercase") ? each(text, [&](const Char& one) { return replacing({one}, table_.became('L', one.code)); }) : text;
  }

  static bool is_chinese(uint32_t c) {
    static const std::vector<std::pair<uint32_t, uint32_t>> blocks = {{0x3400, 0x4dbf}, {0x4e00, 0x9fff}, {0xf900, 0xfaff}, {0x20000, 0x2a6df}, {0x2a700, 0x2b81f}, {0x2b920, 0x2ceaf}, {0x2f800, 0x2fa1f}};
    return std::any_of(blocks.begin(), blocks.end(), [c](const auto& block) { return c >= block.first && c <= block.second; });
  }

  /** Replace what SentencePiece's map knows: characters with their marks, else single characters. */
  Text precompiled(const Text& text, const CharacterMap& map) const {
    Text found;
    for (size_t at = 0; at < text.size();) {
      size_t end = at + 1;
      const bool line = text[at].code == '\r' && end < text.size() && text[end].code == '\n';
      if (line) ++end;
      else if (!table_.is('C', text[at].code)) while (end < text.size() && extends(text[end].code)) ++end;
      const std::string bytes = models::utf8(text, at, end);
      std::string other;
      if (bytes.size() < 6 && map.find(bytes, other)) append(found, replacing(part(text, at, end), unicode::decoded(other)));
      else for (size_t k = at; k < end; ++k) {
        const bool known = map.find(models::utf8(text, k, k + 1), other);
        append(found, known ? replacing({text[k]}, unicode::decoded(other)) : Text{text[k]});
      }
      at = end;
    }
    return found;
  }
  bool extends(uint32_t c) const {
    return table_.is('M', c) || c == 0x200c || c == 0x200d || c == 0xff9e || c == 0xff9f || c == 0xe33 || c == 0xeb3 || (c >= 0x1f3fb && c <= 0x1f3ff);
  }

  static std::vector<Part> matches(const Text& text, const Matcher& matcher) {
    const Chars chars = codes(text);
    std::vector<Part> found;
    size_t start = 0;
    for (size_t at = 0; at < chars.size();) {
      const size_t end = matcher.end(chars, at);
      if (end == regex::kNone || end == at) { ++at; continue; }
      if (at > start) found.push_back({part(text, start, at), false});
      found.push_back({part(text, at, end), true});
      start = at = end;
    }
    if (start < text.size()) found.push_back({part(text, start, text.size()), false});
    return found;
  }

  static std::vector<Text> split(const Text& text, const Matcher& matcher, const std::string& behavior, bool invert = false) {
    std::vector<Part> parts = matches(text, matcher);
    for (Part& one : parts) one.hit = one.hit != invert;
    std::vector<Text> found;
    if (behavior == "MergedWithNext") std::reverse(parts.begin(), parts.end());
    bool before = false;
    for (size_t k = 0; k < parts.size(); ++k) {
      Part& one = parts[k];
      const bool joins = (behavior == "MergedWithPrevious" || behavior == "MergedWithNext") && one.hit && !before && !found.empty();
      if (behavior == "Removed") { if (!one.hit) found.push_back(std::move(one.text)); }
      else if (joins && behavior == "MergedWithNext") { append(one.text, found.back()); found.back() = std::move(one.text); }
      else if (joins || (behavior == "Contiguous" && k && one.hit == before)) append(found.back(), one.text);
      else found.push_back(std::move(one.text));
      before = one.hit;
    }
    if (behavior == "MergedWithNext") std::reverse(found.begin(), found.end());
    return found;
  }

  std::vector<Text> words(std::vector<Text> given, const Value& step) const {
    if (step.is_null()) return given;
    if (step.str("type") == "Sequence") {
      for (const Value& one : step.items("pretokenizers")) given = words(std::move(given), one);
      return given;
    }
    std::vector<Text> found;
    for (const Text& word : given) {
      if (word.empty()) continue;
      for (Text& made : of_word(word, step)) found.push_back(std::move(made));
    }
    return found;
  }

  std::vector<Text> of_word(const Text& word, const Value& step) const {
    const std::string& kind = step.str("type");
    const auto behavior = [&](const char* otherwise) { return models::given(step, "behavior") ? said(step, "behavior") : std::string(otherwise); };
    if (kind == "ByteLevel") {
      const Value* expression = step.find("use_regex");
      const Text text = says(step, "add_prefix_space") && !unicode::is_white_space(word[0].code) ? before(word, ' ') : word;
      std::vector<Text> found = expression && !expression->is_null() && !expression->truthy() ? std::vector<Text>{text} : split(text, own_.at("gpt2"), "Isolated");
      for (Text& one : found) one = bytes(one);
      return found;
    }
    if (kind == "Metaspace") return metaspace(word, step);
    if (kind == "Whitespace") return split(word, own_.at("word"), "Removed", true);
    if (kind == "WhitespaceSplit") return split(word, own_.at("space"), "Removed");
    if (kind == "Split") return split(word, matchers_.at(&step["pattern"]), step.str("behavior"), says(step, "invert"));
    if (kind == "Digits") return split(word, own_.at("digit"), says(step, "individual_digits") ? "Isolated" : "Contiguous");
    if (kind == "Punctuation") return split(word, own_.at("punctuation"), behavior("Isolated"));
    if (kind == "BertPreTokenizer") {
      std::vector<Text> found;
      for (const Text& one : split(word, own_.at("space"), "Removed")) for (Text& made : split(one, own_.at("punctuation"), "Isolated")) found.push_back(std::move(made));
      return found;
    }
    throw std::runtime_error("tokenizer.json: a pre-tokenizer of the kind " + kind + " is not read here");
  }

  static Text before(const Text& word, uint32_t code) {
    Text found = {{code, word[0].start, word[0].end}};
    append(found, word);
    return found;
  }

  static std::vector<Text> metaspace(Text word, const Value& step) {
    const Chars given = unicode::decoded(said(step, "replacement"));
    const uint32_t mark = given.empty() ? 0x2581 : given[0];
    for (Char& one : word) if (one.code == ' ') one.code = mark;
    const Value* prefixed = step.find("add_prefix_space");
    const std::string otherwise = prefixed && !prefixed->is_null() && !prefixed->truthy() ? "never" : "always";
    const std::string scheme = models::given(step, "prepend_scheme") ? said(step, "prepend_scheme") : otherwise;
    if ((scheme == "always" || (scheme == "first" && word[0].start == 0)) && word[0].code != mark) word = before(word, mark);
    const Value* splits = step.find("split");
    if (splits && !splits->is_null() && !splits->truthy()) return {word};
    Matcher matcher;
    matcher.text = {mark};
    return split(word, matcher, "MergedWithNext");
  }
};

}  // namespace tokenizer
