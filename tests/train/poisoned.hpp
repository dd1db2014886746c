// A classifier whose loss of one class is beyond all bounds, although every weight is finite.
#pragma once
#include <cstring>

#include "data/dataset.hpp"
#include "data/sampler.hpp"
#include "tests/train/runs.hpp"

namespace viaduct::test {

class Poisoned : public Runs {
 protected:
  Poisoned()
      : Runs({{"data.train", (scenes() / "train").string()},
              {"model.hidden_size", "24"},
              {"model.num_hidden_layers", "1"},
              {"model.num_attention_heads", "2"},
              {"model.intermediate_size", "32"},
              {"model.image_size", "24"},
              {"model.patch_size", "8"}}) {}

  static constexpr int kClass = 3;
  Path poisoned_model() { return runs_ / "sound/model"; }
  // Trains from it. Its logit of kClass is -1e30 for any image.
  Settings from_poisoned() {
    if (!std::filesystem::exists(poisoned_model())) {
      train("sound", 1, {{"train.lr", "0"}, {"train.steps", "1"}});
      const Path path = poisoned_model() / "model.safetensors";
      std::string file = read_file(path, 64 << 20);
      uint64_t header = 0;
      std::memcpy(&header, file.data(), 8);
      const auto entries = nlohmann::json::parse(file.substr(8, header));
      const float logit = -1e30f;
      const size_t at = 8 + header + size_t(entries["classifier.bias"]["data_offsets"][0]) + kClass * sizeof logit;
      std::memcpy(file.data() + at, &logit, sizeof logit);
      write_bytes(path, file);
    }
    return {{"model.pretrained", poisoned_model().string()}};
  }

  // The samples of kClass in each of the first steps of a run, by step; global batches of `batch`, within an epoch.
  std::map<int64_t, std::vector<std::string>> guilty_samples(int64_t batch, int64_t steps) {
    DatasetPtr data = open_labelled((scenes() / "train").string(), Split::train);
    Sampler order(data->size(), 42, true);
    std::map<int64_t, std::vector<std::string>> guilty;
    for (int64_t position = 0; position < batch * steps; ++position)
      if (int64_t sample = order.at(0, position); data->label(sample) == kClass)
        guilty[position / batch + 1].push_back(data->id(sample));
    return guilty;
  }
  // Those that metrics.jsonl names.
  static std::map<int64_t, std::vector<std::string>> named(const Path& folder) {
    std::map<int64_t, std::vector<std::string>> found;
    for (const auto& line : lines(folder, "nonfinite"))
      found[line["step"]] = line["samples"].get<std::vector<std::string>>();
    return found;
  }
};

}  // namespace viaduct::test
