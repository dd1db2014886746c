// safetensors: 8 bytes little-endian length, a JSON header, the tensors. Nothing that the header says is trusted: a
// file that opens has tensors that lie one after the other, without gaps, up to its end. Reads are by pread, never
// mapped.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/files.hpp"
#include "core/base/range.hpp"

namespace viaduct {

struct SafetensorsEntry {
  std::string name, dtype;  // dtype as the file spells it: "F32", "BF16", ...
  std::vector<int64_t> shape;
  int64_t begin = 0, end = 0;  // bytes, from the start of the tensors
  int64_t numel() const;
};
std::string to_string(const std::vector<int64_t>& shape);  // "[3, 768]"

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> tensors;  // in the order of their bytes
  std::map<std::string, std::string> metadata;
};
// `file` is for messages; `data_bytes` is what follows the header.
SafetensorsHeader parse_safetensors_header(std::string_view json, int64_t data_bytes, const std::string& file);

class SafetensorsFile {
 public:
  explicit SafetensorsFile(const Path&);

  const Path& path() const { return file_.path(); }
  const std::vector<SafetensorsEntry>& tensors() const { return header_.tensors; }
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }
  const SafetensorsEntry* find(const std::string& name) const;  // null: not there
  const SafetensorsEntry& get(const std::string& name) const;   // or an error that names file and tensor

  // Values as fp32, all or a range of them; F64, F16 and BF16 are converted, other types are an error.
  void read(const SafetensorsEntry& t, float* out) const { read(t, {0, t.numel()}, out); }
  void read(const SafetensorsEntry&, Range elements, float* out) const;
  void read_bytes(const SafetensorsEntry&, void* out) const;  // as they are in the file

 private:
  FileReader file_;
  int64_t data_begin_ = 0;
  SafetensorsHeader header_;
  std::map<std::string, size_t> index_;
};

// One tensor to write: `data` holds the values in the dtype named, in row-major order, or `fetch` gives them, called
// once, in the order of the items, when it is their turn.
struct SafetensorsItem {
  std::string name, dtype;
  std::vector<int64_t> shape;
  const void* data = nullptr;
  std::function<const void*()> fetch = {};
};
// A new file, on the disk when this returns; what transformers accepts.
FileDigest write_safetensors(const Path&, const std::vector<SafetensorsItem>&);

int64_t safetensors_size_of(const std::string& dtype);  // bytes of one element; 0: not a type that safetensors knows

}  // namespace viaduct
