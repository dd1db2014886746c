// What the reader accepts, and the hostile files that it must refuse with a message that names the file.
#include "models/safetensors.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cmath>
#include <cstring>
#include <functional>

#include "core/base/check.hpp"
#include "core/base/philox.hpp"
#include "core/tensor/bf16.hpp"
#include "tests/support/temp_folder.hpp"

namespace viaduct {
namespace {

using test::TempFolder;
using test::write_bytes;

std::string file_of(const std::string& header, const std::string& data, uint64_t length) {
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + data;
}
std::string file_of(const std::string& header, const std::string& data = "") {
  return file_of(header, data, header.size());
}
std::string tensor(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return fmt::format(R"({{"dtype":"{}","shape":{},"data_offsets":{}}})", dtype, shape, offsets);
}

// The message of the error that opening these bytes and reading every tensor gives; empty when there is none.
std::string refusal(const std::string& bytes) {
  TempFolder folder;
  Path path = folder / "model.safetensors";
  write_bytes(path, bytes);
  try {
    SafetensorsFile file(path);
    for (const SafetensorsEntry& t : file.tensors()) {
      std::vector<char> out(size_t(t.end - t.begin));
      file.read_bytes(t, out.data());
    }
    return "";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Exit::input);
    EXPECT_NE(std::string(e.what()).find("model.safetensors: "), std::string::npos) << e.what();
    return e.what();
  }
}

struct Hostile {
  const char* name;
  std::string bytes;
  const char* message;  // part of it
};

std::vector<Hostile> hostile_files() {
  std::string f4 = tensor("F32", "[1]", "[0,4]"), four(4, '\0'), eight(8, '\0');
  auto one = [](const std::string& t) { return R"({"a":)" + t + "}"; };
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += R"({"dtype":)";
  return {
      {"empty file", "", "found 0 bytes"},
      {"shorter than a length", "abc", "found 3 bytes"},
      {"length beyond the file", file_of("{}", "", 1000), "a length of 1000"},
      {"length of 2^64 - 1", file_of("{}", "", ~0ull), "a length of 18446744073709551615"},
      {"length of 2^63", file_of("{}", "", 1ull << 63), "a length of 9223372036854775808"},
      {"length 0", file_of("", "", 0), "a length of 0"},
      {"a text file", "this is not a model at all, but text", "a length of"},
      {"a list", file_of("[1]"), "no '{'"},
      {"blanks before the object", file_of("  {}"), "no '{'"},
      {"not JSON", file_of(R"({"a":)"), "not JSON"},
      {"something after the object", file_of("{} x"), "not JSON"},
      {"a NUL in the header", file_of(std::string("{}\0", 3)), "a NUL byte"},
      {"invalid UTF-8", file_of("{\"\xff\":1}"), "not JSON"},
      {"100,000 levels deep", file_of(deep), "object where none belongs"},
      {"100,000 lists deep", file_of(one(tensor("F32", std::string(100'000, '['), ""))), "a list"},
      {"a tensor that is a number", file_of(one("1")), "a number instead of an object"},
      {"a tensor that is null", file_of(one("null")), "null instead of an object"},
      {"a key missing", file_of(one(R"({"dtype":"F32","shape":[1]})"), four), "lacks dtype, shape or data_offsets"},
      {"a key unknown", file_of(one(R"({"dtype":"F32","shape":[1],"offsets":[0,4]})"), four), "unknown key 'offsets'"},
      {"a key twice", file_of(one(R"({"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]})"), four), "twice"},
      {"a tensor twice", file_of(R"({"a":)" + f4 + R"(,"a":)" + tensor("F32", "[1]", "[4,8]") + "}", eight),
       "'a' twice"},
      {"an unknown dtype", file_of(one(tensor("F31", "[1]", "[0,4]")), four), "unknown dtype 'F31'"},
      {"dtype a number", file_of(one(R"({"dtype":5,"shape":[1],"data_offsets":[0,4]})"), four), "a number at 'dtype'"},
      {"shape a text", file_of(one(R"({"dtype":"F32","shape":"1","data_offsets":[0,4]})"), four), "a text at 'shape'"},
      {"a negative dimension", file_of(one(tensor("F32", "[-1]", "[0,4]")), four), "negative number -1"},
      {"a fractional dimension", file_of(one(tensor("F32", "[1.0]", "[0,4]")), four), "the number 1.0"},
      {"a dimension above 2^63", file_of(one(tensor("F32", "[9223372036854775808]", "[0,4]")), four), "above 2^63"},
      {"a dimension above 2^64", file_of(one(tensor("F32", "[99999999999999999999]", "[0,4]")), four), "the number"},
      {"dimensions that overflow", file_of(one(tensor("F32", "[4294967296,4294967296]", "[0,0]"))), "impossible shape"},
      {"overflow to the right size", file_of(one(tensor("F32", "[4611686018427387905]", "[0,4]")), four), "impossible"},
      {"a list of lists", file_of(one(tensor("F32", "[[1]]", "[0,4]")), four), "a list"},
      {"nine dimensions", file_of(one(tensor("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]")), four), "more than 8"},
      {"one offset", file_of(one(tensor("F32", "[1]", "[0]")), four), "1 data_offsets"},
      {"offsets reversed", file_of(one(tensor("F32", "[1]", "[4,0]")), four), "at offsets 4 to 0"},
      {"offsets and shape disagree", file_of(one(tensor("F32", "[2]", "[0,4]")), four), "at offsets 0 to 4"},
      {"offsets beyond the file", file_of(one(tensor("F32", "[2]", "[0,8]")), four),
       "8 bytes of tensors in the header, 4 in the file"},
      {"bytes after the last tensor", file_of(one(f4), eight), "8 in the file"},
      {"a gap", file_of(one(tensor("F32", "[1]", "[4,8]")), eight), "leaves a gap"},
      {"an overlap", file_of(R"({"a":)" + f4 + R"(,"b":)" + f4 + "}", four), "overlaps"},
      {"metadata that is no object", file_of(R"({"__metadata__":1})"), "a number"},
      {"metadata of numbers", file_of(R"({"__metadata__":{"format":1}})"), "a number at 'format'"},
      {"metadata of objects", file_of(R"({"__metadata__":{"a":{"b":"c"}}})"), "an object where none belongs"},
      {"a name with control characters", file_of(R"({"a\u0000b":)" + f4 + "}", four), "a tensor name"},
      {"a name too long", file_of("{\"" + std::string(513, 'n') + "\":" + f4 + "}", four), "a tensor name"},
      {"no name", file_of(R"({"":)" + f4 + "}", four), "a tensor name"},
  };
}

TEST(Safetensors, HostileFilesAreRefusedByName) {
  auto files = hostile_files();
  EXPECT_GE(files.size(), 30u);
  for (const Hostile& h : files) {
    std::string message = refusal(h.bytes);
    EXPECT_NE(message.find(h.message), std::string::npos) << h.name << ": '" << message << "'";
    EXPECT_LT(message.size(), 1000u) << h.name;
  }
}

TEST(Safetensors, WhatIsNoRegularFileIsRefused) {
  TempFolder folder;
  EXPECT_THROW(SafetensorsFile(folder / "absent"), Error);
  EXPECT_THROW(SafetensorsFile(folder.path()), Error);
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_THROW(SafetensorsFile(folder / "pipe"), Error);  // and does not wait for a writer
}

TEST(Safetensors, AcceptsWhatTheFormatAllows) {
  std::string header = R"({"b":{"data_offsets":[4,8],"dtype":"F32","shape":[]},"empty":{"dtype":"I64","shape":[0,3],)"
                       R"("data_offsets":[4,4]},"a":{"dtype":"U8","shape":[2,2],"data_offsets":[0,4]},)"
                       R"("__metadata__":{"format":"pt","dtype":"x"}}  )";
  EXPECT_EQ(refusal(file_of(header, std::string(8, '\1'))), "");
  EXPECT_EQ(refusal(file_of("{}")), "");
  SafetensorsHeader parsed = parse_safetensors_header(header, 8, "memory");
  ASSERT_EQ(parsed.tensors.size(), 3u);
  EXPECT_EQ(parsed.tensors[0].name, "a");  // in the order of their bytes
  EXPECT_EQ(parsed.tensors[1].name, "empty");
  EXPECT_EQ(parsed.tensors[2].numel(), 1);
  EXPECT_EQ(parsed.metadata.at("dtype"), "x");
}

// Any change of any byte gives a file that is either refused or entirely inside its own bounds.
TEST(Safetensors, MutatedFilesAreRefusedOrWithinBounds) {
  std::string good = file_of(R"({"__metadata__":{"format":"pt"},"w.a":)" + tensor("F32", "[2,3]", "[0,24]") +
                                 R"(,"w.b":)" + tensor("BF16", "[4]", "[24,32]") + "}",
                             std::string(32, '\x3f'));
  ASSERT_EQ(refusal(good), "");
  RandomSequence random(1, Draw::scene);
  int refused = 0;
  constexpr int kTries = 3000;
  const std::string alphabet = "0123456789-,:\"{}[]eE.null\\u\xff";
  for (int i = 0; i < kTries; ++i) {
    std::string bytes = good;
    for (uint64_t edits = 1 + random.below(3); edits > 0; --edits) {
      size_t at = random.below(bytes.size());
      switch (random.below(4)) {
        case 0:
          bytes[at] = char(random.bits());
          break;
        case 1:
          bytes[at] = alphabet[random.below(alphabet.size())];
          break;
        case 2:
          bytes.insert(at, 1, alphabet[random.below(alphabet.size())]);
          break;
        case 3:
          bytes.erase(at, 1 + random.below(3));
          break;
      }
      if (bytes.empty()) bytes = "x";
    }
    refused += !refusal(bytes).empty();
  }
  EXPECT_GT(refused, kTries / 2);
  EXPECT_LT(refused, kTries);  // changes of values and names alone are not noticed here
}

TEST(Safetensors, EveryFloatTypeIsReadAsFloat32) {
  const std::vector<uint16_t> halves = {0x0000, 0x8000, 0x3c00, 0xc000, 0x7bff, 0x0400, 0x0001, 0x83ff, 0x7c00};
  const std::vector<float> half_values = {
      0, -0.0f, 1, -2, 65504, 0x1p-14f, 0x1p-24f, -1023 * 0x1p-24f, float(INFINITY)};
  const std::vector<double> doubles = {1.0 / 3, -1e300, 0.1};
  const std::vector<bf16> brains = {bf16(1.5f), bf16(-3e38f)};
  const std::vector<float> singles = {0.1f, -7};
  const std::vector<int64_t> integers = {1};
  TempFolder folder;
  Path path = folder / "types.safetensors";
  write_safetensors(path, {{"half", "F16", {9}, halves.data()},
                           {"double", "F64", {3}, doubles.data()},
                           {"brain", "BF16", {2}, brains.data()},
                           {"single", "F32", {2, 1}, singles.data()},
                           {"integer", "I64", {1}, integers.data()}});
  SafetensorsFile file(path);
  EXPECT_EQ(file.metadata().at("format"), "pt");
  auto read = [&](const char* name) {
    std::vector<float> out(size_t(file.get(name).numel()));
    file.read(file.get(name), out.data());
    return out;
  };
  EXPECT_EQ(read("half"), half_values);
  EXPECT_TRUE(std::signbit(read("half")[1]));
  EXPECT_EQ(read("double"), (std::vector<float>{1.0f / 3, -float(INFINITY), 0.1f}));
  EXPECT_EQ(read("brain"), (std::vector<float>{1.5f, float(brains[1])}));
  EXPECT_EQ(read("single"), singles);
  EXPECT_THROW(read("integer"), Error);
  EXPECT_THROW(file.get("absent"), Error);
  std::vector<float> part(2);
  file.read(file.get("half"), {3, 5}, part.data());
  EXPECT_EQ(part, (std::vector<float>{-2, 65504}));
}

TEST(Safetensors, AFileCutWhileItIsOpenIsAnError) {
  TempFolder folder;
  std::vector<float> values(1000, 1.0f);
  write_safetensors(folder / "f", {{"a", "F32", {1000}, values.data()}});
  SafetensorsFile file(folder / "f");
  std::filesystem::resize_file(folder / "f", 2000);
  EXPECT_THROW(file.read(file.get("a"), values.data()), Error);
}

}  // namespace
}  // namespace viaduct
