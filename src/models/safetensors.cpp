#include "models/safetensors.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>

#include "core/base/check.hpp"
#include "core/tensor/bf16.hpp"

namespace viaduct {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");
constexpr int64_t kMaxHeader = 100'000'000;  // as the reference implementation

float from_half(uint16_t h) {
  uint32_t sign = uint32_t(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 0x3ff;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | fraction << 13);
  if (exponent) return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
  float tiny = float(fraction) * 0x1p-24f;  // subnormal or zero
  return sign ? -tiny : tiny;
}

template <class T, class Convert>
void read_converted(const FileReader& file, int64_t offset, int64_t numel, float* out, Convert convert) {
  std::vector<T> chunk(size_t(std::min<int64_t>(numel, 1 << 18)));
  for (int64_t done = 0; done < numel;) {
    int64_t n = std::min<int64_t>(int64_t(chunk.size()), numel - done);
    file.read(offset + done * int64_t(sizeof(T)), chunk.data(), n * int64_t(sizeof(T)));
    for (int64_t i = 0; i < n; ++i) out[done + i] = convert(chunk[size_t(i)]);
    done += n;
  }
}

int64_t read_header_length(const FileReader& file) {
  if (file.size() < 8)
    fail_input(fmt::format("{}: expected a safetensors file, found {} bytes", file.path().string(), file.size()));
  uint64_t length = 0;
  file.read(0, &length, 8);
  int64_t limit = std::min(kMaxHeader, file.size() - 8);
  if (length < 2 || length > uint64_t(limit))
    fail_input(
        fmt::format("{}: expected a safetensors header of 2 to {} bytes, found a length of {}; the file is damaged "
                    "or no safetensors file",
                    file.path().string(), limit, length));
  return int64_t(length);
}

}  // namespace

int64_t SafetensorsEntry::numel() const {
  int64_t n = 1;
  for (int64_t d : shape) n *= d;  // cannot overflow: checked against the bytes when the header was parsed
  return n;
}

std::string to_string(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += fmt::format("{}{}", i ? ", " : "", shape[i]);
  return text + "]";
}

SafetensorsFile::SafetensorsFile(const Path& path) : file_(path) {
  int64_t length = read_header_length(file_);
  data_begin_ = 8 + length;
  std::string json(size_t(length), '\0');
  file_.read(8, json.data(), length);
  header_ = parse_safetensors_header(json, file_.size() - data_begin_, path.string());
  for (size_t i = 0; i < header_.tensors.size(); ++i) index_[header_.tensors[i].name] = i;
}

const SafetensorsEntry* SafetensorsFile::find(const std::string& name) const {
  auto found = index_.find(name);
  return found == index_.end() ? nullptr : &header_.tensors[found->second];
}

const SafetensorsEntry& SafetensorsFile::get(const std::string& name) const {
  if (const SafetensorsEntry* entry = find(name)) return *entry;
  fail_input(fmt::format("{}: expected a tensor '{}', found none of that name", path().string(), name));
}

void SafetensorsFile::read_bytes(const SafetensorsEntry& t, void* out) const {
  file_.read(data_begin_ + t.begin, out, t.end - t.begin);
}

void SafetensorsFile::read(const SafetensorsEntry& t, Range elements, float* out) const {
  expect(Range{0, t.numel()}.contains(elements), "a read stays inside its tensor");
  int64_t n = elements.size(), offset = data_begin_ + t.begin + elements.begin * safetensors_size_of(t.dtype);
  if (t.dtype == "F32") return file_.read(offset, out, n * 4);
  if (t.dtype == "F64") return read_converted<double>(file_, offset, n, out, [](double x) { return float(x); });
  if (t.dtype == "F16") return read_converted<uint16_t>(file_, offset, n, out, from_half);
  if (t.dtype == "BF16") return read_converted<bf16>(file_, offset, n, out, [](bf16 x) { return float(x); });
  fail_input(
      fmt::format("{}: tensor '{}': expected F32, BF16, F16 or F64, found {}", path().string(), t.name, t.dtype));
}

FileDigest write_safetensors(const Path& path, const std::vector<SafetensorsItem>& items) {
  nlohmann::ordered_json header;
  header["__metadata__"]["format"] = "pt";  // transformers refuses other values
  int64_t at = 0;
  std::vector<int64_t> sizes;
  for (const SafetensorsItem& item : items) {
    int64_t bytes = safetensors_size_of(item.dtype);
    for (int64_t d : item.shape) bytes *= d;
    sizes.push_back(bytes);
    expect(!header.contains(item.name), "the tensors of a file have names of their own");
    header[item.name] = {{"dtype", item.dtype}, {"shape", item.shape}, {"data_offsets", {at, at + bytes}}};
    at += bytes;
  }
  std::string json = header.dump();
  json.resize((json.size() + 7) / 8 * 8, ' ');  // the tensors begin on a multiple of 8
  uint64_t length = json.size();
  FileWriter file(path);
  file.append(&length, 8);
  file.append(json);
  for (size_t i = 0; i < items.size(); ++i) file.append(items[i].fetch ? items[i].fetch() : items[i].data, sizes[i]);
  return file.finish();
}

}  // namespace viaduct
