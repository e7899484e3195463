// A bundle that is ready to answer: raw data → model inputs → onnxruntime → a named answer.
#pragma once

#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "arrays.hpp"
#include "audio.hpp"
#include "decoding.hpp"
#include "images.hpp"
#include "json.hpp"
#include "ort.hpp"
#include "text.hpp"

class Bundle {
 public:
  Bundle(const std::string& folder, const std::string& library, const std::string& table, int threads)
      : folder_(folder), manifest_(parsed(folder + "/bundle.json")), steps_(manifest_["preprocessing"]),
        session_(library, arrays::inside(folder, manifest_["model"].str("file")), threads) {
    for (const json::Value& name : manifest_.items("labels")) labels_.push_back(name.text);
    for (const json::Value& tensor : manifest_.items("outputs")) outputs_.push_back(tensor.str("name"));
    if (steps_.str("kind") == "tokenizer")
      tokenizer_ = std::make_unique<text::Tokenizer>(arrays::inside(folder, steps_.str("file")), table, static_cast<size_t>(steps_.whole("max_length")));
  }

  bool takes_text() const { return tokenizer_ != nullptr; }
  bool takes_pairs() const { return takes_text() && steps_.find("pair") && steps_["pair"].truthy(); }
  const json::Value& manifest() const { return manifest_; }

  /** Return the answer for texts, or for the path of a file. */
  json::Value predict(const std::vector<std::string>& raw) const {
    decoding::Context context;
    std::map<std::string, ort::Tensor> feeds;
    const std::string& kind = steps_.str("kind");
    if (kind == "tokenizer") {
      if (raw.size() != (takes_pairs() ? 2u : 1u)) throw std::runtime_error("this model takes " + std::string(takes_pairs() ? "two texts" : "one text"));
      feeds = tokens(raw, context);
    } else if (kind == "image") {
      return predict_image(images::read(raw.at(0)));
    } else if (kind == "audio") {
      return predict_wav(arrays::file(raw.at(0)));
    } else {
      feeds = given(raw.at(0));
    }
    return finished(feeds, context);
  }

  /** Return the answer for an image in RGB. */
  json::Value predict_image(const images::Image& image) const {
    decoding::Context context;
    return finished({{input(), images::input(image, steps_, context.place)}}, context);
  }

  /** Return the answer for the bytes of a .wav. */
  json::Value predict_wav(const std::vector<unsigned char>& bytes) const {
    int rate = 0;
    const auto samples = audio::read_wav(bytes, rate);
    decoding::Context context;
    return finished({{input(), audio::input(samples, rate, steps_)}}, context);
  }

 private:
  std::string folder_;
  json::Value manifest_;
  const json::Value& steps_;
  ort::Session session_;
  std::vector<std::string> labels_, outputs_;
  std::unique_ptr<text::Tokenizer> tokenizer_;

  static json::Value parsed(const std::string& path) {
    const std::string content = arrays::text(path);
    json::Value manifest = json::Parser(content).parse();
    if (manifest.num("schema_version") != 2) throw std::runtime_error(path + ": another schema version than 2");
    return manifest;
  }
  json::Value finished(std::map<std::string, ort::Tensor> feeds, decoding::Context& context) const {
    context.labels = labels_;
    context.order = outputs_;
    for (auto& [name, tensor] : feeds) tensor.dtype = declared(name).str("dtype");
    return decoding::decode(manifest_["decoding"], run(feeds), context);
  }
  std::string input() const { return steps_["input"].is_null() ? manifest_.items("inputs").at(0).str("name") : steps_.str("input"); }
  const json::Value& declared(const std::string& name) const {
    for (const json::Value& tensor : manifest_.items("inputs")) if (tensor.str("name") == name) return tensor;
    throw std::runtime_error("the model has no input '" + name + "'");
  }

  std::map<std::string, ort::Tensor> tokens(const std::vector<std::string>& raw, decoding::Context& context) const {
    context.text = raw.back();
    context.tokens = tokenizer_->encode(raw);
    const auto& shape = declared(steps_.str("input_ids")).items("shape");
    size_t length = context.tokens.ids.size();
    if (!shape.empty() && shape.back().kind == json::Value::Kind::number) length = static_cast<size_t>(shape.back().number);
    std::map<std::string, ort::Tensor> feeds;
    const auto add = [&](const char* key, std::vector<double> values, double fill) {
      values.resize(length, fill);
      if (std::string(key) == "attention_mask") context.mask = values;
      if (steps_[key].is_null()) return;
      feeds[steps_.str(key)] = {"", {1, static_cast<int64_t>(length)}, std::move(values)};
    };
    add("input_ids", {context.tokens.ids.begin(), context.tokens.ids.end()}, steps_.num("padding"));
    add("attention_mask", std::vector<double>(context.tokens.ids.size(), 1), 0);
    add("token_type_ids", {context.tokens.types.begin(), context.tokens.types.end()}, 0);
    return feeds;
  }

  std::map<std::string, ort::Tensor> given(const std::string& path) const {
    const auto bytes = arrays::file(path);
    if (!bytes.empty() && bytes[0] == 0x93) return {{manifest_.items("inputs").at(0).str("name"), arrays::npy(bytes)}};
    auto found = arrays::npz(bytes);
    for (const json::Value& tensor : manifest_.items("inputs")) if (!found.count(tensor.str("name"))) throw std::runtime_error(path + ": has no array '" + tensor.str("name") + "'");
    return found;
  }

  ort::Tensor filled(const std::string& name, double value) const {
    ort::Tensor tensor;
    tensor.dtype = declared(name).str("dtype");
    size_t count = 1;
    for (const json::Value& axis : declared(name).items("shape")) {
      tensor.shape.push_back(axis.kind == json::Value::Kind::number ? static_cast<int64_t>(axis.number) : 1);
      count *= static_cast<size_t>(tensor.shape.back());
    }
    tensor.data.assign(count, value);
    return tensor;
  }

  /** Run the model: once, or for a streaming model chunk after chunk with the states of the chunk before. */
  decoding::Outputs run(std::map<std::string, ort::Tensor> feeds) const {
    if (const json::Value* constants = steps_.find("constants")) for (const auto& [name, value] : constants->object) feeds[name] = filled(name, value.number);
    const json::Value* chunk = steps_.find("chunk");
    if (!chunk || chunk->is_null()) return session_.run(feeds, outputs_);
    const size_t size = static_cast<size_t>(chunk->number), before = static_cast<size_t>(steps_.whole("context"));
    const ort::Tensor all = feeds[input()];
    std::vector<double> samples(before);
    samples.insert(samples.end(), all.data.begin(), all.data.end());
    samples.resize(before + (all.data.size() + size - 1) / size * size);
    for (const auto& link : steps_["states"].object) feeds[link.first] = filled(link.first, 0);
    decoding::Outputs joined;
    for (size_t start = 0; start + before < samples.size(); start += size) {
      ort::Tensor& part = feeds[input()];
      part.data.assign(samples.begin() + static_cast<long>(start), samples.begin() + static_cast<long>(start + before + size));
      part.shape.back() = static_cast<int64_t>(before + size);
      decoding::Outputs found = session_.run(feeds, outputs_);
      for (const auto& [state, source] : steps_["states"].object) feeds[state] = found.at(source.text);
      for (auto& [name, tensor] : found) {
        ort::Tensor& whole = joined[name];
        if (whole.shape.empty()) { whole = tensor; whole.shape.insert(whole.shape.begin() + 1, 1); continue; }
        whole.data.insert(whole.data.end(), tensor.data.begin(), tensor.data.end());
        ++whole.shape[1];
      }
    }
    return joined;
  }
};
