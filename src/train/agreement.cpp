#include "train/agreement.hpp"

#include <nlohmann/json.hpp>
#include <set>

#include "core/base/check.hpp"
#include "core/base/hash.hpp"
#include "core/base/json.hpp"
#include "models/hf_config.hpp"

namespace viaduct {

void agree_on_model(const ModelSource& source, Communicator& comm) {
  auto files = source.more_files();
  files["config.json"] = model_config_json(source.config, source.architecture());
  nlohmann::json mine;
  for (const auto& [name, text] : files) mine[name] = xxh3_hex(text);

  std::set<std::string> names;
  std::vector<nlohmann::json> found;
  for (const std::string& text : comm.all_gather_text(mine.dump())) {
    found.push_back(parse_json_object(text, "another rank"));
    for (const auto& [name, hash] : found.back().items()) names.insert(name);
  }
  for (const std::string& name : names) {
    std::vector<size_t> others;
    for (size_t rank = 1; rank < found.size(); ++rank)
      if (found[rank].value(name, "") != found[0].value(name, "")) others.push_back(rank);
    if (!others.empty())
      fail_input(
          fmt::format("{} {} found another {} than rank 0; every host needs the same files under model.pretrained and "
                      "data.tokenizer",
                      others.size() == 1 ? "rank" : "ranks", fmt::join(others, ", "), name));
  }
}

}  // namespace viaduct
