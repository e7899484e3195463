// @@NAME@@: @@TASK@@. app [--bundle FOLDER] [--library FILE] [--table FILE] [--threads N] [--golden] INPUT…
// An input is a file, or a text where the model takes texts (two, where it takes pairs). Answers are printed as JSON, one per line.

#include <unistd.h>

#include <cstdio>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "bundle.hpp"
#include "golden.hpp"
#include "json.hpp"

namespace {

std::string beside(const char* name) {
  char path[4096];
  const ssize_t size = readlink("/proc/self/exe", path, sizeof path);
  const std::string self(path, size > 0 ? static_cast<size_t>(size) : 0);
  return self.substr(0, self.rfind('/') + 1) + name;
}

}  // namespace

int main(int count, char** values) {
  std::string folder = beside("../bundle"), library = beside("../lib/libonnxruntime.so"), table = beside("../unicode.txt");
  std::vector<std::string> inputs;
  bool check = false;
  int threads = 0;
  for (int k = 1; k < count; ++k) {
    const std::string word = values[k];
    if (word == "--golden") check = true;
    else if (word == "--bundle" && k + 1 < count) folder = values[++k];
    else if (word == "--library" && k + 1 < count) library = values[++k];
    else if (word == "--table" && k + 1 < count) table = values[++k];
    else if (word == "--threads" && k + 1 < count) threads = std::atoi(values[++k]);
    else inputs.push_back(word);
  }
  try {
    const Bundle bundle(folder, library, table, threads);
    if (check) {
      const auto [lines, failed] = golden::report(bundle, folder);
      std::cout << lines;
      return failed;
    }
    if (inputs.empty()) {
      std::cerr << "usage: app [--bundle FOLDER] [--library FILE] [--threads N] [--golden] INPUT...\n";
      return 2;
    }
    int status = 0;
    const size_t step = bundle.takes_pairs() ? 2 : 1;
    for (size_t k = 0; k < inputs.size(); k += step) {
      try {
        std::string line;
        json::write(line, bundle.predict({inputs.begin() + static_cast<long>(k), inputs.begin() + static_cast<long>(std::min(k + step, inputs.size()))}));
        std::cout << line << "\n";
      } catch (const std::exception& error) {
        std::cerr << inputs[k] << ": " << error.what() << "\n";
        status = 1;
      }
    }
    return status;
  } catch (const std::exception& error) {
    std::cerr << "app: " << error.what() << "\n";
    return 2;
  }
}
