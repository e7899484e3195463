// The golden raw inputs of a bundle, from raw data to the answer, compared with the recorded answers.
#pragma once

#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "bundle.hpp"
#include "compare.hpp"

namespace golden {

/** Return what was found, in lines, and whether an answer is another than recorded (or there is none to compare). */
inline std::pair<std::string, bool> report(const Bundle& bundle, const std::string& folder) {
  size_t count = 0, wrong = 0;
  std::string lines;
  if (const json::Value* entries = bundle.manifest()["golden"].find("raw")) {
    for (const json::Value& entry : entries->list) {
      const json::Value& input = entry["input"];
      std::vector<std::string> raw;
      std::string problem;
      try {
        if (const json::Value* file = input.find("file")) raw.push_back(arrays::inside(folder, file->text));
        else if (input["text"].kind == json::Value::Kind::list) for (const json::Value& text : input["text"].list) raw.push_back(text.text);
        else raw.push_back(input["text"].text);
        problem = compare::disagreement(bundle.predict(raw), entry["answer"]);
      } catch (const std::exception& error) {
        problem = error.what();
      }
      if (!problem.empty()) lines += "failed: raw input " + std::to_string(count) + ": " + problem + "\n";
      wrong += !problem.empty();
      ++count;
    }
  }
  return {lines + std::to_string(count - wrong) + " of " + std::to_string(count) + " golden raw inputs give the recorded answer\n", wrong || !count};
}

}  // namespace golden
