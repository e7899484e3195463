// The C++ template's tokenizer alone: tokenize tokenizer.json unicode.txt sentences.json prints [ids, offsets] of each, as JSON.
#include <exception>
#include <iostream>
#include <string>

#include "text.hpp"

int main(int count, char** values) {
  if (count != 4) return 2;
  try {
    const text::Tokenizer tokenizer(values[1], values[2], 1u << 30);
    const std::string given = arrays::text(values[3]);
    json::Value found = json::Value::array();
    for (const json::Value& one : json::Parser(given).parse().list) {
      const text::Encoded encoded = tokenizer.encode({one.text});
      json::Value ids = json::Value::array(), offsets = json::Value::array(), both = json::Value::array();
      for (const int64_t id : encoded.ids) ids.list.push_back(static_cast<double>(id));
      for (const auto& [start, end] : encoded.offsets) {
        json::Value pair = json::Value::array();
        pair.list = {start, end};
        offsets.list.push_back(pair);
      }
      both.list = {ids, offsets};
      found.list.push_back(both);
    }
    std::string line;
    json::write(line, found);
    std::cout << line << "\n";
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
