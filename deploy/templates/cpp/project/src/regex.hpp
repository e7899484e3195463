// Regular expressions of a tokenizer.json (Oniguruma's), over code points: alternatives, groups, classes with Unicode's categories,
// greedy, lazy and possessive repetition, looking ahead. A pattern becomes instructions, which a loop with a stack of its own follows.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "unicode.hpp"

namespace regex {

using unicode::Chars;
constexpr size_t kNone = static_cast<size_t>(-1);

/** A set of characters: ranges, categories, and other sets. */
struct Set {
  bool negated = false;
  std::vector<std::pair<uint32_t, uint32_t>> ranges;
  std::vector<std::string> categories;
  std::vector<Set> sets;

  bool has(uint32_t code, const unicode::Table& table) const {
    bool found = false;
    for (const auto& [first, last] : ranges) found |= code >= first && code <= last;
    for (const std::string& name : categories) {
      if (found) break;
      const auto category = table.category(code);
      found = name == "White_Space" ? unicode::is_white_space(code) : name[0] == category[0] && (name.size() == 1 || name[1] == category[1]);
    }
    for (const Set& set : sets) found |= set.has(code, table);
    return found != negated;
  }
};

class Pattern {
 public:
  Pattern(const std::string& source, const unicode::Table& table) : table_(table), source_(unicode::decoded(source)) {
    program_ = alternatives(0);
    if (at_ != source_.size()) fail();
    program_.push_back({Op::match});
  }

  /** Return where the match ends that begins at `start`, or kNone. */
  size_t match(const Chars& text, size_t start) const {
    size_t steps = 0;
    return run(text, 0, start, steps);
  }

 private:
  enum class Op { set, split, jump, look, begin, end, match };
  struct Step {
    Op op;
    int first = 0, second = 0;  // where to go on, from here: a split tries `first` before `second`; a look goes on at `first`
    int set = 0;                // of a look: 0 not there, 1 there, 2 there and taken whole
  };
  using Program = std::vector<Step>;
  static constexpr size_t kMostSteps = 20'000'000, kMostInstructions = 100'000;

  const unicode::Table& table_;
  Chars source_;
  size_t at_ = 0;
  bool any_case_ = false;
  std::vector<Set> sets_;
  Program program_;

  [[noreturn]] void fail() const { throw std::runtime_error("tokenizer.json: a pattern of a kind that is not read here"); }

  size_t run(const Chars& text, size_t from, size_t start, size_t& steps) const {
    std::vector<std::pair<size_t, size_t>> open = {{from, start}};
    while (!open.empty()) {
      auto [place, at] = open.back();
      open.pop_back();
      for (bool alive = true; alive;) {
        if (++steps > kMostSteps) throw std::runtime_error("tokenizer.json: a pattern takes too long for this text");
        const Step& step = program_[place];
        const auto target = [place = place](int by) { return static_cast<size_t>(static_cast<long>(place) + by); };
        switch (step.op) {
          case Op::match: return at;
          case Op::set: alive = at < text.size() && sets_[static_cast<size_t>(step.set)].has(text[at], table_); ++at; ++place; break;
          case Op::split: open.emplace_back(target(step.second), at); place = target(step.first); break;
          case Op::jump: place = target(step.first); break;
          case Op::begin: alive = at == 0; ++place; break;
          case Op::end: alive = at == text.size(); ++place; break;
          case Op::look: {
            const size_t end = run(text, place + 1, at, steps);
            alive = (end != kNone) == (step.set != 0);
            if (step.set == 2 && alive) at = end;
            place = target(step.first);
          }
        }
      }
    }
    return kNone;
  }

  // The pattern's parts become programs whose targets are relative, so that they can be joined.

  bool more() const { return at_ < source_.size(); }
  uint32_t peek() const { return more() ? source_[at_] : 0; }
  bool take(const std::string& word) {
    for (size_t k = 0; k < word.size(); ++k) if (at_ + k >= source_.size() || source_[at_ + k] != static_cast<unsigned char>(word[k])) return false;
    at_ += word.size();
    return true;
  }
  static void join(Program& to, const Program& part) {
    to.insert(to.end(), part.begin(), part.end());
    if (to.size() > kMostInstructions) throw std::runtime_error("tokenizer.json: a pattern is too large");
  }
  static int size(const Program& program) { return static_cast<int>(program.size()); }

  Program alternatives(int depth) {
    if (depth > 50) fail();
    Program left = sequence(depth);
    while (take("|")) {
      const Program right = sequence(depth);
      Program both = {{Op::split, 1, size(left) + 2}};
      join(both, left);
      both.push_back({Op::jump, size(right) + 1});
      join(both, right);
      left = std::move(both);
    }
    return left;
  }

  Program sequence(int depth) {
    Program found;
    const bool before = any_case_;
    while (more() && peek() != '|' && peek() != ')') join(found, repeated(atom(depth)));
    if (depth) any_case_ = before;
    return found;
  }

  Program repeated(Program one) {
    while (true) {
      int least = 0, most = -1;
      const size_t mark = at_;
      if (take("?")) most = 1;
      else if (take("+")) least = 1;
      else if (take("{")) {
        if (!number(least)) { at_ = mark; return one; }
        most = least;
        if (take(",") && !number(most)) most = -1;
        if (!take("}")) fail();
      } else if (!take("*")) return one;
      const bool lazy = take("?"), possessive = !lazy && take("+");
      one = times(one, least, most, lazy);
      if (possessive) one = looked(one, 2);
    }
  }

  bool number(int& value) {
    const size_t mark = at_;
    for (value = 0; peek() >= '0' && peek() <= '9' && value < 1000; ++at_) value = value * 10 + static_cast<int>(peek() - '0');
    return at_ > mark;
  }

