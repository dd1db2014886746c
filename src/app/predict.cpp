#include <algorithm>
#include <filesystem>

#include "app/ordered_output.hpp"
#include "app/predictions.hpp"
#include "app/setup.hpp"
#include "core/base/log.hpp"
#include "data/each_text.hpp"

namespace viaduct::app {
namespace {

constexpr int kBatchesPerExchange = 16;

// The subjects after the model, or predict.input, or data.eval.
DatasetPtr open_input(const Invocation& call, const TaskChoice& choice) {
  std::vector<std::string> paths(call.subjects.begin() + std::min<size_t>(1, call.subjects.size()),
                                 call.subjects.end());
  if (paths.empty() && !call.config.predict.input.empty()) paths = {call.config.predict.input};
  const std::string& eval = call.config.data.eval;
  bool held_out = paths.empty() && !eval.empty() && !call.config.eval_fraction();
  if (held_out) paths = {eval};
  if (paths.empty()) fail_config("viaduct predict needs images: viaduct predict MODEL IMAGES, or set predict.input");
  if (!choice.classifies()) {
    if (paths.size() > 1)
      fail_config(
          fmt::format("an image-text model takes one captions or pairs file, found {}", fmt::join(paths, ", ")));
    return each_text(open_text_rows(paths[0], held_out ? std::optional(Split::eval) : std::nullopt));
  }
  bool split = held_out && std::filesystem::exists(eval + "/labels.csv");  // it says which images are for evaluation
  DatasetPtr data = split ? open_labelled(eval, Split::eval) : open_unlabelled(paths);
  if (data->size() == 0) fail_input(fmt::format("{}: no images there", fmt::join(paths, ", ")));
  return data;
}

void check_wishes(const PredictSection& wanted, const TaskChoice& choice) {
  const bool itm = choice.itm > 0 && choice.first == "itm", itc = choice.itc > 0 && choice.first == "itc";
  if (!choice.classifies() && !itm && !itc)
    fail_config("viaduct predict gives matches (task.name = itm) or vectors (itc), not masked tokens");
  auto need = [&](const char* key, bool asked, bool is, const char* task) {
    if (asked && !is)
      fail_config(
          fmt::format("{} is for task.name = {}, and this is {}; where the model has those heads too, say "
                      "--task.name {}",
                      key, task, choice.text(), task));
  };
  need("predict.page", !wanted.page.empty(), itm, "itm");
  need("predict.embeddings", !wanted.embeddings.empty(), itc, "itc");
  need("predict.logits", wanted.logits && !choice.classifies(), itm, "itm");
}

Exit run(const Invocation& call) {
  Config config = with_model(call, "predict");
  const TaskChoice choice = resolve_task(config);
  check_wishes(config.predict, choice);
  DatasetPtr data = open_input(call, choice);
  settle(call);
  ModelSource source = resolve_model(config, {});
  TextSizes texts = fit_to_texts(source, config, {data}, call.comm)[0];
  for (const std::string& path : {config.predict.page, config.predict.embeddings})
    if (!path.empty() && call.world.rank == 0) make_place_for(path);  // before the work is done
  OrderedOutput output(config.predict.output, call.comm);
  Engine engine(source, config, false, call.comm);
  engine.load_weights(uint64_t(config.train.seed));
  LoaderOptions options = loader_options(config, Pass::evaluation, source, texts, call.comm, engine.device());
  options.text.pairs = options.text.masked = false;  // what is judged is each sample's own text
  options.quarantine_budget = data->size();          // they are reported, however many there are
  Loader loader(data, options);

  auto start = std::chrono::steady_clock::now();
  Predictions predictions(engine, data, config.predict);
  bool more = true;
  while (more) {
    std::string lines;
    for (int i = 0; i < kBatchesPerExchange && !loader.done(); ++i) lines += predictions.lines(loader.next());
    more = output.exchange(lines, !loader.done());
  }
  output.finish();
  predictions.write_embeddings(call.comm);

  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  int64_t bad = 0;
  for (const std::string& count : call.comm.all_gather_text(std::to_string(loader.quarantined().size())))
    bad += std::stoll(count);
  const char* what = choice.classifies() ? "images" : "pairs";
  log::info("{} {}, {} of them unreadable, {:.1f} {}/s: {}", data->size(), what, bad, double(data->size()) / seconds,
            what, config.predict.output);
  if (call.world.rank == 0) show_pairs(config.predict, *data, "Do these pictures and texts belong together?");
  if (bad == data->size())
    fail_input(fmt::format("none of the {} {} can be read; {} says why", bad, what, config.predict.output));
  return Exit::ok;
}

}  // namespace

const Command predict_command = {
    "predict",
    "[MODEL [INPUT ...]]",
    "labels and scores of images, or how well images and texts match, as JSONL in input order",
    "MODEL (or model.pretrained) is a run folder or a Hugging Face model folder. For a classifier INPUT (or "
    "predict.input, or\n"
    "data.eval) are folders or image files. The ranks share them. Each gets one line, in the order given, a folder's "
    "in byte order:\n"
    "  {\"id\": path, \"labels\": [..], \"scores\": [..]}, with \"logits\" on request, or {\"id\": path, \"error\": "
    "reason}.\n"
    "For an image-text model INPUT is a captions or pairs file, or its folder; every text gets a line:\n"
    "  {\"id\": line, \"image\": .., \"text\": .., \"score\": ..}; the score is the probability of a match (itm) or "
    "the "
    "cosine (itc).",
    {"predict", "model", "task", "data", "train", "device"},
    100000,
    false,
    run};

}  // namespace viaduct::app
