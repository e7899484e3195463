// The part of onnxruntime's C API that this program calls. The API is a table of functions that only grows: the places below are
// those of its first version, which onnxruntime promises never to change, so that no header of onnxruntime is needed. Its own
// headers, if you want all of it: the release archives of onnxruntime, or Debian 13's package libonnxruntime-dev.
#pragma once

#include <dlfcn.h>

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace ort {

/** A tensor in memory: numbers as double (integers and floats alike), with the type that the model wants. */
struct Tensor {
  std::string dtype;
  std::vector<int64_t> shape;
  std::vector<double> data;
  int64_t rows() const { return shape.empty() ? 1 : shape[0]; }
};

class Session {
 public:
  Session(const std::string& library, const std::string& model, int threads) {
    void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle) throw std::runtime_error("onnxruntime cannot be loaded: " + std::string(dlerror()));
    struct Base { const void* (*api)(uint32_t); const char* (*version)(); };
    const auto get = reinterpret_cast<const Base* (*)()>(dlsym(handle, "OrtGetApiBase"));
    if (!get) throw std::runtime_error(library + ": not onnxruntime");
    table_ = static_cast<void* const*>(get()->api(1));
    if (!table_) throw std::runtime_error(library + ": has no API of version 1");
    check(call<void*, int, const char*, void**>(3, 3, "app", &env_));            // CreateEnv, errors only
    check(call<void*, void**>(10, &options_));                                    // CreateSessionOptions
    check(call<void*, void*, int>(22, options_, 3));                              // SetSessionLogSeverityLevel
    check(call<void*, void*, int>(24, options_, threads));                        // SetIntraOpNumThreads
    check(call<void*, void*, const char*, const void*, void**>(7, env_, model.c_str(), options_, &session_));  // CreateSession
    check(call<void*, int, int, void**>(69, 1, 0, &memory_));                     // CreateCpuMemoryInfo(arena, default)
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session() {
    if (memory_) call<void, void*>(94, memory_);
    if (session_) call<void, void*>(95, session_);
    if (options_) call<void, void*>(100, options_);
    if (env_) call<void, void*>(92, env_);
  }

  std::map<std::string, Tensor> run(const std::map<std::string, Tensor>& feeds, const std::vector<std::string>& outputs) const {
    std::vector<std::vector<char>> bytes(feeds.size());
    std::vector<void*> values, results(outputs.size(), nullptr);
    std::vector<const char*> names, wanted;
    size_t place = 0;
    for (const auto& [name, tensor] : feeds) {
      std::vector<char>& raw = bytes[place++];
      const int type = pack(tensor, raw);
      void* value = nullptr;
      check(call<void*, const void*, void*, size_t, const int64_t*, size_t, int, void**>(
          49, memory_, raw.data(), raw.size(), tensor.shape.data(), tensor.shape.size(), type, &value));  // CreateTensorWithDataAsOrtValue
      values.push_back(value);
      names.push_back(name.c_str());
    }
    for (const auto& output : outputs) wanted.push_back(output.c_str());
    void* status = call<void*, void*, const void*, const char* const*, void* const*, size_t, const char* const*, size_t, void**>(
        9, session_, nullptr, names.data(), values.data(), values.size(), wanted.data(), wanted.size(), results.data());  // Run
    for (void* value : values) call<void, void*>(96, value);
    check(status);
    std::map<std::string, Tensor> found;
    for (size_t k = 0; k < outputs.size(); ++k) {
      found[outputs[k]] = unpack(results[k]);
      call<void, void*>(96, results[k]);  // ReleaseValue
    }
    return found;
  }

 private:
  void* const* table_ = nullptr;
  void *env_ = nullptr, *options_ = nullptr, *session_ = nullptr, *memory_ = nullptr;

  template <class R, class... A>
  R call(int place, A... arguments) const {
    return reinterpret_cast<R (*)(A...)>(table_[place])(arguments...);
  }
  void check(void* status) const {
    if (!status) return;
    const std::string message = call<const char*, const void*>(2, status);
    call<void, void*>(93, status);
    throw std::runtime_error("onnxruntime: " + message);
  }
  template <class T>
  static void fill(const Tensor& tensor, std::vector<char>& raw) {
    raw.resize(tensor.data.size() * sizeof(T));
    T* to = reinterpret_cast<T*>(raw.data());
    for (size_t k = 0; k < tensor.data.size(); ++k) to[k] = static_cast<T>(tensor.data[k]);
  }
  static int pack(const Tensor& tensor, std::vector<char>& raw) {
    if (tensor.dtype == "float32") { fill<float>(tensor, raw); return 1; }
    if (tensor.dtype == "uint8") { fill<uint8_t>(tensor, raw); return 2; }
    if (tensor.dtype == "int8") { fill<int8_t>(tensor, raw); return 3; }
    if (tensor.dtype == "int32") { fill<int32_t>(tensor, raw); return 6; }
    if (tensor.dtype == "int64") { fill<int64_t>(tensor, raw); return 7; }
    if (tensor.dtype == "bool") { fill<uint8_t>(tensor, raw); return 9; }
    if (tensor.dtype == "float64") { fill<double>(tensor, raw); return 11; }
    throw std::runtime_error("inputs of type " + tensor.dtype + " are not made here");
  }
  template <class T>
  static void read(const void* from, size_t count, Tensor& tensor) {
    const T* values = static_cast<const T*>(from);
    tensor.data.assign(values, values + count);
  }
  Tensor unpack(void* value) const {
    void* info = nullptr;
    check(call<void*, const void*, void**>(65, value, &info));  // GetTensorTypeAndShape
    int type = 0;
    size_t axes = 0, count = 0;
    check(call<void*, const void*, int*>(60, info, &type));      // GetTensorElementType
    check(call<void*, const void*, size_t*>(61, info, &axes));   // GetDimensionsCount
    Tensor tensor;
    tensor.shape.resize(axes);
    check(call<void*, const void*, int64_t*, size_t>(62, info, tensor.shape.data(), axes));  // GetDimensions
    check(call<void*, const void*, size_t*>(64, info, &count));  // GetTensorShapeElementCount
    call<void, void*>(99, info);
    void* data = nullptr;
    check(call<void*, void*, void**>(51, value, &data));         // GetTensorMutableData
    switch (type) {
      case 1: tensor.dtype = "float32"; read<float>(data, count, tensor); break;
      case 2: tensor.dtype = "uint8"; read<uint8_t>(data, count, tensor); break;
      case 3: tensor.dtype = "int8"; read<int8_t>(data, count, tensor); break;
      case 6: tensor.dtype = "int32"; read<int32_t>(data, count, tensor); break;
      case 7: tensor.dtype = "int64"; read<int64_t>(data, count, tensor); break;
      case 9: tensor.dtype = "bool"; read<uint8_t>(data, count, tensor); break;
      case 11: tensor.dtype = "float64"; read<double>(data, count, tensor); break;
      default: throw std::runtime_error("outputs of type " + std::to_string(type) + " are not read here");
    }
    return tensor;
  }
};

}  // namespace ort
