// JSON from files that users name. Only .cpp files include <nlohmann/json.hpp>: it is slow to compile.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "core/base/files.hpp"

namespace viaduct {

// The object that the file holds; anything else is an input error that names the file.
nlohmann::json read_json_object(const Path&, int64_t limit = 64 << 20);
nlohmann::json parse_json_object(std::string_view text, const std::string& where);

// object[key] as T, `fallback` when the key is absent or null; a value of another type is an input error.
template <class T>
T json_value(const nlohmann::json& object, const char* key, T fallback, const std::string& where);

}  // namespace viaduct