  static Program times(const Program& one, int least, int most, bool lazy) {
    Program found;
    for (int k = 0; k < least; ++k) join(found, one);
    const auto split = [lazy](int into, int past) { return lazy ? Step{Op::split, past, into} : Step{Op::split, into, past}; };
    if (most < 0) {
      found.push_back(split(1, size(one) + 2));
      join(found, one);
      found.push_back({Op::jump, -size(one) - 1});
    }
    for (int k = least; k < most; ++k) {
      found.push_back(split(1, (most - k) * (size(one) + 1)));
      join(found, one);
    }
    return found;
  }

  static Program looked(const Program& inner, int kind) {
    Program found = {{Op::look, size(inner) + 2, 0, kind}};
    join(found, inner);
    found.push_back({Op::match});
    return found;
  }

  Program of(Set set) {
    sets_.push_back(std::move(set));
    return {{Op::set, 0, 0, static_cast<int>(sets_.size()) - 1}};
  }

  Program atom(int depth) {
    if (take("(")) return group(depth);
    if (take("[")) return of(bracket(depth));
    if (take("^") || take("\\A")) return {{Op::begin}};
    if (take("$") || take("\\z") || take("\\Z")) return {{Op::end}};
    if (take(".")) return of({true, {{'\n', '\n'}}, {}, {}});
    Set set;
    if (peek() == '\\') escape(set);
    else letter(set, source_[at_++]);
    return of(std::move(set));
  }

  Program group(int depth) {
    int kind = -1;
    const bool before = any_case_;
    if (take("?i)")) { any_case_ = true; return {}; }
    if (take("?i:")) any_case_ = true;
    else if (take("?=")) kind = 1;
    else if (take("?!")) kind = 0;
    else if (take("?>")) kind = 2;
    else if (!take("?:") && peek() == '?') fail();
    Program inner = alternatives(depth + 1);
    any_case_ = before;
    if (!take(")")) fail();
    return kind < 0 ? inner : looked(inner, kind);
  }

  void letter(Set& set, uint32_t code) const {
    set.ranges.emplace_back(code, code);
    const uint32_t other = code ^ 32;
    if (any_case_ && ((code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z'))) set.ranges.emplace_back(other, other);
  }

  Set bracket(int depth) {
    if (depth > 50) fail();
    Set set;
    set.negated = take("^");
    for (bool first = true; first || peek() != ']'; first = false) {
      if (!more() || take("&&")) fail();
      if (take("[:")) fail();  // a class of POSIX
      if (take("[")) { set.sets.push_back(bracket(depth + 1)); continue; }
      const uint32_t from = peek() == '\\' ? escape(set) : source_[at_++];
      if (from == kClass) continue;
      const bool is_range = at_ + 1 < source_.size() && source_[at_] == '-' && source_[at_ + 1] != ']';
      if (!is_range) { letter(set, from); continue; }
      ++at_;
      Set unused;
      const uint32_t to = peek() == '\\' ? escape(unused) : source_[at_++];
      if (to == kClass || to < from) fail();
      set.ranges.emplace_back(from, to);
    }
    ++at_;
    return set;
  }

  static constexpr uint32_t kClass = 0xffffffff;

  /** Read what a backslash says into `set`; return the character, or kClass where it is a class. */
  uint32_t escape(Set& set) {
    if (at_ + 1 >= source_.size()) fail();
    const uint32_t code = source_[at_ + 1];
    at_ += 2;
    const bool negated = code == 'S' || code == 'D' || code == 'W' || code == 'P';
    Set inner;
    inner.negated = negated;
    switch (code) {
      case 's': case 'S': inner.categories = {"White_Space"}; break;
      case 'd': case 'D': inner.categories = {"Nd"}; break;
      case 'w': case 'W': inner.categories = {"L", "M", "Nd", "Pc"}; break;
      case 'p': case 'P': inner = property(negated); break;
      case 'n': return plain(set, '\n');
      case 'r': return plain(set, '\r');
      case 't': return plain(set, '\t');
      case 'f': return plain(set, '\f');
      case 'v': return plain(set, '\v');
      case 'x': case 'u': return plain(set, hexadecimal(code == 'x' ? 2 : 4));
      default:
        if ((code >= '0' && code <= '9') || (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z')) fail();
        return plain(set, code);
    }
    set.sets.push_back(std::move(inner));
    return kClass;
  }
  uint32_t plain(Set& set, uint32_t code) const { letter(set, code); return code; }

  uint32_t hexadecimal(int digits) {
    const bool braces = take("{");
    uint32_t code = 0;
    for (int k = 0; k < (braces ? 6 : digits) && peek() != '}'; ++k, ++at_) {
      const uint32_t c = peek() | 32;
      const bool is_digit = c >= '0' && c <= '9';
      if (!is_digit && (c < 'a' || c > 'f')) fail();
      code = code * 16 + (is_digit ? c - '0' : c - 'a' + 10);
    }
    if (braces && !take("}")) fail();
    return code;
  }

  Set property(bool negated) {
    std::string name;
    if (!take("{")) fail();
    if (take("^")) negated = !negated;
    while (more() && peek() != '}') name += static_cast<char>(source_[at_++]);
    if (!take("}")) fail();
    static const std::string groups = "LMNPSZC";
    const bool known = !name.empty() && name.size() < 3 && groups.find(name[0]) != std::string::npos;
    if (!known && name != "White_Space") throw std::runtime_error("tokenizer.json: \\p{" + name + "} in a pattern is not read here");
    return {negated, {}, {name}, {}};
  }
};

}  // namespace regex
