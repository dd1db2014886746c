// viaduct <command> [subject ...] [--config FILE] [--section.key VALUE ...]
#pragma once
#include <string>
#include <vector>

#include "train/config.hpp"

namespace viaduct::app {

struct CommandLine {
  std::string command;  // empty: none was given
  std::vector<std::string> subjects;
  bool help = false;
  Config config;  // default < file < command line
};

// Throws a configuration error on anything it does not know. With --help the values are not checked against each other.
CommandLine parse_command_line(const std::vector<std::string>& arguments);

}  // namespace viaduct::app
