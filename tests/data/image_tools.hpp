// Small things that the tests of images share.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "core/base/check.hpp"
#include "core/base/philox.hpp"
#include "data/image.hpp"
#include "data/jpeg_encode.hpp"
#include "tests/support/source_path.hpp"
#include "tests/support/temp_folder.hpp"

namespace viaduct::test {

inline uint32_t crc32(std::span<const uint8_t> bytes) {
  uint32_t crc = ~0u;
  for (uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
  }
  return ~crc;
}

// Where real photographs are: VIADUCT_DATA. Empty: nowhere.
inline std::filesystem::path photo_folder() {
  const char* folder = std::getenv("VIADUCT_DATA");
  return folder ? folder : "";
}

inline std::vector<uint8_t> file_bytes(const std::filesystem::path& path) {
  std::string text = read_bytes(path);
  return {text.begin(), text.end()};
}

inline void write_file(const std::filesystem::path& path, std::span<const uint8_t> bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), std::streamsize(bytes.size()));
}

// A picture that differs from those of other seeds.
inline Image test_image(int height, int width, uint64_t seed) {
  Image image(height, width);
  RandomSequence draws(seed, Draw::scene);
  int base[3] = {int(draws.below(200)), int(draws.below(200)), int(draws.below(200))};
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int c = 0; c < 3; ++c)
        image.row(y)[3 * x + c] = uint8_t(base[c] + (x * (c + 1) + y * 2) % 40 + int(draws.below(8)));
  return image;
}

// folder/<class>/<n>.jpg for n in [0, count), classes taking turns: "a", "b", ...
inline void write_class_folders(const std::filesystem::path& folder, int count, int classes = 3) {
  for (int i = 0; i < count; ++i) {
    std::string class_name(1, char('a' + i % classes)), name = fmt::format("{:03}.jpg", i);
    write_file(folder / class_name / name, encode_jpeg(test_image(20 + i % 7, 24 + i % 5, uint64_t(i)), 90));
  }
}

}  // namespace viaduct::test
