#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "core/base/check.hpp"
#include "models/safetensors.hpp"

namespace viaduct {
namespace {

constexpr size_t kMaxTensors = 100'000, kMaxName = 512, kMaxRank = 8;

// The header is { "name": { "dtype": "F32", "shape": [..], "data_offsets": [a, b] }, .., "__metadata__": { "key":
// "text" } } and nothing else, so the events of a streaming parser are checked against that as they come: no tree is
// built.
class HeaderEvents : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderEvents(std::string file) : file_(std::move(file)) {}
  SafetensorsHeader header;

  bool start_object(size_t) override {
    if (list_ || depth_ > 1 || (depth_ == 1 && key_.empty())) refuse("an object where none belongs");
    seen_.clear();
    return ++depth_;
  }
  bool end_object() override {
    if (--depth_ == 1 && !in_metadata_) {
      if (seen_.size() != 3) refuse(fmt::format("tensor '{}' lacks dtype, shape or data_offsets", key_));
      finish_tensor();
    }
    in_metadata_ = false;
    return true;
  }
  bool key(string_t& key) override {
    if (depth_ == 1) {
      check_name(key);
      if (!names_.insert(key).second) refuse(fmt::format("'{}' twice", key));
      in_metadata_ = key == "__metadata__";
      key_ = key;
      if (!in_metadata_) header.tensors.push_back({.name = key});
      if (names_.size() > kMaxTensors) refuse(fmt::format("more than {} tensors", kMaxTensors));
    } else {
      field_ = key;
      if (!seen_.insert(key).second) refuse(fmt::format("the key '{}' twice in '{}'", key, key_));
      if (!in_metadata_ && key != "dtype" && key != "shape" && key != "data_offsets")
        refuse(fmt::format("the unknown key '{}' in tensor '{}'", key, key_));
    }
    return true;
  }
  bool string(string_t& text) override {
    if (depth_ == 2 && in_metadata_)
      header.metadata[field_] = text;
    else if (depth_ == 2 && field_ == "dtype" && !list_)
      header.tensors.back().dtype = text;
    else
      refuse_value("a text");
    return true;
  }
  bool start_array(size_t) override {
    if (depth_ != 2 || in_metadata_ || list_ || field_ == "dtype") refuse_value("a list");
    return list_ = true;
  }
  bool end_array() override {
    list_ = false;
    if (field_ == "data_offsets" && offsets_.size() != 2)
      refuse(fmt::format("{} data_offsets in tensor '{}' instead of 2", offsets_.size(), key_));
    return true;
  }
  bool number_unsigned(number_unsigned_t n) override {
    if (!list_) refuse_value("a number");
    if (n > uint64_t(INT64_MAX)) refuse_value("a number above 2^63");
    auto& list = field_ == "shape" ? header.tensors.back().shape : offsets_;
    if (list.size() == kMaxRank) refuse_value(fmt::format("a list of more than {} numbers", kMaxRank));
    list.push_back(int64_t(n));
    return true;
  }
  bool null() override { refuse_value("null"); }
  bool boolean(bool) override { refuse_value("true or false"); }
  bool number_integer(number_integer_t n) override { refuse_value(fmt::format("the negative number {}", n)); }
  bool number_float(number_float_t, const string_t& text) override { refuse_value("the number " + text); }
  bool binary(binary_t&) override { refuse_value("binary data"); }
  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception&) override {
    refuse(fmt::format("what is not JSON at byte {}", position));
  }

  [[noreturn]] void refuse(const std::string& what) const {
    fail_input(fmt::format("{}: the safetensors header is damaged: found {}", file_, what));
  }

 private:
  [[noreturn]] void refuse_value(const std::string& what) const {
    if (depth_ == 0) refuse(what + " instead of an object");
    if (depth_ == 1) refuse(fmt::format("{} instead of an object for '{}'", what, key_));
    refuse(fmt::format("{} at '{}' of '{}'", what, field_, key_));
  }
  void check_name(const std::string& name) const {
    bool printable = std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < '\x7f'; });
    if (name.empty() || name.size() > kMaxName || !printable)
      refuse(fmt::format("a tensor name that is empty, longer than {} or not printable ASCII", kMaxName));
  }
  void finish_tensor() {
    SafetensorsEntry& t = header.tensors.back();
    t.begin = offsets_[0], t.end = offsets_[1];
    offsets_.clear();
    int64_t bytes = safetensors_size_of(t.dtype);
    if (!bytes) refuse(fmt::format("the unknown dtype '{}' of tensor '{}'", t.dtype.substr(0, 32), t.name));
    for (int64_t d : t.shape)
      if (__builtin_mul_overflow(bytes, d, &bytes))
        refuse(fmt::format("the impossible shape {} of tensor '{}'", to_string(t.shape), t.name));
    if (t.end < t.begin || t.end - t.begin != bytes)
      refuse(fmt::format("tensor '{}' ({} {}, {} bytes) at offsets {} to {}", t.name, t.dtype, to_string(t.shape),
                         bytes, t.begin, t.end));
  }

  std::string file_, key_, field_;
  std::set<std::string> names_, seen_;  // keys of the header, and of the object inside it
  std::vector<int64_t> offsets_;
  int depth_ = 0;
  bool in_metadata_ = false, list_ = false;
};

}  // namespace

int64_t safetensors_size_of(const std::string& dtype) {
  static const std::map<std::string, int64_t> sizes = {
      {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1}, {"I16", 2}, {"U16", 2}, {"F16", 2},
      {"BF16", 2}, {"I32", 4}, {"U32", 4}, {"F32", 4},     {"I64", 8},     {"U64", 8}, {"F64", 8}};
  auto found = sizes.find(dtype);
  return found == sizes.end() ? 0 : found->second;
}

SafetensorsHeader parse_safetensors_header(std::string_view json, int64_t data_bytes, const std::string& file) {
  HeaderEvents events(file);
  if (!json.starts_with('{')) events.refuse("no '{' at its start");
  if (json.find('\0') != json.npos) events.refuse("a NUL byte");  // where the parser would stop reading
  nlohmann::json::sax_parse(json, &events);
  auto& tensors = events.header.tensors;
  std::stable_sort(tensors.begin(), tensors.end(), [](auto& a, auto& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);  // an empty tensor before the one that begins there
  });
  int64_t at = 0;
  for (const SafetensorsEntry& t : tensors) {
    if (t.begin != at)
      events.refuse(fmt::format("tensor '{}' at offset {}, which {} the one before it (expected {})", t.name, t.begin,
                                t.begin < at ? "overlaps" : "leaves a gap after", at));
    at = t.end;
  }
  if (at != data_bytes)
    events.refuse(fmt::format("{} bytes of tensors in the header, {} in the file; was it cut short?", at, data_bytes));
  return std::move(events.header);
}

}  // namespace viaduct
