// Outputs become an answer, for one sample, and two answers are compared. The kinds are those of the bundle's inference/decoding.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "images.hpp"
#include "json.hpp"
#include "ort.hpp"
#include "text.hpp"

namespace decoding {

using json::Value;
using Row = std::vector<double>;
using Outputs = std::map<std::string, ort::Tensor>;

struct Context {
  std::vector<std::string> labels, order;  // names of the classes, and of the outputs in the model's order
  images::Placement place;
  std::string text;
  text::Encoded tokens;
  std::vector<double> mask;
};

inline double sigmoid(double x) { return 0.5 * (1 + std::tanh(0.5 * x)); }

inline Row activated(Row values, const std::string& activation) {
  if (activation == "softmax" && !values.empty()) {
    const double most = *std::max_element(values.begin(), values.end());
    double sum = 0;
    for (double& value : values) sum += value = std::exp(value - most);
    for (double& value : values) value /= sum;
  } else if (activation == "sigmoid") {
    for (double& value : values) value = sigmoid(value);
  }
  return values;
}

inline size_t argmax(const Row& row) { return static_cast<size_t>(std::max_element(row.begin(), row.end()) - row.begin()); }
inline std::string label(const std::vector<std::string>& labels, size_t index) { return index < labels.size() ? labels[index] : std::to_string(index); }

inline const ort::Tensor& output(const Outputs& outputs, const Value& name, const Context& context) {
  const auto found = outputs.find(name.is_null() ? context.order.at(0) : name.text);
  if (found == outputs.end()) throw std::runtime_error("the model has no output '" + name.text + "'");
  return found->second;
}

inline std::vector<Row> rows(const ort::Tensor& tensor) {
  if (tensor.shape.size() != 3) throw std::runtime_error("an output of three axes is needed");
  const size_t width = static_cast<size_t>(tensor.shape[2]);
  std::vector<Row> found;
  for (int64_t k = 0; k < tensor.shape[1]; ++k) found.emplace_back(tensor.data.begin() + static_cast<long>(k * tensor.shape[2]), tensor.data.begin() + static_cast<long>(k * tensor.shape[2]) + static_cast<long>(width));
  return found;
}

inline Value scored(const Row& scores, size_t index, const Context& context) {
  return Value::map().set("label", label(context.labels, index)).set("index", index).set("score", scores[index]);
}

inline Value answer_of(const char* kind) { return Value::map().set("kind", kind); }

inline Value classes(const Value& options, const Outputs& outputs, const Context& context) {
  const Row& values = output(outputs, options["output"], context).data;
  const Row scores = activated(values, options.str("activation"));
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] > values[b]; });
  Value found = Value::array();
  for (size_t k = 0; k < std::min(order.size(), static_cast<size_t>(options.whole("top_k"))); ++k) found.list.push_back(scored(scores, order[k], context));
  return answer_of("classes").set("classes", found);
}

inline Value multi_label(const Value& options, const Outputs& outputs, const Context& context) {
  const Row scores = activated(output(outputs, options["output"], context).data, options.str("activation"));
  Value found = Value::array();
  for (size_t k = 0; k < scores.size(); ++k) if (scores[k] >= options.num("threshold")) found.list.push_back(scored(scores, k, context));
  return answer_of("labels").set("classes", found);
}

struct Tag { std::string tag; double score; int start, end; };

