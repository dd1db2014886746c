#include "app/setup.hpp"
#include "train/evaluate.hpp"

namespace viaduct::app {
namespace {

Exit run(const Invocation& call) {
  Config config = with_model(call, "eval");
  settle(call);
  ModelSource source = resolve_model(config, {});
  const bool classifies = source.choice.classifies();
  DatasetPtr data =
      open_eval_data(config, source.choice, classifies ? vit(source.config).labels : std::vector<std::string>{});
  if (data->size() == 0) fail_input(fmt::format("data.eval = {}: no images to evaluate", config.data.eval));
  TextSizes texts = fit_to_texts(source, config, {data}, call.comm)[0];

  Engine engine(source, config, false, call.comm);
  engine.load_weights(uint64_t(config.train.seed));
  LoaderOptions options = loader_options(config, Pass::evaluation, source, texts, call.comm, engine.device());
  options.quarantine_budget = data->size();  // they are reported, however many there are
  Loader loader(data, options);
  auto metrics = evaluate(engine.task(), engine.work(), engine.upload(), loader, call.comm);
  if (auto bad = metrics.find("eval_quarantined"); bad != metrics.end() && bad->second >= double(data->size()))
    fail_input(fmt::format("none of the {} images to evaluate can be read; the warnings above say why", data->size()));
  if (call.world.rank == 0) {
    fmt::print("model {}, {} {} of {}\n", config.model.pretrained, data->size(),
               classifies ? "images" : "images with texts",
               config.eval_fraction() ? config.data.train : config.data.eval);
    for (const auto& [name, value] : metrics) fmt::print("{:<32} {:.6g}\n", name, value);
  }
  return Exit::ok;
}

}  // namespace

const Command eval_command = {
    "eval",
    "[MODEL]",
    "loss and accuracy of a model, or recall, on data with answers",
    "MODEL (or model.pretrained) is a run folder or a Hugging Face model folder; the images are those of data.eval. "
    "Every\n"
    "image counts once, however many ranks there are; unreadable ones are named and left out. A contrastive model "
    "(task.name = itc)\n"
    "gets recall@1, 5 and 10 of texts for images and of images for texts, over every text of every image.",
    {"model", "task", "data", "train", "device"},
    1,
    false,
    run};

}  // namespace viaduct::app
