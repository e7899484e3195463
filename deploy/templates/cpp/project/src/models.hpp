// Words become tokens: BPE (byte-level or with byte fallback), Unigram and WordPiece, as the model of a tokenizer.json says.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <memory>
#include <queue>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "json.hpp"

namespace models {

/** What a text has become: characters, and the characters of the text that each comes from. */
struct Char { uint32_t code; int start, end; };
using Text = std::vector<Char>;
struct Piece { int64_t id; int start, end; };

inline std::string utf8(const Text& text, size_t from, size_t to) {
  std::string bytes;
  for (size_t k = from; k < to; ++k) json::Parser::append(bytes, text[k].code);
  return bytes;
}

inline const json::Value* given(const json::Value& options, const char* key, json::Value::Kind kind = json::Value::Kind::text) {
  const json::Value* found = options.find(key);
  return found && found->kind == kind ? found : nullptr;
}
inline bool says(const json::Value& options, const char* key) { const json::Value* found = options.find(key); return found && found->truthy(); }
inline std::string said(const json::Value& options, const char* key) { const json::Value* found = given(options, key); return found ? found->text : ""; }

/** Tokens by their text. */
class Vocabulary {
 public:
  void add(const std::string& word, int64_t id) {
    if (!ids_.emplace(word, id).second || id < 0 || id > kMost) return;
    if (names_.size() <= static_cast<size_t>(id)) names_.resize(static_cast<size_t>(id) + 1);
    names_[static_cast<size_t>(id)] = word;
  }
  const int64_t* find(const std::string& word) const { const auto found = ids_.find(word); return found == ids_.end() ? nullptr : &found->second; }
  std::string name(int64_t id) const { return id >= 0 && static_cast<size_t>(id) < names_.size() ? names_[static_cast<size_t>(id)] : ""; }

  /** Append the tokens of the bytes of `text`, such as <0x0A>; false where one is missing. */
  bool bytes(const std::string& text, int start, int end, std::vector<Piece>& found) const {
    const size_t before = found.size();
    for (const char c : text) {
      char name[8];
      std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(static_cast<unsigned char>(c)));
      const int64_t* id = find(name);
      if (!id) { found.resize(before); return false; }
      found.push_back({*id, start, end});
    }
    return true;
  }

 private:
  static constexpr int64_t kMost = 1 << 24;
  std::unordered_map<std::string, int64_t> ids_;
  std::vector<std::string> names_;
};

class Model {
 public:
  explicit Model(const json::Value& options) : options_(options) {
    const json::Value* words = given(options, "vocab", json::Value::Kind::object);
    if (words) for (const auto& [word, id] : words->object) vocabulary_.add(word, static_cast<int64_t>(id.number));
  }
  virtual ~Model() = default;
  virtual void pieces(const Text& word, std::vector<Piece>& found) const = 0;
  const Vocabulary& vocabulary() const { return vocabulary_; }

 protected:
  const json::Value& options_;
  Vocabulary vocabulary_;

  int64_t unknown() const {
    const int64_t* id = vocabulary_.find(said(options_, "unk_token"));
    if (!id) throw std::runtime_error("tokenizer.json: the unknown token is not in the vocabulary");
    return *id;
  }
};

class Bpe : public Model {
 public:
  explicit Bpe(const json::Value& options) : Model(options), prefix_(said(options, "continuing_subword_prefix")), suffix_(said(options, "end_of_word_suffix")) {
    size_t rank = 0;
    for (const json::Value& merge : options.items("merges")) {
      const size_t space = merge.text.find(' ', 1);
      if (merge.list.size() == 2) ranks_.emplace(key(merge.list[0].text, merge.list[1].text), rank);
      else if (space != std::string::npos) ranks_.emplace(key(merge.text.substr(0, space), merge.text.substr(space + 1)), rank);
      ++rank;
    }
  }

  void pieces(const Text& word, std::vector<Piece>& found) const override {
    const int64_t* whole = says(options_, "ignore_merges") ? vocabulary_.find(utf8(word, 0, word.size())) : nullptr;
    if (whole) { found.push_back({*whole, word.front().start, word.back().end}); return; }
    bool unknown_before = false;
    for (const Part& part : merged(word)) {
      const int64_t* id = vocabulary_.find(part.text);
      if (id) found.push_back({*id, part.start, part.end});
      else if (says(options_, "byte_fallback") && vocabulary_.bytes(part.text, part.start, part.end, found)) unknown_before = false;
      else if (given(options_, "unk_token")) {
        if (unknown_before && says(options_, "fuse_unk")) found.back().end = part.end;
        else found.push_back({unknown(), part.start, part.end});
        unknown_before = true;
        continue;
      }
      unknown_before = false;
    }
  }

 private:
  struct Part { std::string text; int start, end; bool gone = false; };
  struct Join { size_t rank, place; std::string left, right; };
  std::string prefix_, suffix_;
  std::unordered_map<std::string, size_t> ranks_;

  static std::string key(const std::string& left, const std::string& right) { return left + '\0' + right; }

