#include "train/run_state.hpp"

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/base/check.hpp"
#include "core/base/json.hpp"

namespace viaduct {

template <class T>
const T& RunState::get(const std::string& name) const {
  auto found = values_.find(name);
  const T* value = found == values_.end() ? nullptr : std::get_if<T>(&found->second);
  if (!value) fail_input(fmt::format("the checkpoint's state.json lacks '{}', or it has another type", name));
  return *value;
}
int64_t RunState::integer(const std::string& name) const { return get<int64_t>(name); }
double RunState::number(const std::string& name) const { return get<double>(name); }
const std::string& RunState::text(const std::string& name) const { return get<std::string>(name); }

std::map<std::string, std::string> RunState::texts(const std::string& prefix) const {
  std::map<std::string, std::string> found;
  for (const auto& [name, value] : values_)
    if (const std::string* text = std::get_if<std::string>(&value); text && name.starts_with(prefix))
      found[name.substr(prefix.size())] = *text;
  return found;
}

std::string RunState::json() const {
  auto json = nlohmann::json::object();
  for (const auto& [name, value] : values_) {
    const double* number = std::get_if<double>(&value);
    expect(!number || std::isfinite(*number), "a run's state holds finite numbers");
    std::visit([&, key = name](const auto& v) { json[key] = v; }, value);
  }
  return json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

RunState RunState::parse(const std::string& text, const std::string& where) {
  RunState state;
  const nlohmann::json json = parse_json_object(text, where);
  for (const auto& [name, value] : json.items()) {
    if (value.is_number_float())
      state.set(name, value.get<double>());
    else if (value.is_number_integer())
      state.set(name, value.get<int64_t>());
    else if (value.is_string())
      state.set(name, value.get<std::string>());
    else
      fail_input(fmt::format("{}: {}: expected a number or a text", where, name));
  }
  return state;
}

}  // namespace viaduct