inline bool is_space(uint32_t c) {
  return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

inline Value spans(const Value& options, const Outputs& outputs, const Context& context) {
  const std::vector<Row> scores = rows(output(outputs, options["output"], context));
  const text::Chars chars = text::decoded(context.text);
  std::vector<Tag> tags;
  for (size_t k = 0; k < std::min(scores.size(), context.tokens.ids.size()); ++k) {
    const auto [start, end] = context.tokens.offsets[k];
    if (context.tokens.sequences[k] < 0 || start == end) continue;
    if (options["words"].truthy() && !tags.empty() && std::none_of(chars.begin() + tags.back().start, chars.begin() + end, is_space)) {
      tags.back().end = std::max(tags.back().end, end);
      continue;
    }
    const Row row = activated(scores[k], options.str("activation"));
    const size_t best = argmax(row);
    tags.push_back({label(context.labels, best), row[best], start, end});
  }
  Value found = Value::array();
  const std::string& outside = options.str("outside");
  std::string previous = outside;
  std::vector<std::vector<Tag>> groups;
  std::vector<std::string> names;
  for (const Tag& tag : tags) {
    if (tag.tag == outside) { previous = outside; continue; }
    const std::string prefix = tag.tag.substr(0, 2), name = prefix == "B-" || prefix == "I-" ? tag.tag.substr(2) : tag.tag;
    if (prefix == "B-" || name != previous) { groups.emplace_back(); names.push_back(name); }
    groups.back().push_back(tag);
    previous = name;
  }
  for (size_t k = 0; k < groups.size(); ++k) {
    double sum = 0;
    for (const Tag& tag : groups[k]) sum += tag.score;
    const int start = groups[k].front().start, end = groups[k].back().end;
    found.list.push_back(Value::map().set("label", names[k]).set("text", text::encoded(chars, static_cast<size_t>(start), static_cast<size_t>(end))).set("start", start).set("end", end).set("score", sum / static_cast<double>(groups[k].size())));
  }
  return answer_of("spans").set("spans", found);
}

inline Value answer_span(const Value& options, const Outputs& outputs, const Context& context) {
  const size_t count = context.tokens.ids.size();
  Row first = output(outputs, options["start"], context).data, last = output(outputs, options["end"], context).data;
  first.resize(count);
  last.resize(count);
  first = activated(first, "softmax");
  last = activated(last, "softmax");
  const bool pair = std::count(context.tokens.sequences.begin(), context.tokens.sequences.end(), 1) > 0;
  double best = -1;
  size_t from = 0, to = 0;
  for (size_t a = 0; a < count; ++a) {
    for (size_t b = a; b < std::min(count, a + static_cast<size_t>(options.whole("max_tokens"))); ++b) {
      const auto inside = [&](size_t k) { return pair ? context.tokens.sequences[k] == 1 : context.tokens.sequences[k] >= 0; };
      if (inside(a) && inside(b) && first[a] * last[b] > best) { best = first[a] * last[b]; from = a; to = b; }
    }
  }
  const double nothing = first.at(0) * last.at(0);
  if (best < 0 || (options["may_be_empty"].truthy() && nothing > best)) return answer_of("answer").set("text", "").set("start", 0).set("end", 0).set("score", nothing);
  const int start = context.tokens.offsets[from].first, end = context.tokens.offsets[to].second;
  return answer_of("answer").set("text", text::encoded(text::decoded(context.text), static_cast<size_t>(start), static_cast<size_t>(end))).set("start", start).set("end", end).set("score", best);
}

struct Found { size_t index; double score; std::array<double, 4> box; };

inline double overlap(const std::array<double, 4>& a, const std::array<double, 4>& b) {
  const double inner = std::max(0.0, std::min(a[2], b[2]) - std::max(a[0], b[0])) * std::max(0.0, std::min(a[3], b[3]) - std::max(a[1], b[1]));
  const double both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner;
  return inner / std::max(both, 1e-12);
}

inline std::array<double, 4> around(double x, double y, double w, double h) { return {x - w / 2, y - h / 2, x + w / 2, y + h / 2}; }

inline std::array<double, 4> corners(const Value& options, const Row& v, size_t row, const std::vector<std::array<double, 3>>& cells, const images::Placement& place) {
  const std::string& encoding = options.str("encoding");
  if (!cells.empty()) {
    const auto [x, y, stride] = cells.at(row);
    if (encoding == "grid") return around((v[0] + x) * stride, (v[1] + y) * stride, std::exp(v[2]) * stride, std::exp(v[3]) * stride);
    if (encoding == "tanh-grid") return around((std::tanh(v[0]) + x) * stride, (std::tanh(v[1]) + y) * stride, sigmoid(v[2]) * place.input[0], sigmoid(v[3]) * place.input[1]);
    return {(x + 0.5 - v[0]) * stride, (y + 0.5 - v[1]) * stride, (x + 0.5 + v[2]) * stride, (y + 0.5 + v[3]) * stride};
  }
  std::array<double, 4> box{v[0], v[1], v[2], v[3]};
  if (encoding == "anchors") {
    const auto& anchor = options.items("anchors").at(row).list;
    const double near = options.items("variances").at(0).number, far = options.items("variances").at(1).number;
    box = around(anchor[0].number + v[0] * near * anchor[2].number, anchor[1].number + v[1] * near * anchor[3].number, anchor[2].number * std::exp(v[2] * far), anchor[3].number * std::exp(v[3] * far));
  } else if (encoding == "cxcywh") box = around(v[0], v[1], v[2], v[3]);
  else if (encoding == "xywh") box = {v[0], v[1], v[0] + v[2], v[1] + v[3]};
  if (options.str("unit") == "relative") for (size_t k = 0; k < 4; ++k) box[k] *= place.input[k % 2];
  return box;
}

inline Value boxes(const Value& options, const Outputs& outputs, const Context& context) {
  const bool both = !options["boxes"].is_null(), transposed = options["transposed"].truthy(), objectness = options["objectness"].truthy();
  const ort::Tensor& main = output(outputs, both ? options["boxes"] : options["output"], context);
  const ort::Tensor& side = both ? output(outputs, options["scores"], context) : main;
  const auto columns = [&](const ort::Tensor& tensor) { return static_cast<size_t>(transposed ? tensor.shape.at(1) : tensor.shape.back()); };
  if (!columns(main) || columns(side) <= (both ? 0u : objectness ? 5u : 4u)) throw std::runtime_error("an output of boxes has too few columns");
  const size_t count = main.data.size() / columns(main);
  const auto at = [&](const ort::Tensor& tensor, size_t row, size_t column) { return transposed ? tensor.data[column * count + row] : tensor.data[row * columns(tensor) + column]; };
  const size_t ahead = !both && options.str("order") == "objectness-box-classes" ? 1 : 0, from = both ? 0 : objectness ? 5 : 4, classes = columns(side) - from;
  std::vector<std::array<double, 3>> cells;
  for (const Value& stride : options.items("strides")) {
    const std::string& encoding = options.str("encoding");
    if (encoding != "grid" && encoding != "tanh-grid" && encoding != "distances") break;
    for (int y = 0; y < std::ceil(context.place.input[1] / stride.number); ++y) for (int x = 0; x < std::ceil(context.place.input[0] / stride.number); ++x) cells.push_back({static_cast<double>(x), static_cast<double>(y), stride.number});
  }
  const int background = options["background"].is_null() ? -1 : (options.whole("background") + static_cast<int>(classes)) % static_cast<int>(classes);
  std::vector<Found> found;
  for (size_t row = 0; row < count; ++row) {
    Row scores(classes);
    for (size_t k = 0; k < classes; ++k) scores[k] = at(side, row, from + k);
    scores = activated(scores, options.str("activation"));
    if (!both && objectness) {
      double object = at(main, row, ahead ? 0 : 4);
      if (options.str("objectness_activation") == "sigmoid") object = sigmoid(object);
      const auto& powers = options.items("powers");
      for (double& score : scores) score = std::pow(object, powers[0].number) * std::pow(score, powers[1].number);
    }
    if (background >= 0) scores[static_cast<size_t>(background)] = -1;
    const size_t best = argmax(scores);
    for (size_t index = 0; index < classes; ++index) {
      if ((options["one_class_per_box"].truthy() && index != best) || !(scores[index] >= options.num("score_threshold"))) continue;
      Row numbers(4);
      for (size_t k = 0; k < 4; ++k) numbers[k] = at(main, row, ahead + k);
      std::array<double, 4> box = corners(options, numbers, row, cells, context.place);
      for (size_t k = 0; k < 4; ++k) box[k] = std::min(context.place.size[k % 2], std::max(0.0, (box[k] - context.place.offset[k % 2]) / context.place.scale[k % 2]));
      found.push_back({index, scores[index], box});
    }
  }
  std::stable_sort(found.begin(), found.end(), [](const Found& a, const Found& b) { return a.score > b.score; });
  std::vector<Found> kept;
  for (const Found& one : found) {
    if (kept.size() >= static_cast<size_t>(options.whole("max_detections"))) break;
    const bool dropped = !options["iou_threshold"].is_null() && std::any_of(kept.begin(), kept.end(), [&](const Found& other) {
      return (!options["per_class"].truthy() || other.index == one.index) && overlap(one.box, other.box) > options.num("iou_threshold");
    });
    if (!dropped) kept.push_back(one);
  }
  Value list = Value::array(), size = Value::array();
  for (const double edge : context.place.size) size.list.push_back(edge);
  for (const Found& one : kept) {
    Value box = Value::array();
    for (const double edge : one.box) box.list.push_back(edge);
    list.list.push_back(Value::map().set("label", label(context.labels, one.index)).set("index", one.index).set("score", one.score).set("box", box));
  }
  return answer_of("boxes").set("size", size).set("boxes", list);
}

inline Value segmentation(const Value& options, const Outputs& outputs, const Context& context) {
  const ort::Tensor& tensor = output(outputs, options["output"], context);
  const size_t maps = tensor.shape.size() == 4 ? static_cast<size_t>(tensor.shape[1]) : 1, high = static_cast<size_t>(tensor.shape[tensor.shape.size() - 2]), wide = static_cast<size_t>(tensor.shape.back());
  const bool bilinear = tensor.shape.size() == 4 && options["bilinear"].truthy();
  const images::Placement& place = context.place;
  const auto source = [&](size_t axis, int pixel, size_t cells) {
    const double cell = ((pixel + 0.5) * place.scale[axis] + place.offset[axis]) * static_cast<double>(cells) / place.input[axis] - 0.5;
    return std::min(static_cast<double>(cells - 1), std::max(0.0, cell));
  };
  const auto value = [&](size_t map, double y, double x) {
    const auto cell = [&](double r, double c) { return tensor.data[(map * high + static_cast<size_t>(r)) * wide + static_cast<size_t>(c)]; };
    if (!bilinear) return cell(std::nearbyint(y), std::nearbyint(x));
    const double top = std::floor(y), left = std::floor(x), down = std::min(top + 1, static_cast<double>(high - 1)), right = std::min(left + 1, static_cast<double>(wide - 1));
    const double a = cell(top, left) * (1 - (y - top)) + cell(down, left) * (y - top), b = cell(top, right) * (1 - (y - top)) + cell(down, right) * (y - top);
    return a * (1 - (x - left)) + b * (x - left);
  };
  std::map<size_t, size_t> counts;
  std::vector<std::pair<size_t, size_t>> runs;
  const int width = static_cast<int>(place.size[0]), height = static_cast<int>(place.size[1]);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const double sy = source(1, y, high), sx = source(0, x, wide);
      double top = value(0, sy, sx);
      size_t best = maps == 1 ? static_cast<size_t>(top) : 0;
      for (size_t map = 1; map < maps; ++map) if (const double here = value(map, sy, sx); here > top) { top = here; best = map; }
      ++counts[best];
      if (!runs.empty() && runs.back().first == best) ++runs.back().second;
      else runs.emplace_back(best, 1);
    }
  }
  std::vector<std::pair<size_t, size_t>> order(counts.begin(), counts.end());
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  Value list = Value::array(), mask = Value::array(), size = Value::array();
  for (const double edge : place.size) size.list.push_back(edge);
  for (const auto& [index, total] : order) list.list.push_back(Value::map().set("label", label(context.labels, index)).set("index", index).set("share", static_cast<double>(total) / (static_cast<double>(width) * height)));
  for (const auto& [index, total] : runs) { Value run = Value::array(); run.list = {Value(index), Value(total)}; mask.list.push_back(run); }
  return answer_of("segmentation").set("size", size).set("classes", list).set("mask", mask);
}

