// Files that are not what they say: always an input error with a reason, never a crash and never a picture half grey.
#include <gtest/gtest.h>

#include <algorithm>

#include "core/base/check.hpp"
#include "data/decode.hpp"
#include "tests/data/image_tools.hpp"

namespace viaduct::test {
namespace {

using Bytes = std::vector<uint8_t>;

// The reason why these bytes are not decoded; empty where they are.
std::string reason(const Bytes& file) {
  try {
    decode_image(file);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Exit::input) << e.what();
    EXPECT_STRNE(e.what(), "");
    return e.what();
  }
  return "";
}

Bytes golden(const std::string& name) { return file_bytes(source_path("tests/golden/" + name)); }
Bytes text(std::string_view s) { return {s.begin(), s.end()}; }
bool contains(const std::string& s, const char* part) { return s.find(part) != s.npos; }

TEST(Hostile, WhatIsNotAnImageIsNamed) {
  EXPECT_EQ(reason({}), "is empty (0 bytes)");
  EXPECT_TRUE(contains(reason(text("Access denied\n")), "is a text file"));
  EXPECT_TRUE(contains(reason(text("GIF89a......")), "is a GIF file"));
  EXPECT_TRUE(contains(reason(text("BM......")), "is a BMP file"));
  EXPECT_TRUE(contains(reason(text("....ftypheic")), "is a HEIC file"));
  EXPECT_TRUE(contains(reason(text("version https://git-lfs.github.com/spec/v1\n")), "Git LFS pointer"));
  EXPECT_TRUE(contains(reason(Bytes(100, 0)), "unknown first bytes"));
  using namespace std::string_view_literals;
  for (std::string_view start : {"\xff\xd8\xff"sv, "\x89PNG\r\n\x1a\n"sv, "RIFF\4\0\0\0WEBP"sv})
    EXPECT_TRUE(contains(reason(text(start)), "damaged")) << start;
}

TEST(Hostile, SizesAreCheckedBeforeMemoryIsAskedFor) {
  EXPECT_TRUE(contains(reason(golden("hostile/jpeg_65500.jpg")), "65500 x 65500"));
  EXPECT_TRUE(contains(reason(golden("hostile/png_65500.png")), "65500 x 65500"));
  EXPECT_TRUE(contains(reason(golden("hostile/png_2_billion.png")), "2147483647 x 2147483647"));
}

TEST(Hostile, BombsStayWithinTheirLimits) {
  EXPECT_TRUE(contains(reason(golden("hostile/png_claims_100_megapixels.png")), "damaged PNG"));
  EXPECT_EQ(reason(golden("hostile/png_text_bomb.png")), "");  // the text is passed over, the picture is fine
  Bytes file = golden("images/jpeg_progressive.jpg");
  constexpr uint8_t start_of_scan[] = {0xff, 0xda};
  const auto scan = std::search(file.begin(), file.end(), std::begin(start_of_scan), std::end(start_of_scan));
  auto end = scan + 2;
  while (end[0] != 0xff || end[1] == 0) ++end;
  const Bytes first(scan, end);
  const auto at = end - file.begin();
  for (int i = 0; i < kMaxJpegScans; ++i) file.insert(file.begin() + at, first.begin(), first.end());
  EXPECT_TRUE(contains(reason(file), "more scans")) << reason(file);
}

TEST(Hostile, TruncatedFilesAreErrorsWhereverTheyEnd) {
  for (const char* name :
       {"jpeg_420.jpg", "jpeg_grey.jpg", "jpeg_progressive.jpg", "jpeg_restarts.jpg", "jpeg_cmyk.jpg", "png_rgb8.png",
        "png_rgb8_interlaced.png", "png_palette4.png", "webp_lossy.webp", "webp_lossless.webp", "webp_animated.webp"}) {
    const Bytes whole = golden(std::string("images/") + name);
    EXPECT_EQ(reason(whole), "") << name;
    for (size_t length = 1; length < whole.size(); length += 1 + whole.size() / 97)
      EXPECT_NE(reason(Bytes(whole.begin(), whole.begin() + ptrdiff_t(length))), "") << name << " cut to " << length;
    EXPECT_NE(reason(Bytes(whole.begin(), whole.end() - 3)), "") << name;
  }
}

TEST(Hostile, ACutJpegWithAnEndMarkerIsNotPaddedWithGrey) {
  for (const char* name : {"jpeg_420.jpg", "jpeg_grey.jpg"}) {
    Bytes file = golden(std::string("images/") + name);
    file.resize(file.size() * 3 / 4);
    file.insert(file.end(), {0xff, 0xd9});
    EXPECT_TRUE(contains(reason(file), "premature end")) << name;
  }
}

TEST(Hostile, DamagedMetadataIsIgnored) {
  Bytes file = golden("images/exif_6.jpg");
  const Image turned = decode_image(file);
  auto at = std::search(file.begin(), file.end(), std::begin("Exif"), std::end("Exif"));
  ASSERT_NE(at, file.end());
  for (int i = 0; i < 4; ++i) at[6 + 4 + i] = 0xff;  // the directory is said to be 4 GiB away
  const Image plain = decode_image(file);
  EXPECT_EQ(plain.height, turned.width);
  EXPECT_EQ(plain.width, turned.height);
}

// Checksums made right again, so that what lies behind them is reached.
void repair_png(Bytes& file) {
  for (size_t at = 8; at + 12 <= file.size();) {
    size_t length = size_t(file[at]) << 24 | size_t(file[at + 1]) << 16 | size_t(file[at + 2]) << 8 | file[at + 3];
    if (length > file.size() - at - 12) return;
    uint32_t crc = crc32({&file[at + 4], length + 4});
    for (size_t i = 0; i < 4; ++i) file[at + 8 + length + i] = uint8_t(crc >> (24 - 8 * i));
    at += 12 + length;
  }
}

TEST(Hostile, RandomDamageNeverCrashes) {
  RandomSequence draws(2026, Draw::init);
  int decoded = 0, refused = 0;
  for (const auto& entry : std::filesystem::directory_iterator(source_path("tests/golden/images"))) {
    const Bytes whole = file_bytes(entry.path());
    if (whole.size() > 8000) continue;
    for (int round = 0; round < 60; ++round) {
      Bytes file = whole;
      for (uint64_t changes = 1 + draws.below(6); changes > 0; --changes)
        file[draws.below(draws.below(2) ? file.size() : std::min<size_t>(file.size(), 200))] = uint8_t(draws.bits());
      if (draws.below(4) == 0) file.resize(1 + draws.below(file.size()));
      if (draws.below(2)) repair_png(file);
      ++(reason(file).empty() ? decoded : refused);
    }
  }
  EXPECT_GT(decoded, 200);  // both ends of the decoders were reached
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace viaduct::test
