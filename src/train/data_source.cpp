#include "train/data_source.hpp"

#include <omp.h>

#include <algorithm>
#include <cstring>

#include "core/base/check.hpp"
#include "core/base/log.hpp"
#include "data/each_text.hpp"
#include "train/step_cut.hpp"

namespace viaduct {
namespace {

// Contrastive learning and masked language modelling are about pairs that belong together.
DatasetPtr usable_pairs(DatasetPtr data, const TaskChoice& choice) {
  if (!data || !data->has_labels() || (choice.itc == 0 && choice.mlm == 0)) return data;
  if (choice.itm > 0)
    fail_config("the pairs have labels, which is for task.name = itm alone; itc and mlm need pairs that all match");
  DatasetPtr matching = matching_pairs(data);
  log::info("{} pairs with label 1 of {} are used", matching->size(), data->size());
  return matching;
}

// Recall is over every text of an image.
DatasetPtr texts_to_evaluate(DatasetPtr data, const TaskChoice& choice) {
  data = usable_pairs(std::move(data), choice);
  return data && choice.itc > 0 ? each_text(data) : data;
}

Augment augment_of(const Config& config, Pass pass, bool with_text) {
  if (pass == Pass::evaluation) return Augment::none;
  if (config.data.augment == "auto") return with_text ? Augment::none : Augment::standard;
  return augment_named(config.data.augment);
}

}  // namespace

TrainEval open_data(const Config& config, const TaskChoice& choice) {
  if (choice.classifies()) return open_train_eval(config.data.train, config.data.eval);
  TrainEval data = open_text_train_eval(config.data.train, config.data.eval, config.data.max_quarantined);
  return {usable_pairs(data.train, choice), texts_to_evaluate(data.eval, choice)};
}

DatasetPtr open_eval_data(const Config& config, const TaskChoice& choice, const std::vector<std::string>& labels) {
  require(config, "data.eval", "eval");
  if (config.eval_fraction()) require(config, "data.train", "eval");
  if (!choice.classifies()) {
    if (config.eval_fraction()) return open_data(config, choice).eval;
    return texts_to_evaluate(open_texts(config.data.eval, Split::eval, config.data.max_quarantined), choice);
  }
  if (!config.eval_fraction()) return open_labelled(config.data.eval, Split::eval, labels);
  DatasetPtr data = open_train_eval(config.data.train, config.data.eval).eval;
  if (data->classes() != labels)
    fail_input(fmt::format("the classes of {} ({}) are not those of the model ({})", config.data.train,
                           fmt::join(data->classes(), ", "), fmt::join(labels, ", ")));
  return data;
}

namespace {

TextSizes measure_texts(const Config& config, const ModelSource& source, const Dataset& data, Communicator& comm) {
  auto mine = text_sizes(data, *source.tokenizer, source.max_text_length(config),
                         split_evenly(data.size(), comm.rank(), comm.size()), omp_get_max_threads());
  auto all = std::make_shared<std::vector<TextSize>>();
  std::string bytes(reinterpret_cast<const char*>(mine.data()), mine.size() * sizeof(TextSize));
  for (const std::string& part : comm.all_gather_text(bytes)) {
    if (part.empty()) continue;  // a rank without samples
    size_t at = all->size();
    all->resize(at + part.size() / sizeof(TextSize));
    std::memcpy(all->data() + at, part.data(), part.size());
  }
  return all;
}

}  // namespace

std::vector<TextSizes> fit_to_texts(ModelSource& source, const Config& config, const std::vector<DatasetPtr>& datasets,
                                    Communicator& comm) {
  std::vector<TextSizes> all(datasets.size());
  if (!source.tokenizer) return all;
  const int64_t most = source.max_text_length(config);
  int64_t longest = 0;
  for (size_t i = 0; i < datasets.size(); ++i) {
    if (!datasets[i]) continue;
    all[i] = measure_texts(config, source, *datasets[i], comm);
    for (TextSize size : *all[i]) longest = std::max<int64_t>(longest, size.tokens);
  }
  const bool fixed = longest == 0 || config.data.padding == "max_length";
  source.text_tokens = fixed ? most : std::min(most, align_up(longest, TextOptions{}.round_to));
  return all;
}

MixOptions mix_options(const Config& config) {
  const AugmentSection& augment = config.augment;
  return {augment.mixup, augment.cutmix, augment.mix_probability, augment.cutmix_share};
}

int loader_workers(const Config& config) {
  return config.data.workers < 0 ? automatic_workers(omp_get_max_threads()) : int(config.data.workers);
}

LoaderOptions loader_options(const Config& config, Pass pass, const ModelSource& source, TextSizes sizes,
                             const Communicator& comm, Device device) {
  const StepCut cut = step_cut(config);
  LoaderOptions options{.pass = pass,
                        .batch_size = cut.samples,
                        .accumulate = cut.passes,
                        .rank = comm.rank(),
                        .ranks = comm.size(),
                        .seed = uint64_t(config.train.seed),
                        .shuffle = config.data.shuffle,
                        .processor = source.processor,
                        .augment = augment_of(config, pass, source.tokenizer != nullptr),
                        .random_erasing = config.augment.random_erasing,
                        .mix = mix_options(config),
                        .device = device,
                        .workers = loader_workers(config),
                        .quarantine_budget = config.data.max_quarantined};
  if (source.tokenizer)
    options.text = {.tokenizer = source.tokenizer,
                    .max_length = source.max_text_length(config),
                    .fixed = config.data.padding == "max_length",
                    .pairs = source.choice.itm > 0,
                    .masked = source.choice.mlm > 0,
                    .sizes = std::move(sizes)};
  return options;
}

}  // namespace viaduct