inline Value ctc(const Value& options, const Outputs& outputs, const Context& context) {
  const ort::Tensor& tensor = output(outputs, options["output"], context);
  std::vector<size_t> best;
  if (tensor.shape.size() == 3) for (const Row& row : rows(tensor)) best.push_back(argmax(row));
  else for (const double id : tensor.data) best.push_back(static_cast<size_t>(id));
  std::vector<std::string> tokens;
  for (const Value& token : options.items("tokens")) tokens.push_back(token.text);
  const std::string& delimiter = options.str("word_delimiter");
  std::string text;
  for (size_t k = 0; k < best.size(); ++k) {
    if ((k && best[k] == best[k - 1]) || best[k] == static_cast<size_t>(options.whole("blank"))) continue;
    const std::string token = label(tokens.empty() ? context.labels : tokens, best[k]);
    text += token == delimiter ? " " : token;
  }
  std::string joined;
  for (const char c : text) if (c != ' ' || (!joined.empty() && joined.back() != ' ')) joined += c;
  while (!joined.empty() && joined.back() == ' ') joined.pop_back();
  return answer_of("text").set("text", joined);
}

inline Value embedding(const Value& options, const Outputs& outputs, const Context& context) {
  const ort::Tensor& tensor = output(outputs, options["output"], context);
  Row vector = tensor.data;
  if (tensor.shape.size() == 3) {
    const std::vector<Row> all = rows(tensor);
    const std::string& pooling = options.str("pooling");
    std::vector<const Row*> kept;
    for (size_t k = 0; k < all.size(); ++k) if (k >= context.mask.size() || context.mask[k] > 0) kept.push_back(&all[k]);
    if (pooling == "first" || kept.empty()) vector = all.at(0);
    else if (pooling == "last") vector = *kept.back();
    else {
      vector = *kept[0];
      for (size_t k = 1; k < kept.size(); ++k) for (size_t i = 0; i < vector.size(); ++i) vector[i] = pooling == "max" ? std::max(vector[i], (*kept[k])[i]) : vector[i] + (*kept[k])[i];
      if (pooling == "mean") for (double& value : vector) value /= static_cast<double>(kept.size());
    }
  }
  if (options["normalise"].truthy()) {
    const double length = std::max(std::sqrt(std::inner_product(vector.begin(), vector.end(), vector.begin(), 0.0)), 1e-12);
    for (double& value : vector) value /= length;
  }
  Value list = Value::array();
  for (const double value : vector) list.list.push_back(value);
  return answer_of("embedding").set("vector", list);
}

