// What a run folder says, for reports. Nothing in it is trusted, and nothing but the folder has to be there: what is
// missing or broken becomes a sentence.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace viaduct::app {

struct Point {
  double x = 0, y = 0;
};
using Series = std::vector<Point>;  // finite, in the order of the file

struct Setting {
  std::string key, value, origin;  // "train.lr", "5e-05", "command line"
};

struct RunData {
  std::string folder;                         // as it was named
  std::string name;                           // for the page: the folder's own name
  std::string outcome = "running?", message;  // of verdict.json
  int64_t step = 0;
  double epoch = 0;
  std::map<std::string, Series> series;      // every number of metrics.jsonl but the last line's, over the step
  std::map<std::string, double> totals;      // of the last line of a complete run
  std::vector<Setting> settings;             // config.cfg, in its order
  std::map<std::string, std::string> facts;  // summary.json: model, device, host, ranks, ..
  std::vector<std::pair<std::string, int64_t>> memory;  // bytes of a rank by category, in its order
  std::vector<std::string> faults;                      // sentences

  const Series& of(const std::string& field) const;  // empty where there is none
  std::string setting(const std::string& key) const;
  std::string fact(const std::string& name) const;
};

// Throws an input error where the folder is none of a run: it has neither metrics.jsonl nor verdict.json.
RunData read_run(const std::string& folder);

}  // namespace viaduct::app
