#include "app/setup.hpp"
#include "train/evaluate.hpp"

namespace viaduct::app {
namespace {

// data.eval as a folder, or as the fraction that training holds out of data.train.
DatasetPtr open_eval(const Config& config, const std::vector<std::string>& labels) {
  require(config, "data.eval", "eval");
  if (!config.eval_fraction()) return open_labelled(config.data.eval, Split::eval, labels);
  require(config, "data.train", "eval");
  DatasetPtr data = open_train_eval(config.data.train, config.data.eval).eval;
  if (data->classes() != labels)
    fail_input(fmt::format("the classes of {} ({}) are not those of the model ({})", config.data.train,
                           fmt::join(data->classes(), ", "), fmt::join(labels, ", ")));
  return data;
}

Exit run(const Invocation& call) {
  Config config = with_model(call, "eval");
  settle(call);
  ModelSource source = resolve_model(config, {});
  DatasetPtr data = open_eval(config, source.config.labels);
  if (data->size() == 0) fail_input(fmt::format("data.eval = {}: no images to evaluate", config.data.eval));

  Engine engine(source, config, false, call.comm);
  engine.load_weights(uint64_t(config.train.seed));
  LoaderOptions options = loader_options(config, Pass::evaluation, source.processor, call.comm);
  options.quarantine_budget = data->size();  // they are reported, however many there are
  Loader loader(data, options);
  auto metrics = evaluate(engine.task(), engine.work(), loader, call.comm);
  if (call.world.rank == 0) {
    fmt::print("model {}, {} images of {}\n", config.model.pretrained, data->size(),
               config.eval_fraction() ? config.data.train : config.data.eval);
    for (const auto& [name, value] : metrics) fmt::print("{:<24} {:.6g}\n", name, value);
  }
  return Exit::ok;
}

}  // namespace

const Command eval_command = {
    "eval",
    "[MODEL]",
    "loss and accuracy of a model on labelled images",
    "MODEL (or model.pretrained) is a run folder or a Hugging Face model folder; the images are those of data.eval. "
    "Every\n"
    "image counts once, however many ranks there are; unreadable ones are named and left out.",
    {"model", "task", "data", "train", "device"},
    1,
    false,
    run};

}  // namespace viaduct::app