inline Value value(const Value& options, const Outputs& outputs, const Context& context) {
  Value values = Value::map();
  std::vector<std::string> names;
  for (const Value& name : options.items("outputs")) names.push_back(name.text);
  for (const std::string& name : names.empty() ? context.order : names) {
    Value list = Value::array();
    for (const double number : outputs.at(name).data) list.list.push_back(number * options.num("factor") + options.num("offset"));
    values.set(name, list.list.size() == 1 ? list.list[0] : list);
  }
  return answer_of("value").set("values", values);
}

inline Value plain(const Outputs& outputs, const Context& context) {
  Value found = Value::map();
  const int64_t count = outputs.at(context.order.at(0)).rows();
  for (const std::string& name : context.order) {
    const ort::Tensor& tensor = outputs.at(name);
    const bool one = !tensor.shape.empty() && tensor.shape[0] == count;
    Value shape = Value::array(), values = Value::array();
    for (size_t k = one ? 1 : 0; k < tensor.shape.size(); ++k) shape.list.push_back(static_cast<double>(tensor.shape[k]));
    const size_t size = one ? tensor.data.size() / static_cast<size_t>(count) : tensor.data.size();
    for (size_t k = 0; k < size; ++k) values.list.push_back(tensor.data[k]);
    found.set(name, Value::map().set("dtype", tensor.dtype).set("shape", shape).set("values", values));
  }
  return answer_of("arrays").set("arrays", found);
}

inline Value decode(const Value& options, const Outputs& outputs, const Context& context) {
  const std::string& kind = options.str("kind");
  if (kind == "argmax") return classes(options, outputs, context);
  if (kind == "multi-label") return multi_label(options, outputs, context);
  if (kind == "spans") return spans(options, outputs, context);
  if (kind == "answer-span") return answer_span(options, outputs, context);
  if (kind == "boxes") return boxes(options, outputs, context);
  if (kind == "segmentation") return segmentation(options, outputs, context);
  if (kind == "ctc") return ctc(options, outputs, context);
  if (kind == "embedding") return embedding(options, outputs, context);
  if (kind == "value") return value(options, outputs, context);
  if (kind == "arrays") return plain(outputs, context);
  throw std::runtime_error("the decoding '" + kind + "' is not done here");
}

}  // namespace decoding
