// Where a run stands: a flat list of named values, kept in a checkpoint as JSON.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <variant>

namespace viaduct {

// Doubles are finite and keep their bits.
class RunState {
 public:
  using Value = std::variant<int64_t, double, std::string>;
  void set(const std::string& name, Value value) { values_[name] = std::move(value); }
  bool has(const std::string& name) const { return values_.contains(name); }
  // Texts whose name begins so, under the rest of it.
  std::map<std::string, std::string> texts(const std::string& prefix) const;
  int64_t integer(const std::string& name) const;  // an input error when absent or of another type
  double number(const std::string& name) const;
  const std::string& text(const std::string& name) const;
  bool operator==(const RunState&) const = default;

  std::string json() const;
  static RunState parse(const std::string& json, const std::string& where);

 private:
  template <class T>
  const T& get(const std::string& name) const;
  std::map<std::string, Value> values_;
};

// Begins the names of a model folder's files; see ModelSource::more_files().
inline const std::string kModelFile = "file ";

}  // namespace viaduct
