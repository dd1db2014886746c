#include "app/command_line.hpp"

#include <algorithm>
#include <boost/program_options.hpp>

#include "core/base/check.hpp"

namespace viaduct::app {
namespace po = boost::program_options;

namespace {

po::options_description all_options() {
  po::options_description options;
  options.add_options()("help", "")("config", po::value<std::string>(), "");
  options.add_options()("subject", po::value<std::vector<std::string>>(), "");
  for (const std::string& key : config_keys()) options.add_options()(key.c_str(), po::value<std::string>(), "");
  return options;
}

// Keys that are not among the options reach set(), which knows what was meant or why it is refused.
po::parsed_options parse(const std::vector<std::string>& arguments, const po::options_description& options) {
  po::positional_options_description subjects;
  subjects.add("subject", -1);
  namespace style = po::command_line_style;
  try {
    return po::command_line_parser(arguments)
        .options(options)
        .positional(subjects)
        .style(style::allow_long | style::long_allow_next | style::long_allow_adjacent)  // so that -1 is a value
        .run();
  } catch (const po::unknown_option& error) {
    std::string key = error.get_option_name();
    Config config;
    key.erase(0, key.find_first_not_of('-'));
    set(config, key.substr(0, key.find('=')), "", "command line");
    throw;
  }
}

}  // namespace

CommandLine parse_command_line(const std::vector<std::string>& arguments) try {
  CommandLine line;
  std::vector<std::string> long_form = arguments;
  std::replace(long_form.begin(), long_form.end(), std::string("-h"), std::string("--help"));
  po::parsed_options parsed = parse(long_form, all_options());
  for (const auto& option : parsed.options) {
    if (option.string_key == "help") line.help = true;
    if (option.string_key == "config") read_config_file(line.config, option.value[0]);
  }
  for (const auto& option : parsed.options) {
    if (option.string_key == "help" || option.string_key == "config") continue;
    if (option.string_key == "subject")
      line.subjects.push_back(option.value[0]);
    else
      set(line.config, option.string_key, option.value[0], "command line");
  }
  if (!line.subjects.empty()) {
    line.command = line.subjects[0];
    line.subjects.erase(line.subjects.begin());
  }
  if (!line.help) validate(line.config);
  return line;
} catch (const po::error& error) {
  fail_config(fmt::format("command line: {}; expected viaduct COMMAND [--config FILE] [--section.key VALUE ...]",
                          error.what()));
}

}  // namespace viaduct::app
