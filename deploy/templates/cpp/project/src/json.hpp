// JSON: parsed into a value, and written from one.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace json {

class Value {
 public:
  enum class Kind { null, boolean, number, text, list, object };
  Kind kind = Kind::null;
  bool boolean = false;
  double number = 0;
  std::string text;
  std::vector<Value> list;
  std::vector<std::pair<std::string, Value>> object;

  Value() = default;
  Value(double value) : kind(Kind::number), number(value) {}
  Value(int value) : Value(static_cast<double>(value)) {}
  Value(size_t value) : Value(static_cast<double>(value)) {}
  Value(std::string value) : kind(Kind::text), text(std::move(value)) {}
  Value(const char* value) : Value(std::string(value)) {}
  static Value array() { Value value; value.kind = Kind::list; return value; }
  static Value map() { Value value; value.kind = Kind::object; return value; }

  bool is_null() const { return kind == Kind::null; }
  bool truthy() const { return (kind == Kind::boolean && boolean) || (kind == Kind::number && number != 0); }
  const Value* find(const std::string& key) const {
    for (const auto& entry : object) if (entry.first == key) return &entry.second;
    return nullptr;
  }
  const Value& operator[](const std::string& key) const {
    const Value* found = find(key);
    if (!found) throw std::runtime_error("bundle.json: '" + key + "' is missing");
    return *found;
  }
  double num(const std::string& key) const { return need((*this)[key], Kind::number, key).number; }
  int whole(const std::string& key) const { return static_cast<int>(num(key)); }
  const std::string& str(const std::string& key) const { return need((*this)[key], Kind::text, key).text; }
  const std::vector<Value>& items(const std::string& key) const { return need((*this)[key], Kind::list, key).list; }
  Value& set(const std::string& key, Value value) { object.emplace_back(key, std::move(value)); return *this; }

 private:
  static const Value& need(const Value& value, Kind kind, const std::string& key) {
    if (value.kind != kind) throw std::runtime_error("bundle.json: '" + key + "' is of another kind");
    return value;
  }
};

class Parser {
 public:
  explicit Parser(const std::string& text) : text_(text) {}
  Value parse() {
    Value value = any(0);
    space();
    if (at_ != text_.size()) fail();
    return value;
  }

 private:
  const std::string& text_;
  size_t at_ = 0;

  [[noreturn]] void fail() const { throw std::runtime_error("not JSON at byte " + std::to_string(at_)); }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void space() { while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t')) ++at_; }
  bool take(const char* word) {
    const std::string wanted(word);
    if (text_.compare(at_, wanted.size(), wanted) != 0) return false;
    at_ += wanted.size();
    return true;
  }
  Value any(int depth) {
    if (depth > 200) fail();
    space();
    Value value;
    if (peek() == '{') {
      value.kind = Value::Kind::object;
      ++at_;
      space();
      if (take("}")) return value;
      while (true) {
        space();
        std::string key = string();
        space();
        if (!take(":")) fail();
        value.object.emplace_back(std::move(key), any(depth + 1));
        space();
        if (take("}")) return value;
        if (!take(",")) fail();
      }
    }
    if (peek() == '[') {
      value.kind = Value::Kind::list;
      ++at_;
      space();
      if (take("]")) return value;
      while (true) {
        value.list.push_back(any(depth + 1));
        space();
        if (take("]")) return value;
        if (!take(",")) fail();
      }
    }
    if (peek() == '"') {
      value.kind = Value::Kind::text;
      value.text = string();
      return value;
    }
    if (take("null")) return value;
    if (peek() == 't' || peek() == 'f') {
      value.kind = Value::Kind::boolean;
      value.boolean = peek() == 't';
      if (!take(value.boolean ? "true" : "false")) fail();
      return value;
    }
    const char* start = text_.c_str() + at_;
    char* end = nullptr;
    if (peek() != '-' && (peek() < '0' || peek() > '9')) fail();
    value = Value(std::strtod(start, &end));
    at_ += static_cast<size_t>(end - start);
    return value;
  }
  uint32_t hex() {
    uint32_t code = 0;
    for (int k = 0; k < 4; ++k, ++at_) {
      const char c = peek();
      const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
      if (digit < 0) fail();
      code = code * 16 + static_cast<uint32_t>(digit);
    }
    return code;
  }
  std::string string() {
    if (!take("\"")) fail();
    std::string result;
    while (true) {
      if (at_ >= text_.size()) fail();
      const char c = text_[at_++];
      if (c == '"') return result;
      if (c != '\\') {
        result += c;
        continue;
      }
      const char escaped = peek();
      ++at_;
      switch (escaped) {
        case 'n': result += '\n'; break;
        case 't': result += '\t'; break;
        case 'r': result += '\r'; break;
        case 'b': result += '\b'; break;
        case 'f': result += '\f'; break;
        case '"': case '\\': case '/': result += escaped; break;
        case 'u': {
          uint32_t code = hex();
          if (code >= 0xd800 && code < 0xdc00 && take("\\u")) code = 0x10000 + ((code - 0xd800) << 10) + (hex() - 0xdc00);
          append(result, code);
          break;
        }
        default: fail();
      }
    }
  }

 public:
  /** Append a code point in UTF-8. */
  static void append(std::string& text, uint32_t code) {
    if (code < 0x80) text += static_cast<char>(code);
    else if (code < 0x800) { text += static_cast<char>(0xc0 | code >> 6); text += static_cast<char>(0x80 | (code & 63)); }
    else if (code < 0x10000) { text += static_cast<char>(0xe0 | code >> 12); text += static_cast<char>(0x80 | (code >> 6 & 63)); text += static_cast<char>(0x80 | (code & 63)); }
    else { text += static_cast<char>(0xf0 | (code >> 18 & 7)); text += static_cast<char>(0x80 | (code >> 12 & 63)); text += static_cast<char>(0x80 | (code >> 6 & 63)); text += static_cast<char>(0x80 | (code & 63)); }
  }
};

inline void write(std::string& to, const Value& value) {
  switch (value.kind) {
    case Value::Kind::null: to += "null"; break;
    case Value::Kind::boolean: to += value.boolean ? "true" : "false"; break;
    case Value::Kind::number: {
      if (!std::isfinite(value.number)) { to += "null"; break; }  // JSON has no others
      char buffer[40];
      std::snprintf(buffer, sizeof buffer, std::floor(value.number) == value.number && std::fabs(value.number) < 1e15 ? "%.0f" : "%.9g", value.number);
      to += buffer;
      break;
    }
    case Value::Kind::text:
      to += '"';
      for (const char c : value.text) {
        if (c == '"' || c == '\\') { to += '\\'; to += c; }
        else if (static_cast<unsigned char>(c) < 32) { char buffer[8]; std::snprintf(buffer, sizeof buffer, "\\u%04x", c); to += buffer; }
        else to += c;
      }
      to += '"';
      break;
    case Value::Kind::list:
      to += '[';
      for (size_t k = 0; k < value.list.size(); ++k) { if (k) to += ", "; write(to, value.list[k]); }
      to += ']';
      break;
    case Value::Kind::object:
      to += '{';
      for (size_t k = 0; k < value.object.size(); ++k) {
        if (k) to += ", ";
        write(to, Value(value.object[k].first));
        to += ": ";
        write(to, value.object[k].second);
      }
      to += '}';
  }
}

}  // namespace json
