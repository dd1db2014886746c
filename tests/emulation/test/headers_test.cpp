// The stand-in headers say what CUDA's say, checked where the toolkit is installed, and sources that are compiled for
// the emulated device include no header of CUDA's.
#include <cublasLt.h>
#include <nccl.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "bfloat16_digest.hpp"
#include "command.hpp"
#include "kernels.hpp"
#include "tests/support/source_path.hpp"
#include "tests/support/temp_folder.hpp"

namespace viaduct::test {
namespace {

namespace fs = std::filesystem;

const char* kHeaders[] = {"emulation/types.h", "emulation/api.h", "cublasLt.h", "nccl.h"};

std::string text_of(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}
std::string stand_in(const std::string& name) { return text_of(source_path("tests/emulation/include/" + name)); }

std::string compiler() {
  const char* cxx = std::getenv("CXX");
  return cxx ? cxx : "g++";
}
// The toolkit's headers, or nothing.
std::string cuda_include() {
  const char* home = std::getenv("CUDA_HOME");
  for (fs::path p : {fs::path(home ? home : "/usr/local/cuda") / "include", fs::path("/usr/include")})
    if (fs::exists(p / "cuda_runtime.h")) return p.string();
  return "";
}

// static_asserts of all `name = number` of the stand-ins' enumerations and #defines.
std::string assert_values(int* count) {
  std::string code;
  for (const char* header : kHeaders) {
    std::string text = stand_in(header);
    std::regex pattern(R"(\b((?:cuda|CUDA|CUBLAS|nccl|NCCL)\w*)(?: = |(?= \d+\n))\s*(\d+))");
    for (std::sregex_iterator m(text.begin(), text.end(), pattern), end; m != end; ++m, ++*count)
      code += "static_assert(int(" + (*m)[1].str() + ") == " + (*m)[2].str() + ");\n";
  }
  return code;
}

// The declarations of functions once more: with other parameters or results than CUDA's they do not compile.
std::string redeclare_functions(int* count) {
  std::string code;
  for (const char* header : kHeaders) {
    std::string text = stand_in(header);
    size_t begin = text.find("extern \"C\" {"), end = text.find("\n}\n", begin);
    if (begin == std::string::npos) continue;
    std::string block = std::regex_replace(text.substr(begin, end + 3 - begin), std::regex(" = (nullptr|0)"), "");
    *count += int(std::count(block.begin(), block.end(), ';'));
    code += block;
  }
  return code;
}

template <class T>
std::string assert_size(const char* name) {
  std::string n = name;
  return "static_assert(sizeof(" + n + ") == " + std::to_string(sizeof(T)) + " && alignof(" + n +
         ") == " + std::to_string(alignof(T)) + ");\n";
}
#define SIZE(T) assert_size<T>(#T)
std::string assert_sizes() {
  return SIZE(dim3) + SIZE(char4) + SIZE(uchar4) + SIZE(short4) + SIZE(ushort2) + SIZE(int2) + SIZE(int3) + SIZE(int4) +
         SIZE(uint2) + SIZE(uint3) + SIZE(uint4) + SIZE(longlong2) + SIZE(ulonglong2) + SIZE(float2) + SIZE(float3) +
         SIZE(float4) + SIZE(double2) + SIZE(__nv_bfloat16) + SIZE(__nv_bfloat162) + SIZE(cudaLaunchConfig_t) +
         SIZE(cublasLtMatmulAlgo_t) + SIZE(cublasLtMatmulHeuristicResult_t) + SIZE(ncclUniqueId);
}

TEST(Headers, SayWhatCudasSay) {
  std::string cuda = cuda_include();
  if (cuda.empty()) GTEST_SKIP() << "the CUDA toolkit is not installed, so that there is nothing to compare with";
  bool nccl = fs::exists(fs::path(cuda) / "nccl.h");
  int values = 0, functions = 0;
  std::string code = assert_values(&values) + redeclare_functions(&functions) + assert_sizes();
  EXPECT_GT(values, 120);
  EXPECT_GT(functions, 70);
  if (!nccl) code = std::regex_replace(code, std::regex("[^\n]*(nccl|NCCL)[^;]*;\n"), "");
  TempFolder folder;
  std::ofstream(folder.path() / "check.cpp")
      << "#include <cuda_runtime.h>\n#include <cuda_bf16.h>\n#include <cublasLt.h>\n"
      << (nccl ? "#include <nccl.h>\n" : "") << code;
  auto [status, said] =
      run(compiler() + " -std=c++20 -fsyntax-only -I" + cuda + " " + (folder.path() / "check.cpp").string());
  EXPECT_EQ(status, 0) << said.substr(0, 4000);
}

TEST(Headers, ConvertBfloat16AsCudas) {
  std::string cuda = cuda_include();
  if (cuda.empty()) GTEST_SKIP() << "the CUDA toolkit is not installed, so that there is nothing to compare with";
  TempFolder folder;
  std::ofstream(folder.path() / "digest.cpp")
      << "#include \"bfloat16_digest.hpp\"\n#include <cstdio>\n"
         "int main() { std::printf(\"%llu\", (unsigned long long)bfloat16_digest()); }\n";
  std::string program = (folder.path() / "digest").string();
  auto built = run(compiler() + " -std=c++20 -O2 -I" + cuda + " -I" + source_path("tests/emulation/test").string() +
                   " " + program + ".cpp -o " + program);
  ASSERT_EQ(built.code, 0) << built.output;
  EXPECT_EQ(run(program).output, std::to_string(bfloat16_digest()));
}

// All includes of the kernel files at once.
std::string includes_of_kernels() {
  std::set<std::string> lines;
  for (const auto& e : fs::recursive_directory_iterator(source_path("src"))) {
    if (e.path().extension() != ".cu") continue;
    std::istringstream text(text_of(e.path()));
    for (std::string line; std::getline(text, line);)
      if (line.rfind("#include", 0) == 0) lines.insert(line);
  }
  std::string code;
  for (const std::string& line : lines) code += line + "\n";
  return code;
}

TEST(Headers, EmulatedSourcesIncludeNoneOfCudas) {
  fs::path root = fs::canonical(source_path("")), stand_ins = root / "tests/emulation/include";
  TempFolder folder;
  std::ofstream(folder / "all.cpp") << includes_of_kernels() << "#include <cublasLt.h>\n#include <nccl.h>\n";
  auto [status, said] = run(compiler() + " -std=c++20 -M -MG -I" + stand_ins.string() + " -I" +
                            (root / "src").string() + " -I" + root.string() + " " + (folder / "all.cpp").string());
  ASSERT_EQ(status, 0) << said;
  std::istringstream words(said);
  int found = 0;
  for (std::string word; words >> word;) {
    std::string name = fs::path(word).filename().string();
    if (!std::regex_match(name, std::regex("(cuda|cublas|nccl|driver_types|vector_types).*\\.h"))) continue;
    EXPECT_EQ(fs::weakly_canonical(word).string().find(stand_ins.string()), 0u) << word << " is included";
    ++found;
  }
  EXPECT_EQ(found, 4) << said;  // cuda_runtime.h, cuda_bf16.h, cublasLt.h, nccl.h
}

}  // namespace
}  // namespace viaduct::test
