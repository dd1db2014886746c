// Configs as text: the file that is read, the effective config that is written, the help.
#include <algorithm>
#include <boost/program_options.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/base/check.hpp"
#include "train/config.hpp"

namespace viaduct {
namespace {
namespace po = boost::program_options;

std::string show(const std::string& value, const Rule&) { return value; }
std::string show(bool value, const Rule&) { return value ? "true" : "false"; }
std::string show(double value, const Rule&) { return fmt::format("{}", value); }  // shortest text that reads back
std::string show(const std::optional<double>& value, const Rule& rule) { return value ? show(*value, rule) : "none"; }
std::string show(int64_t value, const Rule& rule) {
  for (const auto& [word, number] : rule.words)
    if (number == value) return word;
  return fmt::format("{}", value);
}

std::string kind(const std::string&, const Rule& rule) {
  return rule.choices.empty() ? "TEXT" : fmt::format("{}", fmt::join(rule.choices, "|"));
}
std::string kind(bool, const Rule&) { return "true|false"; }
std::string kind(double, const Rule&) { return "NUMBER"; }
std::string kind(const std::optional<double>&, const Rule&) { return "NUMBER|none"; }
std::string kind(int64_t, const Rule& rule) {
  std::string text = "N";
  for (const auto& [word, number] : rule.words) text += "|" + word;
  return text;
}

// Boost says what it read but not where: the line of the first `name =` below [section].
int line_of(const std::string& text, const std::string& key) {
  std::istringstream lines(text);
  std::string line, section;
  for (int number = 1; std::getline(lines, line); ++number) {
    line = line.substr(0, line.find('#'));
    line.erase(0, line.find_first_not_of(" \t"));
    auto equals = line.find('=');
    if (line.starts_with('['))
      section = line.substr(1, line.find(']') - 1) + ".";
    else if (equals != std::string::npos &&
             section + line.substr(0, line.find_last_not_of(" \t", equals - 1) + 1) == key)
      return number;
  }
  return 0;
}

}  // namespace

void read_config_file(Config& config, const std::string& path) {
  std::ifstream file(path);
  std::stringstream buffer;
  if (!file || std::filesystem::is_directory(path))
    fail_config(fmt::format("cannot read the config file {}; does it exist, and is it a file?", path));
  buffer << file.rdbuf();
  std::string text = buffer.str();
  try {
    auto parsed = po::parse_config_file(buffer, po::options_description(), true);
    std::map<std::string, bool> seen;
    for (const auto& option : parsed.options) {
      std::string where = fmt::format("{}:{}", path, line_of(text, option.string_key));
      if (std::exchange(seen[option.string_key], true))
        fail_config(fmt::format("{} is given twice in {}; keep one", option.string_key, path));
      set(config, option.string_key, option.value.empty() ? "" : option.value[0], where);
    }
  } catch (const po::error& error) {
    fail_config(fmt::format("{}: {}; expected [section] lines and key = value lines below them", path, error.what()));
  }
}

std::string value_text(const Config& given, const std::string& key) {
  std::string text;
  Config config = given;
  config.sections([&](const std::string& section, auto& fields) {
    fields.fields([&](const std::string& name, auto& field, const Rule& rule, const char*) {
      if (key == section + "." + name) text = show(field, rule);
    });
  });
  return text;
}

void require(const Config& config, const std::string& key, const std::string& command) {
  if (value_text(config, key).empty())
    fail_config(
        fmt::format("viaduct {} needs {}: give --{} VALUE or set it in the file of --config", command, key, key));
}

std::string effective_config(const Config& given, const std::vector<std::string>& wanted) {
  std::string text = "# The effective configuration, with the origin of every value; use it with --config.\n";
  Config config = given;
  auto add = [&](const std::string& section, const std::string& name, const std::string& value) {
    text += fmt::format("{:<40} # {}\n", name + " = " + value, config.origin(section + "." + name));
  };
  config.sections([&](const std::string& section, auto& fields) {
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), section) == wanted.end()) return;
    text += fmt::format("\n[{}]\n", section);
    fields.fields([&](const std::string& name, auto& field, const Rule& rule, const char*) {
      add(section, name, show(field, rule));
    });
    if (section == "model")
      for (const auto& [name, value] : config.model.overrides) add(section, name, value);
  });
  return text;
}

std::string config_help(const std::vector<std::string>& wanted) {
  std::map<std::string, std::string> texts;
  Config config;
  config.sections([&](const std::string& section, auto& fields) {
    std::string& text = texts[section] = fmt::format("\n[{}]\n", section);
    fields.fields([&](const std::string& name, auto& field, const Rule& rule, const char* help) {
      std::string value = show(field, rule);
      text += fmt::format("  {:<46} {}{}\n", fmt::format("--{}.{} {}", section, name, kind(field, rule)), help,
                          value.empty() ? "" : fmt::format(" [{}]", value));
    });
    if (section == "model")
      text += fmt::format("  {:<46} {}\n", "--model.FIELD VALUE",
                          "any field of config.json that changes the maths, such as hidden_size");
  });
  std::string help;
  for (const std::string& section : wanted) help += texts.at(section);
  return help;
}

}  // namespace viaduct
