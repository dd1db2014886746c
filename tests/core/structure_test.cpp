// The shape of the tree: includes point downwards, files are short, foreign headers stay with their owners.
#include <fnmatch.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "tests/support/source_path.hpp"

namespace viaduct::test {
namespace {

namespace fs = std::filesystem;

// What each layer may include besides itself: prefixes of paths below src/.
const std::map<std::string, std::vector<std::string>> kSees{
    {"core/base", {}},
    {"core/tensor", {"core/base/"}},
    {"core/device", {"core/base/", "core/tensor/"}},
    {"core/ops", {"core/base/", "core/tensor/", "core/device/"}},
    {"core/nn", {"core/base/", "core/tensor/", "core/device/", "core/ops/"}},
    {"core/optim", {"core/base/", "core/tensor/", "core/device/", "core/ops/", "core/nn/"}},
    {"comm", {"core/"}},
    {"data", {"core/"}},
    {"models", {"core/", "data/batch.hpp"}},
    {"train", {"core/", "comm/", "data/", "models/"}},
    {"app", {"core/", "comm/", "data/", "models/", "train/"}},
};

constexpr const char* kBackend = "core/ops/cpu/";  // private to core/ops

// Headers of other libraries, and the files that may include them, as shell patterns.
struct Owner {
  std::vector<const char*> headers, files;
};
const std::vector<Owner> kOwners{
    {{"dnnl*"}, {"core/ops/cpu/onednn.*"}},
    {{"mpi.h"}, {"comm/mpi_*"}},
    {{"nccl.h"}, {"core/device/nccl*"}},
    {{"cuda*", "cublas*", "cudnn*"}, {"core/device/cuda/*", "core/ops/cuda/*"}},
    {{"hdf5*", "H5*"}, {"data/hdf5*"}},
    {{"jpeglib.h", "turbojpeg.h"}, {"data/decode*", "data/jpeg_encode*"}},
    {{"png.h", "webp/*"}, {"data/decode*"}},
    {{"pcre2.h"}, {"data/tokenizer*"}},
    {{"nlohmann/json.hpp"}, {"*.cpp"}},
};

bool matches(const std::string& text, const std::vector<const char*>& patterns) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const char* pattern) { return fnmatch(pattern, text.c_str(), 0) == 0; });
}

constexpr int64_t kMaxLines = 400;

std::string layer_of(const std::string& path) {  // below src/
  fs::path p(path);
  auto part = p.begin();
  std::string first = (part++)->string();
  return first == "core" ? first + "/" + part->string() : first;
}

// What is wrong with a file of src/: one line a fault, or nothing.
std::string faults_of_source(const std::string& path, const std::string& text) {
  std::string faults, line, layer = layer_of(path);
  auto sees = kSees.find(layer);
  if (sees == kSees.end()) return path + " lies in no known layer\n";
  std::istringstream lines(text);
  while (std::getline(lines, line)) {
    char bracket, name[256];
    if (std::sscanf(line.c_str(), " # include %c%255[^>\"]", &bracket, name) != 2) continue;
    std::string header = name;
    auto starts = [&](const std::string& prefix) { return header.rfind(prefix, 0) == 0; };
    if (bracket == '"' && !starts(layer + "/") && std::none_of(sees->second.begin(), sees->second.end(), starts))
      faults += path + " may not include \"" + header + "\"\n";
    if (starts(kBackend) && layer != "core/ops")
      faults += path + " may not look behind the ops at \"" + header + "\"\n";
    for (const Owner& owner : kOwners)
      if (bracket == '<' && matches(header, owner.headers) && !matches(path, owner.files))
        faults += path + " does not own <" + header + ">\n";
  }
  return faults;
}

std::string faults_of_length(const std::string& path, const std::string& text) {
  auto lines = std::count(text.begin(), text.end(), '\n');
  return lines > kMaxLines ? path + " has " + std::to_string(lines) + " lines, more than 400\n" : "";
}

template <class F>
void for_files(const std::string& folder, F f) {
  fs::path root = source_path("");
  ASSERT_TRUE(fs::exists(root / "src/core/base/check.hpp"))
      << "run the suite in the root of the source tree, or set VIADUCT_SOURCE";
  for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
    std::vector<const char*> code{"*.cpp", "*.hpp", "*.cu", "*.cuh", "*.py", "*.sh"};
    std::string path = fs::relative(entry.path(), root / folder).generic_string();
    if (!entry.is_regular_file() || !matches(path, code)) continue;
    std::ifstream file(entry.path());
    f(path, std::string(std::istreambuf_iterator<char>(file), {}));
  }
}

TEST(Structure, SourcesIncludeDownwardsAndOnlyWhatTheyOwn) {
  std::string faults;
  int files = 0;
  for_files("src",
            [&](const std::string& path, const std::string& text) { faults += faults_of_source(path, text), ++files; });
  EXPECT_GT(files, 50);
  EXPECT_EQ(faults, "");
}

TEST(Structure, FilesAreShort) {
  std::string faults;
  for (const char* folder : {"src", "tests", "launch"})
    for_files(folder,
              [&](const std::string& path, const std::string& text) { faults += faults_of_length(path, text); });
  EXPECT_EQ(faults, "");
}

TEST(Structure, FaultsAreFound) {
  EXPECT_NE(faults_of_source("core/base/x.hpp", "#include \"core/tensor/tensor.hpp\"\n"), "");
  EXPECT_NE(faults_of_source("core/ops/cpu/x.cpp", "\n#include \"core/nn/parameter.hpp\"\n"), "");
  EXPECT_NE(faults_of_source("models/x.cpp", "#include \"comm/communicator.hpp\"\n"), "");
  EXPECT_NE(faults_of_source("models/x.cpp", "#include \"data/loader.hpp\"\n"), "");
  EXPECT_NE(faults_of_source("data/x.cpp", "#include \"comm/communicator.hpp\"\n"), "");
  EXPECT_NE(faults_of_source("comm/x.cpp", "#include \"../data/batch.hpp\"\n"), "");
  EXPECT_NE(faults_of_source("app/x.cpp", "#include \"core/ops/cpu/onednn.hpp\"\n"), "");
  EXPECT_NE(faults_of_source("extra/x.cpp", ""), "");
  EXPECT_NE(faults_of_source("train/x.cpp", "#include <mpi.h>\n"), "");
  EXPECT_NE(faults_of_source("core/ops/x.cpp", "# include <cuda_runtime.h>\n"), "");
  EXPECT_NE(faults_of_source("core/base/x.hpp", "#include <nlohmann/json.hpp>\n"), "");
  EXPECT_EQ(faults_of_source("models/x.cpp", "#include \"data/batch.hpp\"\n#include \"core/nn/layer_norm.hpp\"\n"), "");
  EXPECT_EQ(faults_of_source("comm/mpi_comm.cpp", "#include <mpi.h>\n#include <vector>\n"), "");
  EXPECT_EQ(faults_of_length("x.cpp", std::string(400, '\n')), "");
  EXPECT_NE(faults_of_length("x.cpp", std::string(401, '\n')), "");
}

}  // namespace
}  // namespace viaduct::test