  /** Join the pair of the lowest rank, the first of those, until none is left. */
  std::vector<Part> merged(const Text& word) const {
    std::vector<Part> parts;
    for (size_t k = 0; k < word.size(); ++k) parts.push_back({(k ? prefix_ : "") + utf8(word, k, k + 1) + (k + 1 == word.size() ? suffix_ : ""), word[k].start, word[k].end});
    const size_t count = parts.size();
    std::vector<size_t> next(count), before(count);
    const auto later = [](const Join& a, const Join& b) { return a.rank > b.rank || (a.rank == b.rank && a.place > b.place); };
    std::priority_queue<Join, std::vector<Join>, decltype(later)> heap(later);
    const auto add = [&](size_t k) {
      if (next[k] >= count) return;
      const Part &left = parts[k], &right = parts[next[k]];
      const auto rank = ranks_.find(key(left.text, right.text));
      if (rank != ranks_.end() && vocabulary_.find(left.text) && vocabulary_.find(right.text)) heap.push({rank->second, k, left.text, right.text});
    };
    for (size_t k = 0; k < count; ++k) { next[k] = k + 1; before[k] = k - 1; }
    for (size_t k = 0; k < count; ++k) add(k);
    while (!heap.empty()) {
      const Join join = heap.top();
      heap.pop();
      const size_t k = join.place, other = next[k];
      if (parts[k].gone || other >= count || parts[k].text != join.left || parts[other].text != join.right) continue;
      parts[k].text = join.left + join.right.substr(std::min(prefix_.size(), join.right.size()));
      parts[k].end = parts[other].end;
      parts[other].gone = true;
      next[k] = next[other];
      if (next[k] < count) before[next[k]] = k;
      if (k && before[k] < count) add(before[k]);
      add(k);
    }
    std::vector<Part> kept;
    for (Part& part : parts) if (!part.gone) kept.push_back(std::move(part));
    return kept;
  }
};

class Unigram : public Model {
 public:
  explicit Unigram(const json::Value& options) : Model(options) {
    double least = std::numeric_limits<double>::infinity();
    for (const json::Value& entry : options.items("vocab")) {
      if (entry.list.size() != 2) throw std::runtime_error("tokenizer.json: a vocabulary of another kind than Unigram's");
      vocabulary_.add(entry.list[0].text, static_cast<int64_t>(scores_.size()));
      scores_.push_back(entry.list[1].number);
      least = std::min(least, scores_.back());
      longest_ = std::max(longest_, entry.list[0].text.size());
    }
    unknown_ = least - 10;
  }

  void pieces(const Text& word, std::vector<Piece>& found) const override {
    std::vector<Best> best(word.size() + 1);
    best[0].score = 0;
    for (size_t start = 0; start < word.size(); ++start) {
      std::string text;
      bool single = false;
      for (size_t end = start + 1; end <= word.size(); ++end) {
        json::Parser::append(text, word[end - 1].code);
        if (text.size() > longest_) break;
        const int64_t* id = vocabulary_.find(text);
        if (!id) continue;
        single |= end == start + 1;
        offer(best, start, end, scores_[static_cast<size_t>(*id)], *id);
      }
      if (!single) offer(best, start, start + 1, unknown_, -1);
    }
    std::vector<Step> path;
    for (size_t end = word.size(); end > 0; end = best[end].from) path.push_back({best[end].id, best[end].from, end});
    for (size_t k = path.size(); k-- > 0;) {
      Step step = path[k];
      while (step.id < 0 && k > 0 && path[k - 1].id < 0) step.end = path[--k].end;  // unknown characters beside each other are one token
      const int start = word[step.from].start, end = word[step.end - 1].end;
      if (step.id >= 0) found.push_back({step.id, start, end});
      else if (!says(options_, "byte_fallback") || !vocabulary_.bytes(utf8(word, step.from, step.end), start, end, found)) {
        const json::Value* unknown = given(options_, "unk_id", json::Value::Kind::number);
        found.push_back({unknown ? static_cast<int64_t>(unknown->number) : 0, start, end});
      }
    }
  }

 private:
  struct Best { double score = -std::numeric_limits<double>::infinity(); size_t from = 0; int64_t id = -1; };
  struct Step { int64_t id; size_t from, end; };
  std::vector<double> scores_;
  double unknown_ = 0;
  size_t longest_ = 1;

  static void offer(std::vector<Best>& best, size_t from, size_t to, double score, int64_t id) {
    if (best[from].score + score > best[to].score) best[to] = {best[from].score + score, from, id};
  }
};

class WordPiece : public Model {
 public:
  explicit WordPiece(const json::Value& options) : Model(options), prefix_(said(options, "continuing_subword_prefix")) {}

  void pieces(const Text& word, std::vector<Piece>& found) const override {
    const size_t before = found.size();
    bool known = static_cast<double>(word.size()) <= options_.num("max_input_chars_per_word");
    for (size_t start = 0; known && start < word.size();) {
      std::string piece = start ? prefix_ : "";
      std::vector<size_t> lengths = {piece.size()};
      for (size_t k = start; k < word.size(); ++k) { json::Parser::append(piece, word[k].code); lengths.push_back(piece.size()); }
      size_t end = word.size();
      for (; end > start; --end) {
        const int64_t* id = vocabulary_.find(piece.substr(0, lengths[end - start]));
        if (!id) continue;
        found.push_back({*id, word[start].start, word[end - 1].end});
        break;
      }
      known = end > start;
      start = end;
    }
    if (known) return;
    found.resize(before);
    found.push_back({unknown(), word.front().start, word.back().end});
  }

 private:
  std::string prefix_;
};

inline std::unique_ptr<Model> made(const json::Value& options) {
  const std::string kind = said(options, "type");
  if (kind == "BPE") return std::make_unique<Bpe>(options);
  if (kind == "Unigram") return std::make_unique<Unigram>(options);
  if (kind == "WordPiece") return std::make_unique<WordPiece>(options);
  throw std::runtime_error("tokenizer.json: a model of the kind " + kind + " is not read here");
}

}  // namespace models
