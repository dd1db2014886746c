#include "core/base/json.hpp"

#include <nlohmann/json.hpp>

#include "core/base/check.hpp"

namespace viaduct {
namespace {

constexpr int kMaxDepth = 32;

template <class T>
constexpr const char* kind = "a text";
template <>
constexpr const char* kind<bool> = "true or false";
template <>
constexpr const char* kind<double> = "a number";
template <>
constexpr const char* kind<int64_t> = "a whole number";

template <class T>
bool holds(const nlohmann::json& value) {
  if constexpr (std::is_same_v<T, bool>) return value.is_boolean();
  if constexpr (std::is_same_v<T, double>) return value.is_number();
  if constexpr (std::is_same_v<T, std::string>) return value.is_string();
  if constexpr (std::is_same_v<T, int64_t>) {
    if (value.is_number_unsigned()) return value.get<uint64_t>() <= uint64_t(INT64_MAX);
    return value.is_number_integer();
  }
}

}  // namespace

nlohmann::json parse_json_object(std::string_view text, const std::string& where) {
  auto limit_depth = [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    if (depth > kMaxDepth) fail_input(fmt::format("{}: expected at most {} levels of JSON", where, kMaxDepth));
    return true;
  };
  if (text.find('\0') != text.npos) fail_input(fmt::format("{}: expected JSON, found a NUL byte", where));
  try {
    auto json = nlohmann::json::parse(text, limit_depth);
    if (json.is_object()) return json;
  } catch (const nlohmann::json::parse_error& e) {
    fail_input(fmt::format("{}: expected JSON, found something else at byte {}", where, e.byte));
  }
  fail_input(fmt::format("{}: expected a JSON object", where));
}

nlohmann::json read_json_object(const Path& path, int64_t limit) {
  return parse_json_object(read_file(path, limit), path.string());
}

template <class T>
T json_value(const nlohmann::json& object, const char* key, T fallback, const std::string& where) {
  auto found = object.find(key);
  if (found == object.end() || found->is_null()) return fallback;
  if (holds<T>(*found)) return found->get<T>();
  std::string text = found->dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  fail_input(fmt::format("{}: {}: expected {}, found {}", where, key, kind<T>, text.substr(0, 60)));
}

template bool json_value(const nlohmann::json&, const char*, bool, const std::string&);
template double json_value(const nlohmann::json&, const char*, double, const std::string&);
template int64_t json_value(const nlohmann::json&, const char*, int64_t, const std::string&);
template std::string json_value(const nlohmann::json&, const char*, std::string, const std::string&);

}  // namespace viaduct
