// Do two answers agree? The rules are those of the bundle's inference/compare.py.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "decoding.hpp"
#include "json.hpp"

namespace compare {

using json::Value;
constexpr double kScore = 0.05, kOverlap = 0.8, kCosine = 0.98;

/** Whether two numbers differ by at most `most`; NaN is near nothing. */
inline bool near(double value, double recorded, double most) { return std::fabs(value - recorded) <= most; }

inline const Value* by_label(const Value& answer, const std::string& label) {
  for (const Value& entry : answer.items("classes")) if (entry.str("label") == label) return &entry;
  return nullptr;
}

inline std::array<double, 4> box_of(const Value& entry) {
  std::array<double, 4> box{};
  for (size_t k = 0; k < 4; ++k) box[k] = entry.items("box").at(k).number;
  return box;
}

inline double alike(const std::array<double, 4>& a, const std::array<double, 4>& b) {
  const auto empty = [](const auto& box) { return !((box[2] - box[0]) * (box[3] - box[1]) > 0); };
  return empty(a) && empty(b) ? 1 : decoding::overlap(a, b);
}

inline void flatten(const Value& value, std::vector<double>& to) {
  if (value.kind == Value::Kind::list) for (const Value& inner : value.list) flatten(inner, to);
  else to.push_back(value.number);
}

/** Return every `step`-th entry of a list. */
inline Value every(const Value& values, double step) {
  Value found;
  found.kind = Value::Kind::list;
  const auto skip = static_cast<size_t>(std::min(std::max(step, 1.0), 1e9));
  for (size_t k = 0; k < values.list.size(); k += skip) found.list.push_back(values.list[k]);
  return found;
}

inline std::string numbers(const Value& got, const Value& want) {
  std::vector<double> have, should;
  flatten(got, have);
  flatten(want, should);
  if (have.size() != should.size()) return std::to_string(have.size()) + " values, recorded are " + std::to_string(should.size());
  double most = 0;
  for (const double value : should) if (std::isfinite(value)) most = std::max(most, std::fabs(value));
  for (size_t k = 0; k < have.size(); ++k) if (!(std::fabs(have[k] - should[k]) <= 0.02 * most + 1e-6)) return std::to_string(have[k]) + " where " + std::to_string(should[k]) + " is recorded";
  return "";
}

inline std::string boxes(const Value& got, const Value& want) {
  if (!numbers(got["size"], want["size"]).empty()) return "the image has another size";
  std::vector<const Value*> left;
  double lowest = 1e9;
  for (const Value& box : got.items("boxes")) { left.push_back(&box); lowest = std::min(lowest, box.num("score")); }
  for (const Value& box : want.items("boxes")) lowest = std::min(lowest, box.num("score"));
  for (const Value& box : want.items("boxes")) {
    size_t best = left.size();
    for (size_t k = 0; k < left.size(); ++k) {
      if (left[k]->str("label") != box.str("label")) continue;
      if (best == left.size() || alike(box_of(box), box_of(*left[k])) > alike(box_of(box), box_of(*left[best]))) best = k;
    }
    if (best == left.size() || alike(box_of(box), box_of(*left[best])) < kOverlap) {
      if (box.num("score") - lowest > kScore) return "no " + box.str("label") + " where one is recorded";
      continue;
    }
    if (!near(left[best]->num("score"), box.num("score"), kScore)) return box.str("label") + " has another score";
    left.erase(left.begin() + static_cast<long>(best));
  }
  for (const Value* box : left) if (box->num("score") - lowest > kScore) return "an extra " + box->str("label");
  return "";
}

/** Return how the answer `got` differs from the recorded one; empty if they agree. */
inline std::string disagreement(const Value& got, const Value& want) {
  const std::string& kind = want.str("kind");
  if (got.str("kind") != kind) return "the answer is of kind " + got.str("kind");
  if (kind == "classes") {
    const Value &first = want.items("classes").at(0), &other = got.items("classes").at(0);
    const double scale = std::max(1.0, std::fabs(first.num("score")));
    const Value* recorded = by_label(want, other.str("label"));
    if (first.str("label") != other.str("label") && first.num("score") - (recorded ? recorded->num("score") : 0) > kScore * scale) return "best is " + other.str("label") + ", recorded is " + first.str("label");
    for (const Value& entry : got.items("classes")) {
      const Value* same = by_label(want, entry.str("label"));
      if (same && !near(entry.num("score"), same->num("score"), kScore * std::max(1.0, std::fabs(same->num("score"))))) return entry.str("label") + " has another score";
    }
    return "";
  }
  if (kind == "labels") {
    double lowest = 1e9;
    for (const Value* side : {&got, &want}) for (const Value& entry : side->items("classes")) lowest = std::min(lowest, entry.num("score"));
    for (const auto& [side, other] : {std::pair{&got, &want}, std::pair{&want, &got}})
      for (const Value& entry : side->items("classes")) {
        const Value* same = by_label(*other, entry.str("label"));
        if (!same && entry.num("score") - lowest > kScore) return entry.str("label") + " is in one answer alone";
        if (same && !near(entry.num("score"), same->num("score"), kScore)) return entry.str("label") + " has another score";
      }
    return "";
  }
  if (kind == "spans") {
    const auto &have = got.items("spans"), &should = want.items("spans");
    bool same = have.size() == should.size();
    for (size_t k = 0; same && k < have.size(); ++k) same = have[k].num("start") == should[k].num("start") && have[k].num("end") == should[k].num("end") && have[k].str("label") == should[k].str("label");
    return same ? "" : std::to_string(have.size()) + " spans differ from the recorded " + std::to_string(should.size());
  }
  if (kind == "answer" || kind == "text") return got.str("text") == want.str("text") ? "" : "text is '" + got.str("text") + "', recorded is '" + want.str("text") + "'";
  if (kind == "boxes") return boxes(got, want);
  if (kind == "segmentation") {
    size_t different = 0, total = 0;
    std::vector<double> have, should;
    for (const auto& [answer, to] : {std::pair{&got, &have}, std::pair{&want, &should}})
      for (const Value& run : answer->items("mask")) to->insert(to->end(), static_cast<size_t>(run.list.at(1).number), run.list.at(0).number);
    for (size_t k = 0; k < std::min(have.size(), should.size()); ++k, ++total) different += have[k] != should[k];
    return have.size() != should.size() || static_cast<double>(different) > 0.02 * static_cast<double>(total) ? std::to_string(different) + " pixels have another class" : "";
  }
  if (kind == "embedding") {
    std::vector<double> a, b;
    flatten(got["vector"], a);
    flatten(want["vector"], b);
    if (a.size() != b.size()) return "another number of values";
    const auto dot = [](const auto& x, const auto& y) { return std::inner_product(x.begin(), x.end(), y.begin(), 0.0); };
    const double lengths = std::sqrt(dot(a, a) * dot(b, b)), cosine = lengths == 0 ? a == b : dot(a, b) / lengths;
    return cosine >= kCosine ? "" : "the cosine to the recorded vector is " + std::to_string(cosine);
  }
  const char* key = kind == "value" ? "values" : "arrays";
  for (const auto& [name, recorded] : want[key].object) {
    const Value& found = got[key][name];
    if (kind == "arrays" && !numbers(found["shape"], recorded["shape"]).empty()) return name + " has another shape";
    const Value* step = recorded.find("step");
    const std::string problem = kind == "value" ? numbers(found, recorded) : numbers(every(found["values"], step ? step->number : 1), recorded["values"]);
    if (!problem.empty()) return name + ": " + problem;
  }
  return "";
}

}  // namespace compare
