// A weighted sum as a value of the configuration says it: "itm:1, mlm:1, itc:0.5".
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "train/config.hpp"

namespace viaduct {

// A config error about one value: "task.name = 'itn' (command line): why".
[[noreturn]] void refuse_value(const Config&, const std::string& key, const std::string& value, const std::string& why);

std::vector<std::string> split_list(const std::string& text);  // at the commas, without blanks around

// The terms in their order, each once, with its weight above 0 (1 where none is given). `names`: what there is, of
// which the nearest is offered for what there is not (`also` beside them); `expected`: what is said then.
std::vector<std::pair<std::string, double>> weighted_list(const Config&, const std::string& key,
                                                          const std::string& value,
                                                          const std::vector<std::string>& names,
                                                          const std::string& expected,
                                                          const std::vector<std::string>& also = {});

}  // namespace viaduct
